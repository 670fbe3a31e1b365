//! Which connections stand, and which of two to one peer stays.

use std::collections::BTreeMap;

use libp2p::swarm::ConnectionId;
use storemesh_keys::PeerId;
use storemesh_protocol::wire::mesh::goes_first;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialled {
    ByUs,
    ByThem,
}

#[derive(Debug)]
pub(super) struct Peers {
    me: PeerId,
    connections: BTreeMap<PeerId, Vec<(ConnectionId, Dialled)>>,
}

impl Peers {
    pub(super) fn new(me: PeerId) -> Self {
        Self { me, connections: BTreeMap::new() }
    }

    /// Returns the connection to close, when this one makes two: the one that the higher dialled,
    /// or, of two that the same side dialled, the newer: the older one is in use.
    pub(super) fn connected(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        by: Dialled,
    ) -> Option<ConnectionId> {
        let first = goes_first(self.me, peer);
        let ours = if first == self.me { Dialled::ByUs } else { Dialled::ByThem };
        let known = self.connections.entry(peer).or_default();
        known.push((id, by));
        if known.len() < 2 {
            return None;
        }
        let surplus = known.iter().position(|(_, by)| *by != ours).unwrap_or(known.len() - 1);
        Some(known.remove(surplus).0)
    }

    pub(super) fn closed(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(known) = self.connections.get_mut(&peer) {
            known.retain(|(other, _)| *other != id);
            if known.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }
}
