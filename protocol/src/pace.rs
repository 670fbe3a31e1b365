//! How often a terminal may change what is written down and passed on at its word.
//!
//! At most [`CHANGES_MAX`] times a minute, counted from the first. What comes faster is no error: a
//! cable may be loose. It waits until the minute is over, and only the last of it, since each
//! replaces the one before. So a terminal gone wrong costs a few writes and a few frames a minute,
//! and what it says last is heard in the end.

use std::{collections::BTreeMap, time::Duration};

use storemesh_keys::PeerId;

use crate::Instant;

/// A machine whose cable and wireless come and go says a few; each is a commit, and a word to all
/// terminals of the store.
const CHANGES_MAX: u32 = 16;
const MINUTE: Duration = Duration::from_mins(1);

/// Of terminals that HQ vouches for alone: they are as many as it has let in.
#[derive(Debug)]
pub(crate) struct Paces<T> {
    counts: BTreeMap<PeerId, Count>,
    waiting: BTreeMap<PeerId, T>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    changes: u32,
}

impl<T> Paces<T> {
    /// `value` is what `peer` says from now on: returned if it may count at once.
    pub(crate) fn take(&mut self, now: Instant, peer: PeerId, value: T) -> Option<T> {
        let begun = Count { since: now, changes: 0 };
        let count = self.counts.entry(peer).or_insert(begun);
        if count.since + MINUTE <= now {
            *count = begun;
        }
        if count.changes >= CHANGES_MAX {
            self.waiting.insert(peer, value);
            return None;
        }
        count.changes += 1;
        self.waiting.remove(&peer);
        Some(value)
    }

    /// What waits is no longer what `peer` says.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.waiting.remove(peer);
    }

    /// What has waited long enough.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(PeerId, T)> {
        if now < self.deadline() {
            return Vec::new();
        }
        self.counts.retain(|_, count| now < count.since + MINUTE);
        let counts = &self.counts;
        let due: Vec<_> =
            self.waiting.extract_if(.., |peer, _| !counts.contains_key(peer)).collect();
        for (peer, _) in &due {
            self.counts.insert(*peer, Count { since: now, changes: 1 });
        }
        due
    }

    /// When something is due.
    #[must_use]
    pub(crate) fn deadline(&self) -> Instant {
        let counts = self.waiting.keys().filter_map(|peer| self.counts.get(peer));
        counts.map(|count| count.since + MINUTE).min().unwrap_or(Instant::NEVER)
    }
}

impl<T> Default for Paces<T> {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), waiting: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::peer;

    const NOW: Instant = Instant(1);

    #[test]
    fn what_comes_too_fast_waits_and_the_last_of_it_is_heard() {
        let mut paces = Paces::default();
        for n in 0..CHANGES_MAX {
            assert_eq!(paces.take(NOW, peer(1), n), Some(n));
        }
        assert_eq!(paces.deadline(), Instant::NEVER, "nothing waits");
        for n in [100, 101] {
            assert_eq!(paces.take(NOW, peer(1), n), None);
        }
        assert_eq!(paces.take(NOW, peer(2), 7), Some(7), "another's pace is its own");
        let over = NOW + MINUTE;
        assert_eq!(paces.deadline(), over);
        assert_eq!(paces.due(Instant(over.0 - 1)), []);
        assert_eq!(paces.due(over), [(peer(1), 101)]);
        assert_eq!(paces.due(over), []);
        assert_eq!(paces.deadline(), Instant::NEVER);
    }

    #[test]
    fn no_minute_has_more_changes_than_may_be() {
        let mut paces = Paces::default();
        let mut heard = 0;
        for n in 0..600 {
            let now = NOW + Duration::from_millis(100) * n;
            heard += u32::from(paces.take(now, peer(1), n).is_some());
        }
        assert_eq!(heard, CHANGES_MAX);
        let later = NOW + MINUTE;
        assert_eq!(paces.take(later, peer(1), 1000), Some(1000), "and then it may again");
        assert_eq!(paces.due(later), [], "what waited is replaced");
    }

    #[test]
    fn what_is_taken_back_does_not_come_later() {
        let mut paces = Paces::default();
        for n in 0..=CHANGES_MAX {
            _ = paces.take(NOW, peer(1), n);
        }
        paces.forget(&peer(1));
        assert_eq!(paces.deadline(), Instant::NEVER);
        assert_eq!(paces.due(NOW + MINUTE), []);
    }
}
