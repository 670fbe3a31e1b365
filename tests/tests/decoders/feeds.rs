//! What travels in feeds, and both composites of feeds with a hostile party on the line.
//!
//! An input of a composite is a script of lines, as in [`crate::composites`]: `n` is a frame of the hostile
//! neighbour or terminal, `h` one of HQ, `t` lets time pass, `r` has the hostile one hang up and come again.
//! Signed bytes do not survive mutation, so the pens are handed out too: `e` is a payload that the hostile
//! one rightly signs as its next entry, its first byte says on which topic; `c` is one that HQ signs as its
//! next order. The rules after every line: nothing panics, the next deadline lies ahead, the honest side
//! keeps its stream, and a program's own sale is answered.

use std::{fmt::Write as _, time::Duration};

use minicbor::bytes::ByteVec;
use storemesh_keys::{Authored, PeerId, Timestamp};
use storemesh_protocol::{
    Instant,
    feeds::{
        Ack, After, Author, Boot, CONTROL, CertificateHash, Clones, Control, End, Entry, FeedId,
        Header, HeaderHash, LastCounted, Memory, PayloadHash, STOCK, Schema, Scope, Settings,
        Topic, WantedRelease,
        hq::{self, HqFeeds},
        stock::{At, Count, Movement, Record},
        terminal::{AckLevel, Body, Input, Output, Post, PostError, Setup, TerminalFeeds, ToFeeds},
    },
    terminal::Source,
    wire::{
        decode, encode,
        feeds::{Ask, Batch, Cloned, FEED_FRAME_MAX, FeedFrame, Fork, Have, Over},
    },
};
use storemesh_tests::fuzz::Target;

use crate::{
    MEMORY,
    chain::{NOW, certificate, chain, name, peer, release, signer, terminal, trust},
    composites::{line, lines},
    wire::{again, shape, try_out},
};

const ME: u8 = 3;
const HONEST: u8 = 5;
const HOSTILE: u8 = 4;
/// A packed frame of nothing but empty entries: each takes a byte unpacked, and a list's place in memory,
/// of which a growing list has twice as many.
const TIMES: usize = 64;
/// The rows of both sides, too, are in memory here.
const MEMORY_MAX: usize = TIMES * FEED_FRAME_MAX;

fn most(_: usize) -> usize {
    MEMORY_MAX
}

/// Whoever writes feeds: a terminal, or HQ as number 0.
struct Pen {
    number: u8,
    boot: u64,
    /// By topic, the last entry.
    last: Vec<(&'static str, u64, HeaderHash)>,
}

const HQ: u8 = 0;

impl Pen {
    fn new(number: u8) -> Self {
        let boot = if number == HQ { 1 } else { 0xb007_0000 + u64::from(number) };
        Self { number, boot, last: Vec::new() }
    }

    fn feed(&self, topic: &str) -> FeedId {
        let (author, scope) = match self.number {
            HQ => (Author::hq(chain()), Scope::Chain),
            number => (Author::terminal(peer(number)), Scope::Store(name("s1"))),
        };
        FeedId { author, boot: Boot(self.boot), topic: Topic { name: name(topic), scope } }
    }

    fn header(&self, topic: &str, payload: &[u8]) -> Header {
        let FeedId { author, boot, topic: place } = self.feed(topic);
        let last = self.last.iter().rev().find(|(known, ..)| *known == topic);
        let certificate = match self.number {
            HQ => {
                let root = PeerId::from(*chain().root());
                let online = Authored::verify(root, signer().online().clone()).unwrap();
                CertificateHash::of(online.payload())
            }
            number => CertificateHash::of(certificate(number).payload()),
        };
        Header {
            author,
            boot,
            topic: place,
            seq: last.map_or(1, |(_, seq, _)| seq + 1),
            previous: last.map(|(.., hash)| *hash),
            certificate,
            schema: u32::from(self.number != HQ),
            payload: PayloadHash::of(payload),
            length: u32::try_from(payload.len()).unwrap(),
            after: None,
        }
    }

    fn sign(&self, header: Header) -> Authored<Header> {
        match self.number {
            HQ => signer().author(header),
            number => Authored::sign(&terminal(number), header),
        }
    }

