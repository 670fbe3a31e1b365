//! An office with its disk, and terminals that say what they like.

use std::time::Duration;

use minicbor::bytes::ByteVec;
use storemesh_keys::{
    Authored, Certificate, ChainId, Expiry, HqSigned, HqSigner, OnlineKey, Roles, SecretKey,
    Signed, Timestamp, Trust,
};

use super::super::{AppendError, Event, HqFeeds, Input, Output};
use crate::{
    Instant,
    content::{ChunkRef, ReleaseHead, ReleaseId},
    feeds::{
        Ack, After, Author, Boot, CertificateHash, Control, Entry, EntryId, FeedId, Header,
        HeaderHash, PayloadHash, Scope, Topic,
        entry::Proven,
        stock::{Movement, Record},
        storage::Memory,
    },
    fixtures::name,
    hq::LinkId,
    wire::{
        self,
        feeds::{Ask, Batch, FeedFrame, Have},
    },
};

pub(super) struct Office {
    pub(super) feeds: HqFeeds,
    pub(super) disk: Memory,
    pub(super) now: Instant,
    pub(super) wall: Timestamp,
    pub(super) generation: u64,
}

fn root() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

pub(super) fn trust() -> Trust {
    Trust { chain: ChainId::of_root(root().public()), generation_min: 0 }
}

pub(super) fn signer(generation: u64) -> HqSigner {
    let key = SecretKey::from_seed([2; 32]);
    let online = OnlineKey {
        chain: trust().chain,
        name: name("acme"),
        generation,
        key: key.public(),
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    };
    HqSigner::new(key, Signed::sign(&root(), &online), &trust()).expect("the root vouches for it")
}

impl Office {
    pub(super) fn new() -> Self {
        Self::on(Memory::default(), 1).0
    }

    /// Starts on what a disk holds.
    pub(super) fn on(mut disk: Memory, generation: u64) -> (Self, Vec<Output>) {
        let wall = Timestamp(1_000_000);
        let (feeds, outputs) = HqFeeds::load(signer(generation), trust(), &mut disk);
        let office = Self { feeds, disk, now: Instant(1), wall, generation };
        (office, outputs)
    }

    pub(super) fn restart(&mut self) -> Vec<Output> {
        let disk = std::mem::take(&mut self.disk);
        let (again, outputs) = Self::on(disk, self.generation);
        *self = again;
        outputs
    }

    /// A copy of the disk, as a backup has it.
    pub(super) fn backup(&self) -> Memory {
        Memory(self.disk.0.clone())
    }

