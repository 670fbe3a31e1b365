//! The control stream between two neighbours.
//!
//! The first frame either way carries the [`Hello`] and nothing else is answered before it is
//! accepted. Later frames carry any of the other parts.

use core::{fmt, net::SocketAddr};
use std::time::Duration;

use minicbor::{Decode, Decoder, Encode, decode::Error as Unread};
use storemesh_keys::{Certificate, HqSigned, Name, PeerId, Signed, Timestamp};

use crate::{
    content::{Bits, ListId},
    statements::{HqTime, Lease, Unseen},
    wire::addr,
};

/// The first byte of a stream says what it is.
pub const CONTROL_STREAM: u8 = 0;
pub const BULK_STREAM: u8 = 1;
/// Whoever has nothing to say on the control stream for so long says that, by an empty frame.
pub const BEAT: Duration = Duration::from_millis(400);
/// A neighbour that is not heard for so long is gone: three beats, and some delay on the way.
pub const SILENCE: Duration = Duration::from_millis(1400);
/// A have-update names at most this many chunks; more travel as the whole map.
pub const GOT_MAX: usize = 4096;
/// Products whose state one presence reports.
pub const PRODUCTS_MAX: usize = 64;

/// Which of two neighbours goes first, so that they do not both do what one should: it opens the
/// control stream, and of two connections the one that it dialled stays.
pub fn goes_first(a: PeerId, b: PeerId) -> PeerId {
    a.min(b)
}

#[derive(Clone, Debug, Default, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Frame {
    #[n(0)]
    pub hello: Option<Hello>,
    /// The newest lease the sender knows. Neighbours take no gateway's word without it.
    #[n(1)]
    pub lease: Option<HqSigned<Lease>>,
    // 2 was a release that HQ wants, which travels in HQ's feed.
    /// All the sender has of one list of chunks; replaces what it said before.
    #[n(3)]
    pub have: Option<Have>,
    /// Chunks the sender has since then.
    #[n(4)]
    pub got: Option<Got>,
    /// How the sender is, for the gateway to report.
    #[n(5)]
    pub presence: Option<Presence>,
    /// I hold the lease, and do not reach HQ, or do again.
    #[n(6)]
    pub dark: Option<Dark>,
    /// Where the sender listens from now on.
    #[n(7)]
    pub listen: Option<Listen>,
    /// What the sender would be as a gateway; replaces what it said before.
    #[n(8)]
    pub candidate: Option<Candidate>,
    /// I hold the lease, and you would be the better gateway: ask HQ for it.
    #[n(9)]
    pub offer: Option<Offer>,
    /// Do you see the holder of this lease?
    #[n(10)]
    pub ask_unseen: Option<AskUnseen>,
    /// The answer.
    #[n(11)]
    pub unseen: Option<UnseenAnswer>,
    /// The terminals that the sender is connected to, at most
    /// [`TERMINALS_MAX`](super::uplink::TERMINALS_MAX); replaces what it said before. Said by the
    /// gateway alone.
    #[n(12)]
    pub sees: Option<Vec<Seen>>,
    /// What time it is at HQ; replaces what the sender said before.
    #[n(13)]
    pub time: Option<Time>,
}

/// HQ time as the sender knows it, and what that rests on.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Time {
    #[n(0)]
    pub hq_time: Timestamp,
    /// From HQ's signature; else it is a guess.
    #[n(1)]
    pub sure: bool,
    /// The newest that the sender has.
    #[n(2)]
    pub signed: Option<HqSigned<HqTime>>,
}

/// The lease holder's word that it does not reach HQ; with `over`, that it does again.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Dark {
    #[n(0)]
    pub over: Option<bool>,
}

