//! A terminal's feeds, with a hostile neighbour and a hostile HQ on the line.

use std::{fmt::Write as _, time::Duration};

use storemesh_protocol::{
    Instant,
    feeds::{
        Boot, CONTROL, Memory,
        terminal::{AckLevel, Body, Input, Output, Post, PostError, Setup, TerminalFeeds, ToFeeds},
    },
    terminal::Source,
    wire::{
        encode,
        feeds::{FeedFrame, Over},
    },
};
use storemesh_tests::fuzz::Target;

use super::{
    HONEST, HOSTILE, ME, most,
    pen::{HQ, Pen, controls},
    script::{scripts, topic},
};
use crate::{
    MEMORY,
    chain::{NOW, certificate, name, peer, terminal, trust},
    composites::{line, lines},
    wire::shape,
};

/// A terminal that knows HQ's first schema, with both neighbours and HQ on the line; it is the gateway.
struct Scene {
    feeds: TerminalFeeds,
    rows: Memory,
    now: Instant,
    hostile: Pen,
    hq: Pen,
    said: String,
    posts: u64,
}

impl Scene {
    fn open() -> Self {
        let mut rows = Memory::default();
        let certificate = certificate(ME).into_signed();
        let setup =
            Setup { key: terminal(ME), boot: Boot(0xb007_0003), certificate, trust: trust() };
        let (feeds, _) = TerminalFeeds::load(setup, &mut rows, Instant(0));
        let (hostile, hq, said) = (Pen::new(HOSTILE), Pen::new(HQ), String::new());
        let mut scene = Self { feeds, rows, now: Instant(1), hostile, hq, said, posts: 0 };
        for number in [HONEST, HOSTILE] {
            scene.take(Input::Up(Source::Neighbour(peer(number))));
        }
        scene.take(Input::Up(Source::Hq));
        scene.take(Input::Told(ToFeeds::Gateway(Some(peer(ME)))));
        scene.take(Input::Told(ToFeeds::HqTime(NOW)));
        scene.order(&encode(&controls()[0]));
        scene.post();
        scene.said.clear();
        scene
    }

    fn take(&mut self, input: Input) -> Vec<Result<(), PostError>> {
        let mut answers = Vec::new();
        for output in self.feeds.handle(self.now, &mut self.rows, vec![input]) {
            match output {
                Output::Close { side, why } => {
                    assert_ne!(side, Source::Neighbour(peer(HONEST)), "{why}");
                    self.said.push_str(&why);
                }
                Output::Reject { why, .. } => self.said.push_str(&why),
                Output::Event(event) => self.said.push_str(&shape(&event)),
                Output::Posted { answer, .. } => answers.push(answer.map(drop)),
                Output::Send { to, frame } => {
                    let frame = FeedFrame::read(&frame).expect("a frame of ours");
                    let to = if to == Source::Neighbour(peer(HOSTILE)) { "to it" } else { "on" };
                    write!(self.said, "{to} {}", shape(&frame)).unwrap();
                }
                Output::Tell(_) => {}
            }
            self.said.push(' ');
        }
        let deadline = self.feeds.deadline();
        assert!(self.now < deadline, "a tick is asked for at {deadline:?}, it is {:?}", self.now);
        answers
    }

    fn order(&mut self, payload: &[u8]) {
        let frame = self.hq.batch(CONTROL, payload);
        self.take(Input::Frame { from: Source::Hq, bytes: frame.write(Over::Wan) });
    }

    /// A program's own sale: kept, or refused by an order of HQ's.
    fn post(&mut self) {
        self.posts += 1;
        let (topic, key) = (name("sales"), self.posts.to_be_bytes().to_vec());
        let (ack, wait) = (AckLevel::Disk, Duration::ZERO);
        let post = Post { topic, key, body: Body::Event(b"{}".to_vec()), ack, wait };
        let answers = self.take(Input::Post { ticket: 1, post });
        let refused = |why: &PostError| match why {
            PostError::Ended(_)
            | PostError::Forked
            | PostError::UnknownTopic(..)
            | PostError::TooLarge { .. } => true,
            PostError::NoSchema
            | PostError::NotWritten(_)
            | PostError::Key(_)
            | PostError::Conflict(_)
            | PostError::Body(_)
            | PostError::Full => false,
        };
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        assert!(answer.as_ref().map_or_else(refused, |()| true), "{answer:?}");
    }

    fn play(&mut self, input: &[u8]) {
        let hostile = Source::Neighbour(peer(HOSTILE));
        for (letter, bytes) in lines(input) {
            match letter {
                b'h' => _ = self.take(Input::Frame { from: Source::Hq, bytes: bytes.to_vec() }),
                b'c' => self.order(bytes),
                b'e' => {
                    let Some((topic, payload)) = topic(bytes) else { continue };
                    let frame = self.hostile.batch(topic, payload).write(Over::Lan);
                    self.take(Input::Frame { from: hostile, bytes: frame });
                }
                b't' => {
                    let millis = bytes.iter().map(|byte| u64::from(*byte)).sum();
                    self.now = self.now + Duration::from_millis(millis);
                    self.take(Input::Tick);
                }
                b'r' => {
                    self.take(Input::Down(hostile));
                    self.take(Input::Up(hostile));
                }
                _ => _ = self.take(Input::Frame { from: hostile, bytes: bytes.to_vec() }),
            }
            if let b'h' = letter {
                // HQ may have been hung up on.
                self.take(Input::Up(Source::Hq));
            }
        }
        self.post();
    }
}

#[test]
fn a_terminals_feeds_among_hostile_neighbours_with_a_hostile_hq() {
    let [frames, entries, orders] = scripts(b'n');
    let [from_hq, ..] = scripts(b'h');
    let (time, again) = (line(b't', &[255; 40]), line(b'r', b""));
    let seeds = vec![
        frames.concat(),
        entries.concat(),
        orders.concat(),
        from_hq.join(&time[..]),
        [frames.join(&time[..]), again, entries.concat(), orders.join(&time[..])].concat(),
        [entries.join(&time[..]), orders.concat(), frames.concat()].concat(),
    ];
    let run = |input: &[u8]| {
        let mut scene = Scene::open();
        scene.play(input);
        scene.said
    };
    let (name, memory_max, memory) = ("terminal_feeds", most, &MEMORY);
    Target { name, seeds, memory_max, mutations: 500, memory, run }.try_out();
}
