//! Whoever writes feeds, and what they may write.

use minicbor::bytes::ByteVec;
use storemesh_keys::{Authored, PeerId};
use storemesh_protocol::{
    feeds::{
        Ack, Author, Boot, CONTROL, CertificateHash, Clones, Control, End, Entry, FeedId, Header,
        HeaderHash, LastCounted, PayloadHash, Run, STOCK, Schema, Scope, Settings, Topic,
        WantedRelease,
        stock::{At, Count, Movement, Record},
    },
    wire::{
        encode,
        feeds::{Ask, Batch, Cloned, FeedFrame, Fork, Have},
    },
};

use super::{HOSTILE, ME};
use crate::chain::{NOW, certificate, chain, name, peer, release, signer, terminal};

/// Whoever writes feeds: a terminal, or HQ as number 0.
pub(super) struct Pen {
    number: u8,
    boot: u64,
    /// By topic, the last entry.
    last: Vec<(&'static str, u64, HeaderHash)>,
}

pub(super) const HQ: u8 = 0;

impl Pen {
    pub(super) fn new(number: u8) -> Self {
        let boot = if number == HQ { 1 } else { 0xb007_0000 + u64::from(number) };
        Self { number, boot, last: Vec::new() }
    }

    pub(super) fn feed(&self, topic: &str) -> FeedId {
        let (author, scope) = match self.number {
            HQ => (Author::hq(chain()), Scope::Chain),
            number => (Author::terminal(peer(number)), Scope::Store(name("s1"))),
        };
        FeedId { author, boot: Boot(self.boot), topic: Topic { name: name(topic), scope } }
    }

    pub(super) fn header(&self, topic: &str, payload: &[u8]) -> Header {
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

    pub(super) fn sign(&self, header: Header) -> Authored<Header> {
        match self.number {
            HQ => signer().author(header),
            number => Authored::sign(&terminal(number), header),
        }
    }

    /// Its next entry.
    pub(super) fn write(&mut self, topic: &'static str, payload: &[u8]) -> Vec<u8> {
        let signed = self.sign(self.header(topic, payload));
        let hash = HeaderHash(*blake3::hash(signed.payload()).as_bytes());
        self.last.push((topic, signed.statement().seq, hash));
        encode(&Entry { header: signed.signed().clone(), payload: Some(payload.to_vec()) })
    }

    /// The same, with what vouches for it.
    pub(super) fn batch(&mut self, topic: &'static str, payload: &[u8]) -> FeedFrame {
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
        Ack {
            chain: chain(),
            generation: 1,
            feed: self.feed(topic),
            seq,
            hash,
            at: NOW,
            behind: None,
        }
    }

    /// HQ has gone on behind a gap, from its very beginning.
    fn ack_behind(&self) -> Ack {
        let ack = self.ack();
        let behind = Some(Run { from: ack.seq, upto: ack.seq, hash: ack.hash });
        Ack { seq: 0, hash: HeaderHash::NONE, behind, ..ack }
    }
}

pub(super) fn controls() -> Vec<Control> {
    let control = Control::default;
    let author = Author::terminal(peer(9));
    let topic = Pen::new(HOSTILE).feed("sales").topic;
    let last = vec![LastCounted { boot: Boot(7), topic, seq: 3 }];
    let wanted = WantedRelease { release: release("2").0, at: NOW };
    let boots = vec![Boot(7), Boot(8)];
    let end = |topic, last| End { author, topic, last, after: None, upto: None };
    let upto = Some(Pen::new(HOSTILE).feed("sales"));
    vec![
        Control { schema: Some(Schema::first()), ..control() },
        Control { settings: Some(Settings::default()), ..control() },
        Control { wanted: Some(wanted), ..control() },
        Control { end: Some(end(Some(name("sales")), last)), ..control() },
        Control { end: Some(End { upto, ..end(None, Vec::new()) }), ..control() },
        Control { clones: Some(Clones { author, boots, settled: false }), ..control() },
        control(),
    ]
}

pub(super) fn records() -> Vec<Record> {
    let movement = |item: &str, quantity| Movement { item: item.to_owned(), quantity };
    let at = At { author: Author::terminal(peer(HOSTILE)), boot: Boot(0xb007_0004), seq: 1 };
    let count = |base| Count {
        item: "milk".to_owned(),
        value: 40_000,
        base,
        seen: vec![at],
        part: base.is_none(),
    };
    vec![
        Record { movements: vec![movement("milk", -2000), movement("bread", 1)], count: None },
        Record { movements: Vec::new(), count: Some(count(None)) },
        Record { movements: Vec::new(), count: Some(count(Some(at))) },
    ]
}

/// As a hostile neighbour might say them; the first vouches for it.
pub(super) fn frames(pen: &mut Pen) -> Vec<FeedFrame> {
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
        FeedFrame {
            have: Some(vec![have(feed.clone(), 1, 2), have(feed.clone(), 7, 9)]),
            ..frame()
        },
        FeedFrame { acks: Some(vec![signer().sign(&pen.ack()).into_signed()]), ..frame() },
        FeedFrame { acks: Some(vec![signer().sign(&pen.ack_behind()).into_signed()]), ..frame() },
        FeedFrame { lacks: Some(vec![feed]), ..frame() },
        FeedFrame { stock: Some(true), ..frame() },
        FeedFrame { clones: Some(vec![Cloned { author, boots }]), ..frame() },
        frame(),
    ]);
    // From here on its author is believed no further.
    let forks = Some(vec![pen.fork()]);
    all.push(FeedFrame { forks, ..frame() });
    all
}

pub(super) fn ack_of_one() -> Ack {
    let mut pen = Pen::new(HOSTILE);
    pen.write("sales", b"{}");
    pen.ack()
}
