//! Two terminals that meet: what is said, and what is not.

mod releases;

mod feeds;

use core::net::SocketAddr;
use std::time::Duration;

use storemesh_keys::{
    Certificate, ChainId, HqSigner, Name, OnlineKey, PeerId, Roles, SecretKey, Signed, Timestamp,
    Trust, Verified,
};

use super::{Input, Membership, Output, Setup, Terminal, TimeSource};
use crate::{
    HqTime, Instant, Rows,
    feeds::terminal::FromFeeds,
    fixtures::{lease, name, signer},
    wire::{
        self,
        mesh::{Frame, Listen, Seen, Time},
        uplink::TERMINALS_MAX,
    },
};

const NOW: Instant = Instant(1);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn certificate(n: u8, store: Name) -> Verified<Certificate> {
    let signer = signer();
    signer.sign(&Certificate {
        chain: signer.described().chain,
        serial: u64::from(n),
        peer: key(n).peer_id(),
        door: None,
        name: name(&format!("till-{n}")),
        store,
        roles: Roles::TERMINAL,
        from: Timestamp(0),
        until: Timestamp(u64::MAX / 2),
    })
}

/// What till `n` of a store has kept of joining it.
fn rows(n: u8, store: &str) -> Rows {
    let certificate = certificate(n, name(store));
    let membership =
        Membership { chain: signer().described().chain, certificate, hq: vec!["hq:7400".into()] };
    let mut rows = Rows::default();
    rows.apply(&membership.save());
    rows
}

/// Till `n` of a store.
fn terminal(n: u8, store: &str) -> Terminal {
    started(n, store).0
}

/// And what it wants done first.
fn started(n: u8, store: &str) -> (Terminal, Vec<Output>) {
    start(n, &rows(n, store))
}

fn load(n: u8, rows: &Rows) -> Terminal {
    start(n, rows).0
}

fn start(n: u8, rows: &Rows) -> (Terminal, Vec<Output>) {
    let (wall, neighbours) = (Timestamp(1), Vec::new());
    let setup = Setup { key: key(n), seed: u64::from(n), wall, neighbours, hq_list: true };
    Terminal::load(setup, rows, Instant(0)).unwrap()
}

fn at(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 7410))
}

fn seen(peer: PeerId) -> Seen {
    Seen { peer, name: name("till") }
}

fn frames(outputs: &[Output]) -> Vec<Frame> {
    let frame = |output: &Output| {
        let Output::Send { frame, .. } = output else { return None };
        Some(wire::decode(frame).unwrap())
    };
    outputs.iter().filter_map(frame).collect()
}

fn connect(to: &mut Terminal, peer: PeerId) -> Frame {
    let outputs = to.handle(NOW, Input::Connected { peer, address: at(9) });
    frames(&outputs).remove(0)
}

fn say(to: &mut Terminal, peer: PeerId, frame: &Frame) -> Vec<Output> {
    to.handle(NOW, Input::Frame { peer, bytes: wire::encode(frame) })
}

/// Tills 1 and 2 of a store, who have let each other in.
fn met() -> (Terminal, Terminal) {
    let (mut one, mut two) = (terminal(1, "s1"), terminal(2, "s1"));
    meet(&mut one, &mut two);
    (one, two)
}

/// The two let each other in.
fn meet(one: &mut Terminal, two: &mut Terminal) {
    let (hello_1, hello_2) = (connect(one, two.me), connect(two, one.me));
    _ = say(one, two.me, &hello_2);
    _ = say(two, one.me, &hello_1);
    assert!(one.is_admitted(&two.me) && two.is_admitted(&one.me));
}

