//! Some terminals of a store on one table: what one says, another hears.

mod counts;
mod last_word;
mod put_back;
mod strangers;

use std::{collections::BTreeMap, time::Duration};

use minicbor::bytes::ByteVec;
use storemesh_keys::PeerId;

use super::*;
use crate::{
    feeds::{
        Ack, CONTROL, Control, End, Ended, Header, PayloadHash, Schema, Scope, Topic,
        entry::Proven,
        samples::{Pen, certificate, key, peer, trust},
        storage::Memory,
    },
    fixtures::{name, signer},
    wire::feeds::{Ask, Batch},
};

const HQ: usize = 99;

struct Till {
    feeds: TerminalFeeds,
    storage: Memory,
    answers: Vec<(u64, Result<Posted, PostError>)>,
    told: Vec<FromFeeds>,
    rejected: Vec<String>,
}

struct Table {
    now: Instant,
    tills: Vec<Till>,
    /// Entry bytes that each has received.
    received: BTreeMap<usize, usize>,
}

fn setup(n: usize, boot: u64) -> Setup {
    let certificate = certificate(n, "s1");
    Setup { key: key(n), boot: Boot(boot), certificate, trust: trust() }
}

/// HQ's control feed: each of these in turn.
fn control_batch(orders: &[Control]) -> Vec<u8> {
    let signer = signer();
    let online = storemesh_keys::Authored::verify(
        PeerId::from(*trust().chain.root()),
        signer.online().clone(),
    )
    .unwrap();
    let mut previous = None;
    let mut entries = Vec::new();
    for (seq, order) in (1..).zip(orders) {
        let payload = wire::encode(order);
        let header = Header {
            author: Author::hq(trust().chain),
            boot: Boot(1),
            topic: Topic { name: name(CONTROL), scope: Scope::Chain },
            seq,
            previous,
            certificate: CertificateHash::of(online.payload()),
            schema: 0,
            payload: PayloadHash::of(&payload),
            length: u32::try_from(payload.len()).unwrap(),
            after: None,
        };
        let entry = Proven::sign(|header| signer.author(header), header, payload);
        previous = Some(entry.hash());
        entries.push(ByteVec::from(wire::encode(&entry.to_entry())));
    }
    let online = vec![signer.online().clone()];
    let batch = Some(Batch { online, entries, ..Batch::default() });
    wire::encode(&FeedFrame { batch, ..FeedFrame::default() })
}

impl Table {
    fn new(tills: usize) -> Self {
        let mut table = Self { now: Instant(0), tills: Vec::new(), received: BTreeMap::new() };
        for n in 0..tills {
            let mut storage = Memory::default();
            let (feeds, _) = TerminalFeeds::load(setup(n, n as u64 + 1), &mut storage, table.now);
            let (answers, told, rejected) = (Vec::new(), Vec::new(), Vec::new());
            table.tills.push(Till { feeds, storage, answers, told, rejected });
        }
        for n in 0..tills {
            for other in 0..tills {
                if n != other {
                    table.input(n, Input::Up(Source::Neighbour(peer(other))));
                }
            }
        }
        table
    }

    /// A store that knows HQ's first schema and a gateway.
    fn open(tills: usize) -> Self {
        let mut table = Self::new(tills);
        let schema = Some(Schema::first());
        let bytes = control_batch(&[Control { schema, ..Control::default() }]);
        table.input(0, Input::Up(Source::Hq));
        table.input(0, Input::Frame { from: Source::Hq, bytes });
        for n in 0..tills {
            table.input(n, Input::Told(ToFeeds::Gateway(Some(peer(0)))));
        }
        table.run(Duration::from_secs(2));
        table
    }

