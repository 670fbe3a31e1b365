//! Holes in a feed: at HQ what it lost when it was restored and nobody who was near could bring; on a
//! terminal what it wrote itself and forgot when its disk was put back, and on a gateway what it had left
//! out, or let go of, as HQ had it, and HQ has lost.
//!
//! The rule: one goes on behind a gap, so that what is new is not held up by what is away, and nothing is let
//! go for it; and the gap stays open for whoever comes with some of it, however late. What comes must fit to
//! the entries on either side that are here. A gap is opened by HQ's own word alone, that it once had those
//! entries: nobody else can claim one. It only ever grows smaller; a part from its middle leaves two.

use minicbor::{Decode, Encode};

use super::{Feed, FeedNo, Keeps, Ledger, Refused};
use crate::feeds::{Header, HeaderHash, Storage};

/// Of one feed. Each restored backup opens one, and each holder of a middle part another; an author that
/// wrote to make more of them waits until some are filled.
const GAPS_MAX: usize = 64;
/// What is here of one feed lies in no more pieces.
pub(crate) const RUNS_MAX: usize = GAPS_MAX + 1;

/// From the first entry that is missing to the last.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Gap {
    #[n(0)]
    pub(crate) from: u64,
    #[n(1)]
    pub(crate) upto: u64,
}

impl Gap {
    fn has(self, seq: u64) -> bool {
        (self.from..=self.upto).contains(&seq)
    }
}

/// What lies between `first` and `last` beside the gaps: the first and last entry of each run.
pub(crate) fn runs(first: u64, last: u64, gaps: &[Gap]) -> impl Iterator<Item = (u64, u64)> {
    let begins = [first].into_iter().chain(gaps.iter().map(|gap| gap.upto + 1));
    let ends = gaps.iter().map(|gap| gap.from - 1).chain([last]);
    begins.zip(ends).filter(|(first, last)| first <= last)
}

impl Feed {
    /// The last entry up to which none is missing.
    pub(crate) fn whole(&self) -> u64 {
        self.gaps.first().map_or(self.last, |gap| gap.from - 1)
    }

    /// What is here behind the last gap, where there is one.
    pub(crate) fn behind(&self) -> Option<(u64, u64)> {
        self.gaps.last().map(|gap| (gap.upto + 1, self.last))
    }

    /// Entries that are missing.
    pub(crate) fn missing(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.upto - gap.from + 1).sum()
    }

    /// What is here without a gap, run after run: the first and last entry of each.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        runs(self.first, self.last, &self.gaps)
    }

    pub(crate) fn gap_at(&self, seq: u64) -> Option<Gap> {
        self.gaps.iter().copied().find(|gap| gap.has(seq))
    }

    /// The ranges that are not here, of what somebody has from `first` (0 where that is not known) to `last`.
    pub(crate) fn lacks(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
        let known = self.gaps.iter().filter(move |_| first > 0);
        let within = known.map(move |gap| (gap.from.max(first), gap.upto.min(last)));
        let gaps = within.filter(|(from, upto)| from <= upto);
        gaps.chain((self.last < last).then_some((self.last + 1, last)))
    }

    /// How far a run goes that begins with `from`.
    pub(super) fn run_end(&self, from: u64) -> u64 {
        let next = self.gaps.iter().find(|gap| from <= gap.upto);
        next.map_or(self.last, |gap| gap.from - 1)
    }

    /// The first entry of the last run.
    pub(super) fn last_begin(&self) -> u64 {
        self.behind().map_or(self.first, |(from, _)| from)
    }

    /// What is before `first` is no longer here: no run begins in a gap.
    pub(super) fn begin_at(&mut self, first: u64) {
        self.first = first;
        while let Some(gap) = self.gaps.first().filter(|gap| gap.from <= self.first) {
            self.first = self.first.max(gap.upto + 1);
            self.gaps.remove(0);
        }
    }

    pub(super) fn has_room_for_gaps(&self) -> bool {
        self.gaps.len() < GAPS_MAX
    }

    /// Entry `seq` was missing, and is here now; whether that closes its gap.
    pub(super) fn fill(&mut self, seq: u64) -> bool {
        let Some(at) = self.gaps.iter().position(|gap| gap.has(seq)) else { return false };
        let Gap { from, upto } = self.gaps.remove(at);
        let (before, after) = (Gap { from, upto: seq - 1 }, Gap { from: seq + 1, upto });
        let left = [before, after].into_iter().filter(|gap| gap.from <= gap.upto);
        self.gaps.splice(at..at, left);
        from == upto
    }
}

impl Ledger {
    /// Who asks for `from` is given what begins there, or later: HQ's word stands in for what a terminal
    /// lacks. HQ itself lacks nothing before its first entry, and its gaps may still be filled.
    pub(crate) fn begin_of(&self, number: FeedNo, from: u64) -> u64 {
        let feed = self.feed(number);
        let from = from.max(feed.first);
        let gap = feed.gap_at(from).filter(|_| self.keeps != Keeps::All);
        gap.map_or(from, |gap| gap.upto + 1)
    }

    /// What was let go of, or never taken, is missing again: a gap before the first entry that is here.
    pub(crate) fn reopen(&mut self, number: FeedNo) {
        let feed = self.feeds.get_mut(&number).expect("it is looked up by who calls");
        if feed.first > 1 && feed.has_room_for_gaps() {
            feed.gaps.insert(0, Gap { from: 1, upto: feed.first - 1 });
            feed.first = 1;
            self.dirty.insert(number);
        }
    }

    /// Whether an entry fits into the gap that it would fill.
    pub(super) fn fits(
        &self,
        storage: &dyn Storage,
        number: FeedNo,
        gap: Gap,
        (header, hash): (&Header, HeaderHash),
    ) -> Result<(), Refused> {
        let (feed, seq) = (self.feed(number), header.seq);
        let follows = match seq {
            1 => self.follows(storage, header, &feed.id),
            _ => self
                .hash_at(storage, number, seq - 1)
                .is_none_or(|before| Some(before) == header.previous),
        };
        let next = self.entry(storage, number, seq + 1);
        let leads = next.is_none_or(|next| next.header().previous == Some(hash));
        if !(follows && leads) {
            return Err(Refused::Unlinked);
        }
        let splits = gap.from < seq && seq < gap.upto;
        if splits && !feed.has_room_for_gaps() {
            return Err(Refused::Gap { seq, last: gap.from - 1 });
        }
        Ok(())
    }
}
