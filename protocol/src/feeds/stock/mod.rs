//! Stock: movements and counts, and what is on hand.
//!
//! A movement says by how much an item's stock changed; a count says how much there was, and which
//! movements it had seen. The rule: on hand is the last count plus the movements that it had not seen; of
//! the counts that no other count has seen, the one with the highest (author, boot, seq) is the last. So
//! the same entries give the same number on every machine, in whatever order they came.
//!
//! A count names the count before it that it had seen, and lists only what it has seen since: what the
//! earlier one had seen, it has seen too. One whose predecessor is not here yet waits for it.
//!
//! Quantities are thousandths, so that what is weighed is counted exactly. The read model is rows in
//! storage, written in the transaction that takes the entry: each is applied once.

#[cfg(test)]
mod tests;

use minicbor::{Decode, Encode};
use storemesh_keys::Name;

use super::{
    Author, Boot, EntryId, FeedId, Storage,
    ledger::FeedNo,
    storage::{Read, put, row, rows},
};
use crate::wire;

pub(crate) const ITEMS: &str = "stock_items.1";
pub(crate) const MOVEMENTS: &str = "stock_movements.1";
pub(crate) const COUNTS: &str = "stock_counts.1";

/// Lines of one entry: the largest basket, many times over.
pub const MOVEMENTS_MAX: usize = 1000;
/// An item's id, in bytes.
pub const ITEM_MAX: usize = 64;
/// Feeds that one count lists; each is a start of a terminal that moved the item since the last count.
pub const SEEN_MAX: usize = 1024;
/// A thousand million, in thousandths: no sum of what a store could hold overflows.
const QUANTITY_MAX: i64 = 1_000_000_000_000;

/// What an entry of a stock topic says.
#[derive(Clone, Debug, Default, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Record {
    #[n(0)]
    pub movements: Vec<Movement>,
    #[n(1)]
    pub count: Option<Count>,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Movement {
    #[n(0)]
    pub item: String,
    /// In thousandths; sold is negative.
    #[n(1)]
    pub quantity: i64,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Count {
    #[n(0)]
    pub item: String,
    /// In thousandths.
    #[n(1)]
    pub value: i64,
    /// The last count that this one has seen.
    #[n(2)]
    pub base: Option<At>,
    /// How far it has seen each feed, where that is further than `base` has.
    #[n(3)]
    pub seen: Vec<At>,
}

/// A place in a feed of the store's stock.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq, PartialOrd, Ord)]
#[cbor(map)]
pub struct At {
    #[n(0)]
    pub author: Author,
    #[n(1)]
    pub boot: Boot,
    #[n(2)]
    pub seq: u64,
}

/// What is wrong with a record; the caller mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("it does not read: {0}")]
    Malformed(String),
    #[error("it has neither movements nor a count, or both: give one of them")]
    Empty,
    #[error("{0} movements, at most {MOVEMENTS_MAX}: post them in several entries")]
    TooMany(usize),
    #[error("an item of {0} bytes: from 1 to {ITEM_MAX} are possible")]
    Item(usize),
    #[error("a quantity beyond a thousand million")]
    Quantity,
    #[error("a count that lists {0} feeds, at most {SEEN_MAX}")]
    Seen(usize),
}

impl Record {
    pub fn decode(payload: &[u8]) -> Result<Self, RecordError> {
        let record: Self =
            wire::decode(payload).map_err(|why| RecordError::Malformed(why.to_string()))?;
        record.check()?;
        Ok(record)
    }

    pub fn check(&self) -> Result<(), RecordError> {
        if self.movements.is_empty() == self.count.is_none() {
            return Err(RecordError::Empty);
        }
        if self.movements.len() > MOVEMENTS_MAX {
            return Err(RecordError::TooMany(self.movements.len()));
        }
        let moved = self.movements.iter().map(|moved| (&moved.item, moved.quantity));
        let counted = self.count.iter().map(|count| (&count.item, count.value));
        for (item, quantity) in moved.chain(counted) {
            if item.is_empty() || item.len() > ITEM_MAX {
                return Err(RecordError::Item(item.len()));
            }
            if !(-QUANTITY_MAX..=QUANTITY_MAX).contains(&quantity) {
                return Err(RecordError::Quantity);
            }
        }
        match &self.count {
            Some(count) if count.seen.len() > SEEN_MAX => Err(RecordError::Seen(count.seen.len())),
            Some(_) | None => Ok(()),
        }
    }
}