    fn input(&mut self, n: usize, input: Input) {
        let mut queue = std::collections::VecDeque::from([(n, input)]);
        while let Some((n, input)) = queue.pop_front() {
            let till = &mut self.tills[n];
            for output in till.feeds.handle(self.now, &mut till.storage, vec![input]) {
                match output {
                    Output::Send { to: Source::Neighbour(to), frame } => {
                        let at = (0..HQ).find(|at| peer(*at) == to).unwrap();
                        let from = Source::Neighbour(peer(n));
                        let read = FeedFrame::read(&frame).unwrap();
                        let bytes = read.batch.iter().flat_map(|batch| &batch.entries);
                        let bytes: usize = bytes.map(|entry| entry.len()).sum();
                        *self.received.entry(at).or_default() += bytes;
                        queue.push_back((at, Input::Frame { from, bytes: frame }));
                    }
                    Output::Posted { ticket, answer } => till.answers.push((ticket, answer)),
                    Output::Tell(told) => till.told.push(told),
                    Output::Reject { why, .. } | Output::Close { why, .. } => {
                        till.rejected.push(why);
                    }
                    Output::Send { to: Source::Hq, .. } | Output::Event(_) => {}
                }
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            let next = self.tills.iter().map(|till| till.feeds.deadline()).min().unwrap();
            if next > until {
                self.now = until;
                return;
            }
            self.now = Instant(next.0.max(self.now.0 + 1));
            for n in 0..self.tills.len() {
                if self.tills[n].feeds.deadline() <= self.now {
                    self.input(n, Input::Tick);
                    assert!(self.tills[n].feeds.deadline() > self.now, "till {n} spins");
                }
            }
        }
    }

    fn post(&mut self, n: usize, topic: &str, key: &str, body: Body, ack: AckLevel) {
        let wait = Duration::from_secs(5);
        let key = key.as_bytes().to_vec();
        let post = Post { topic: name(topic), key, body, ack, wait };
        self.input(n, Input::Post { ticket: 7, post });
    }

    fn sale(&mut self, n: usize, key: &str, ack: AckLevel) {
        self.post(n, "sales", key, Body::Event(b"{\"total\":199}".to_vec()), ack);
    }

    fn on_hand(&self, n: usize, item: &str) -> Option<i64> {
        stock::on_hand(&self.tills[n].storage, &name("s1"), item).map(|on_hand| on_hand.quantity)
    }
}

fn entries(entries: &[Vec<u8>], bases: Vec<HqSigned<Ack>>) -> FeedFrame {
    let entries = entries.iter().cloned().map(ByteVec::from).collect();
    let certificates = vec![certificate(1, "s1")];
    let batch = Batch { bases, certificates, entries, ..Batch::default() };
    FeedFrame { batch: Some(batch), ..FeedFrame::default() }
}

fn hear(now: Instant, till: &mut Till, from: Source, frame: FeedFrame) -> Vec<Output> {
    let bytes = wire::encode(&frame);
    till.feeds.handle(now, &mut till.storage, vec![Input::Frame { from, bytes }])
}

fn asks(outputs: &[Output]) -> Vec<(Source, u64, u64)> {
    let sent = outputs.iter().filter_map(|output| {
        if let Output::Send { to, frame } = output { Some((*to, frame)) } else { None }
    });
    let asks = sent.flat_map(|(to, frame)| {
        let asks = FeedFrame::read(frame).unwrap().ask.into_iter().flatten();
        asks.map(move |Ask { from, upto, .. }| (to, from, upto))
    });
    asks.collect()
}

#[test]
fn a_sale_is_answered_from_the_disk_and_again_the_same_under_its_key() {
    let mut table = Table::open(1);
    table.sale(0, "a", AckLevel::Disk);
    table.sale(0, "a", AckLevel::Disk);
    let answers = &table.tills[0].answers;
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].1.as_ref().unwrap().id.seq, 1);
}

#[test]
fn the_gateway_asks_hq_for_its_stores_stock_once_a_stream() {
    let mut table = Table::open(2);
    let mut asks = |input| {
        let till = &mut table.tills[1];
        let outputs = till.feeds.handle(table.now, &mut till.storage, vec![input]);
        let asked = |output: &&Output| {
            let Output::Send { to: Source::Hq, frame } = output else { return false };
            FeedFrame::read(frame).unwrap().stock == Some(true)
        };
        outputs.iter().filter(asked).count()
    };
    let gateway = |n| Input::Told(ToFeeds::Gateway(Some(peer(n))));
    assert_eq!(asks(Input::Up(Source::Hq)), 0, "another is the gateway");
    assert_eq!([asks(gateway(1)), asks(gateway(1))], [1, 0]);
    assert_eq!(asks(Input::Up(Source::Hq)), 1, "a new stream");
    assert_eq!([asks(Input::Down(Source::Hq)), asks(Input::Up(Source::Hq))], [0, 1]);
    assert_eq!([asks(gateway(0)), asks(gateway(1))], [0, 1], "twice does no harm");
}

