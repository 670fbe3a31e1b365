//! What is wrong with feeds, kept for whoever asks.

use minicbor::{Decode, Encode};
use storemesh_keys::Timestamp;

use crate::feeds::{
    Read, Storage,
    ledger::FeedNo,
    storage::{put, row},
};

/// By feed.
pub(crate) const VOIDS: &str = "voids.1";

/// Entries of a feed that its schema does not allow.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Voids {
    #[n(0)]
    pub(crate) count: u64,
    #[n(1)]
    pub(crate) last: u64,
    #[n(2)]
    at: Timestamp,
}

/// Whether it is the first of its feed.
pub(super) fn void(storage: &mut dyn Storage, at: Timestamp, feed: FeedNo, seq: u64) -> bool {
    let before = voids(storage, feed).map_or(0, |voids| voids.count);
    put(storage, VOIDS, &feed.key(), &Voids { count: before + 1, last: seq, at });
    before == 0
}

pub(crate) fn voids(storage: &dyn Read, feed: FeedNo) -> Option<Voids> {
    row(storage, VOIDS, &feed.key())
}
