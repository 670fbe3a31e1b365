//! How the chain's terminals are, as their gateways last said, and where they were last reachable.
//!
//! Who is alive is kept in memory alone and heard anew after a restart; addresses are saved when
//! they change, since a terminal may ask for its neighbours before any of them has called again.

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use storemesh_keys::{Name, PeerId, Timestamp};

use super::{registry::Terminal, releases::Releases};
use crate::{
    BadRow, Instant, Rows, Save,
    pace::Paces,
    wire::{
        mesh::{PRODUCTS_MAX, Phase, Presence},
        uplink::{ADDRESSES_MAX, Report},
    },
};

pub(super) const ADDRESSES: &str = "addresses.1";

#[derive(Debug, Default)]
pub(super) struct Fleet {
    seen: BTreeMap<PeerId, Seen>,
    listen: BTreeMap<PeerId, Vec<SocketAddr>>,
    moves: Paces<Vec<SocketAddr>>,
}

#[derive(Debug)]
struct Seen {
    /// The gateway saw it in its latest report.
    in_store: bool,
    last: Timestamp,
    presence: Presence,
}

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
struct Addresses {
    #[n(0)]
    peer: PeerId,
    #[cbor(n(1), with = "crate::wire::addr")]
    listen: Vec<SocketAddr>,
}

/// One terminal as the fleet list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetRow {
    pub peer: PeerId,
    pub name: Name,
    pub store: Name,
    /// It holds the lease, or an auxiliary one, and is connected.
    pub gateway: bool,
    /// Its gateway sees it, or it is connected itself.
    pub online: bool,
    /// When HQ last heard of it; none since HQ started.
    pub seen: Option<Timestamp>,
    pub products: Vec<ProductRow>,
}

/// One product of one terminal; only the name and the wish are known of a terminal not heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductRow {
    pub product: Name,
    pub wanted: Option<Name>,
    pub running: Option<Name>,
    pub phase: Phase,
    pub chunks_have: u32,
    pub chunks_total: u32,
    pub bytes_from_hq: u64,
    pub bytes_from_neighbours: u64,
    /// What there is too little room for, in [`Phase::NoRoom`].
    pub bytes_lacking: Option<u64>,
}

impl Fleet {
    pub(super) fn load(rows: &Rows) -> Result<Self, BadRow> {
        let mut fleet = Self::default();
        for row in rows.read::<Addresses>(ADDRESSES) {
            let (_, row) = row?;
            fleet.listen.insert(row.peer, row.listen);
        }
        Ok(fleet)
    }

    /// A terminal called and said where it listens.
    pub(super) fn called(
        &mut self,
        now: Instant,
        wall: Timestamp,
        peer: PeerId,
        listen: Vec<SocketAddr>,
    ) -> Option<Save> {
        let presence = self.seen.remove(&peer).map(|seen| seen.presence).unwrap_or_default();
        self.seen.insert(peer, Seen { in_store: true, last: wall, presence });
        self.listens(now, peer, listen)
    }

    /// Where a terminal listens from now on; a save when that is news, and not too fast.
    pub(super) fn listens(
        &mut self,
        now: Instant,
        peer: PeerId,
        mut listen: Vec<SocketAddr>,
    ) -> Option<Save> {
        listen.truncate(ADDRESSES_MAX);
        if listen.is_empty() {
            return None;
        }
        if self.listen.get(&peer) == Some(&listen) {
            self.moves.forget(&peer);
            return None;
        }
        let listen = self.moves.take(now, peer, listen)?;
        Some(self.moved(peer, listen))
    }

    /// The terminals whose addresses came too fast, and count now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(PeerId, Save)> {
        let due = self.moves.due(now);
        due.into_iter().map(|(peer, listen)| (peer, self.moved(peer, listen))).collect()
    }

    /// When [`Fleet::due`] has something to do.
    pub(super) fn deadline(&self) -> Instant {
        self.moves.deadline()
    }

    fn moved(&mut self, peer: PeerId, listen: Vec<SocketAddr>) -> Save {
        let row = Addresses { peer, listen };
        let save = Save::put(ADDRESSES, peer.as_bytes(), &row);
        self.listen.insert(peer, row.listen);
        save
    }

    pub(super) fn listen(&self, peer: &PeerId) -> &[SocketAddr] {
        self.listen.get(peer).map_or(&[], Vec::as_slice)
    }

    /// The gateway's report names all it sees; `members` are the store's terminals.
    pub(super) fn reported(
        &mut self,
        report: Report,
        members: impl Iterator<Item = PeerId>,
        wall: Timestamp,
    ) {
        let mut presences: BTreeMap<PeerId, Presence> =
            report.terminals.into_iter().map(|t| (t.peer, t.presence)).collect();
        for peer in members {
            let Some(mut presence) = presences.remove(&peer) else {
                if let Some(seen) = self.seen.get_mut(&peer) {
                    seen.in_store = false;
                }
                continue;
            };
            presence.products.truncate(PRODUCTS_MAX);
            self.seen.insert(peer, Seen { in_store: true, last: wall, presence });
        }
    }

    /// A connection ended. Nobody reports on those whom its terminal has seen as a gateway, until
    /// another is their gateway; whether a terminal that was none is well, only its gateway can tell.
    pub(super) fn gone(&mut self, peer: PeerId, seen_by_it: &BTreeSet<PeerId>) {
        for member in seen_by_it {
            if let Some(seen) = self.seen.get_mut(member) {
                seen.in_store = false;
            }
        }
        if let Some(seen) = self.seen.get_mut(&peer)
            && seen.presence.products.is_empty()
        {
            seen.in_store = false;
        }
    }

    pub(super) fn row(
        &self,
        peer: PeerId,
        terminal: &Terminal,
        gateway: bool,
        connected: bool,
        releases: &Releases,
    ) -> FleetRow {
        let seen = self.seen.get(&peer);
        let said = |product: &Name| {
            seen.and_then(|s| s.presence.products.iter().find(|p| p.product == *product))
        };
        let products = releases.wanted().map(|wanted| {
            let said = said(wanted.product());
            let running = said.and_then(|s| s.running.clone());
            // What it said of the release that was wanted before does not count for this one.
            let state = said.filter(|s| s.wanted == wanted.release.version);
            ProductRow {
                product: wanted.product().clone(),
                wanted: Some(wanted.release.version.clone()),
                running,
                phase: state.map_or(Phase::Waiting, |s| s.phase),
                chunks_have: state.map_or(0, |s| s.chunks_have),
                chunks_total: state.map_or(wanted.release.chunks, |s| s.chunks_total),
                bytes_from_hq: state.map_or(0, |s| s.bytes_from_hq),
                bytes_from_neighbours: state.map_or(0, |s| s.bytes_from_neighbours),
                bytes_lacking: state.and_then(|s| s.bytes_lacking),
            }
        });
        FleetRow {
            peer,
            name: terminal.name.clone(),
            store: terminal.store.clone(),
            gateway,
            online: connected || seen.is_some_and(|s| s.in_store),
            seen: seen.map(|s| s.last),
            products: products.collect(),
        }
    }
}
