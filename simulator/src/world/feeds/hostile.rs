//! A box with a good certificate whose feeds are not ours: it sends what no honest one would.
//!
//! It forges entries of others and writes impossible ones of its own, claims gaps, replays, tells of feeds
//! that do not exist, asks for what nobody has, and, where the story says so, writes two entries with one
//! number. What it may cost is its own voice.

use std::{collections::BTreeSet, time::Duration};

use minicbor::bytes::ByteVec;
use storemesh_keys::{Authored, HqSigned, Name};
use storemesh_protocol::{
    Instant,
    feeds::{
        After, Author, Boot, CONTROL, CertificateHash, Entry, FeedId, Header, HeaderHash,
        PayloadHash, SEQ_MAX, Scope, Topic,
        terminal::{Input, Output, Setup},
    },
    terminal::Source,
    wire::{
        self,
        feeds::{Ask, Batch, Cloned, FEEDS_MAX, FeedFrame, Have},
    },
};

use super::{shelf::Found, tills::Tills};
use crate::world::release::name;

/// How often it tries something.
const PACE: Duration = Duration::from_millis(150);
/// What it remembers of what others say.
const SEEN_MAX: usize = 256;
/// Of all that it does so much is nonsense that cuts the stream.
const NONSENSE: u32 = 5;

#[derive(Debug)]
pub(super) struct Hostile {
    setup: Setup,
    store: Name,
    certificate: CertificateHash,
    next: Instant,
    sides: BTreeSet<Source>,
    seen: Vec<Found>,
    /// Acknowledgements that it has heard.
    acks: Vec<HqSigned<storemesh_protocol::feeds::Ack>>,
    /// The end of the one feed that it writes as it should.
    last: Option<(u64, HeaderHash)>,
    forks: bool,
}

