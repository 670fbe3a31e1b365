//! What a person is told of how a terminal is looked for.

use core::net::SocketAddr;

use storemesh_keys::PeerId;

use super::{Finder, FoundBy, State};
use crate::Instant;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// The one that is tried next stands first.
    pub(crate) addresses: Vec<(SocketAddr, FoundBy)>,
    pub(crate) dial: Dial,
    /// Rounds of dials in a row, each of all addresses, that came to nothing.
    pub(crate) failures: u32,
    /// It was admitted once since this node started.
    pub(crate) was_here: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dial {
    DueAt(Instant),
    UnderWay,
    Connected,
}

impl Finder {
    /// None when nobody has told where it is.
    pub(crate) fn search(&self, peer: &PeerId) -> Option<Search> {
        let peer = self.peers.get(peer)?;
        Some(Search {
            addresses: peer.places.all().collect(),
            dial: match peer.state {
                State::Idle(at) => Dial::DueAt(at),
                State::Dialling(_) => Dial::UnderWay,
                State::Connected(_) => Dial::Connected,
            },
            failures: peer.failures,
            was_here: peer.was_here,
        })
    }
}
