//! One entry more, if it is one.

use std::{cell::Cell, collections::BTreeMap};

use storemesh_keys::{Authored, PeerId, Verified};

use super::{
    ENTRIES, FEEDS_PER_AUTHOR_MAX, FORKS, Feed, FeedNo, Gap, Keeps, Ledger, judge::Verdict,
};
use crate::{
    feeds::{
        Ack, After, Author, ENTRY_MAX, Entry, EntryError, EntryId, FeedId, Header, HeaderHash, Run,
        STOCK, Storage, Topic,
        entry::Proven,
        storage::{Read, put, row, rows},
    },
    wire::{
        self, DecodeError,
        feeds::{FORKS_MAX, Fork},
    },
};

/// An entry that is kept from now on.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) feed: FeedNo,
    pub(crate) seq: u64,
    /// What HQ goes on behind, for nobody who is near has it.
    pub(crate) opens: Option<Gap>,
    /// It was the last that was missing of a gap.
    pub(crate) closes: bool,
    /// False when it is void, or HQ has ended its author before it.
    pub(crate) counts: bool,
    pub(crate) entry: Proven,
}

/// Where an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Right after the last that is here.
    Next,
    /// Behind others that are not here: HQ's word stands in for them.
    Behind,
    /// In a gap.
    Within,
}

/// Why an entry is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It is here already.
    #[error("it is here already")]
    Known,
    /// Ask for what is between.
    #[error("entry {seq}, and the last that is here is {last}")]
    Gap { seq: u64, last: u64 },
    /// Ask for the control feed first.
    #[error("written by schema {schema}, which is not here yet")]
    Later { schema: u32 },
    #[error("of a topic that is not for this terminal")]
    OutOfScope,
    #[error("its author has no right to that topic")]
    NoRight,
    #[error("nobody vouches for its author")]
    Unvouched,
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    #[error(transparent)]
    Unproven(#[from] EntryError),
    #[error("{0} bytes, at most {ENTRY_MAX}")]
    TooLarge(usize),
    /// Its author has written another one before it than is here, and its bringer may have that in good
    /// faith: ask for the one before, too, which shows the fork.
    #[error("it does not follow the entry that it names")]
    Unlinked,
    #[error("it comes without its payload")]
    NoPayload,
    /// The evidence is kept.
    #[error("another entry with its number is here: its author wrote both")]
    Forked(FeedNo),
    #[error("its author has written two entries with one number, and is believed no further")]
    AuthorForked,
    #[error("its author has more than {FEEDS_PER_AUTHOR_MAX} feeds")]
    TooManyFeeds,
}

impl Refused {
    /// Whoever sent it should not have: it is rejected by name, and not asked of that one again.
    pub(crate) fn is_the_senders_fault(&self) -> bool {
        !matches!(
            self,
            Self::Known
                | Self::Gap { .. }
                | Self::Later { .. }
                | Self::Unlinked
                | Self::Forked(_)
                | Self::AuthorForked
        )
    }
}

