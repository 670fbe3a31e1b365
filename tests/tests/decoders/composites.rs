//! A whole terminal, and a whole HQ, with a hostile party on the line.
//!
//! An input is a script of lines: a letter, two bytes of length, and that many bytes. `n` is a frame of
//! the hostile neighbour, `h` one of HQ, `t` lets time pass, `r` has the neighbour hang up and come
//! again. The rules after every line: nothing panics, the next deadline lies ahead, and an honest
//! neighbour is still connected.

use core::net::SocketAddr;
use std::{fmt::Write as _, time::Duration};

use storemesh_keys::{Enrolment, InvitationCode, SecretKey, Signed};
use storemesh_protocol::{
    Instant, Rows,
    hq::{self, Hq, Order},
    terminal::{DiskAnswer, Hardware, Input, Join, JoinInput, Output, Setup, Terminal},
    wire::{
        encode,
        uplink::{Enrol, ToHq},
    },
};
use storemesh_tests::fuzz::Target;

use crate::{
    MEMORY,
    chain::{NOW, chain, hq_key, name, peer, rows, signer, terminal, trust},
    wire::{from_hq_frames, hello, mesh_frames, to_hq_frames},
};

/// This terminal, an honest neighbour, and one that is not.
const ME: u8 = 3;
const HONEST: u8 = 5;
const HOSTILE: u8 = 4;
/// A line may be told to all neighbours; and all that was heard is kept decoded, with its limits.
const MEMORY_MAX: usize = 4 << 20;
const LINES_MAX: usize = 64;

pub(crate) fn line(letter: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&[letter][..], &length.to_be_bytes(), bytes].concat()
}

/// What does not divide into lines ends the script.
pub(crate) fn lines(mut input: &[u8]) -> Vec<(u8, &[u8])> {
    let mut lines = Vec::new();
    while let Some((&[letter, high, low], rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        lines.push((letter, bytes));
        input = rest;
        if lines.len() == LINES_MAX {
            break;
        }
    }
    lines
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7410))
}

/// A terminal with both neighbours admitted and HQ on the line, not yet heard.
struct Scene {
    terminal: Terminal,
    now: Instant,
    said: String,
}

impl Scene {
    fn open() -> Self {
        let setup =
            Setup { key: terminal(ME), seed: 7, wall: NOW, neighbours: Vec::new(), hq_list: true };
        let (terminal, _) = Terminal::load(setup, &rows(ME), Instant(0)).unwrap();
        let mut scene = Self { terminal, now: Instant(1), said: String::new() };
        _ = scene.terminal.handle(scene.now, Input::Tick);
        scene.take(Input::Hardware(Hardware::default()));
        scene.take(Input::Disk(DiskAnswer::Ready));
        let mut opened = false;
        for _ in 0..100 {
            scene.now = scene.terminal.deadline(scene.now).min(scene.now + Duration::from_mins(1));
            let outputs = scene.terminal.handle(scene.now, Input::Tick);
            if outputs.iter().any(|output| matches!(output, Output::OpenUplink { .. })) {
                opened = true;
                break;
            }
        }
        assert!(opened, "alone, it calls HQ");
        scene.take(Input::UplinkUp { hq: hq_key() });
        for number in [HONEST, HOSTILE] {
            scene.connect(number);
        }
        scene.said.clear();
        scene
    }

    fn connect(&mut self, number: u8) {
        self.take(Input::Connected { peer: peer(number), address: address(number) });
        let bytes = encode(&hello(number));
        self.take(Input::Frame { peer: peer(number), bytes });
    }

    /// One input, and the rules.
    fn take(&mut self, input: Input) {
        let outputs = self.terminal.handle(self.now, input);
        for output in outputs {
            if let Output::Close { peer: closed, why } = &output {
                assert_ne!(*closed, peer(HONEST), "{why}");
            }
            if let Output::Close { why, .. } | Output::Reject { why, .. } = output {
                self.said.push_str(&why);
            }
            self.said.push(' ');
        }
        let deadline = self.terminal.deadline(self.now);
        assert!(
            self.now < deadline,
            "it asks for a tick at {deadline:?}, and it is {:?}",
            self.now
        );
    }

