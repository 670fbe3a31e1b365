//! A terminal's feeds: what its programs post, what its neighbours and HQ wrote, and who lacks what of it.

mod io;

use storemesh_keys::{Certificate, HqSigned, SecretKey, Trust};

pub use self::io::{
    AckLevel, Body, Event, FromFeeds, Input, KEY_MAX, Output, Post, PostError, Posted, ToFeeds,
};
use super::{Boot, Storage, ledger, stock};
use crate::Instant;

/// Every table of a terminal's feeds.
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

/// What the driver knows at start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This terminal's identity: it signs its entries.
    pub key: SecretKey,
    /// Random, this start's own.
    pub boot: Boot,
    /// As the terminal's other composite has it.
    pub certificate: HqSigned<Certificate>,
    pub trust: Trust,
}

#[derive(Debug)]
pub struct TerminalFeeds {}

impl TerminalFeeds {
    /// Goes on from what storage holds; the outputs are to be carried out like any others.
    pub fn load(_setup: Setup, _storage: &mut dyn Storage, _now: Instant) -> (Self, Vec<Output>) {
        (Self {}, Vec::new())
    }

    /// Takes a batch of inputs, and returns what must be done once `storage` is committed.
    #[must_use]
    pub fn handle(
        &mut self,
        _now: Instant,
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
