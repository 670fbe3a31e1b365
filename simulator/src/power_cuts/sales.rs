//! A till that sells: the feeds of a terminal on a database whose disk fails, and HQ on the line.
//!
//! It is driven as the program drives it: a batch of inputs is handled in one transaction, that is
//! committed, and then the answers count and the frames leave. What was in flight when the power went is
//! posted again under its keys, as a POS does that got no answer.

use std::{collections::BTreeSet, mem, time::Duration};

use anyhow::{bail, ensure};
use storemesh_host::db::Db;
use storemesh_protocol::{
    Instant,
    feeds::{
        Boot, STOCK, entries, stock,
        terminal::{
            AckLevel, Body, Event, Input, Output, Post, PostError, Setup, TABLES, TerminalFeeds,
            ToFeeds,
        },
    },
    terminal::Source,
};

use super::{
    book::{Book, Found, Known},
    disk::Port,
    life::{Done, InFlight, Sabotage, Workload},
    office::{self, Line, Office},
};
use crate::chance::Chance;

/// Of a small one redb writes out what is not committed yet.
const CACHES: [usize; 2] = [64 << 10, 4 << 20];
/// New posts of one batch: a checkout's handful, or what waited behind a slow disk.
const POSTS: [usize; 4] = [1, 3, 12, 40];
const SALE_BYTES: std::ops::Range<usize> = 100..2001;
const ITEMS: [&str; 4] = ["milk", "bread", "apples", "4006381333931"];
/// Between two batches: long enough in a life for entries to become old enough to be dropped.
const PAUSE: Duration = Duration::from_mins(15);
const CALENDAR: Duration = Duration::from_hours(24);
const RETENTIONS: [Duration; 2] = [Duration::from_hours(24), Duration::from_hours(14 * 24)];
/// Of a thousand batches in so many HQ changes its mind.
const RETENTION_PER_MILLE: u32 = 30;
/// Of a thousand new posts so many are posted twice in one batch.
const TWICE_PER_MILLE: u32 = 50;

#[derive(Clone)]
pub(super) struct Sales {
    cache: usize,
    sabotage: Sabotage,
    office: Office,
    /// What was answered.
    book: Book,
    /// The same, when the batch that was not answered is there.
    in_flight: Option<Book>,
    /// Not answered yet.
    unanswered: Vec<Post>,
    known: Known,
    posted: u64,
}

pub(super) struct Till {
    db: Db,
    feeds: TerminalFeeds,
    line: Line,
    now: Instant,
    /// What is to be told to the feeds first.
    inputs: Vec<Input>,
    /// What HQ has said.
    heard: Vec<Vec<u8>>,
}

impl Workload for Sales {
    type Database = Db;
    type Running = Till;

    fn new(sabotage: Sabotage, chance: &mut Chance) -> Self {
        Self {
            cache: CACHES[chance.below(CACHES.len())],
            sabotage,
            office: Office::new(),
            book: Book::default(),
            in_flight: None,
            unanswered: Vec::new(),
            known: Known::default(),
            posted: 0,
        }
    }

    fn open(&self, port: Port) -> anyhow::Result<Db> {
        Db::on(port, TABLES, self.cache)
    }

    fn start(&mut self, db: Db, chance: &mut Chance) -> anyhow::Result<Till> {
        let now = Instant::default();
        let boot = Boot(chance.number());
        let (key, certificate, trust) = (office::till(), office::certificate(), office::trust());
        let me = key.peer_id();
        let setup = Setup { key, boot, certificate, trust };
        let (feeds, _) = db.batch(|storage| TerminalFeeds::load(setup, storage, now))?;
        let (line, heard) = self.office.connect(now)?;
        let gateway = Input::Told(ToFeeds::Gateway(Some(me)));
        let inputs = vec![Input::Up(Source::Hq), gateway];
        Ok(Till { db, feeds, line, now, inputs, heard })
    }

    fn check(&mut self, till: &mut Till) -> anyhow::Result<InFlight> {
        let entries = till.db.look(|rows| entries(rows))?;
        let found = Found { entries, status: till.feeds.status() };
        let own = found.prove(&mut self.known)?;
        let ids: BTreeSet<_> = own.keys().cloned().collect();
        let in_flight = match self.in_flight.take() {
            None => InFlight::None,
            Some(book) if book == self.book => InFlight::None,
            Some(book) if book.is(&found, &ids) => {
                self.book = book;
                InFlight::Whole
            }
            Some(_) => InFlight::Gone,
        };
        let Self { known, office, .. } = self;
        self.book.check(&own, &found.status, || {
            let held = office.entries().into_iter();
            held.map(|entry| Ok((known.read(&entry)?.id.clone(), entry.payload))).collect()
        })?;
        self.look_at_stock(till)?;
        self.post_again(till)?;
        Ok(in_flight)
    }