    fn play(&mut self, input: &[u8]) {
        for (letter, bytes) in lines(input) {
            let bytes = bytes.to_vec();
            match letter {
                b'h' => self.take(Input::UplinkFrame(bytes)),
                b't' => {
                    let seconds = bytes.iter().map(|byte| u64::from(*byte)).sum();
                    self.now = self.now + Duration::from_millis(seconds);
                    self.take(Input::Tick);
                }
                b'r' => {
                    self.take(Input::Disconnected { peer: peer(HOSTILE) });
                    self.connect(HOSTILE);
                }
                _ => self.take(Input::Frame { peer: peer(HOSTILE), bytes }),
            }
            let neighbours = self.terminal.status(self.now).neighbours;
            let honest = |n: &&storemesh_protocol::terminal::NeighbourView| n.peer == peer(HONEST);
            assert!(neighbours.iter().find(honest).is_some_and(|neighbour| neighbour.connected));
        }
    }
}

#[test]
fn a_terminal_among_hostile_neighbours_with_a_hostile_hq() {
    let frames = || mesh_frames().into_iter().skip(1);
    let neighbour: Vec<Vec<u8>> = frames().map(|frame| line(b'n', &encode(&frame))).collect();
    let hq: Vec<Vec<u8>> =
        from_hq_frames().into_iter().map(|frame| line(b'h', &encode(&frame))).collect();
    let time = line(b't', &[255; 40]);
    let seeds = vec![
        neighbour.concat(),
        hq.concat(),
        [neighbour.join(&time[..]), line(b'r', b""), neighbour.concat(), hq.join(&time[..])]
            .concat(),
        [hq[0].clone(), hq[4].clone(), neighbour.concat(), time].concat(),
    ];
    let run = |input: &[u8]| {
        let mut scene = Scene::open();
        scene.play(input);
        scene.said
    };
    let memory_max = |bytes| MEMORY_MAX + 64 * bytes;
    Target { name: "terminal", seeds, memory_max, mutations: 700, memory: &MEMORY, run }.try_out();
}

#[test]
fn an_hq_with_a_hostile_terminal() {
    let invite = || hq::Input::Order {
        ticket: 2,
        order: Order::Invite {
            store: name("s1"),
            invitation: SecretKey::from_seed([99; 32]).public(),
            valid: Duration::from_hours(1),
        },
    };
    let honest = SecretKey::from_seed([98; 32]);
    let frames: Vec<Vec<u8>> =
        to_hq_frames().into_iter().map(|frame| line(b'n', &encode(&frame))).collect();
    let time = line(b't', &[255; 40]);
    let seeds = vec![
        [frames[1].clone(), frames[2].clone(), frames[3..].concat()].concat(),
        frames.concat(),
        frames.join(&line(b'r', b"")[..]),
        frames.join(&time[..]),
    ];
    let run = |input: &[u8]| {
        let mut hq = Hq::load(signer(), trust(), &Rows::default()).unwrap();
        let (mut now, mut said) = (Instant(1), String::new());
        let mut take = |hq: &mut Hq, now: Instant, input: hq::Input| {
            for output in hq.handle(now, NOW, input) {
                if let hq::Output::Close { link, why } = output {
                    assert_ne!(link, 1, "the honest one: {why}");
                    said.push_str(&why);
                    said.push(' ');
                }
            }
            assert!(now < hq.deadline() || !hq.handle(now, NOW, hq::Input::Tick).is_empty());
        };
        let order = Order::AddStore { store: name("s1") };
        take(&mut hq, now, hq::Input::Order { ticket: 1, order });
        let invitation = honest.public();
        let valid = Duration::from_hours(1);
        let order = Order::Invite { store: name("s1"), invitation, valid };
        take(&mut hq, now, hq::Input::Order { ticket: 1, order });
        take(&mut hq, now, invite());
        // The honest terminal joins, and stays.
        take(&mut hq, now, hq::Input::Connected { link: 1, peer: peer(HONEST) });
        let enrolment = Enrolment { chain: chain(), peer: peer(HONEST), name: name("till-5") };
        let proof = Signed::sign(&honest, &enrolment);
        let enrol = Some(Enrol { invitation, proof });
        for frame in [to_hq_frames()[1].clone(), ToHq { enrol, ..ToHq::default() }] {
            take(&mut hq, now, hq::Input::Frame { link: 1, bytes: encode(&frame) });
        }
        let mut link = 2;
        take(&mut hq, now, hq::Input::Connected { link, peer: peer(HOSTILE) });
        for (letter, bytes) in lines(input) {
            let bytes = bytes.to_vec();
            match letter {
                b't' => {
                    now = now + Duration::from_millis(bytes.iter().map(|b| u64::from(*b)).sum());
                    take(&mut hq, now, hq::Input::Tick);
                }
                b'r' => {
                    take(&mut hq, now, hq::Input::Disconnected { link });
                    link += 1;
                    take(&mut hq, now, hq::Input::Connected { link, peer: peer(HOSTILE) });
                }
                _ => take(&mut hq, now, hq::Input::Frame { link, bytes }),
            }
        }
        said
    };
    let memory_max = |bytes| MEMORY_MAX + 64 * bytes;
    Target { name: "hq", seeds, memory_max, mutations: 700, memory: &MEMORY, run }.try_out();
}