/// What is on hand of one item.
#[derive(Clone, Copy, Debug, Default, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct OnHand {
    /// In thousandths.
    #[n(0)]
    pub quantity: i64,
    /// The last count, where there was one.
    #[n(1)]
    pub counted: Option<At>,
    /// What it found, in thousandths.
    #[n(2)]
    pub count: Option<i64>,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
struct CountRow {
    #[n(0)]
    at: At,
    #[n(1)]
    count: Count,
}

/// What is on hand of `item` in `store`; none where nobody ever moved or counted it.
pub fn on_hand(storage: &dyn Read, store: &Name, item: &str) -> Option<OnHand> {
    row(storage, ITEMS, &item_key(store, item))
}

/// A count of `item` by who has seen what is here.
pub(crate) fn count_now(
    storage: &dyn Read,
    store: &Name,
    item: String,
    value: i64,
    feed: impl Fn(FeedNo) -> FeedId,
) -> Count {
    let key = item_key(store, &item);
    let book = Book::read(storage, &key, feed);
    let base = book.last().map(|(at, _)| at);
    let known = book.seen_by(base);
    let mut seen = std::collections::BTreeMap::new();
    let moved = book.movements.iter().map(|(at, _)| *at);
    for At { author, boot, seq } in moved.chain(book.counts.keys().copied()) {
        let most = seen.entry((author, boot)).or_insert(seq);
        *most = seq.max(*most);
    }
    let news = |((author, boot), seq)| {
        let at = At { author, boot, seq };
        (!covers(&known, &at)).then_some(at)
    };
    let seen = seen.into_iter().filter_map(news).collect();
    Count { item, value, base, seen }
}

/// Applies an entry that counts; to be called once for each.
pub(crate) fn apply(
    storage: &mut dyn Storage,
    store: &Name,
    number: FeedNo,
    entry: &EntryId,
    record: &Record,
    feed: impl Fn(FeedNo) -> FeedId + Copy,
) {
    let at = At { author: entry.feed.author, boot: entry.feed.boot, seq: entry.seq };
    let mut moved = std::collections::BTreeMap::<&str, i64>::new();
    for movement in &record.movements {
        *moved.entry(&movement.item).or_default() += movement.quantity;
    }
    for (item, quantity) in moved {
        let key = item_key(store, item);
        put(storage, MOVEMENTS, &entry_key(&key, number, entry.seq), &quantity);
        let mut on_hand: OnHand = row(storage, ITEMS, &key).unwrap_or_default();
        let seen = match on_hand.counted {
            Some(_) => {
                let book = Book::counts(storage, &key);
                covers(&book.seen_by(on_hand.counted), &at)
            }
            None => false,
        };
        if !seen {
            on_hand.quantity += quantity;
        }
        put(storage, ITEMS, &key, &on_hand);
    }
    if let Some(count) = &record.count {
        let key = item_key(store, &count.item);
        let counted = CountRow { at, count: count.clone() };
        put(storage, COUNTS, &entry_key(&key, number, entry.seq), &counted);
        recount(storage, &key, feed);
    }
}

/// HQ has ended the author before this entry: it no longer counts.
pub(crate) fn take_back(
    storage: &mut dyn Storage,
    store: &Name,
    number: FeedNo,
    seq: u64,
    record: &Record,
    feed: impl Fn(FeedNo) -> FeedId + Copy,
) {
    let counted = record.count.iter().map(|count| &count.item);
    for item in record.movements.iter().map(|movement| &movement.item).chain(counted) {
        let key = item_key(store, item);
        storage.delete(MOVEMENTS, &entry_key(&key, number, seq));
        storage.delete(COUNTS, &entry_key(&key, number, seq));
        recount(storage, &key, feed);
    }
}