    /// Its next entry.
    fn write(&mut self, topic: &'static str, payload: &[u8]) -> Vec<u8> {
        let signed = self.sign(self.header(topic, payload));
        let hash = HeaderHash(*blake3::hash(signed.payload()).as_bytes());
        self.last.push((topic, signed.statement().seq, hash));
        encode(&Entry { header: signed.signed().clone(), payload: Some(payload.to_vec()) })
    }

    /// The same, with what vouches for it.
    fn batch(&mut self, topic: &'static str, payload: &[u8]) -> FeedFrame {
        let entries = vec![ByteVec::from(self.write(topic, payload))];
        let mut batch = Batch { entries, ..Batch::default() };
        match self.number {
            HQ => batch.online.push(signer().online().clone()),
            number => batch.certificates.push(certificate(number).into_signed()),
        }
        FeedFrame { batch: Some(batch), ..FeedFrame::default() }
    }

    /// Two of its headers with one number.
    fn fork(&self) -> Fork {
        let header = |payload: &[u8]| self.sign(self.header("cash", payload)).signed().clone();
        Fork { one: header(b"one"), other: header(b"other") }
    }

    fn ack(&self) -> Ack {
        let (topic, seq, hash) = *self.last.last().unwrap();
        Ack { chain: chain(), generation: 1, feed: self.feed(topic), seq, hash, at: NOW }
    }
}

fn controls() -> Vec<Control> {
    let control = Control::default;
    let author = Author::terminal(peer(9));
    let topic = Pen::new(HOSTILE).feed("sales").topic;
    let last = vec![LastCounted { boot: Boot(7), topic, seq: 3 }];
    let wanted = WantedRelease { release: release("2").0, at: NOW };
    let boots = vec![Boot(7), Boot(8)];
    vec![
        Control { schema: Some(Schema::first()), ..control() },
        Control { settings: Some(Settings::default()), ..control() },
        Control { wanted: Some(wanted), ..control() },
        Control { end: Some(End { author, topic: Some(name("sales")), last }), ..control() },
        Control { end: Some(End { author, topic: None, last: Vec::new() }), ..control() },
        Control { clones: Some(Clones { author, boots, settled: false }), ..control() },
        control(),
    ]
}

fn records() -> Vec<Record> {
    let movement = |item: &str, quantity| Movement { item: item.to_owned(), quantity };
    let at = At { author: Author::terminal(peer(HOSTILE)), boot: Boot(0xb007_0004), seq: 1 };
    let count = |base| Count { item: "milk".to_owned(), value: 40_000, base, seen: vec![at] };
    vec![
        Record { movements: vec![movement("milk", -2000), movement("bread", 1)], count: None },
        Record { movements: Vec::new(), count: Some(count(None)) },
        Record { movements: Vec::new(), count: Some(count(Some(at))) },
    ]
}

/// As a hostile neighbour might say them; the first vouches for it.
fn frames(pen: &mut Pen) -> Vec<FeedFrame> {
    let frame = FeedFrame::default;
    let stock = encode(&records()[0]);
    let mut all = vec![pen.batch("sales", b"{}"), pen.batch(STOCK, &stock)];
    let have = |feed: FeedId, first, last| Have { feed, first, last, keep: true, acked: 1 };
    let feed = pen.feed("sales");
    let own = Pen::new(ME).feed("sales");
    let boots = [Boot(7), Boot(8)];
    let author = Author::terminal(peer(9));
    all.extend([
        FeedFrame { boot: Some(Boot(pen.boot)), ..frame() },
        FeedFrame { have: Some(vec![have(feed.clone(), 1, 9)]), ..frame() },
        FeedFrame { have: Some(vec![have(own.clone(), 4, 9)]), ..frame() },
        FeedFrame { have: Some(vec![have(Pen::new(HQ).feed(CONTROL), 1, 9)]), ..frame() },
        FeedFrame { ask: Some(vec![Ask { feed: own, from: 1, upto: 9 }]), ..frame() },
        FeedFrame {
            ask: Some(vec![Ask { feed: feed.clone(), from: 0, upto: u64::MAX }]),
            ..frame()
        },
        FeedFrame { acks: Some(vec![signer().sign(&pen.ack()).into_signed()]), ..frame() },
        FeedFrame { lacks: Some(vec![feed]), ..frame() },
        FeedFrame { clones: Some(vec![Cloned { author, boots }]), ..frame() },
        frame(),
    ]);
    // From here on its author is believed no further.
    let forks = Some(vec![pen.fork()]);
    all.push(FeedFrame { forks, ..frame() });
    all
}

fn written(frames: Vec<FeedFrame>) -> Vec<Vec<u8>> {
    let over = |line| frames.iter().map(move |frame| frame.clone().write(line));
    let mut all: Vec<_> = over(Over::Lan).chain(over(Over::Wan)).collect();
    all.dedup();
    all
}

#[test]
fn a_frame_of_feeds() {
    let mut frames = frames(&mut Pen::new(HOSTILE));
    let mut long = frames[0].clone();
    let batch = long.batch.as_mut().unwrap();
    batch.entries.push(vec![7; 2000].into());
    batch.bases.push(signer().sign(&ack_of_one()).into_signed());
    frames.push(long);
    try_out("feed_frame", written(frames), most, |input| match FeedFrame::read(input) {
        Err(why) => why,
        Ok(frame) => {
            for line in [Over::Lan, Over::Wan] {
                let again = FeedFrame::read(&frame.clone().write(line));
                // Packing may take a frame over its limit that was read just below it.
                assert!(again.as_ref() == Ok(&frame) || input.len() * 2 > FEED_FRAME_MAX);
            }
            shape(&frame)
        }
    });
}

fn ack_of_one() -> Ack {
    let mut pen = Pen::new(HOSTILE);
    pen.write("sales", b"{}");
    pen.ack()
}

#[test]
fn an_entry_as_it_travels() {
    let mut pen = Pen::new(HOSTILE);
    let header = Header {
        after: Some(After { boot: Boot(7), seq: 3 }),
        previous: Some(HeaderHash([7; 32])),
        ..pen.header("sales", b"{}")
    };
    let header = pen.sign(header).signed().clone();
    let seeds = vec![pen.write("sales", b"{}"), encode(&Entry { header, payload: None })];
    try_out("entry", seeds, |bytes| 8 * bytes, again::<Entry>);
}

#[test]
fn a_header_rightly_signed() {
    let pen = Pen::new(HOSTILE);
    let seeds = vec![encode(&pen.header("sales", b"{}"))];
    try_out("header", seeds, |bytes| 8 * bytes, again::<Header>);
}

#[test]
fn an_order_of_hq() {
    let seeds = controls().iter().map(encode).collect();
    try_out(
        "control",
        seeds,
        |bytes| 64 * bytes,
        |input| {
            let said = again::<Control>(input);
            let schema = decode::<Control>(input).ok().and_then(|control| control.schema);
            let checked = schema.map(|schema| schema.check());
            format!("{said} {}", checked.map_or_else(String::new, |checked| format!("{checked:?}")))
        },
    );
}

#[test]
fn a_record_of_stock() {
    let seeds = records().iter().map(encode).collect();
    try_out(
        "stock_record",
        seeds,
        |bytes| 64 * bytes,
        |input| match Record::decode(input) {
            Err(why) => why.to_string(),
            Ok(record) => {
                assert_eq!(Record::decode(&encode(&record)).as_ref(), Ok(&record));
                shape(&record)
            }
        },
    );
}

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
            PostError::Ended | PostError::UnknownTopic(..) | PostError::TooLarge { .. } => true,
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

/// What an `e` line says: the topic by its first byte, and the payload.
fn topic(bytes: &[u8]) -> Option<(&'static str, &[u8])> {
    let (topic, payload) = bytes.split_first()?;
    Some((["sales", STOCK, "cash", CONTROL, "salads"][usize::from(*topic) % 5], payload))
}

fn scripts(letter: u8) -> [Vec<Vec<u8>>; 3] {
    let frames = frames(&mut Pen::new(HOSTILE));
    let frames = frames.iter().map(|frame| line(letter, &encode(frame))).collect();
    let entry = |record: &Record| line(b'e', &[&[1], &encode(record)[..]].concat());
    let mut entries: Vec<_> = records().iter().map(entry).collect();
    entries.push(line(b'e', &[0, 1, 2, 3]));
    let orders = controls().iter().map(|control| line(b'c', &encode(control))).collect();
    [frames, entries, orders]
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

/// HQ's feeds, and what was heard of them.
struct Office {
    feeds: HqFeeds,
    rows: Memory,
    now: Instant,
    wall: Timestamp,
    said: String,
    /// Frames that the honest terminal was sent.
    to_honest: Vec<FeedFrame>,
}

const HONEST_LINK: u64 = 1;
const HOSTILE_LINK: u64 = 2;

impl Office {
    fn take(&mut self, input: hq::Input) {
        for output in self.feeds.handle(self.now, self.wall, &mut self.rows, vec![input]) {
            match output {
                hq::Output::Close { link, why } => {
                    assert_ne!(link, HONEST_LINK, "{why}");
                    self.said.push_str(&why);
                }
                hq::Output::Reject { why, .. } => self.said.push_str(&why),
                hq::Output::Event(event) => {
                    assert!(!matches!(event, hq::Event::OutOfScope { .. }), "{event:?}");
                    self.said.push_str(&shape(&event));
                }
                hq::Output::Send { link, frame } => {
                    let frame = FeedFrame::read(&frame).expect("a frame of ours");
                    self.said.push_str(&shape(&frame));
                    if link == HONEST_LINK {
                        self.to_honest.push(frame);
                    }
                }
                hq::Output::Appended { .. } | hq::Output::Wanted(_) => {}
            }
            self.said.push(' ');
        }
        let deadline = self.feeds.deadline();
        assert!(self.now < deadline, "a tick is asked for at {deadline:?}, it is {:?}", self.now);
    }

    fn up(&mut self, link: u64, number: u8) {
        self.take(hq::Input::Up { link, peer: peer(number), store: name("s1") });
    }

    fn later(&mut self, by: Duration) {
        self.now = self.now + by;
        self.wall = self.wall.plus(by);
        self.take(hq::Input::Tick);
    }
}

#[test]
fn hqs_feeds_with_a_hostile_terminal() {
    let [frames, entries, _] = scripts(b'n');
    let (time, again) = (line(b't', &[255; 40]), line(b'r', b""));
    let seeds = vec![
        frames.concat(),
        entries.concat(),
        [frames.join(&time[..]), again, entries.join(&time[..])].concat(),
        [entries.join(&time[..]), frames.concat()].concat(),
    ];
    let run = |input: &[u8]| {
        let mut rows = Memory::default();
        let (feeds, _) = HqFeeds::load(signer(), trust(), &mut rows);
        let (now, wall, said, to_honest) = (Instant(1), NOW, String::new(), Vec::new());
        let mut office = Office { feeds, rows, now, wall, said, to_honest };
        let (mut honest, mut hostile) = (Pen::new(HONEST), Pen::new(HOSTILE));
        office.up(HONEST_LINK, HONEST);
        office.up(HOSTILE_LINK, HOSTILE);
        for (letter, bytes) in lines(input) {
            let frame = match letter {
                b't' => {
                    let millis = bytes.iter().map(|byte| u64::from(*byte)).sum();
                    office.later(Duration::from_millis(millis));
                    continue;
                }
                b'r' => {
                    office.take(hq::Input::Down { link: HOSTILE_LINK });
                    office.up(HOSTILE_LINK, HOSTILE);
                    continue;
                }
                b'e' => {
                    let Some((topic, payload)) = topic(bytes) else { continue };
                    hostile.batch(topic, payload).write(Over::Wan)
                }
                _ => bytes.to_vec(),
            };
            office.take(hq::Input::Frame { link: HOSTILE_LINK, bytes: frame });
        }
        // Whatever was said before, the honest terminal's sale is kept and acknowledged.
        office.to_honest.clear();
        let bytes = honest.batch("sales", b"{}").write(Over::Wan);
        office.take(hq::Input::Frame { link: HONEST_LINK, bytes });
        office.later(Duration::from_secs(1));
        let acks = office.to_honest.iter().flat_map(|frame| frame.acks.iter().flatten());
        let trust = trust();
        let read = acks.map(|ack| ack.verify(&trust, NOW, storemesh_keys::Expiry::Ignored));
        let feed = honest.feed("sales");
        assert!(read.flatten().any(|ack| ack.feed == feed && ack.seq == 1), "no acknowledgement");
        office.said
    };
    let (name, memory_max, memory) = ("hq_feeds", most, &MEMORY);
    Target { name, seeds, memory_max, mutations: 500, memory, run }.try_out();
}