    pub(super) fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        outputs.extend(self.feeds.handle(self.now, self.wall, &mut self.disk, vec![input]));
        for output in &outputs {
            let stray = matches!(output, Output::Event(Event::OutOfScope { .. }));
            assert!(!stray, "{output:?}");
        }
        outputs
    }

    pub(super) fn later(&mut self, by: Duration) -> Vec<Output> {
        self.now = self.now + by;
        self.wall = self.wall.plus(by);
        self.handle(Input::Tick)
    }

    pub(super) fn up(&mut self, till: &Till) -> Vec<Output> {
        let (link, peer) = (till.link, till.key.peer_id());
        let mut outputs = self.handle(Input::Up { link, peer, store: name(till.store) });
        let boot = Some(till.boot);
        outputs.extend(self.hears(till, &FeedFrame { boot, ..FeedFrame::default() }));
        outputs
    }

    pub(super) fn down(&mut self, till: &Till) {
        self.handle(Input::Down { link: till.link });
    }

    pub(super) fn hears(&mut self, till: &Till, frame: &FeedFrame) -> Vec<Output> {
        self.handle(Input::Frame { link: till.link, bytes: wire::encode(frame) })
    }

    /// `till` brings what `author` wrote.
    pub(super) fn gives(&mut self, till: &Till, author: &Till, entries: &[Vec<u8>]) -> Vec<Output> {
        self.gives_behind(till, author, entries, &[])
    }

    pub(super) fn gives_behind(
        &mut self,
        till: &Till,
        author: &Till,
        entries: &[Vec<u8>],
        bases: &[HqSigned<Ack>],
    ) -> Vec<Output> {
        let batch = Batch {
            bases: bases.to_vec(),
            certificates: vec![author.certificate.clone()],
            online: Vec::new(),
            entries: entries.iter().cloned().map(ByteVec::from).collect(),
        };
        self.hears(till, &FeedFrame { batch: Some(batch), ..FeedFrame::default() })
    }

    pub(super) fn tells(&mut self, till: &Till, topic: &str, last: u64, acked: u64) -> Vec<Output> {
        let feed = till.feed(topic);
        let have = Some(vec![Have { feed, first: 1, last, keep: false, acked }]);
        self.hears(till, &FeedFrame { have, ..FeedFrame::default() })
    }

    /// `till` asks for HQ's own feed.
    pub(super) fn ask(&mut self, till: &Till, upto: u64) -> Vec<Output> {
        let feed = self.own_feed();
        let ask = Some(vec![Ask { feed: feed.clone(), from: 1, upto }]);
        let heard = self.hears(till, &FeedFrame { ask, ..FeedFrame::default() });
        let have = Some(vec![Have { feed, first: 1, last: upto, keep: false, acked: 0 }]);
        self.hears(till, &FeedFrame { have, ..FeedFrame::default() });
        heard
    }

    pub(super) fn own_feed(&self) -> FeedId {
        let topic = Topic { name: name("control"), scope: Scope::Chain };
        FeedId { author: Author::hq(trust().chain), boot: Boot(self.generation), topic }
    }

    pub(super) fn append(&mut self, control: Control) -> Vec<Output> {
        let outputs = self.handle(Input::Append { ticket: 7, control });
        assert!(answer_in(&outputs).is_ok(), "{outputs:?}");
        outputs
    }

    pub(super) fn refused(&mut self, control: Control) -> AppendError {
        self.answer(Input::Append { ticket: 7, control }).unwrap_err()
    }

    pub(super) fn end(&mut self, till: &Till, topic: Option<&str>) -> Result<EntryId, AppendError> {
        let author = Author::terminal(till.key.peer_id());
        self.answer(Input::End { ticket: 7, author, topic: topic.map(name) })
    }

    pub(super) fn answer(&mut self, input: Input) -> Result<EntryId, AppendError> {
        answer_in(&self.handle(input))
    }
}

fn answer_in(outputs: &[Output]) -> Result<EntryId, AppendError> {
    let answers = outputs.iter().find_map(|output| {
        if let Output::Appended { answer, .. } = output { Some(answer.clone()) } else { None }
    });
    answers.expect("an order is answered")
}

#[derive(Clone)]
pub(super) struct Till {
    pub(super) key: SecretKey,
    pub(super) link: LinkId,
    pub(super) store: &'static str,
    pub(super) boot: Boot,
    pub(super) certificate: HqSigned<Certificate>,
    certificate_hash: CertificateHash,
    pub(super) schema: u32,
    /// The last of each topic.
    last: std::collections::BTreeMap<String, (u64, HeaderHash)>,
}

impl Till {
    pub(super) fn new(_: &Office, n: u8, store: &'static str) -> Self {
        let key = SecretKey::from_seed([100 + n; 32]);
        let certificate = signer(1).sign(&Certificate {
            chain: trust().chain,
            serial: u64::from(n),
            peer: key.peer_id(),
            door: None,
            name: name(&format!("till-{n}")),
            store: name(store),
            roles: Roles::TERMINAL,
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
        });
        Self {
            key,
            link: LinkId::from(n),
            store,
            boot: Boot(u64::from(n)),
            certificate_hash: CertificateHash::of(certificate.payload()),
            certificate: certificate.into_signed(),
            schema: 1,
            last: std::collections::BTreeMap::new(),
        }
    }

    pub(super) fn feed(&self, topic: &str) -> FeedId {
        let topic = Topic { name: name(topic), scope: Scope::Store(name(self.store)) };
        FeedId { author: Author::terminal(self.key.peer_id()), boot: self.boot, topic }
    }

    /// It was switched off, and on again.
    pub(super) fn started_as(&self, boot: Boot) -> Self {
        Self { boot, last: std::collections::BTreeMap::new(), ..self.clone() }
    }

