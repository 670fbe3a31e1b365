//! Which entries are kept here: what is taken, refused, given to others, and dropped.
//!
//! The rule: an entry is taken when it is the next of its feed, its author has signed it, and HQ has vouched
//! for its author; then it is kept, header and payload, until HQ has acknowledged it and it is old. What the
//! entry's own schema does not allow is *void*: its header is kept, so that the feed goes on, and it counts
//! nowhere. Two different entries with one number are a fork: both are kept as evidence, and the author is
//! believed no further.
//!
//! How far each feed is stands in memory; entries lie in storage. What is taken is judged by the entry and by
//! what it names alone, never by the clock or by who brought it, so all machines judge alike. Who may
//! bring what is for the composites to say; asking, giving and acknowledging is `exchange`'s.

mod gaps;
mod judge;
mod rows;
mod take;
mod vouch;

#[cfg(test)]
pub(super) mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use minicbor::{Decode, Encode};
use storemesh_keys::{Certificate, OnlineKey, Timestamp, Trust, Verified};

pub use self::rows::entries;
pub(crate) use self::{
    gaps::{Gap, RUNS_MAX, runs},
    rows::TRIM_MAX,
    take::{Refused, Taken},
};
use super::{
    Ack, Author, CertificateHash, End, EntryId, FeedId, HeaderHash, Schema, Storage,
    storage::{Read, put, rows},
};
use crate::wire::feeds::Fork;

pub(crate) const FEEDS: &str = "feeds.1";
pub(crate) const ENTRIES: &str = "entries.1";
pub(crate) const ACKS: &str = "acks.1";
/// HQ's older word for what is before the last run here, where its newest does not reach so far.
pub(crate) const PROOFS: &str = "proofs.1";
pub(crate) const CERTIFICATES: &str = "certificates.1";
pub(crate) const ONLINE: &str = "online.1";
pub(crate) const FORKS: &str = "forks.1";

/// Feeds of one author that are kept in mind: a start a day on five topics for two years.
const FEEDS_PER_AUTHOR_MAX: usize = 65_536;

/// So precisely is it known how old an entry is.
const MARK_EVERY: Duration = Duration::from_hours(6);

/// A feed's number in this storage alone: short, and in no key is a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FeedNo(u32);

/// How far a feed is here.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Feed {
    #[n(0)]
    pub(crate) id: FeedId,
    /// The oldest entry that is still here; one more than `last` when none is.
    #[n(1)]
    pub(crate) first: u64,
    #[n(2)]
    pub(crate) last: u64,
    /// Of the last header; there is none before the first entry.
    #[n(3)]
    pub(crate) hash: Option<HeaderHash>,
    #[n(4)]
    pub(crate) acked: Option<Acked>,
    /// What its entries name, in the order in which they first did.
    #[n(5)]
    certificates: Vec<CertificateHash>,
    /// How old what HQ has acknowledged is: at most one mark a [`MARK_EVERY`].
    #[n(6)]
    marks: Vec<Mark>,
    /// Entries between `first` and `last` that are not here, in their order: see [`gaps`].
    #[n(7)]
    #[cbor(default)]
    gaps: Vec<Gap>,
}

/// All up to `seq` was acknowledged at that time, or before.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Mark {
    #[n(0)]
    seq: u64,
    #[n(1)]
    at: Timestamp,
}

/// What HQ has acknowledged of a feed.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Acked {
    #[n(0)]
    pub(crate) generation: u64,
    #[n(1)]
    pub(crate) seq: u64,
    #[n(2)]
    pub(crate) at: Timestamp,
    /// The first and last entry of what HQ holds behind a gap.
    #[n(3)]
    pub(crate) behind: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    /// Of all generations: what HQ signed before it was restored stays a proof.
    trust: Trust,
    feeds: BTreeMap<FeedNo, Feed>,
    numbers: BTreeMap<FeedId, FeedNo>,
    certificates: BTreeMap<CertificateHash, Certificate>,
    online: BTreeMap<CertificateHash, OnlineKey>,
    schemas: BTreeMap<u32, Schema>,
    ends: Vec<End>,
    forked: BTreeSet<Author>,
    next: FeedNo,
    /// Feeds whose row is to be written at the end of the batch.
    dirty: BTreeSet<FeedNo>,
    /// HQ's, the highest heard of.
    generation: u64,
    keeps: Keeps,
}

/// Which entries may not be left out, though HQ vouches for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// On a terminal: what it wrote itself. HQ may be restored, and lack them then.
    OwnOf(Author),
    /// At HQ.
    All,
}

impl Keeps {
    fn all_of(self, author: Author) -> bool {
        match self {
            Self::All => true,
            Self::OwnOf(own) => own == author,
        }
    }
}