#[test]
fn a_terminal_of_another_store_gets_nothing_but_a_hello() {
    let (mut one, mut other) = (terminal(1, "s1"), terminal(2, "s2"));
    let hello = connect(&mut one, other.me);
    assert!(hello.hello.is_some());
    let foreign = connect(&mut other, one.me);
    let outputs = say(&mut one, other.me, &foreign);
    assert!(matches!(&outputs[..], [Output::Reject { .. }, Output::Close { .. }]), "{outputs:?}");
    // Whatever it says after that, nobody listens.
    for frame in [&foreign, &Frame::default()] {
        assert!(say(&mut one, other.me, frame).is_empty());
    }
    let moved = one.handle(NOW, Input::Listening(vec![at(1)]));
    assert!(frames(&moved).is_empty(), "{moved:?}");
    // And it is not dialled when it is announced again.
    let (peer, by) = (other.me, super::FoundBy::Mdns);
    let found = one.handle(NOW, Input::Discovered { peer, address: at(2), by });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_stranger_is_not_told_where_we_listen_before_it_is_let_in() {
    let (mut one, mut two) = (terminal(1, "s1"), terminal(2, "s1"));
    _ = connect(&mut one, two.me);
    let hello = connect(&mut two, one.me);
    let moved = one.handle(NOW, Input::Listening(vec![at(1)]));
    assert!(frames(&moved).is_empty(), "{moved:?}");
    let admitted = say(&mut one, two.me, &hello);
    let told = frames(&admitted).into_iter().find_map(|frame| frame.listen);
    assert_eq!(told, Some(Listen { addresses: vec![at(1)] }));
}

#[test]
fn new_addresses_are_told_to_neighbours_who_remember_and_dial_them() {
    let (mut one, mut two) = met();
    let moved = one.handle(NOW, Input::Listening(vec![at(1)]));
    let [told] = &frames(&moved)[..] else { panic!("{moved:?}") };
    let heard = say(&mut two, one.me, told);
    assert!(heard.iter().any(|output| output.as_save().is_some()), "{heard:?}");
    assert!(say(&mut two, one.me, told).is_empty(), "the same again is no news");
    assert!(one.handle(NOW, Input::Listening(vec![at(1)])).is_empty());

    _ = two.handle(NOW, Input::Disconnected { peer: one.me });
    let due = two.deadline(NOW);
    let dialled = two.handle(due, Input::Tick);
    let to_one =
        |output: &Output| matches!(output, Output::Dial { address, .. } if *address == at(1));
    assert!(dialled.iter().any(to_one), "{dialled:?}");
}

#[test]
fn a_neighbour_whose_addresses_change_all_the_time_is_heard_now_and_then_and_at_last() {
    let (mut one, two) = met();
    let saves = |outputs: &[Output]| outputs.iter().filter_map(Output::as_save).count();
    let mut heard = 0;
    for last in 1..=200 {
        let listen = Some(Listen { addresses: vec![at(last)] });
        let outputs = say(&mut one, two.me, &Frame { listen, ..Frame::default() });
        assert!(!outputs.iter().any(|output| matches!(output, Output::Close { .. })));
        heard += saves(&outputs);
    }
    assert!((2..50).contains(&heard), "{heard} times");
    let due = NOW + Duration::from_mins(1);
    assert!(one.deadline(NOW) <= due);
    assert_eq!(saves(&one.handle(due, Input::Tick)), 1);
    _ = one.handle(due, Input::Disconnected { peer: two.me });
    let later = due + Duration::from_mins(1);
    let dialled = one.handle(later, Input::Tick);
    let to_two =
        |output: &Output| matches!(output, Output::Dial { address, .. } if *address == at(200));
    assert!(dialled.iter().any(to_two), "{dialled:?}");
}

#[test]
fn whom_the_gateway_sees_is_said_in_status_when_we_do_not() {
    let (mut one, two) = met();
    let lease = Some(lease(1, two.me).into_signed());
    _ = say(&mut one, two.me, &Frame { lease, ..Frame::default() });
    let other = key(3).peer_id();
    let sees = Some(vec![seen(one.me), seen(other)]);
    assert!(say(&mut one, two.me, &Frame { sees, ..Frame::default() }).is_empty());
    assert!(one.status(NOW).apart.is_empty(), "it may be about to come");
    let later = NOW + Duration::from_secs(10);
    let apart: Vec<PeerId> = one.status(later).apart.iter().map(|view| view.peer).collect();
    assert_eq!(apart, [other]);
}

#[test]
fn a_newcomer_is_told_the_time_and_counts_it_as_a_guess() {
    let (mut one, mut two) = (terminal(1, "s1"), terminal(2, "s1"));
    let (hello_1, hello_2) = (connect(&mut one, two.me), connect(&mut two, one.me));
    _ = say(&mut two, one.me, &hello_1);
    let brief = frames(&say(&mut one, two.me, &hello_2));
    let told = brief.iter().find(|frame| frame.time.is_some()).expect("it is told");
    assert_eq!(two.status(NOW).time.source, TimeSource::OwnClock);
    assert!(say(&mut two, one.me, told).is_empty());
    let view = two.status(NOW).time;
    assert_eq!(view.source, TimeSource::Median { voices: 2 });
    assert!(!view.is_sure());
    _ = two.handle(NOW, Input::Disconnected { peer: one.me });
    assert_eq!(two.status(NOW).time.source, TimeSource::OwnClock);
}

#[test]
fn a_time_that_hq_has_not_signed_is_rejected_and_no_floor() {
    let (mut one, two) = met();
    let root = SecretKey::from_seed([9; 32]);
    let chain = ChainId::of_root(root.public());
    let online = OnlineKey {
        chain,
        name: name("acme"),
        generation: 1,
        key: root.public(),
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    };
    let trust = Trust { chain, generation_min: 0 };
    let impostor = HqSigner::new(root.clone(), Signed::sign(&root, &online), &trust).unwrap();
    let later = Timestamp(1 << 50);
    let signed = Some(impostor.sign(&HqTime { chain, at: later }).into_signed());
    let time = Some(Time { hq_time: later, sure: true, signed });
    let outputs = say(&mut one, two.me, &Frame { time, ..Frame::default() });
    assert!(matches!(&outputs[..], [Output::Reject { .. }]), "{outputs:?}");
    let view = one.status(NOW).time;
    assert_eq!((view.floor, view.signed_ago), (Timestamp(0), None));
    assert!(!view.is_sure());
}

#[test]
fn the_floor_outlives_a_restart_with_a_clock_at_1970() {
    let mut one = terminal(1, "s1");
    let signed = Timestamp(1_800_000_000_000);
    let mut rows = rows(1, "s1");
    for save in
        one.handle(NOW, Input::Feeds(FromFeeds::HqTime(signed))).iter().filter_map(Output::as_save)
    {
        rows.apply(save);
    }
    assert_eq!(super::floor(&rows).unwrap(), signed);
    let again = load(1, &rows);
    assert_eq!(again.status(Instant(0)).time.hq_time, signed);
}

#[test]
fn a_neighbour_that_sees_more_than_a_store_can_have_is_turned_away() {
    let (mut one, two) = met();
    let sees = Some((0..=TERMINALS_MAX).map(|_| seen(key(3).peer_id())).collect());
    let outputs = say(&mut one, two.me, &Frame { sees, ..Frame::default() });
    assert!(outputs.iter().any(|output| matches!(output, Output::Close { .. })), "{outputs:?}");
}

#[test]
fn one_of_the_store_is_let_in_beside_a_flood_of_strangers() {
    let (mut one, mut two) = met();
    _ = one.handle(NOW, Input::Disconnected { peer: two.me });
    _ = two.handle(NOW, Input::Disconnected { peer: one.me });
    let crowded = |n: u8, to: &mut Terminal| {
        let outputs = to.handle(NOW, Input::Connected { peer: key(n).peer_id(), address: at(n) });
        outputs.iter().any(|output| matches!(output, Output::Close { .. }))
    };
    let let_in = (100..=250).take_while(|n| !crowded(*n, &mut one)).count();
    assert!(let_in > 0 && crowded(99, &mut one));
    meet(&mut one, &mut two);
}