    /// Its next entry.
    pub(super) fn writes(&mut self, topic: &str, payload: &[u8]) -> Vec<u8> {
        let FeedId { author, boot, topic: place } = self.feed(topic);
        let last = self.last.get(topic).copied();
        let header = Header {
            author,
            boot,
            topic: place,
            seq: last.map_or(1, |(seq, _)| seq + 1),
            previous: last.map(|(_, hash)| hash),
            certificate: self.certificate_hash,
            schema: self.schema,
            payload: PayloadHash::of(payload),
            length: u32::try_from(payload.len()).unwrap(),
            after: None::<After>,
        };
        let seq = header.seq;
        let sign = |header| Authored::sign(&self.key, header);
        let proven = Proven::sign(sign, header, payload.to_vec());
        self.last.insert(topic.to_owned(), (seq, proven.hash()));
        wire::encode(&proven.to_entry())
    }

    pub(super) fn moves(&mut self, items: &[(&str, i64)]) -> Vec<u8> {
        let movement = |(item, quantity): &(&str, i64)| Movement {
            item: (*item).to_owned(),
            quantity: *quantity,
        };
        let record = Record { movements: items.iter().map(movement).collect(), count: None };
        self.writes("stock", &wire::encode(&record))
    }
}

fn frames<'a>(outputs: &'a [Output], till: &'a Till) -> impl Iterator<Item = FeedFrame> + 'a {
    outputs.iter().filter_map(|output| {
        let Output::Send { link, frame } = output else { return None };
        (*link == till.link).then(|| FeedFrame::read(frame).unwrap())
    })
}

pub(super) fn boot(outputs: &[Output], till: &Till) -> Option<Boot> {
    frames(outputs, till).find_map(|frame| frame.boot)
}

pub(super) fn haves(outputs: &[Output], till: &Till) -> Vec<Have> {
    frames(outputs, till).flat_map(|frame| frame.have.unwrap_or_default()).collect()
}

pub(super) fn asks(outputs: &[Output], till: &Till) -> Vec<Ask> {
    frames(outputs, till).flat_map(|frame| frame.ask.unwrap_or_default()).collect()
}

pub(super) fn acks(outputs: &[Output], till: &Till) -> Vec<Ack> {
    let acks = frames(outputs, till).flat_map(|frame| frame.acks.unwrap_or_default());
    let read = |ack: HqSigned<Ack>| {
        (*ack.verify(&trust(), Timestamp(0), Expiry::Ignored).unwrap()).clone()
    };
    acks.map(read).collect()
}

/// HQ's word as it was signed.
pub(super) fn signed_acks(outputs: &[Output], till: &Till) -> Vec<HqSigned<Ack>> {
    frames(outputs, till).flat_map(|frame| frame.acks.unwrap_or_default()).collect()
}

pub(super) fn entries(outputs: &[Output], till: &Till) -> Vec<Vec<u8>> {
    let batches = frames(outputs, till).filter_map(|frame| frame.batch);
    batches.flat_map(|batch| batch.entries).map(|entry| entry.to_vec()).collect()
}

pub(super) fn events(outputs: &[Output]) -> Vec<Event> {
    let events = outputs.iter().filter_map(|output| {
        if let Output::Event(event) = output { Some(event.clone()) } else { None }
    });
    events.collect()
}

pub(super) fn rejected(outputs: &[Output]) -> Vec<String> {
    let why = outputs.iter().filter_map(|output| {
        if let Output::Reject { why, .. } = output { Some(why.clone()) } else { None }
    });
    why.collect()
}

/// What HQ says in the entries that it gives.
pub(super) fn control(outputs: &[Output], till: &Till) -> Vec<Control> {
    let read = |entry: Vec<u8>| {
        let entry: Entry = wire::decode(&entry).unwrap();
        wire::decode(&entry.payload.unwrap()).unwrap()
    };
    entries(outputs, till).into_iter().map(read).collect()
}

pub(super) fn release() -> ReleaseHead {
    let piece = ChunkRef { id: crate::content::ChunkId([3; 32]), stored: 11, plain: 10 };
    ReleaseHead {
        product: name("pos"),
        version: name("1.0"),
        id: ReleaseId([4; 32]),
        manifest: vec![piece],
        manifest_bytes: 10,
        plain_bytes: 10,
        stored_bytes: 11,
        chunks: 1,
    }
}