/// Who types a code may be led to anybody.
#[test]
fn a_terminal_that_joins_at_a_hostile_hq() {
    let frames: Vec<Vec<u8>> =
        from_hq_frames().into_iter().map(|frame| line(b'h', &encode(&frame))).collect();
    let seeds = vec![[frames[0].clone(), frames[1].clone()].concat(), frames.concat()];
    let run = |input: &[u8]| {
        let addresses = vec!["127.0.0.1:7400".to_owned()];
        let code = InvitationCode::new(addresses, chain(), terminal(99)).unwrap();
        let mut join = Join::new(peer(ME), name("till-3"), code, NOW);
        let mut said = String::new();
        _ = join.handle(JoinInput::UplinkUp { hq: hq_key() });
        for (_, bytes) in lines(input) {
            let heard = join.handle(JoinInput::UplinkFrame(bytes.to_vec()));
            write!(said, "{heard:?} ").expect("into a string");
        }
        said
    };
    let memory_max = |bytes| MEMORY_MAX + 64 * bytes;
    Target { name: "join", seeds, memory_max, mutations: 700, memory: &MEMORY, run }.try_out();
}

/// A disk rots, and rows come from older and newer versions. The first byte says which row it is.
#[test]
fn rows_read_back_from_a_damaged_database() {
    let mut kept = rows(ME);
    let mut scene = Scene::open();
    for frame in from_hq_frames().iter().filter(|frame| frame.refused.is_none()) {
        for output in scene.terminal.handle(scene.now, Input::UplinkFrame(encode(frame))) {
            if let Some(save) = output.as_save() {
                kept.apply(save);
            }
        }
    }
    // The one that `connect` saved.
    _ = scene.terminal.handle(scene.now, Input::Disconnected { peer: peer(HOSTILE) });
    let again = Input::Connected { peer: peer(HOSTILE), address: address(HOSTILE) };
    _ = scene.terminal.handle(scene.now, again);
    let bytes = encode(&hello(HOSTILE));
    for output in scene.terminal.handle(scene.now, Input::Frame { peer: peer(HOSTILE), bytes }) {
        if let Some(save) = output.as_save() {
            kept.apply(save);
        }
    }
    assert!(kept.0.len() >= 4, "{:?}", kept.0.keys());
    let keys: Vec<_> = kept.0.keys().cloned().collect();
    let seeds: Vec<Vec<u8>> =
        (0_u8..).zip(kept.0.values()).map(|(at, v)| [&[at], &v[..]].concat()).collect();
    let run = |input: &[u8]| {
        let Some((which, value)) = input.split_first() else { return String::new() };
        let mut rows = kept.clone();
        let key = keys[usize::from(*which) % keys.len()].clone();
        rows.0.insert(key, value.to_vec());
        let (neighbours, hq_list) = (Vec::new(), true);
        let setup = Setup { key: terminal(ME), seed: 7, wall: NOW, neighbours, hq_list };
        match Terminal::load(setup, &rows, Instant(0)) {
            Ok((terminal, _)) => format!("{} wanted", terminal.status(Instant(0)).releases.len()),
            Err(why) => why.to_string(),
        }
    };
    let memory_max = |bytes| MEMORY_MAX + 64 * bytes;
    Target { name: "rows", seeds, memory_max, mutations: 700, memory: &MEMORY, run }.try_out();
}
