//! Which count of an item is the last, and what it has seen.
//!
//! The rule: a count stands once all that it says it has seen is here; of the counts that stand, and that
//! no other one has seen, the highest is the last. A count has seen what it lists, the count that it builds
//! on with all that one has seen, and what its author wrote before it in that boot. A part is no count: what
//! it lists has been seen once a count that builds on it stands.
//!
//! So a count that lists what nobody wrote - by mistake, or to hide what is still to come - never stands, and
//! does nothing. What HQ's end has cut off will not come, and is not waited for. All of this is said by the
//! entries alone, so it is the same in whatever order they come.
//!
//! A row that is known to be there may still fail to be read: the batch is then not committed, and what comes
//! of it does not matter.
//!
//! A movement reads the last count's place in its feed. A count is read when it comes, when what it
//! waits for comes, and when it, or one that builds on it, becomes the last.

use std::ops::ControlFlow;

use storemesh_keys::Name;

use super::{
    At, Count, OnHand, SEEN_MAX,
    rows::{
        COUNTS, Chain, CountRow, ITEMS, ItemKey, MENTIONED, MOVEMENTS, SEEN, UNSEEN, WAITING,
        Waits, at_key, at_of, clear, feed_key, first_unseen, places, read_waiting_key, unseen_key,
        waiting_key,
    },
};
use crate::feeds::{
    Storage,
    storage::{after_prefix, decode, put, row},
};

/// Counts that build on each other; so many are read to replace the last one. Counted once a week, an item
/// begins a new chain every five years.
pub(super) const CHAIN_MAX: u64 = 256;
/// Places that such counts list in all: twenty terminals that start three times a day, for six years.
pub(super) const LISTED_MAX: u64 = 128 * SEEN_MAX as u64;

/// One item's counts.
pub(super) struct Counts<'a> {
    pub(super) storage: &'a mut dyn Storage,
    pub(super) store: &'a Name,
    pub(super) key: ItemKey,
    /// HQ has ended the author before that place: it never counts.
    pub(super) ended: &'a dyn Fn(&At) -> bool,
}

/// A count that is to be looked at, and how much of what it lists was found before.
type Open = (At, u64);

/// How a count stands.
enum Stand {
    Whole(Chain),
    Waits {
        on: At,
        found: u64,
    },
    /// It never will: it has seen itself, or builds on too many.
    Void,
}

