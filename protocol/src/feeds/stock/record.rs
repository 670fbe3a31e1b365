//! What an entry of the stock topic says: movements, or a count.
//!
//! A record is judged by itself alone: what is over a limit is void on every machine. Whether a count
//! stands is `counts`'s to say.

use minicbor::{Decode, Encode};

use crate::{
    feeds::{Author, Boot},
    wire,
};

/// Lines of one entry: the largest basket, many times over.
pub const MOVEMENTS_MAX: usize = 1000;
/// An item's id, in bytes.
pub const ITEM_MAX: usize = 64;
/// Feeds that one count lists, each a start of a terminal that moved the item since the last count; of more
/// the rest stands in parts before it. So many fit into an entry.
pub const SEEN_MAX: usize = 1024;
/// A thousand million, in thousandths: no sum of what a store could hold overflows.
pub(super) const QUANTITY_MAX: i64 = 1_000_000_000_000;

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
    /// How far it has seen each feed, where that is further than `base` has; in the order of the feeds.
    #[n(3)]
    pub seen: Vec<At>,
    /// It found nothing itself: it lists what is too long for the one that builds on it.
    #[n(4)]
    pub part: bool,
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
    #[error("a count that lists its feeds in another order than theirs, or one of them twice")]
    Order,
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
            Some(count) if !is_ordered(&count.seen) => Err(RecordError::Order),
            Some(_) | None => Ok(()),
        }
    }
}

/// Each feed once: a count that waits is looked at again no more often than once for each.
fn is_ordered(seen: &[At]) -> bool {
    seen.is_sorted_by(|a, b| (a.author, a.boot) < (b.author, b.boot))
}