    fn batch(&mut self, till: &mut Till, chance: &mut Chance) -> anyhow::Result<Done> {
        till.now = till.now + chance.between(Duration::ZERO, PAUSE);
        self.office.wall = self.office.wall.plus(chance.between(Duration::ZERO, CALENDAR));
        if chance.hits(RETENTION_PER_MILLE) {
            let retention = RETENTIONS[chance.below(RETENTIONS.len())];
            till.heard.extend(self.office.keep_for(&mut till.line, till.now, retention)?);
        }
        let mut inputs = mem::take(&mut till.inputs);
        inputs.push(Input::Told(ToFeeds::HqTime(self.office.wall)));
        let heard = mem::take(&mut till.heard).into_iter();
        inputs.extend(heard.map(|bytes| Input::Frame { from: Source::Hq, bytes }));
        if self.book.has_schema() {
            self.draw(chance);
        }
        let posts = (0..).zip(self.unanswered.iter().cloned());
        inputs.extend(posts.map(|(ticket, post)| Input::Post { ticket, post }));
        inputs.push(Input::Tick);

        let before = (self.book.accepted(), self.book.trimmed());
        let outputs = till.db.batch(|storage| {
            let outputs = till.feeds.handle(till.now, storage, inputs);
            let answers = outputs.iter().filter_map(|output| {
                let Output::Posted { ticket, answer } = output else { return None };
                Some((*ticket, answer.clone()))
            });
            let status = till.feeds.status();
            self.in_flight = Some(self.book.with(&self.unanswered, answers.collect(), status)?);
            if self.sabotage == Sabotage::EarlyAnswers {
                self.answered();
            }
            anyhow::Ok(outputs)
        });
        let outputs = outputs??;
        self.answered();
        let frames = said_to_hq(outputs)?;
        till.heard = self.office.hear(&mut till.line, till.now, frames)?;
        let (accepted, trimmed) = (self.book.accepted(), self.book.trimmed());
        Ok(Done { acknowledged: accepted - before.0, dropped: trimmed - before.1 })
    }
}

impl Sales {
    /// The batch is on disk.
    fn answered(&mut self) {
        if let Some(book) = self.in_flight.take() {
            self.book = book;
            self.unanswered.clear();
        }
    }

    /// What customers do until the next batch.
    fn draw(&mut self, chance: &mut Chance) {
        for _ in 0..POSTS[chance.below(POSTS.len())] {
            let (topic, body) = body(chance);
            let key = self.posted.to_string().into_bytes();
            self.posted += 1;
            let topic = topic.parse().expect("it is a name");
            let post = Post { topic, key, body, ack: AckLevel::Disk, wait: Duration::ZERO };
            if chance.hits(TWICE_PER_MILLE) {
                self.unanswered.push(post.clone());
            }
            self.unanswered.push(post);
        }
    }

    fn look_at_stock(&self, till: &Till) -> anyhow::Result<()> {
        let store = office::store();
        let expected = self.book.on_hand();
        for item in ITEMS {
            let found = till.db.look(|rows| stock::on_hand(rows, &store, item))?;
            let found = found.map(|on_hand| on_hand.quantity);
            let expected = expected.get(item).copied();
            ensure!(found == expected, "{found:?} {item} on hand, posted were {expected:?}");
        }
        Ok(())
    }

    /// Every key still names its entry, with its body alone.
    fn post_again(&self, till: &mut Till) -> anyhow::Result<()> {
        let again = |post: &Post| Input::Post { ticket: 0, post: post.clone() };
        let other = |post: &Post| {
            let body = Body::Event(b"another".to_vec());
            Input::Post { ticket: 1, post: Post { body, ..post.clone() } }
        };
        let inputs = self.book.posts().flat_map(|kept| [again(&kept.post), other(&kept.post)]);
        let inputs = inputs.collect();
        let outputs = till.db.batch(|storage| till.feeds.handle(till.now, storage, inputs))?;
        let (mut same, mut conflicts) = (Vec::new(), Vec::new());
        for output in outputs {
            let Output::Posted { ticket, answer } = output else { continue };
            match (ticket, answer) {
                (0, Ok(posted)) => same.push(posted.id),
                (_, Err(PostError::Conflict(id))) => conflicts.push(id),
                (_, other) => bail!("a post under a known key comes to {other:?}"),
            }
        }
        let ids = || self.book.posts().map(|kept| kept.id.clone());
        // The answers to posts that are kept come at a batch's end, those to conflicts at once.
        ensure!(ids().eq(same) && ids().eq(conflicts), "a known key names another entry");
        Ok(())
    }
}

fn body(chance: &mut Chance) -> (&'static str, Body) {
    let item = ITEMS[chance.below(ITEMS.len())].to_owned();
    let thousandths = |chance: &mut Chance| i64::try_from(chance.below(20_000)).expect("small");
    match chance.below(20) {
        0 => (STOCK, Body::Counted { item, value: thousandths(chance) }),
        1..6 => {
            let line = |chance: &mut Chance| {
                let item = ITEMS[chance.below(ITEMS.len())].to_owned();
                (item, thousandths(chance) - 12_000)
            };
            let lines = (0..=chance.below(5)).map(|_| line(chance)).collect();
            (STOCK, Body::Moved(lines))
        }
        kind => {
            let bytes = SALE_BYTES.start + chance.below(SALE_BYTES.len());
            let sale = chance.bytes().into_iter().cycle().take(bytes).collect();
            (if kind == 6 { "returns" } else { "sales" }, Body::Event(sale))
        }
    }
}

fn said_to_hq(outputs: Vec<Output>) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    for output in outputs {
        match output {
            Output::Send { to: Source::Hq, frame } => frames.push(frame),
            Output::Close { why, .. } | Output::Reject { why, .. } => {
                bail!("the till refuses what HQ says: {why}")
            }
            Output::Event(event @ (Event::Forked(_) | Event::Cloned { .. })) => {
                bail!("the till is surprised: {event:?}")
            }
            Output::Event(_) | Output::Posted { .. } | Output::Tell(_) => {}
            Output::Send { to: Source::Neighbour(peer), .. } => bail!("{peer} is nobody's till"),
        }
    }
    Ok(frames)
}