impl Ledger {
    /// What storage holds; schemas and ends come with the control feed, which the composite reads.
    pub(crate) fn load(trust: Trust, keeps: Keeps, storage: &dyn Read) -> Self {
        let mut ledger = Self {
            trust: Trust { generation_min: 0, ..trust },
            feeds: BTreeMap::new(),
            numbers: BTreeMap::new(),
            certificates: BTreeMap::new(),
            online: BTreeMap::new(),
            schemas: BTreeMap::new(),
            ends: Vec::new(),
            forked: BTreeSet::new(),
            next: FeedNo(0),
            dirty: BTreeSet::new(),
            generation: 0,
            keeps,
        };
        for (key, feed) in rows::<Feed>(storage, FEEDS, b"") {
            let Some(number) = FeedNo::of_key(&key) else { continue };
            ledger.numbers.insert(feed.id.clone(), number);
            ledger.feeds.insert(number, feed);
            ledger.next = FeedNo(number.0 + 1);
        }
        for (_, signed) in rows(storage, CERTIFICATES, b"") {
            ledger.vouched(&signed);
        }
        for (_, signed) in rows(storage, ONLINE, b"") {
            ledger.vouched_online(&signed);
        }
        for (_, fork) in rows::<Fork>(storage, FORKS, b"") {
            if let Some((author, ..)) = take::proves(&fork, |header| ledger.signer(header))
                && author != Author::hq(trust.chain)
            {
                ledger.forked.insert(author);
            }
        }
        ledger
    }

    /// HQ speaks in this generation; a lower one is no news.
    pub(crate) fn raise_generation(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Writes what the batch has changed; to be called once, before it is committed.
    pub(crate) fn flush(&mut self, storage: &mut dyn Storage) {
        for number in std::mem::take(&mut self.dirty) {
            put(storage, FEEDS, &number.key(), &self.feeds[&number]);
        }
    }

    pub(crate) fn feed(&self, number: FeedNo) -> &Feed {
        &self.feeds[&number]
    }

    pub(crate) fn get(&self, number: FeedNo) -> Option<&Feed> {
        self.feeds.get(&number)
    }

    pub(crate) fn number(&self, feed: &FeedId) -> Option<FeedNo> {
        self.numbers.get(feed).copied()
    }

    pub(crate) fn feeds(&self) -> impl Iterator<Item = (FeedNo, &Feed)> {
        self.feeds.iter().map(|(number, feed)| (*number, feed))
    }

    /// The feeds of one author.
    pub(crate) fn of(&self, author: Author) -> impl Iterator<Item = (FeedNo, &Feed)> {
        let from = FeedId::lowest(author);
        let own = self.numbers.range(from..).take_while(move |(id, _)| id.author == author);
        own.map(|(_, number)| (*number, &self.feeds[number]))
    }

    pub(crate) fn add_schema(&mut self, schema: Schema) {
        self.schemas.insert(schema.version, schema);
    }

    /// The newest one.
    pub(crate) fn schema(&self) -> Option<&Schema> {
        self.schemas.values().next_back()
    }

    pub(crate) fn add_end(&mut self, end: End) {
        self.ends.push(end);
    }

    pub(crate) fn ends(&self, author: Author) -> Vec<End> {
        self.ends.iter().filter(|end| end.author == author).cloned().collect()
    }

    /// Of an author that has written two entries with one number, only what counts by HQ's word is taken.
    pub(crate) fn believes(&self, entry: &EntryId) -> bool {
        let author = entry.feed.author;
        let ended = || self.ends.iter().any(|end| end.author == author);
        !self.forked.contains(&author) || (ended() && self.counts(entry))
    }

    /// Nobody has given an entry of it.
    pub(crate) fn is_unbegun(&self, number: FeedNo) -> bool {
        self.get(number).is_some_and(|feed| feed.last == 0)
    }

    pub(crate) fn is_forked(&self, author: &Author) -> bool {
        self.forked.contains(author)
    }

    /// Whether HQ has not ended the author before this entry.
    pub(crate) fn counts(&self, entry: &EntryId) -> bool {
        let FeedId { author, boot, topic } = &entry.feed;
        let ends = self.ends.iter().filter(|end| end.author == *author);
        ends.into_iter().all(|end| end.leaves(*boot, topic, entry.seq))
    }

    /// HQ's acknowledgement, if it is news: whether it is for a feed that is here and says what is here.
    pub(crate) fn acked(
        &mut self,
        storage: &mut dyn Storage,
        ack: &Verified<Ack>,
    ) -> Option<FeedNo> {
        let number = self.number(&ack.feed)?;
        let feed = &self.feeds[&number];
        let newer = feed.acked.is_none_or(|known| known.order() < ack.order());
        let is_here = |seq, hash| self.hash_at(storage, number, seq).is_none_or(|it| it == hash);
        let behind = ack.behind.is_none_or(|run| is_here(run.upto, run.hash));
        let ours = is_here(ack.seq, ack.hash) && behind;
        if !newer || !ours {
            return None;
        }
        let feed = self.feeds.get_mut(&number).expect("looked up above");
        let at = ack.at;
        // How old it is in a generation that HQ has lost says nothing.
        if feed.acked.is_some_and(|known| known.generation < ack.generation) {
            feed.marks.clear();
        }
        // Who has the end of a feed alone could not give it to anybody without that word.
        let begin = feed.last_begin();
        let begins_late = begin > 1 && self.keeps != Keeps::All;
        let proves = |reach: u64| reach + 1 >= begin;
        if begins_late && proves(ack.reach()) {
            storage.delete(PROOFS, &number.key());
        } else if begins_late
            && feed.acked.is_some_and(|known| proves(known.reach()))
            && let Some(proof) = storage.get(ACKS, &number.key())
        {
            storage.put(PROOFS, &number.key(), &proof);
        }
        let behind = ack.behind.map(|run| (run.from, run.upto));
        feed.acked = Some(Acked { generation: ack.generation, seq: ack.seq, at, behind });
        let due = feed.marks.last().is_none_or(|mark| mark.at.plus(MARK_EVERY) <= at);
        if due && self.keeps != Keeps::All {
            let seq = feed.acked_in(ack.generation);
            feed.marks.push(Mark { seq, at });
        }
        put(storage, ACKS, &number.key(), ack.signed());
        self.dirty.insert(number);
        Some(number)
    }
}

impl Ledger {
    /// Of each feed, up to where HQ acknowledged it so long ago, in this generation.
    pub(crate) fn aged(
        &mut self,
        generation: u64,
        hq_time: Timestamp,
        retention: Duration,
    ) -> Vec<(FeedNo, u64)> {
        let mut aged = Vec::new();
        for (number, feed) in &mut self.feeds {
            let held = feed.acked_in(generation);
            let old = |mark: &Mark| mark.at.plus(retention) <= hq_time;
            // A feed that has ended has no later mark than its last acknowledgement.
            let whole = feed.acked.filter(|acked| acked.at.plus(retention) <= hq_time);
            let upto = feed.marks.iter().filter(|mark| old(mark)).map(|mark| mark.seq).max();
            let upto = whole.map(|_| held).max(upto).map_or(0, |upto| upto.min(held));
            feed.marks.retain(|mark| !old(mark) || mark.seq > upto);
            if feed.first <= upto {
                aged.push((*number, upto));
            }
        }
        aged
    }
}

impl Feed {
    /// The newest that its entries name.
    pub(crate) fn certificate(&self) -> Option<CertificateHash> {
        self.certificates.last().copied()
    }

