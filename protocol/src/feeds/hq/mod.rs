//! HQ's feeds: the journals of all stores, each entry once, and HQ's own word to the chain.

mod io;

use storemesh_keys::{HqSigner, Timestamp, Trust};

pub use self::io::{AppendError, Event, Input, Output};
use super::{Storage, ledger, stock};
use crate::Instant;

/// Every table of HQ's feeds.
pub const TABLES: &[&str] = &[
    ledger::FEEDS,
    ledger::ENTRIES,
    ledger::ACKS,
    ledger::CERTIFICATES,
    ledger::ONLINE,
    ledger::FORKS,
    stock::ITEMS,
    stock::MOVEMENTS,
    stock::COUNTS,
];

#[derive(Debug)]
pub struct HqFeeds {}

impl HqFeeds {
    /// Goes on from what storage holds; a new chain's first schema is written here.
    pub fn load(
        _signer: HqSigner,
        _trust: Trust,
        _wall: Timestamp,
        _storage: &mut dyn Storage,
    ) -> (Self, Vec<Output>) {
        (Self {}, Vec::new())
    }

    /// Takes a batch of inputs, and returns what must be done once `storage` is committed; `wall` is HQ's
    /// own clock, the chain's time.
    #[must_use]
    pub fn handle(
        &mut self,
        _now: Instant,
        _wall: Timestamp,
        _storage: &mut dyn Storage,
        _inputs: Vec<Input>,
    ) -> Vec<Output> {
        Vec::new()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::NEVER
    }
}