#[test]
fn another_body_under_a_key_is_a_conflict() {
    let mut table = Table::open(1);
    table.sale(0, "a", AckLevel::Disk);
    table.post(0, "sales", "a", Body::Event(b"{}".to_vec()), AckLevel::Disk);
    assert!(matches!(table.tills[0].answers[1].1, Err(PostError::Conflict(_))));
}

#[test]
fn a_terminal_that_hq_has_ended_refuses_by_topic_and_tells_the_rest_of_itself() {
    let mut table = Table::new(2);
    let end = |topic: Option<&str>| {
        let (author, topic) = (Author::terminal(peer(0)), topic.map(name));
        Some(End { author, topic, last: Vec::new(), after: None, upto: None })
    };
    let schema = Control { schema: Some(Schema::first()), ..Control::default() };
    let cash = Control { end: end(Some("cash")), ..Control::default() };
    let all = Control { end: end(None), ..Control::default() };
    let from = Source::Hq;
    table.input(0, Input::Up(from));
    let bytes = control_batch(&[schema.clone(), cash.clone()]);
    table.input(0, Input::Frame { from, bytes });
    table.post(0, "cash", "a", Body::Event(b"1".to_vec()), AckLevel::Disk);
    let on_cash = Ended { all: false, topics: [name("cash")].into() };
    let till = &table.tills[0];
    assert_eq!(till.answers, [(7, Err(PostError::Ended(name("cash"))))]);
    assert_eq!(till.feeds.status().ended, on_cash);
    table.sale(0, "b", AckLevel::Disk);
    assert!(table.tills[0].answers[1].1.is_ok(), "the others go on");
    table.input(0, Input::Frame { from, bytes: control_batch(&[schema, cash, all]) });
    table.sale(0, "c", AckLevel::Disk);
    let till = &table.tills[0];
    assert_eq!(till.answers[2].1, Err(PostError::Ended(name("sales"))));
    let told = till.told.iter().filter_map(|told| {
        let FromFeeds::Ended(ended) = told else { return None };
        Some(ended.clone())
    });
    let both = Ended { all: true, ..on_cash.clone() };
    assert_eq!(told.collect::<Vec<_>>(), [on_cash, both]);
    assert_eq!(table.tills[1].feeds.status().ended, Ended::default());
}

#[test]
fn before_the_first_schema_nothing_is_taken_and_an_unknown_topic_never() {
    let mut table = Table::new(1);
    table.sale(0, "a", AckLevel::Disk);
    assert_eq!(table.tills[0].answers[0].1, Err(PostError::NoSchema));
    let mut table = Table::open(1);
    table.post(0, "salads", "a", Body::Event(b"{}".to_vec()), AckLevel::Disk);
    assert!(matches!(table.tills[0].answers[0].1, Err(PostError::UnknownTopic(..))));
}

#[test]
fn the_schema_reaches_every_terminal_through_the_gateway() {
    let table = Table::open(5);
    for till in &table.tills {
        assert_eq!(till.feeds.status().schema, 1);
        assert_eq!(till.rejected, Vec::<String>::new());
    }
}

#[test]
fn a_sale_is_on_the_gateway_and_two_neighbours_and_its_author_hears_of_it() {
    let mut table = Table::open(6);
    table.sale(3, "a", AckLevel::Neighbour);
    table.run(Duration::from_secs(2));
    let (_, answer) = table.tills[3].answers[0].clone();
    let posted = answer.unwrap();
    assert_eq!(posted.reached, AckLevel::Neighbour);
    let holders: Vec<usize> = (0..6).filter(|n| table.tills[*n].feeds.has(&posted.id)).collect();
    assert!(holders.contains(&0) && holders.contains(&3), "{holders:?}");
    assert_eq!(holders.len(), 4, "{holders:?}");
}