impl Ledger {
    /// Takes an entry that somebody brought; `is_ours` says which topics are for this machine, from that
    /// one. `bases` are HQ's words for feeds that begin after their first entry.
    pub(crate) fn take(
        &mut self,
        storage: &mut dyn Storage,
        bytes: &[u8],
        is_ours: impl FnOnce(&Header) -> bool,
        bases: &BTreeMap<FeedId, Verified<Ack>>,
    ) -> Result<Taken, Refused> {
        if bytes.len() > ENTRY_MAX {
            return Err(Refused::TooLarge(bytes.len()));
        }
        let entry: Entry = wire::decode(bytes)?;
        // Found out by what the header claims, before its signature has cost anything.
        let early = Cell::new(None);
        let stop = |why| {
            early.set(Some(why));
            None
        };
        let signer = |header: &Header| {
            if !is_ours(header) {
                return stop(Refused::OutOfScope);
            }
            if !self.believes(&EntryId { feed: header.feed(), seq: header.seq }) {
                return stop(Refused::AuthorForked);
            }
            if self.is_kept(storage, header, bytes) {
                return stop(Refused::Known);
            }
            self.signer(header).or_else(|| stop(Refused::Unvouched))
        };
        let proven = Proven::verify(entry, signer);
        if let Some(why) = early.take() {
            return Err(why);
        }
        let proven = proven?;
        self.has_feed(proven.header())?;
        let id = proven.header().feed();
        let begun = self.number(&id).is_some();
        let taken = self.link(storage, &proven, bases).and_then(|(number, place)| {
            let taken = self.keep(storage, (number, place), proven, Some(bytes))?;
            if let (Place::Behind, Some(base)) = (place, bases.get(&id)) {
                self.prove(storage, number, base.signed());
            }
            Ok(taken)
        });
        if taken.is_err() && !begun {
            self.forget(&id);
        }
        taken
    }

    fn forget(&mut self, id: &FeedId) {
        if let Some(number) = self.numbers.remove(id) {
            self.feeds.remove(&number);
            self.dirty.remove(&number);
        }
    }

    /// Takes an entry of this machine's own.
    pub(crate) fn append(
        &mut self,
        storage: &mut dyn Storage,
        proven: Proven,
    ) -> Result<Taken, Refused> {
        let place = self.link(storage, &proven, &BTreeMap::new())?;
        self.keep(storage, place, proven, None)
    }

    /// The place of the next own entry on `topic`: its number, the header before, and, in a new boot, which
    /// entry that is.
    pub(crate) fn next(
        &self,
        author: Author,
        boot: crate::feeds::Boot,
        topic: &Topic,
    ) -> (u64, Option<HeaderHash>, Option<After>) {
        let id = FeedId { author, boot, topic: topic.clone() };
        if let Some(feed) = self.number(&id).map(|number| self.feed(number)) {
            return (feed.last + 1, feed.hash, None);
        }
        // The one begun last; numbers rise.
        let former = self.of(author).filter(|(_, feed)| feed.id.topic == *topic && feed.last > 0);
        let Some((_, feed)) = former.max_by_key(|(number, _)| *number) else {
            return (1, None, None);
        };
        (1, feed.hash, Some(After { boot: feed.id.boot, seq: feed.last }))
    }

    fn is_kept(&self, storage: &dyn Storage, header: &Header, bytes: &[u8]) -> bool {
        let Some(number) = self.number(&header.feed()) else { return false };
        let feed = self.feed(number);
        header.seq < feed.first
            || (header.seq <= feed.last
                && storage.get(ENTRIES, &number.entry(header.seq)).as_deref() == Some(bytes))
    }

    /// Whether HQ's word stands in for all entries before this one that are not here.
    fn stands_in(&self, base: &Verified<Ack>, header: &Header, feed: &Feed) -> bool {
        let next = base.is_before(header.seq, header.previous);
        let behind = base.behind.filter(|run| run.is_before(header.seq, header.previous));
        // What was trimmed before HQ was restored from a backup is lost to it: it goes on behind the gap.
        let lost = base.generation < self.generation && header.seq <= base.reach() + 1;
        let stock = header.topic.name.as_str() == STOCK;
        // What stock is on hand is counted from every entry: on a terminal nothing of it may be left out.
        if stock && self.keeps != Keeps::All {
            return false;
        }
        if self.keeps.all_of(header.author) {
            return (next || behind.is_some() || lost) && feed.has_room_for_gaps();
        }
        let (empty, holds) = (feed.last < feed.first, base.generation == self.generation);
        // What is here of HQ's gap is not dropped for what is behind it.
        let in_gap = |run: Run| feed.runs().any(|it| it.0 < run.from && base.seq < it.1);
        let spares = |run: Run| empty || !in_gap(run);
        let at_hq = feed.last <= feed.acked_whole(self.generation);
        (next && (empty || holds))
            || (lost && (empty || at_hq))
            || (holds && behind.is_some_and(spares))
    }

