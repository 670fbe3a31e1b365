//! One other side of the exchange: what it has said, and what it is still to be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Theirs;
use crate::{
    Instant,
    feeds::{CertificateHash, FeedId, ledger::FeedNo},
};

#[derive(Debug)]
pub(super) struct Side {
    pub(super) theirs: BTreeMap<FeedNo, Theirs>,
    /// Those of `theirs` of which nothing was here when they were told of.
    pub(super) unbegun: BTreeSet<FeedNo>,
    /// See [`Side::position`].
    pub(super) sent: BTreeMap<FeedNo, u64>,
    /// What it asked for, up to where.
    pub(super) owed: BTreeMap<FeedNo, u64>,
    /// What is new, and should be there at once.
    pub(super) push: BTreeSet<FeedNo>,
    /// On its way there: the last entry and the bytes of each batch.
    in_flight: BTreeMap<FeedNo, VecDeque<(u64, usize)>>,
    pub(super) in_flight_bytes: usize,
    pub(super) untold: BTreeSet<FeedNo>,
    /// It was asked to keep copies of these.
    pub(super) told_to_keep: BTreeSet<FeedNo>,
    /// Not told before.
    pub(super) tell_at: Instant,
    pub(super) acks: BTreeSet<FeedNo>,
    pub(super) lacks: Vec<FeedId>,
    /// What it gave of these does not follow what is here.
    pub(super) doubted: BTreeSet<FeedNo>,
    /// It has been shown these.
    pub(super) vouched: BTreeSet<CertificateHash>,
    /// Not asked for these feeds before.
    pub(super) resting: BTreeMap<FeedNo, Instant>,
}

impl Side {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            theirs: BTreeMap::new(),
            unbegun: BTreeSet::new(),
            sent: BTreeMap::new(),
            owed: BTreeMap::new(),
            push: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            untold: BTreeSet::new(),
            told_to_keep: BTreeSet::new(),
            tell_at: now,
            acks: BTreeSet::new(),
            lacks: Vec::new(),
            doubted: BTreeSet::new(),
            vouched: BTreeSet::new(),
            resting: BTreeMap::new(),
        }
    }

    /// The last entry that it has, or will have when all that was sent arrives.
    pub(super) fn position(&self, feed: FeedNo) -> u64 {
        self.sent.get(&feed).copied().unwrap_or(0)
    }

    /// It has the feed that far for certain. One that asks for what is before has reasons.
    pub(super) fn has(&mut self, feed: FeedNo, seq: u64) {
        if self.position(feed) < seq && !self.owed.contains_key(&feed) {
            self.sent.insert(feed, seq);
        }
    }

    pub(super) fn sent(&mut self, feed: FeedNo, upto: u64, bytes: usize) {
        self.sent.insert(feed, upto);
        self.in_flight.entry(feed).or_default().push_back((upto, bytes));
        self.in_flight_bytes += bytes;
    }

    /// It has a run of entries on its disk.
    pub(super) fn confirm(&mut self, feed: FeedNo, first: u64, last: u64) {
        let sent = self.sent.entry(feed).or_insert(last);
        // What is behind a gap that it is being given is no reason to stop.
        if first <= *sent + 1 || !self.owed.contains_key(&feed) {
            *sent = last.max(*sent);
        }
        let Some(flight) = self.in_flight.get_mut(&feed) else { return };
        let arrived = |upto: u64| (first..=last).contains(&upto);
        while let Some((_, bytes)) = flight.pop_front_if(|(upto, _)| arrived(*upto)) {
            self.in_flight_bytes -= bytes;
        }
        if flight.is_empty() {
            self.in_flight.remove(&feed);
        }
    }

    /// It asks for what follows `seq`: what was sent of that has not arrived, or was of no use.
    pub(super) fn rewind(&mut self, feed: FeedNo, seq: u64) {
        for (_, bytes) in self.in_flight.remove(&feed).into_iter().flatten() {
            self.in_flight_bytes -= bytes;
        }
        self.sent.insert(feed, seq);
    }

    /// Only what it says itself is known of what it has.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.in_flight.clear();
        self.in_flight_bytes = 0;
    }

    pub(super) fn is_resting(&self, now: Instant, feed: FeedNo) -> bool {
        self.resting.get(&feed).is_some_and(|until| now < *until)
    }

    pub(super) fn deadline(&self) -> Instant {
        let telling = if self.untold.is_empty() { Instant::NEVER } else { self.tell_at };
        self.resting.values().copied().fold(telling, Instant::min)
    }
}
