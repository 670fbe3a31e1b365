//! What the exchange asks of the machine that it serves: a terminal, or HQ.

use crate::feeds::{FeedId, ledger::Feed};

/// What a side should have, and what this machine wants.
pub(crate) trait Policy<S> {
    /// Its certificate entitles it to the feed.
    fn may_have(&self, side: S, feed: &FeedId) -> bool;
    /// What of the feed it has for certain, before it says so itself.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Theirs {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// What it has heard HQ acknowledge.
    pub(crate) acked: u64,
    /// It wrote the feed, and wants us to keep a copy.
    pub(crate) keep: bool,
}

impl Theirs {
    /// The first range that it has, and the feed here lacks.
    pub(crate) fn brings_to(&self, feed: &Feed) -> Option<(u64, u64)> {
        feed.lacks(self.first, self.last)
    }
}