/// What decides, in this order, which terminal of a store should be its gateway.
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of a terminal")]
#[derive(Clone, Copy, Debug, Default, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Candidate {
    #[n(0)]
    pub wired: bool,
    /// It does not run on a battery.
    #[n(1)]
    pub mains: bool,
    /// From its hello to HQ's welcome, at its last call; none before the first.
    #[n(2)]
    pub delay_ms: Option<u32>,
    /// What HQ's chunks came with when it last fetched any.
    #[n(3)]
    pub bytes_per_s: Option<u64>,
    #[n(4)]
    pub uptime_s: u32,
    /// What HQ wants finds no room on its disk: it cannot fetch for the others either.
    #[n(5)]
    pub no_room: bool,
    /// HQ has ended all that it writes: whoever takes it away, or has lost it, wants no store to hang on it.
    #[n(6)]
    pub ended: bool,
}

/// The lease holder's word that HQ will grant the lease to the receiver when it asks.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Offer {}

#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct AskUnseen {
    #[n(0)]
    pub generation: u64,
    #[n(1)]
    pub epoch: u64,
    /// HQ's number for the asker's call.
    #[n(2)]
    pub challenge: u64,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct UnseenAnswer {
    /// Signed by the sender; none when it sees the holder, or knows another lease.
    #[n(0)]
    pub word: Option<Signed<Unseen>>,
}

/// My addresses, the best first; replaces what the hello said.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Listen {
    #[cbor(n(0), with = "addr")]
    pub addresses: Vec<SocketAddr>,
}

/// A terminal that the sender has let in.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Seen {
    #[n(0)]
    pub peer: PeerId,
    #[n(1)]
    pub name: Name,
}

/// Who I am, and where else I can be reached, the best address first.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Hello {
    #[n(0)]
    pub certificate: HqSigned<Certificate>,
    #[cbor(n(1), with = "addr")]
    pub listen: Vec<SocketAddr>,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Have {
    #[n(0)]
    pub list: ListId,
    #[n(1)]
    pub chunks: Bits,
    /// The sender is still looking through its own disk: more may come.
    #[n(2)]
    pub more: Option<bool>,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Got {
    #[n(0)]
    pub list: ListId,
    #[n(1)]
    pub chunks: Vec<u32>,
}

/// I am here, and this is how my releases are. Replaces its predecessor.
#[derive(Clone, Debug, Default, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Presence {
    #[n(0)]
    pub products: Vec<ProductState>,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct ProductState {
    #[n(0)]
    pub product: Name,
    #[n(1)]
    pub wanted: Name,
    /// The version that runs, as the link on disk says.
    #[n(2)]
    pub running: Option<Name>,
    #[n(3)]
    pub chunks_have: u32,
    #[n(4)]
    pub chunks_total: u32,
    #[n(5)]
    pub bytes_from_hq: u64,
    #[n(6)]
    pub bytes_from_neighbours: u64,
    #[n(7)]
    pub phase: Phase,
    /// In [`Phase::NoRoom`]: how much room must be made, once that was measured.
    #[n(8)]
    pub bytes_lacking: Option<u64>,
}

/// How far a terminal is with a wanted release.
#[derive(Clone, Copy, Debug, Default, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Phase {
    /// Wanted, and another product's turn is first, or the disk is being looked over.
    #[default]
    #[n(0)]
    Waiting,
    /// The list of files and chunks is being fetched.
    #[n(1)]
    Manifest,
    /// What earlier releases already hold is copied in.
    #[n(2)]
    Staging,
    #[n(3)]
    Fetching,
    /// Synced to disk and switched to.
    #[n(4)]
    Activating,
    #[n(5)]
    Running,
    #[n(6)]
    Failed,
    /// There is too little room on its disk, or under its quota; it goes on when there is more.
    #[n(7)]
    NoRoom,
}

/// As every program says it, to people and to other programs.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Manifest => "manifest",
            Self::Staging => "staging",
            Self::Fetching => "fetching",
            Self::Activating => "activating",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::NoRoom => "no_room",
        })
    }
}

/// One that a newer version has reads as waiting: the sender is on its way somehow.
impl<'b, C> Decode<'b, C> for Phase {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Unread> {
        Ok(match d.u64()? {
            1 => Self::Manifest,
            2 => Self::Staging,
            3 => Self::Fetching,
            4 => Self::Activating,
            5 => Self::Running,
            6 => Self::Failed,
            7 => Self::NoRoom,
            _ => Self::Waiting,
        })
    }
}
