//! The stream that carries feeds: between two neighbours, and between a terminal and HQ.
//!
//! Both sides speak alike. Each says how far it has each feed ([`Have`]), asks for ranges ([`Ask`]) and
//! gives entries ([`Batch`]), asked for or not; HQ's acknowledgements are passed on as they came. All of
//! it is safe to repeat and may be lost.

use minicbor::{Decode, Encode, bytes::ByteVec};
use storemesh_keys::{Certificate, HqSigned, OnlineKey, Signed};

use crate::feeds::{Ack, Boot, ENTRY_MAX, FeedId, Header};

/// The first byte of such a stream.
pub const FEEDS_STREAM: u8 = 2;
/// Feeds that one frame tells of, or asks for.
pub const FEEDS_MAX: usize = 512;
/// Entries that one frame gives.
pub const BATCH_MAX: usize = 512;
/// Their bytes: at 5 Mbit/s what is new waits for a tenth of a second behind one frame.
pub const BATCH_BYTES: usize = 64 * 1024;
/// What vouches for the entries of one batch, of each kind.
pub const VOUCHERS_MAX: usize = 64;
pub const ACKS_MAX: usize = 128;
pub const FORKS_MAX: usize = 16;
/// One entry more than [`BATCH_BYTES`], and what vouches for a batch.
pub const FEED_FRAME_MAX: usize = BATCH_BYTES + ENTRY_MAX + 256 * 1024;

#[derive(Clone, Debug, Default, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct FeedFrame {
    /// The sender's boot, in its first frame.
    #[n(0)]
    pub boot: Option<Boot>,
    #[n(1)]
    pub have: Option<Vec<Have>>,
    #[n(2)]
    pub ask: Option<Vec<Ask>>,
    #[n(3)]
    pub batch: Option<Batch>,
    #[n(4)]
    pub acks: Option<Vec<HqSigned<Ack>>>,
    /// Feeds of which the sender cannot give what it was asked for.
    #[n(5)]
    pub lacks: Option<Vec<FeedId>>,
    #[n(6)]
    pub forks: Option<Vec<Fork>>,
    /// Authors whose disk was seen to be cloned.
    #[n(7)]
    pub clones: Option<Vec<Cloned>>,
}

/// How far the sender has a feed; replaces what it said of that feed before.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Have {
    #[n(0)]
    pub feed: FeedId,
    /// The oldest entry it can give.
    #[n(1)]
    pub first: u64,
    #[n(2)]
    pub last: u64,
    /// The sender wrote the feed, and wants the receiver to keep a copy.
    #[n(3)]
    pub keep: bool,
    /// The last that HQ has acknowledged, in the highest generation that the sender knows.
    #[n(4)]
    pub acked: u64,
}

/// Give me these entries, `from` to `upto`, both included.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Ask {
    #[n(0)]
    pub feed: FeedId,
    #[n(1)]
    pub from: u64,
    #[n(2)]
    pub upto: u64,
}

/// Entries, those of one feed in order.
#[derive(Clone, Debug, Default, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Batch {
    /// Of feeds that begin here after their first entry: HQ's word for all before.
    #[n(0)]
    pub bases: Vec<HqSigned<Ack>>,
    /// Those that the entries name, and the sender has not sent on this stream before.
    #[n(1)]
    pub certificates: Vec<HqSigned<Certificate>>,
    /// Likewise, for HQ's own entries.
    #[n(2)]
    pub online: Vec<Signed<OnlineKey>>,
    /// Each an encoded [`Entry`](crate::feeds::Entry), as it came.
    #[n(3)]
    pub entries: Vec<ByteVec>,
}

/// Two entries with one number: their author, or somebody who has its key, wrote both.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Fork {
    #[n(0)]
    pub one: Signed<Header>,
    #[n(1)]
    pub other: Signed<Header>,
}

/// Two boots of one terminal that were alive at once.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Cloned {
    #[n(0)]
    pub author: crate::feeds::Author,
    #[n(1)]
    pub boots: [Boot; 2],
}