#[test]
fn stock_is_the_same_on_every_terminal() {
    let mut table = Table::open(5);
    let moved = |by| Body::Moved(vec![("milk".to_owned(), by)]);
    table.post(1, "stock", "a", moved(-2_000), AckLevel::Disk);
    table.post(2, "stock", "b", moved(-3_000), AckLevel::Disk);
    table.run(Duration::from_secs(2));
    let counted = Body::Counted { item: "milk".to_owned(), value: 40_000 };
    table.post(3, "stock", "c", counted, AckLevel::Disk);
    table.post(4, "stock", "d", moved(-1_000), AckLevel::Disk);
    table.run(Duration::from_secs(2));
    for n in 0..5 {
        assert_eq!(table.on_hand(n, "milk"), Some(39_000), "till {n}");
    }
}

#[test]
fn in_a_calm_store_nobody_gets_what_it_has() {
    let mut table = Table::open(20);
    table.received.clear();
    let mut lacked = 0;
    for n in 0..20 {
        let key = format!("sale {n}");
        let moved = Body::Moved(vec![("milk".to_owned(), -1_000)]);
        table.post(n, "stock", &key, moved, AckLevel::Disk);
        table.run(Duration::from_millis(700));
        let number = table.tills[n].feeds.ledger.feeds().last().unwrap().0;
        let till = &table.tills[n];
        lacked += till.feeds.ledger.give(&till.storage, number, (1, 1), 1 << 20, 1).bytes;
    }
    let received: usize = table.received.values().sum();
    let lacked = lacked * 19;
    assert!(received >= lacked, "{received} of {lacked}");
    assert!(received * 10 <= lacked * 12, "received {received}, lacked {lacked}");
}

#[test]
fn stock_that_hq_has_acknowledged_is_fetched_all_the_same_by_who_missed_it() {
    let mut table = Table::open(2);
    let moved = || Body::Moved(vec![("milk".to_owned(), -1_000)]);
    table.input(0, Input::Room(RoomFor::Nothing));
    table.post(1, "stock", "a", moved(), AckLevel::Disk);
    table.post(1, "stock", "b", moved(), AckLevel::Disk);
    let ack = {
        let ledger = &table.tills[1].feeds.ledger;
        let (_, feed) = ledger.of(Author::terminal(peer(1))).next().unwrap();
        let (seq, hash) = (feed.last, feed.hash.unwrap());
        let (chain, feed) = (trust().chain, feed.id.clone());
        signer().sign(&Ack {
            chain,
            generation: 1,
            feed,
            seq,
            hash,
            at: Timestamp(1),
            behind: None,
        })
    };
    let acks = Some(vec![ack.into_signed()]);
    let bytes = wire::encode(&FeedFrame { acks, ..FeedFrame::default() });
    table.input(1, Input::Up(Source::Hq));
    table.input(1, Input::Frame { from: Source::Hq, bytes });
    table.input(0, Input::Room(RoomFor::All));
    table.post(1, "stock", "c", moved(), AckLevel::Disk);
    table.run(Duration::from_secs(15));
    assert_eq!(table.on_hand(0, "milk"), Some(-3_000));
}

#[test]
fn who_takes_a_journal_from_where_hq_has_it_knows_that_hq_has_it() {
    let mut table = Table::open(2);
    let mut pen = Pen::of(1, "sales");
    let (feed, hash) = (pen.feed(), pen.write(b"1").hash());
    let (chain, at) = (trust().chain, Timestamp(1));
    let ack = Ack { chain, generation: 1, feed: feed.clone(), seq: 1, hash, at, behind: None };
    let batch = Batch {
        bases: vec![signer().sign(&ack).into_signed()],
        certificates: vec![certificate(1, "s1")],
        online: Vec::new(),
        entries: vec![ByteVec::from(pen.bytes(b"2"))],
    };
    let bytes = wire::encode(&FeedFrame { batch: Some(batch), ..FeedFrame::default() });
    table.input(0, Input::Frame { from: Source::Neighbour(peer(1)), bytes });
    let ledger = &table.tills[0].feeds.ledger;
    let taken = ledger.feed(ledger.number(&feed).unwrap());
    assert_eq!((taken.first, taken.last, taken.acked_in(1)), (2, 2, 1));
}