fn recount(storage: &mut dyn Storage, key: &ItemKey, feed: impl Fn(FeedNo) -> FeedId) {
    let book = Book::read(storage, key, feed);
    put(storage, ITEMS, key, &book.on_hand());
}

/// All that is known of one item.
struct Book {
    movements: Vec<(At, i64)>,
    counts: std::collections::BTreeMap<At, Count>,
}

impl Book {
    fn counts(storage: &dyn Read, key: &ItemKey) -> Self {
        let counts = rows::<CountRow>(storage, COUNTS, key);
        let counts = counts.into_iter().map(|(_, row)| (row.at, row.count)).collect();
        Self { movements: Vec::new(), counts }
    }

    fn read(storage: &dyn Read, key: &ItemKey, feed: impl Fn(FeedNo) -> FeedId) -> Self {
        let moved =
            rows::<i64>(storage, MOVEMENTS, key).into_iter().filter_map(|(key, quantity)| {
                let (number, seq) = read_entry_key(&key)?;
                let FeedId { author, boot, .. } = feed(number);
                Some((At { author, boot, seq }, quantity))
            });
        Self { movements: moved.collect(), ..Self::counts(storage, key) }
    }

    /// All that the count at `at` has seen, and those before it.
    fn seen_by(&self, at: Option<At>) -> Vec<At> {
        let mut seen = Vec::new();
        let mut next = at;
        let mut left = self.counts.len();
        while let Some(at) = next {
            let Some(count) = self.counts.get(&at).filter(|_| left > 0) else { break };
            // A chain that its authors made into a ring ends too.
            left -= 1;
            seen.extend(count.base);
            seen.extend(&count.seen);
            next = count.base;
        }
        seen
    }

    /// Whether every count before this one is here.
    fn is_whole(&self, at: At) -> bool {
        let (mut next, mut left) = (Some(at), self.counts.len() + 1);
        while let Some(at) = next {
            let Some(count) = self.counts.get(&at).filter(|_| left > 0) else { return false };
            left -= 1;
            next = count.base;
        }
        true
    }

    /// The last count.
    fn last(&self) -> Option<(At, &Count)> {
        let whole: Vec<(At, Vec<At>)> = self
            .counts
            .keys()
            .filter(|at| self.is_whole(**at))
            .map(|at| (*at, self.seen_by(Some(*at))))
            .collect();
        let unseen = |at: &At| !whole.iter().any(|(other, seen)| other != at && covers(seen, at));
        let last = whole.iter().map(|(at, _)| *at).filter(unseen).max()?;
        Some((last, &self.counts[&last]))
    }

    fn on_hand(&self) -> OnHand {
        let last = self.last();
        let seen = self.seen_by(last.map(|(at, _)| at));
        let moved: i64 = self
            .movements
            .iter()
            .filter(|(at, _)| !covers(&seen, at))
            .map(|(_, quantity)| quantity)
            .sum();
        OnHand {
            quantity: last.map_or(0, |(_, count)| count.value) + moved,
            counted: last.map(|(at, _)| at),
            count: last.map(|(_, count)| count.value),
        }
    }
}

fn covers(seen: &[At], at: &At) -> bool {
    seen.iter().any(|upto| upto.author == at.author && upto.boot == at.boot && at.seq <= upto.seq)
}

/// Of fixed length, so that one item's rows never begin like another's.
type ItemKey = [u8; 16];

fn item_key(store: &Name, item: &str) -> ItemKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(store.as_str().as_bytes()).update(&[0]).update(item.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}

fn entry_key(item: &ItemKey, number: FeedNo, seq: u64) -> Vec<u8> {
    [&item[..], &number.entry(seq)].concat()
}

fn read_entry_key(key: &[u8]) -> Option<(FeedNo, u64)> {
    FeedNo::read_entry(key.get(16..)?)
}
