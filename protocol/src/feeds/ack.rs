//! HQ's word that it holds a feed up to an entry.
//!
//! It names the entry's number and header hash, so a feed whose older entries were trimmed is verified
//! from it. It holds only in its generation: an HQ restored from a backup may have lost what it had
//! acknowledged, and terminals offer again all that they still keep.

use minicbor::{Decode, Encode};
use storemesh_keys::{ChainId, Expiry, Statement, Timestamp, Trust, VerifyError};

use super::entry::{FeedId, HeaderHash};
use crate::statements::same_chain;

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Ack {
    #[n(0)]
    pub chain: ChainId,
    #[n(1)]
    pub generation: u64,
    #[n(2)]
    pub feed: FeedId,
    #[n(3)]
    pub seq: u64,
    /// Of that entry's header.
    #[n(4)]
    pub hash: HeaderHash,
    /// HQ's time when it signed.
    #[n(5)]
    pub at: Timestamp,
}

impl Ack {
    /// Of two for one feed the higher counts.
    pub fn order(&self) -> (u64, u64) {
        (self.generation, self.seq)
    }
}

impl Statement for Ack {
    const CONTEXT: &'static str = "storemesh/1 ack";
    const MAX_BYTES: usize = 512;

    fn check(&self, trust: &Trust, _: Timestamp, _: Expiry) -> Result<(), VerifyError> {
        same_chain(self.chain, trust)
    }
}
