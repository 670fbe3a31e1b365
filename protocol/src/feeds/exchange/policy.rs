//! What the exchange asks of the machine that it serves: a terminal, or HQ.

use crate::{
    feeds::{
        FeedId,
        ledger::{Feed, Gap, RUNS_MAX, runs},
    },
    wire::feeds::Have,
};

/// What a side should have, and what this machine wants.
pub(crate) trait Policy<S> {
    /// Its certificate entitles it to the feed.
    fn may_have(&self, side: S, feed: &FeedId) -> bool;
    /// What of the feed it has for certain, without its saying so.
    fn has(&self, side: S, feed: &Feed) -> u64;
    /// It is to know how far the feed is here.
    fn tells(&self, side: S, feed: &Feed) -> bool;
    /// It should have what is new at once, and from here.
    fn pushes(&self, side: S, feed: &FeedId) -> bool;
    /// It is asked to keep a copy.
    fn keeps(&self, side: S, feed: &FeedId) -> bool;
    /// Whether this machine wants more of the feed than it has, as that side has it.
    fn wants(&self, side: S, feed: &Feed, theirs: &Theirs) -> Wants;
}

/// Whether a feed is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    No,
    /// From this entry on.
    From(u64),
    /// The same, and somebody is going to push it.
    Soon(u64),
}

/// How far a side has a feed, as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Theirs {
    /// 0 where it is not known.
    pub(crate) first: u64,
    pub(crate) last: u64,
    gaps: Vec<Gap>,
    /// What it has heard HQ acknowledge.
    pub(crate) acked: u64,
    /// It wrote the feed, and wants us to keep a copy.
    pub(crate) keep: bool,
}

impl Theirs {
    /// As it tells: of one feed, run after run.
    pub(super) fn told(haves: &[Have]) -> Self {
        let mut theirs = Self::default();
        // Who has more runs than a feed can have lies.
        for Have { first, last, keep, acked, .. } in haves.iter().take(RUNS_MAX) {
            (theirs.keep, theirs.acked) = (*keep, *acked);
            if theirs.first == 0 {
                theirs.first = *first;
            } else if theirs.last + 1 < *first {
                theirs.gaps.push(Gap { from: theirs.last + 1, upto: first - 1 });
            }
            theirs.last = theirs.last.max(*last);
        }
        theirs
    }

    /// The first range that it has, and the feed here lacks.
    pub(crate) fn brings_to(&self, feed: &Feed) -> Option<(u64, u64)> {
        self.brings_behind(feed, 0)
    }

    /// The first that is not all up to `known`.
    pub(crate) fn brings_behind(&self, feed: &Feed, known: u64) -> Option<(u64, u64)> {
        let mut lacked = self.runs().flat_map(|(first, last)| feed.lacks(first, last));
        lacked.find(|(_, upto)| known < *upto)
    }

    /// The last entry of the run from which `from` is given.
    pub(super) fn run_end(&self, from: u64) -> u64 {
        self.runs().map(|(_, last)| last).find(|last| from <= *last).unwrap_or(self.last)
    }

    /// It has said that of what follows `last` it cannot give the beginning.
    pub(super) fn begins_late(&self, last: u64) -> bool {
        self.runs().find(|run| last < run.1).is_some_and(|(first, _)| last + 1 < first)
    }

    /// It has some that is after the one entry and before the other.
    pub(super) fn has_between(&self, after: u64, before: u64) -> bool {
        self.first > 0 && self.runs().any(|(first, last)| after < last && first < before)
    }

    /// Up to where HQ holds all that it has.
    pub(super) fn acked_of(&self, feed: &Feed, generation: u64) -> u64 {
        feed.acked_of(generation, self.first, self.last, &self.gaps)
    }

    fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        runs(self.first, self.last, &self.gaps)
    }
}
