//! What is signed besides certificates: HQ's leases, orders and time, and a terminal's word on its
//! gateway.
//!
//! Leases and orders are numbered, and of two the higher number counts; neither carries an expiry, so
//! a store that HQ cannot reach goes on with what it last heard (design: a higher number ends a
//! lease).

use minicbor::{Decode, Encode};
use storemesh_keys::{ChainId, Expiry, Name, PeerId, Statement, Timestamp, Trust, VerifyError};

/// HQ's grant of the gateway role of a store to one terminal.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Lease {
    #[n(0)]
    pub chain: ChainId,
    #[n(1)]
    pub store: Name,
    /// 0 is the whole store; another number is an auxiliary lease, for one part of a store whose
    /// network is split.
    #[n(2)]
    pub part: u32,
    /// HQ's, raised when it is restored from a backup.
    #[n(3)]
    pub generation: u64,
    /// Rises at every grant to another holder, over all parts.
    #[n(4)]
    pub epoch: u64,
    #[n(5)]
    pub holder: PeerId,
    /// HQ's time when it signed.
    #[n(6)]
    pub at: Timestamp,
}

impl Lease {
    /// By which of two leases the newer one is told.
    pub fn order(&self) -> (u64, u64) {
        (self.generation, self.epoch)
    }
}

impl Statement for Lease {
    const CONTEXT: &'static str = "storemesh/1 lease";
    const MAX_BYTES: usize = 512;

    fn check(&self, trust: &Trust, _: Timestamp, _: Expiry) -> Result<(), VerifyError> {
        same_chain(self.chain, trust)
    }
}

/// A terminal's word that it does not see the holder of its store's lease.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Unseen {
    #[n(0)]
    pub chain: ChainId,
    #[n(1)]
    pub store: Name,
    /// Of the lease whose holder is not seen.
    #[n(2)]
    pub generation: u64,
    #[n(3)]
    pub epoch: u64,
    /// The neighbour that this is said to.
    #[n(4)]
    pub asker: PeerId,
    /// HQ's number for the asker's call: the word is good for nothing else.
    #[n(5)]
    pub challenge: u64,
}

impl Statement for Unseen {
    const CONTEXT: &'static str = "storemesh/1 unseen";
    const MAX_BYTES: usize = 512;
}

/// HQ's time. What else HQ signs is told again long after; this is signed when it is asked for.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct HqTime {
    #[n(0)]
    pub chain: ChainId,
    #[n(1)]
    pub at: Timestamp,
}

impl Statement for HqTime {
    const CONTEXT: &'static str = "storemesh/1 time";
    const MAX_BYTES: usize = 128;

    fn check(&self, trust: &Trust, _: Timestamp, _: Expiry) -> Result<(), VerifyError> {
        same_chain(self.chain, trust)
    }
}

pub(crate) fn same_chain(found: ChainId, trust: &Trust) -> Result<(), VerifyError> {
    if found == trust.chain {
        Ok(())
    } else {
        Err(VerifyError::WrongChain { found, ours: trust.chain })
    }
}
