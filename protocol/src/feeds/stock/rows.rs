//! The read model's rows: every key begins with the item, so that one item's rows lie together.

use std::ops::ControlFlow;

use minicbor::{Decode, Encode};
use storemesh_keys::Name;

use super::{At, Count};
use crate::feeds::{
    Author, Boot, Storage,
    storage::{Read, after_prefix, row},
};

pub(crate) const ITEMS: &str = "stock_items.2";
/// By place: quantities.
pub(crate) const MOVEMENTS: &str = "stock_movements.2";
/// By place: [`CountRow`].
pub(crate) const COUNTS: &str = "stock_counts.2";
/// By what is waited for, and the count that waits: [`Waits`].
pub(crate) const WAITING: &str = "stock_waiting.1";
/// By feed: the last of its entries that a whole count has seen.
pub(crate) const MENTIONED: &str = "stock_mentioned.1";
/// By feed, the highest first: the newest count, where no other has seen it.
pub(crate) const UNSEEN: &str = "stock_unseen.1";
/// By feed: the last of its entries that the last count has seen.
pub(crate) const SEEN: &str = "stock_seen.1";

/// A count that is here.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub(super) struct CountRow {
    #[n(0)]
    pub(super) count: Count,
    /// None until all that it has seen is here.
    #[n(1)]
    pub(super) chain: Option<Chain>,
    /// A count that stands is this one, or builds on it.
    #[n(2)]
    pub(super) told: bool,
}

/// A count and those that it builds on.
#[derive(Clone, Copy, Debug, Default, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub(super) struct Chain {
    #[n(0)]
    pub(super) counts: u64,
    /// Places that they list.
    #[n(1)]
    pub(super) listed: u64,
}

/// A count that waits.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub(super) struct Waits {
    /// So many of the places that it lists were found already.
    #[n(0)]
    pub(super) found: u64,
    /// Whose stock it is.
    #[n(1)]
    pub(super) store: Name,
}

/// Of fixed length, so that one item's rows never begin like another's.
pub(super) type ItemKey = [u8; ITEM_KEY];
const ITEM_KEY: usize = 16;
const FEED_KEY: usize = 40;
const AT_KEY: usize = FEED_KEY + 8;

pub(super) fn item_key(store: &Name, item: &str) -> ItemKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(store.as_str().as_bytes()).update(&[0]).update(item.as_bytes());
    let mut key = [0; ITEM_KEY];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..ITEM_KEY]);
    key
}

pub(super) fn feed_key(item: &ItemKey, at: &At) -> Vec<u8> {
    [&item[..], at.author.as_bytes(), &at.boot.0.to_be_bytes()].concat()
}

pub(super) fn at_key(item: &ItemKey, at: &At) -> Vec<u8> {
    [&feed_key(item, at)[..], &at.seq.to_be_bytes()].concat()
}

/// The highest feed's comes first.
pub(super) fn unseen_key(item: &ItemKey, at: &At) -> Vec<u8> {
    let mut key = feed_key(item, at);
    key[ITEM_KEY..].iter_mut().for_each(|byte| *byte = !*byte);
    key
}

pub(super) fn waiting_key(item: &ItemKey, on: &At, at: &At) -> Vec<u8> {
    [at_key(item, on), at_key(item, at)[ITEM_KEY..].to_vec()].concat()
}

/// What [`waiting_key`] wrote.
pub(super) fn read_waiting_key(key: &[u8]) -> Option<(ItemKey, At, At)> {
    let (item, rest) = key.split_first_chunk()?;
    let (on, at) = rest.split_at_checked(AT_KEY)?;
    Some((*item, read_at(on)?, read_at(at)?))
}

/// The place in what [`at_key`] wrote.
pub(super) fn at_of(key: &[u8]) -> Option<At> {
    read_at(key.get(ITEM_KEY..)?)
}

/// The highest count in [`UNSEEN`].
pub(super) fn first_unseen(storage: &dyn Read, item: &ItemKey) -> Option<At> {
    let mut first = None;
    storage.scan(UNSEEN, item, &after_prefix(item), &mut |key, _| {
        let feed = key.get(ITEM_KEY..).map(|feed| feed.iter().map(|byte| !byte).collect());
        first = feed.and_then(|feed: Vec<u8>| read_at(&[&feed[..], &[0; 8]].concat()));
        ControlFlow::Break(())
    });
    let feed = first?;
    let seq = row(storage, UNSEEN, &unseen_key(item, &feed))?;
    Some(At { seq, ..feed })
}

/// The places of an item's rows in one of the tables by place.
pub(super) fn places(
    storage: &dyn Read,
    table: &'static str,
    item: &ItemKey,
    each: &mut dyn FnMut(At),
) {
    storage.scan(table, item, &after_prefix(item), &mut |key, _| {
        if let Some(at) = at_of(key) {
            each(at);
        }
        ControlFlow::Continue(())
    });
}

/// Drops an item's rows of one table.
pub(super) fn clear(storage: &mut dyn Storage, table: &'static str, item: &ItemKey) {
    let mut keys = Vec::new();
    storage.scan(table, item, &after_prefix(item), &mut |key, _| {
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    });
    for key in keys {
        storage.delete(table, &key);
    }
}

fn read_at(bytes: &[u8]) -> Option<At> {
    let (author, rest) = bytes.split_first_chunk()?;
    let (boot, seq) = rest.split_first_chunk()?;
    Some(At {
        author: Author::terminal(storemesh_keys::PeerId::from_bytes(*author)),
        boot: Boot(u64::from_be_bytes(*boot)),
        seq: u64::from_be_bytes(seq.try_into().ok()?),
    })
}