impl Counts<'_> {
    /// An entry of the item has just been written down.
    pub(super) fn came(&mut self, at: At) {
        let mut open = self.woken(&at);
        if self.count(&at).is_some() {
            open.push((at, 0));
        }
        if self.look_at(open) {
            self.settle(false);
        }
    }

    /// Somebody's end came: what waits for him waits no more.
    pub(super) fn wake(&mut self, on: At) {
        let open = self.woken(&on);
        if self.look_at(open) {
            self.settle(false);
        }
    }

    /// Rows have gone: all is found out again.
    pub(super) fn again(&mut self) {
        for table in [WAITING, MENTIONED, UNSEEN, SEEN] {
            clear(self.storage, table, &self.key);
        }
        let mut counts = Vec::new();
        places(self.storage, COUNTS, &self.key, &mut |at| counts.push((at, 0)));
        for (at, _) in &counts {
            let Some(row) = self.count(at) else { continue };
            let row = CountRow { chain: None, told: false, ..row };
            put(self.storage, COUNTS, &at_key(&self.key, at), &row);
        }
        self.look_at(counts);
        self.settle(true);
    }

    /// Whether one of them stands that did not before, or of those that waited for it.
    fn look_at(&mut self, mut open: Vec<Open>) -> bool {
        let mut news = false;
        while let Some((at, found)) = open.pop() {
            let Some(mut row) = self.count(&at).filter(|row| row.chain.is_none()) else { continue };
            match self.stand(&at, &row.count, found) {
                Stand::Whole(chain) => {
                    row.chain = Some(chain);
                    let part = row.count.part;
                    put(self.storage, COUNTS, &at_key(&self.key, &at), &row);
                    if !part {
                        news = true;
                        self.tell(at);
                        if self.upto(MENTIONED, &at) < at.seq {
                            put(self.storage, UNSEEN, &unseen_key(&self.key, &at), &at.seq);
                        }
                    }
                    open.extend(self.woken(&at));
                }
                Stand::Waits { on, found } => {
                    let waits = Waits { found, store: self.store.clone() };
                    put(self.storage, WAITING, &waiting_key(&self.key, &on, &at), &waits);
                }
                Stand::Void => {}
            }
        }
        news
    }

    fn stand(&self, at: &At, count: &Count, found: u64) -> Stand {
        let own =
            |seen: &At| (seen.author, seen.boot) == (at.author, at.boot) && seen.seq >= at.seq;
        if count.seen.iter().chain(&count.base).any(own) {
            return Stand::Void;
        }
        for (found, seen) in (0..).zip(&count.seen).skip(usize::try_from(found).unwrap_or(0)) {
            if !self.is_here(seen) && !(self.ended)(seen) {
                return Stand::Waits { on: *seen, found };
            }
        }
        let listed = count.seen.len() as u64;
        let before = match count.base {
            None => Chain::default(),
            Some(base) => match self.count(&base).and_then(|row| row.chain) {
                Some(chain) => chain,
                None => return Stand::Waits { on: base, found: listed },
            },
        };
        let chain = Chain { counts: before.counts + 1, listed: before.listed + listed };
        if chain.fits() { Stand::Whole(chain) } else { Stand::Void }
    }

    fn is_here(&self, at: &At) -> bool {
        let key = at_key(&self.key, at);
        [MOVEMENTS, COUNTS].iter().any(|table| self.storage.get(table, &key).is_some())
    }

    /// A count stands: it has seen what it lists, and what the parts do that it builds on, each once.
    fn tell(&mut self, at: At) {
        let mut next = Some(at);
        while let Some(at) = next {
            let Some(row) = self.count(&at).filter(|row| !row.told) else { return };
            for seen in seen_by(&at, &row.count) {
                self.mentioned(&seen);
            }
            let base = row.count.base;
            put(self.storage, COUNTS, &at_key(&self.key, &at), &CountRow { told: true, ..row });
            next = base;
        }
    }

    /// A count that stands has seen the feed so far.
    fn mentioned(&mut self, seen: &At) {
        self.raise(MENTIONED, seen);
        let key = unseen_key(&self.key, seen);
        if row::<u64>(self.storage, UNSEEN, &key).is_some_and(|seq| seq <= seen.seq) {
            self.storage.delete(UNSEEN, &key);
        }
    }

    /// Those that wait for that place; they do no more.
    fn woken(&mut self, on: &At) -> Vec<Open> {
        let prefix = at_key(&self.key, on);
        let mut woken = Vec::new();
        self.storage.scan(WAITING, &prefix, &after_prefix(&prefix), &mut |key, waits| {
            woken.push((key.to_vec(), waits.to_vec()));
            ControlFlow::Continue(())
        });
        for (key, _) in &woken {
            self.storage.delete(WAITING, key);
        }
        let open = |(key, waits): (Vec<u8>, Vec<u8>)| {
            let (.., at) = read_waiting_key(&key)?;
            let waits = decode::<Waits>(self.storage, WAITING, &waits)?;
            Some((at, waits.found))
        };
        woken.into_iter().filter_map(open).collect()
    }

    /// What is on hand, if the last count is another than it was; or anyway.
    fn settle(&mut self, anyway: bool) {
        let known: Option<OnHand> = row(self.storage, ITEMS, &self.key);
        let known = known.and_then(|on_hand| on_hand.counted).filter(|_| !anyway);
        let last = first_unseen(self.storage, &self.key);
        if last == known && !anyway {
            return;
        }
        let value = last.and_then(|at| self.count(&at)).map(|row| row.count.value);
        let (mut chain, mut next) = (Vec::new(), last);
        while let Some(at) = next.filter(|at| Some(*at) != known) {
            chain.push(at);
            next = self.count(&at).and_then(|row| row.count.base);
        }
        // It builds on the one that was the last, or on others.
        if next.is_none() {
            clear(self.storage, SEEN, &self.key);
        }
        for at in chain {
            let Some(row) = self.count(&at) else { continue };
            for seen in seen_by(&at, &row.count) {
                self.raise(SEEN, &seen);
            }
        }
        let quantity = value.unwrap_or(0).wrapping_add(self.unseen_movements());
        let on_hand = OnHand { quantity, counted: last, count: value };
        put(self.storage, ITEMS, &self.key, &on_hand);
    }

    /// The sum of what the last count has not seen.
    fn unseen_movements(&self) -> i64 {
        let (mut from, end) = (self.key.to_vec(), after_prefix(&self.key));
        let mut sum = 0_i64;
        // Of each feed nothing is read that was seen: most of it was, long ago.
        loop {
            let mut first = None;
            self.storage.scan(MOVEMENTS, &from, &end, &mut |key, _| {
                first = at_of(key);
                ControlFlow::Break(())
            });
            let Some(first) = first else { return sum };
            let feed_end = after_prefix(&feed_key(&self.key, &first));
            let new = At { seq: self.upto(SEEN, &first).saturating_add(1), ..first };
            let unseen = at_key(&self.key, &new);
            self.storage.scan(MOVEMENTS, &unseen, &feed_end, &mut |_, quantity| {
                let quantity = decode::<i64>(self.storage, MOVEMENTS, quantity);
                sum = sum.wrapping_add(quantity.unwrap_or(0));
                ControlFlow::Continue(())
            });
            from = feed_end;
        }
    }

    fn count(&self, at: &At) -> Option<CountRow> {
        row(self.storage, COUNTS, &at_key(&self.key, at))
    }

    fn upto(&self, table: &'static str, at: &At) -> u64 {
        row(self.storage, table, &feed_key(&self.key, at)).unwrap_or(0)
    }

    fn raise(&mut self, table: &'static str, seen: &At) {
        if self.upto(table, seen) < seen.seq {
            put(self.storage, table, &feed_key(&self.key, seen), &seen.seq);
        }
    }
}

impl Chain {
    pub(super) fn fits(self) -> bool {
        self.counts <= CHAIN_MAX && self.listed <= LISTED_MAX
    }
}

/// What a count has seen beside what the one has that it builds on.
fn seen_by(at: &At, count: &Count) -> impl Iterator<Item = At> {
    let own = At { seq: at.seq - 1, ..*at };
    count.seen.iter().copied().chain(count.base).chain([own])
}