    /// Up to where HQ holds what is here of it, in this generation of HQ.
    pub(crate) fn acked_in(&self, generation: u64) -> u64 {
        self.acked_of(generation, self.first, self.last, &self.gaps)
    }

    /// The same for who has it from `first` to `last`, but for those gaps.
    pub(crate) fn acked_of(&self, generation: u64, first: u64, last: u64, gaps: &[Gap]) -> u64 {
        let whole = self.acked_whole(generation);
        // Who has something of the gap keeps it, and what is behind it, until HQ has it all.
        let in_gap = |from: u64| runs(first, last, gaps).any(|run| run.0 < from && whole < run.1);
        let spares = |from: u64| from <= first || (from <= last && !in_gap(from));
        let acked = self.acked.filter(|acked| acked.generation == generation);
        let behind = acked.and_then(|acked| acked.behind).filter(|(from, _)| spares(*from));
        behind.map_or(whole, |(_, upto)| upto)
    }

    /// Up to where HQ holds all of it, whoever has what.
    pub(crate) fn acked_whole(&self, generation: u64) -> u64 {
        self.acked.filter(|acked| acked.generation == generation).map_or(0, |acked| acked.seq)
    }

    /// HQ has signed, in this generation, for all that is here.
    pub(crate) fn is_signed_for(&self, generation: u64) -> bool {
        let signed = self.acked.filter(|acked| acked.generation == generation);
        let signed = signed.map(|acked| (acked.seq, acked.behind));
        signed == Some((self.whole(), self.behind()))
    }
}

impl Acked {
    /// As [`Ack::order`].
    pub(crate) fn order(&self) -> (u64, u64, u64, u64) {
        let from = self.behind.map_or(0, |(from, _)| from);
        (self.generation, self.seq, self.reach(), u64::MAX - from)
    }

    pub(crate) fn reach(&self) -> u64 {
        self.behind.map_or(self.seq, |(_, upto)| upto)
    }
}

impl FeedNo {
    const KEY: usize = 4;

    pub(crate) fn of(number: u32) -> Self {
        Self(number)
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn key(self) -> [u8; Self::KEY] {
        self.0.to_be_bytes()
    }

    fn of_key(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(|key| Self(u32::from_be_bytes(key)))
    }

    /// The key of its entry `seq`: entries lie in their order.
    pub(crate) fn entry(self, seq: u64) -> Vec<u8> {
        [&self.key()[..], &seq.to_be_bytes()].concat()
    }
}
