//! HQ's word that it holds a feed up to an entry.
//!
//! It names the entry's number and header hash, so a feed whose older entries were trimmed is verified
//! from it. It holds only in its generation: an HQ restored from a backup may have lost what it had
//! acknowledged, and terminals offer again all that they still keep.
//!
//! An HQ that was restored may have to go on behind a gap. It then names what is before the gap, and beside
//! that the run behind it: who has nothing of the gap has nothing more to give, and who has some of it keeps
//! it and offers it until HQ has it. So a gap is waited for by those alone who can fill it.

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
    /// Of that entry's header; [`HeaderHash::NONE`] where `seq` is 0, since all is behind a gap.
    #[n(4)]
    pub hash: HeaderHash,
    /// HQ's time when it signed.
    #[n(5)]
    pub at: Timestamp,
    /// What HQ holds behind its last gap.
    #[n(6)]
    pub behind: Option<Run>,
}

/// Entries without a gap between them.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Run {
    #[n(0)]
    pub from: u64,
    #[n(1)]
    pub upto: u64,
    /// Of the last header.
    #[n(2)]
    pub hash: HeaderHash,
}

impl Ack {
    /// Of two for one feed the higher counts. A gap may grow smaller from either side.
    pub fn order(&self) -> (u64, u64, u64, u64) {
        let from = self.behind.map_or(0, |run| run.from);
        (self.generation, self.seq, self.reach(), u64::MAX - from)
    }

    /// The last entry that HQ holds.
    pub fn reach(&self) -> u64 {
        self.behind.map_or(self.seq, |run| run.upto)
    }

    /// Whether entry `seq`, which names `previous`, comes right after what is before the gap.
    pub(crate) fn is_before(&self, seq: u64, previous: Option<HeaderHash>) -> bool {
        self.seq + 1 == seq && Some(self.hash) == previous
    }
}

impl Run {
    /// Whether that entry comes right after the run.
    pub(crate) fn is_before(&self, seq: u64, previous: Option<HeaderHash>) -> bool {
        self.upto + 1 == seq && Some(self.hash) == previous
    }
}

impl Statement for Ack {
    const CONTEXT: &'static str = "storemesh/1 ack";
    const MAX_BYTES: usize = 512;

    fn check(&self, trust: &Trust, _: Timestamp, _: Expiry) -> Result<(), VerifyError> {
        same_chain(self.chain, trust)
    }
}