    /// Where the entry belongs, in which feed.
    fn link(
        &mut self,
        storage: &mut dyn Storage,
        proven: &Proven,
        bases: &BTreeMap<FeedId, Verified<Ack>>,
    ) -> Result<(FeedNo, Place), Refused> {
        let (header, id) = (proven.header(), proven.header().feed());
        let number = match self.number(&id) {
            Some(number) => number,
            None => self.begin(&id),
        };
        let others = || self.of(id.author).filter(|(_, feed)| feed.last > 0);
        if self.feed(number).last == 0 && others().count() >= FEEDS_PER_AUTHOR_MAX {
            return Err(Refused::TooManyFeeds);
        }
        let feed = self.feed(number);
        if header.seq <= feed.last {
            if let Some(gap) = feed.gap_at(header.seq) {
                self.fits(storage, number, gap, (header, proven.hash()))?;
                return Ok((number, Place::Within));
            }
            return match self.hash_at(storage, number, header.seq) {
                Some(hash) if hash != proven.hash() => Err(self.fork(storage, number, proven)),
                Some(_) | None => Err(Refused::Known),
            };
        }
        if header.seq == feed.last + 1 {
            let linked = match header.seq {
                1 => self.follows(storage, header, &id),
                _ => header.previous == feed.hash,
            };
            return if linked { Ok((number, Place::Next)) } else { Err(Refused::Unlinked) };
        }
        let gap = Refused::Gap { seq: header.seq, last: feed.last };
        if !bases.get(&id).is_some_and(|base| self.stands_in(base, header, feed)) {
            return Err(gap);
        }
        Ok((number, Place::Behind))
    }

    /// The number of a feed that somebody speaks of; how many those may be is the exchange's to say.
    pub(crate) fn intern(&mut self, id: &FeedId) -> FeedNo {
        self.number(id).unwrap_or_else(|| self.begin(id))
    }

    /// Nobody has ever given an entry of the feed, and nobody speaks of it any more; whether that is so.
    pub(crate) fn forget_unbegun(&mut self, number: FeedNo) -> bool {
        let unbegun = self.feeds.get(&number).filter(|feed| feed.last == 0 && feed.acked.is_none());
        let Some(id) = unbegun.map(|feed| feed.id.clone()) else { return false };
        self.forget(&id);
        true
    }

    fn begin(&mut self, id: &FeedId) -> FeedNo {
        let number = self.next;
        self.next = FeedNo(number.0 + 1);
        let (id, certificates) = (id.clone(), Vec::new());
        self.numbers.insert(id.clone(), number);
        let marks = Vec::new();
        let (acked, gaps) = (None, Vec::new());
        let feed = Feed { id, first: 1, last: 0, hash: None, acked, certificates, marks, gaps };
        self.feeds.insert(number, feed);
        number
    }

    /// Whether the first entry of a boot follows the entry that it names, where that one is here.
    pub(super) fn follows(&self, storage: &dyn Storage, header: &Header, id: &FeedId) -> bool {
        let (Some(After { boot, seq }), Some(previous)) = (header.after, header.previous) else {
            return true;
        };
        let before = FeedId { boot, ..id.clone() };
        let known = self.number(&before).filter(|feed| seq <= self.feed(*feed).last);
        let known = known.and_then(|feed| self.hash_at(storage, feed, seq));
        known.is_none_or(|hash| hash == previous)
    }

