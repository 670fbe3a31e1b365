//! Where terminals listen: this one tells its neighbours and HQ when that changes, and hears them.

use core::net::SocketAddr;

use storemesh_keys::{Name, PeerId};

use super::{NEIGHBOURS, Output, Terminal, admission::Remembered, mesh, uplink};
use crate::{Instant, Save, finder, wire::uplink::ADDRESSES_MAX};

impl Terminal {
    /// This machine's own addresses, the best first.
    pub(super) fn listening(
        &mut self,
        now: Instant,
        addresses: Vec<SocketAddr>,
        outputs: &mut Vec<Output>,
    ) {
        if self.listen == addresses {
            return;
        }
        self.listen.clone_from(&addresses);
        for neighbour in self.neighbours.values_mut() {
            neighbour.listen_untold = true;
        }
        let admitted: Vec<PeerId> = self.admitted().collect();
        for peer in admitted {
            self.tell_listen(peer, outputs);
        }
        if self.uplink.is_greeted() {
            outputs.push(uplink::tell_listen(&self.listen));
        }
        self.find(now, finder::Input::Here(addresses), outputs);
    }

    /// Where this terminal listens, to a neighbour that does not know it yet.
    pub(super) fn tell_listen(&mut self, peer: PeerId, outputs: &mut Vec<Output>) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        // A terminal that is leaving the network has nothing to say that anybody could use.
        if std::mem::take(&mut neighbour.listen_untold) && !self.listen.is_empty() {
            outputs.push(mesh::tell_listen(peer, self.listen.clone()));
        }
    }

    /// Where an admitted neighbour listens, from its hello or since.
    pub(super) fn hear_listen(
        &mut self,
        now: Instant,
        peer: PeerId,
        mut listen: Vec<SocketAddr>,
        outputs: &mut Vec<Output>,
    ) {
        listen.truncate(ADDRESSES_MAX);
        let Some(neighbour) = self.neighbours.get(&peer) else { return };
        if listen.is_empty() {
            return;
        }
        if neighbour.listen == listen {
            self.moves.forget(&peer);
        } else if let Some(listen) = self.moves.take(now, peer, listen) {
            self.moved(now, peer, listen, outputs);
        }
    }

    /// Neighbours whose addresses came too fast, and count now.
    pub(super) fn hear_late_listens(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        for (peer, listen) in self.moves.due(now) {
            self.moved(now, peer, listen, outputs);
        }
    }

    fn moved(
        &mut self,
        now: Instant,
        peer: PeerId,
        listen: Vec<SocketAddr>,
        outputs: &mut Vec<Output>,
    ) {
        // One that has gone says it anew when it comes back.
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.listen.clone_from(&listen);
        let name: Option<Name> = self.names.get(&peer).cloned();
        let row = Remembered { peer, listen: listen.clone(), name };
        outputs.push(Output::Save(Save::put(NEIGHBOURS, peer.as_bytes(), &row)));
        self.find(now, finder::Input::Told { peer, addresses: listen }, outputs);
    }
}