impl Hostile {
    pub(super) fn new(
        setup: Setup,
        store: Name,
        certificate: CertificateHash,
        forks: bool,
    ) -> Self {
        Self {
            setup,
            store,
            certificate,
            next: Instant(0) + PACE,
            sides: BTreeSet::new(),
            seen: Vec::new(),
            acks: Vec::new(),
            last: None,
            forks,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    pub(super) fn handle(
        &mut self,
        now: Instant,
        inputs: Vec<Input>,
        chance: &mut Tills,
    ) -> Vec<Output> {
        for input in inputs {
            match input {
                Input::Up(side) => _ = self.sides.insert(side),
                Input::Down(side) => _ = self.sides.remove(&side),
                Input::Frame { bytes, .. } => self.listen(&bytes),
                Input::Post { .. } | Input::Told(_) | Input::Room(_) | Input::Tick => {}
            }
        }
        if now < self.next {
            return Vec::new();
        }
        self.next = now + PACE;
        let mut outputs = Vec::new();
        for to in self.sides.clone() {
            if chance.hits(NONSENSE) {
                outputs.push(Output::Send { to, frame: vec![0xff; 20] });
            } else if let Some(frame) = self.mischief(chance) {
                outputs.push(Output::Send { to, frame: wire::encode(&frame) });
            }
        }
        outputs
    }

    fn listen(&mut self, bytes: &[u8]) {
        let Ok(frame) = FeedFrame::read(bytes) else { return };
        for entry in frame.batch.iter().flat_map(|batch| &batch.entries) {
            if self.seen.len() < SEEN_MAX {
                self.seen.extend(Found::read(entry));
            }
        }
        self.acks.extend(frame.acks.into_iter().flatten());
        self.acks.truncate(SEEN_MAX);
    }

    #[expect(clippy::too_many_lines, reason = "a list of sixteen mischiefs")]
    fn mischief(&mut self, chance: &mut Tills) -> Option<FeedFrame> {
        let seen = self.seen.len();
        let other = (seen > 0).then(|| self.seen[chance.below(seen)].clone());
        let number = chance.number();
        match chance.below(16) {
            // An entry of another: with another payload, another header under its signature, as it is.
            0 => {
                let mut entry: Entry = wire::decode(&other?.bytes).ok()?;
                entry.payload.as_mut()?.push(b'!');
                Some(given(vec![wire::encode(&entry)]))
            }
            1 => {
                let mut bytes = other?.bytes;
                let at = chance.below(bytes.len());
                bytes[at] ^= 1 << chance.below(8);
                Some(given(vec![bytes]))
            }
            2 => Some(given(vec![other?.bytes])),
            // In another's name, signed by itself.
            3 => {
                let mut header = other?.header;
                header.seq += 1;
                if chance.hits(500) {
                    header.certificate = self.certificate;
                }
                Some(given(vec![self.write(header, b"forged")]))
            }
            // Its own: a gap, a wrong predecessor, a certificate that is another's, no such schema.
            4 => {
                let header = self.header(10 + number % 1000, Some(HeaderHash([1; 32])));
                Some(given(vec![self.write(header, b"late")]))
            }
            5 => {
                let (seq, _) = self.last?;
                let header = self.header(seq + 1, Some(HeaderHash([2; 32])));
                Some(given(vec![self.write(header, b"unlinked")]))
            }
            6 => {
                let mut header = self.header(1, None);
                header.boot = Boot(number);
                header.certificate = other?.header.certificate;
                Some(given(vec![self.write(header, b"of another")]))
            }
            7 => {
                let mut header = self.header(1, None);
                header.boot = Boot(number);
                header.schema = [0, 2, 99, u32::MAX][chance.below(4)];
                Some(given(vec![self.write(header, b"of no schema")]))
            }
            // Where it has no right: the chain, another store, HQ's own topic, another terminal.
            8 => {
                let mut header = self.header(1, None);
                header.boot = Boot(number);
                header.topic.scope = match chance.below(4) {
                    0 => Scope::Chain,
                    1 => Scope::Region(name("north")),
                    2 => Scope::Store(name("shop-77")),
                    _ => Scope::Terminal(other?.header.author.peer()),
                };
                if chance.hits(300) {
                    header.topic.name = name(CONTROL);
                }
                Some(given(vec![self.write(header, b"no right")]))
            }
            // One that follows what it names, and one that follows what never was.
            9 => {
                let (seq, previous) = self.last.unzip();
                let header = self.header(seq.unwrap_or(0) + 1, previous);
                let seq = header.seq;
                let bytes = self.write(header, b"{\"fair\":true}");
                self.last = Some((seq, hash_of(&bytes)?));
                Some(given(vec![bytes]))
            }
            10 => {
                let mut header = self.header(1, Some(HeaderHash([3; 32])));
                header.boot = Boot(number);
                header.after = Some(After { boot: Boot(number / 2), seq: u64::MAX });
                Some(given(vec![self.write(header, b"after nothing")]))
            }
            // Feeds that do not exist, by the hundred, and more of HQ's own word than it has said; feeds that
            // do exist, further than anybody wrote.
            11 => {
                let strange = (1..FEEDS_MAX as u64).map(|n| self.feed(Boot(number ^ n)));
                let (author, boot) = (Author::hq(self.setup.trust.chain), Boot(1 + number % 3));
                let topic = Topic { name: name(CONTROL), scope: Scope::Chain };
                let own = FeedId { author, boot, topic };
                let last = 1 + number % 10_000;
                let feeds = strange.chain([own]);
                let feeds = feeds.map(|feed| Have { feed, first: 1, last, keep: true, acked: 0 });
                Some(FeedFrame { have: Some(feeds.collect()), ..FeedFrame::default() })
            }
            12 => {
                let feed = other?.header.feed();
                let last = [SEQ_MAX, 1 << 20][chance.below(2)];
                let have = Have { feed, first: last / 2, last, keep: true, acked: number % last };
                Some(FeedFrame { have: Some(vec![have]), ..FeedFrame::default() })
            }
            13 => {
                let feed = other?.header.feed();
                let (from, upto) = [(0, u64::MAX), (u64::MAX, 0), (1, u64::MAX)][chance.below(3)];
                let ask = vec![Ask { feed: feed.clone(), from, upto }; 8];
                Some(FeedFrame { ask: Some(ask), lacks: Some(vec![feed]), ..FeedFrame::default() })
            }
            14 => {
                let acks = self.acks.len();
                let old = (acks > 0).then(|| self.acks[chance.below(acks)].clone())?;
                let batch = Batch {
                    bases: vec![old.clone()],
                    entries: vec![ByteVec::from(other?.bytes)],
                    ..Batch::default()
                };
                let acks = Some(vec![old]);
                Some(FeedFrame { acks, batch: Some(batch), ..FeedFrame::default() })
            }
            _ if self.forks => {
                let (seq, _) = self.last.filter(|(seq, _)| *seq == 1)?;
                let header = self.header(seq, None);
                Some(given(vec![self.write(header, b"{\"fair\":false}")]))
            }
            // That two disks of another are in use.
            _ => {
                let (author, boots) = (other?.header.author, [Boot(number), Boot(!number)]);
                let clones = Some(vec![Cloned { author, boots }]);
                Some(FeedFrame { clones, ..FeedFrame::default() })
            }
        }
    }

    fn feed(&self, boot: Boot) -> FeedId {
        let topic = Topic { name: name("sales"), scope: Scope::Store(self.store.clone()) };
        FeedId { author: Author::terminal(self.setup.key.peer_id()), boot, topic }
    }

    fn header(&self, seq: u64, previous: Option<HeaderHash>) -> Header {
        let FeedId { author, boot, topic } = self.feed(self.setup.boot);
        Header {
            author,
            boot,
            topic,
            seq,
            previous,
            certificate: self.certificate,
            schema: 1,
            payload: PayloadHash([0; 32]),
            length: 0,
            after: None,
        }
    }

    fn write(&self, mut header: Header, payload: &[u8]) -> Vec<u8> {
        header.payload = PayloadHash::of(payload);
        header.length = u32::try_from(payload.len()).expect("it is short");
        let header = Authored::sign(&self.setup.key, header).signed().clone();
        wire::encode(&Entry { header, payload: Some(payload.to_vec()) })
    }
}

fn hash_of(bytes: &[u8]) -> Option<HeaderHash> {
    let entry: Entry = wire::decode(bytes).ok()?;
    let author = Found::read(bytes)?.header.author.peer();
    let header = Authored::verify(author, entry.header).ok()?;
    Some(HeaderHash(*blake3::hash(header.payload()).as_bytes()))
}

fn given(entries: Vec<Vec<u8>>) -> FeedFrame {
    let entries = entries.into_iter().map(ByteVec::from).collect();
    FeedFrame { batch: Some(Batch { entries, ..Batch::default() }), ..FeedFrame::default() }
}