    fn keep(
        &mut self,
        storage: &mut dyn Storage,
        (number, place): (FeedNo, Place),
        mut proven: Proven,
        bytes: Option<&[u8]>,
    ) -> Result<Taken, Refused> {
        let verdict = self.judge(proven.header(), proven.payload())?;
        let seq = proven.header().seq;
        let opens = (place == Place::Behind)
            .then(|| self.skip_to(storage, number, seq - 1, proven.header().previous))
            .flatten();
        let key = number.entry(seq);
        match (verdict, bytes) {
            (Verdict::Counts | Verdict::VoidAsItIs, Some(bytes)) => {
                storage.put(ENTRIES, &key, bytes);
            }
            (Verdict::Counts | Verdict::VoidAsItIs, None) => {
                put(storage, ENTRIES, &key, &proven.to_entry());
            }
            (Verdict::Void, _) => {
                proven.drop_payload();
                put(storage, ENTRIES, &key, &proven.to_entry());
            }
        }
        let certificate = proven.header().certificate;
        let feed = self.feeds.get_mut(&number).expect("it has just been linked");
        let closes = place == Place::Within && feed.fill(seq);
        if place != Place::Within {
            feed.last = seq;
            feed.hash = Some(proven.hash());
        }
        if !feed.certificates.contains(&certificate) {
            // What comes late names none that is newer.
            let at = if place == Place::Within { 0 } else { feed.certificates.len() };
            feed.certificates.insert(at, certificate);
        }
        self.dirty.insert(number);
        let id = EntryId { feed: proven.header().feed(), seq };
        let counts = verdict == Verdict::Counts && self.counts(&id);
        Ok(Taken { feed: number, seq, opens, closes, counts, entry: proven })
    }

    /// Another entry has this one's number.
    fn fork(&mut self, storage: &mut dyn Storage, number: FeedNo, proven: &Proven) -> Refused {
        let header = proven.header();
        let kept = storage.get(ENTRIES, &number.entry(header.seq));
        let Some(kept) = kept.and_then(|bytes| wire::decode::<Entry>(&bytes).ok()) else {
            return Refused::Known;
        };
        let fork = Fork { one: kept.header, other: proven.signed().clone() };
        self.note_fork(storage, header.author, &fork);
        Refused::Forked(number)
    }

    /// All proofs, as many as one frame shows.
    pub(crate) fn forks(storage: &dyn Read) -> Vec<Fork> {
        rows(storage, FORKS, b"").into_iter().map(|(_, fork)| fork).take(FORKS_MAX).collect()
    }

    /// The proof that ended an author.
    pub(crate) fn fork_of(storage: &dyn Storage, author: Author) -> Option<Fork> {
        row(storage, FORKS, author.as_bytes())
    }

    /// Somebody shows two entries with one number; whether that is news, and a proof.
    pub(crate) fn hear_fork(&mut self, storage: &mut dyn Storage, fork: &Fork) -> Option<Author> {
        let (author, one, other) = proves(fork, |header| self.signer(header))?;
        if one == other || self.forked.contains(&author) {
            return None;
        }
        self.note_fork(storage, author, fork);
        Some(author)
    }

    /// One proof is enough to end an author; HQ, restored and unaware of it, goes on in a new generation.
    fn note_fork(&mut self, storage: &mut dyn Storage, author: Author, fork: &Fork) {
        let ended = author != Author::hq(self.trust.chain);
        if !ended || self.forked.insert(author) {
            put(storage, FORKS, author.as_bytes(), fork);
        }
    }
}

/// Who has signed two headers with one number in one feed, and the two hashes.
pub(super) fn proves(
    fork: &Fork,
    signer: impl Fn(&Header) -> Option<PeerId>,
) -> Option<(Author, HeaderHash, HeaderHash)> {
    let verify = |signed: &storemesh_keys::Signed<Header>| {
        let header = Authored::verify_claim(signed.clone(), &signer).ok()?;
        Some((header.statement().feed(), header.statement().seq, HeaderHash::of(&header)))
    };
    let ((feed, seq, one), (feed_too, seq_too, other)) = (verify(&fork.one)?, verify(&fork.other)?);
    (feed == feed_too && seq == seq_too && one != other).then_some((feed.author, one, other))
}
