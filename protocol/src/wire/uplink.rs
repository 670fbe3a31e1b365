//! The control stream between a terminal and HQ.
//!
//! The terminal opens it and greets; HQ answers with a [`Welcome`], which proves by the chain root
//! that the key at the other end of the QUIC connection is HQ's. The terminal takes nothing else
//! before that. A terminal without a certificate may only enrol.

use core::net::SocketAddr;

use minicbor::{Decode, Encode};
use storemesh_keys::{
    Certificate, Enrolment, HqSigned, Name, OnlineKey, PeerId, PublicKey, Signed,
};

use crate::{
    statements::{HqTime, Lease, Unseen},
    wire::{
        addr,
        mesh::{Listen, Presence},
    },
};

/// Addresses HQ remembers and tells for one terminal.
pub const ADDRESSES_MAX: usize = 8;
/// Terminals of one store that HQ names in a welcome or a gateway in a report.
pub const TERMINALS_MAX: usize = 128;

#[derive(Clone, Debug, Default, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct ToHq {
    #[n(0)]
    pub hello: Option<Hello>,
    #[n(1)]
    pub enrol: Option<Enrol>,
    #[n(2)]
    pub ask_lease: Option<AskLease>,
    #[n(3)]
    pub report: Option<Report>,
    /// The answer to a ping, with its number.
    #[n(4)]
    pub pong: Option<u64>,
    /// The holder of the lease gives it back.
    #[n(5)]
    pub give_back: Option<GiveBack>,
    /// Where the terminal listens from now on; replaces what its hello said.
    #[n(6)]
    pub listen: Option<Listen>,
    #[n(7)]
    pub ask_part: Option<AskPart>,
    #[n(8)]
    pub ask_time: Option<AskTime>,
}

/// I hold an invitation and want a certificate.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Enrol {
    /// The public key of the invitation's secret, by which HQ finds it.
    #[n(0)]
    pub invitation: PublicKey,
    /// Signed with that secret.
    #[n(1)]
    pub proof: Signed<Enrolment>,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Hello {
    /// None while the terminal has yet to enrol.
    #[n(0)]
    pub certificate: Option<HqSigned<Certificate>>,
    #[cbor(n(1), with = "addr")]
    pub listen: Vec<SocketAddr>,
}

/// I can reach HQ and see no gateway: may I be it?
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct AskLease {}

/// What time is it at HQ?
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct AskTime {}

/// I hold the lease and am about to stop, or would rather see another hold it.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct GiveBack {
    /// Whom HQ should grant it to; until that one asks, the sender goes on.
    #[n(0)]
    pub to: Option<PeerId>,
}

/// I and my neighbours do not see the gateway: may I be it for this part of the store?
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct AskPart {
    /// The number that came with HQ's answer to `ask_lease`.
    #[n(0)]
    pub challenge: u64,
    /// Of all the asker's neighbours.
    #[n(1)]
    pub words: Vec<Word>,
}

/// What a neighbour has signed.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Word {
    #[n(0)]
    pub by: PeerId,
    #[n(1)]
    pub unseen: Signed<Unseen>,
}

/// How the terminals of the store are, those the gateway sees.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Report {
    #[n(0)]
    pub terminals: Vec<TerminalState>,
    /// Of the lease by which the sender reports: an older one does not speak for the store.
    #[n(1)]
    pub epoch: u64,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct TerminalState {
    #[n(0)]
    pub peer: PeerId,
    #[n(1)]
    pub presence: Presence,
}

#[derive(Clone, Debug, Default, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct FromHq {
    #[n(0)]
    pub welcome: Option<Welcome>,
    #[n(1)]
    pub enrolled: Option<HqSigned<Certificate>>,
    #[n(2)]
    pub refused: Option<Refused>,
    /// The answer to `ask_lease`: the asker's own new lease, or the one that stands.
    #[n(3)]
    pub lease: Option<HqSigned<Lease>>,
    // 4 was a release that HQ wants, which travels in HQ's feed.
    /// Another terminal asks for the lease: is its holder there? To be answered at once.
    #[n(5)]
    pub ping: Option<u64>,
    /// Comes with a lease that another holds: whoever does not see that gateway may have its
    /// neighbours sign this number, and ask for an auxiliary lease.
    #[n(6)]
    pub challenge: Option<u64>,
    /// The auxiliary lease of this epoch has ended.
    #[n(7)]
    pub ended: Option<u64>,
    /// The answer to `ask_time`; also comes with the first welcome, for a terminal that HQ knows.
    #[n(8)]
    pub time: Option<HqSigned<HqTime>>,
}

/// The answer to a hello; said again when the addresses of the store's other terminals change.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Welcome {
    /// Vouches for the key that HQ holds in this connection's handshake.
    #[n(0)]
    pub online: Signed<OnlineKey>,
    /// The store's other terminals, for one that HQ knows.
    #[n(1)]
    pub terminals: Vec<Known>,
}

/// A terminal of the store, and where it was last reachable.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Known {
    #[n(0)]
    pub peer: PeerId,
    #[n(1)]
    pub name: Name,
    #[cbor(n(2), with = "addr")]
    pub listen: Vec<SocketAddr>,
}

/// HQ says no, and what the person should do.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Refused {
    #[n(0)]
    pub why: String,
}
