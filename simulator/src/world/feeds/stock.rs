//! What must be on hand, reckoned from the entries alone: slowly, and in another way than protocol's.

use std::collections::{BTreeMap, BTreeSet};

use storemesh_keys::Name;
use storemesh_protocol::feeds::{
    STOCK, Scope,
    stock::{At, Count, Record},
};

use super::shelf::Shelf;

/// The stock entries of a store.
#[derive(Debug, Default)]
pub(super) struct Reckoning {
    moved: Vec<(At, String, i64)>,
    counts: BTreeMap<At, Count>,
}

impl Reckoning {
    pub(super) fn of(shelf: &Shelf, store: &Name) -> Self {
        let mut reckoning = Self::default();
        for id in shelf.ids() {
            let topic = &id.feed.topic;
            if topic.name.as_str() != STOCK || topic.scope != Scope::Store(store.clone()) {
                continue;
            }
            let entry = shelf.entry(id).and_then(|found| Record::decode(&found.payload?).ok());
            let Some(record) = entry else { continue };
            let at = At { author: id.feed.author, boot: id.feed.boot, seq: id.seq };
            for line in record.movements {
                reckoning.moved.push((at, line.item, line.quantity));
            }
            if let Some(count) = record.count {
                reckoning.counts.insert(at, count);
            }
        }
        reckoning
    }

    /// On hand of `item`, in thousandths; none where nobody moved or counted it.
    pub(super) fn on_hand(&self, item: &str) -> Option<i64> {
        let moved: Vec<(At, i64)> = self
            .moved
            .iter()
            .filter(|(_, of, _)| of == item)
            .map(|(at, _, by)| (*at, *by))
            .collect();
        let counts: BTreeMap<At, BTreeSet<At>> = self
            .counts
            .iter()
            .filter(|(_, count)| count.item == item)
            .filter_map(|(at, _)| Some((*at, self.seen_by(*at)?)))
            .collect();
        if moved.is_empty() && counts.is_empty() {
            return None;
        }
        let had_seen = |seen: &BTreeSet<At>, at: &At| {
            seen.iter().any(|s| (s.author, s.boot) == (at.author, at.boot) && at.seq <= s.seq)
        };
        // Of the counts that no other has seen, the highest. A part is no count.
        let counts: BTreeMap<At, BTreeSet<At>> =
            counts.into_iter().filter(|(at, _)| !self.counts[at].part).collect();
        let last = counts
            .keys()
            .rev()
            .find(|at| !counts.iter().any(|(other, seen)| other != *at && had_seen(seen, at)));
        let nothing = BTreeSet::new();
        let (value, seen) = last.map_or((0, &nothing), |at| (self.counts[at].value, &counts[at]));
        let since = moved.iter().filter(|(at, _)| !had_seen(seen, at)).map(|(_, by)| by);
        Some(value + since.sum::<i64>())
    }

    /// All that a count and those before it had seen; none where one of those is missing.
    fn seen_by(&self, at: At) -> Option<BTreeSet<At>> {
        let count = self.counts.get(&at)?;
        let mut seen = match count.base {
            Some(base) => self.seen_by(base)?,
            None => BTreeSet::new(),
        };
        seen.extend(count.base);
        seen.extend(count.seen.iter().copied());
        Some(seen)
    }
}
