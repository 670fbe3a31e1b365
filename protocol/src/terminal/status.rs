//! How one terminal is, for the people who look and for the gateway's report.

use core::net::SocketAddr;
use std::time::Duration;

use storemesh_keys::{ChainId, Name, PeerId, Timestamp};

use super::{FoundBy, Hardware, Terminal, admission::Stage, uplink::Uplink};
use crate::{
    Instant,
    content::ReleaseHead,
    install::{Job, Lacking, Product},
    swarm::Progress,
    time::clock::TimeView,
    wire::mesh::{PRODUCTS_MAX, Phase, Presence, ProductState},
};

#[derive(Clone, Debug)]
pub struct Status {
    pub name: Name,
    pub peer: PeerId,
    pub store: Name,
    pub chain: ChainId,
    pub hardware: Hardware,
    pub gateway: Option<GatewayView>,
    pub uplink: UplinkView,
    /// Why the last call to HQ came to nothing, if it did.
    pub hq_not_reached: Option<String>,
    /// Where HQ is called, in this order.
    pub hq_addresses: Vec<String>,
    /// By which what HQ dated is judged.
    pub time: TimeView,
    pub certificate_until: Timestamp,
    pub listen: Vec<SocketAddr>,
    pub neighbours: Vec<NeighbourView>,
    /// Terminals that the gateway reaches and this one does not.
    pub apart: Vec<ApartView>,
    pub releases: Vec<ReleaseView>,
    pub uptime: Duration,
    /// From the start to the first chunk that a neighbour sent.
    pub first_neighbour_chunk: Option<Duration>,
}

#[expect(clippy::struct_excessive_bools, reason = "each says one thing to a person")]
#[derive(Clone, Debug)]
pub struct GatewayView {
    pub peer: PeerId,
    pub name: Option<Name>,
    pub epoch: u64,
    /// The store's network is split: 0 is the whole store's gateway, another number that of a part.
    pub part: u32,
    pub me: bool,
    /// It is this terminal, or an admitted neighbour.
    pub connected: bool,
    /// It has said that it does not reach HQ, or is this terminal and does not.
    pub dark: bool,
    /// It sent wrong bytes: nothing is fetched from it.
    pub shunned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkView {
    Up,
    Connecting,
    None,
}

/// A neighbour, connected or only known of.
#[expect(clippy::struct_excessive_bools, reason = "each says one thing to a person")]
#[derive(Clone, Debug)]
pub struct NeighbourView {
    pub peer: PeerId,
    /// Known once it has shown its certificate.
    pub name: Option<Name>,
    pub connected: bool,
    pub address: SocketAddr,
    /// None when it dialled us and nobody had told of it.
    pub found_by: Option<FoundBy>,
    pub gateway: bool,
    /// It sent wrong bytes: nothing is fetched from it until this terminal starts anew.
    pub shunned: bool,
    /// Two copies of its disk were in use at once: it is not let in.
    pub kept_out: bool,
    /// How far it is with what this terminal wants or runs, as far as it has told.
    pub releases: Vec<NeighbourRelease>,
}

/// What is known of one product on a neighbour.
#[derive(Clone, Debug)]
pub struct NeighbourRelease {
    pub product: Name,
    /// Only the gateway is told.
    pub running: Option<Name>,
    pub phase: Option<Phase>,
    pub chunks_have: u32,
    pub chunks_total: u32,
}

/// A terminal that is here, and that the network keeps from this one.
#[derive(Clone, Debug)]
pub struct ApartView {
    pub peer: PeerId,
    pub name: Name,
}

#[derive(Clone, Debug)]
pub struct ReleaseView {
    pub product: Name,
    pub wanted: Option<Name>,
    pub running: Option<Name>,
    pub phase: Phase,
    pub chunks_have: u32,
    pub chunks_total: u32,
    /// Stored bytes, as are the others.
    pub bytes_have: u64,
    pub bytes_total: u64,
    pub bytes_from_hq: u64,
    pub bytes_from_neighbours: u64,
    /// What the disk held already when the download began.
    pub bytes_local: u64,
    /// From hearing of it to running it.
    pub took: Option<Duration>,
    pub note: Option<String>,
    /// What there is too little room for, and where.
    pub lacking: Option<Lacking>,
}

impl Terminal {
    pub fn status(&self, now: Instant) -> Status {
        let certificate = &self.membership.certificate;
        let gateway = self.gateway.gateway().map(|lease| GatewayView {
            peer: lease.holder,
            name: self.name_of(&lease.holder),
            epoch: lease.epoch,
            part: lease.part,
            me: lease.holder == self.me,
            connected: lease.holder == self.me || self.is_admitted(&lease.holder),
            dark: self.gateway.is_dark() || self.gateway.facts().holder_is_dark,
            shunned: self.swarm.shuns(&lease.holder),
        });
        Status {
            name: certificate.name.clone(),
            peer: self.me,
            store: certificate.store.clone(),
            chain: self.membership.chain,
            hardware: self.hardware,
            gateway,
            uplink: match self.uplink {
                Uplink::Up if self.gateway.speaks() => UplinkView::Up,
                Uplink::Up | Uplink::Opening | Uplink::Greeting { .. } => UplinkView::Connecting,
                Uplink::Down => UplinkView::None,
            },
            hq_not_reached: self
                .hq_not_reached
                .as_ref()
                .filter(|_| !self.gateway.speaks() && !self.gateway.is_served())
                .map(|hq| hq.why.clone()),
            hq_addresses: self.membership.hq.clone(),
            time: self.time_view(now),
            certificate_until: certificate.until,
            listen: self.listen.clone(),
            neighbours: self.neighbour_views(),
            apart: self.apart_views(now),
            releases: self.installer.products().map(|(n, p)| self.release_view(n, p)).collect(),
            uptime: now.since(self.started),
            first_neighbour_chunk: self.first_neighbour_chunk.map(|at| at.since(self.started)),
        }
    }

    /// What this terminal takes for HQ's time.
    pub fn time_view(&self, now: Instant) -> TimeView {
        self.clock.view(now)
    }

    /// What the gateway, or HQ, is told of this terminal.
    pub(super) fn presence(&self) -> Presence {
        let state = |(name, product): (&Name, &Product)| {
            let view = self.release_view(name, product);
            Some(ProductState {
                product: view.product,
                wanted: view.wanted.or_else(|| view.running.clone())?,
                running: view.running,
                chunks_have: view.chunks_have,
                chunks_total: view.chunks_total,
                bytes_from_hq: view.bytes_from_hq,
                bytes_from_neighbours: view.bytes_from_neighbours,
                phase: view.phase,
                bytes_lacking: view.lacking.map(|lacking| lacking.bytes),
            })
        };
        let products = self.installer.products().filter_map(state).take(PRODUCTS_MAX).collect();
        Presence { products }
    }

    pub(super) fn release_view(&self, name: &Name, product: &Product) -> ReleaseView {
        let running = product.running();
        let wanted = product.wanted.as_ref().map(|wanted| &wanted.release);
        let mut view = match &product.job {
            Some(job) => self.job_view(name, job),
            // It runs since before this start, or is about to be begun.
            None => idle_view(name, wanted, running),
        };
        view.wanted = wanted.map(|release| release.version.clone());
        view.running = running.map(|release| release.version.clone());
        view
    }

    fn job_view(&self, name: &Name, job: &Job) -> ReleaseView {
        let progress = |list| self.swarm.progress(list).unwrap_or_default();
        let pieces = progress(&job.pieces);
        let content = job.content.as_ref().map_or_else(Progress::default, progress);
        let manifest: u64 = job.release.manifest.iter().map(|c| u64::from(c.stored)).sum();
        ReleaseView {
            product: name.clone(),
            wanted: None,
            running: None,
            phase: job.phase,
            chunks_have: content.chunks_have,
            chunks_total: job.release.chunks,
            bytes_have: pieces.bytes_have + content.bytes_have,
            bytes_total: manifest + job.release.stored_bytes,
            bytes_from_hq: pieces.bytes_from_hq + content.bytes_from_hq,
            bytes_from_neighbours: pieces.bytes_from_neighbours + content.bytes_from_neighbours,
            bytes_local: job.bytes_local,
            took: job.took,
            note: job.note.clone(),
            lacking: job.lacking,
        }
    }

    fn neighbour_views(&self) -> Vec<NeighbourView> {
        let holder = self.gateway.gateway().map(|lease| lease.holder);
        let connected = self.neighbours.iter().map(|(peer, neighbour)| NeighbourView {
            peer: *peer,
            name: self.name_of(peer),
            connected: matches!(neighbour.stage, Stage::Admitted),
            address: neighbour.address,
            found_by: self.finder.found_by(peer),
            gateway: holder == Some(*peer),
            releases: self.releases_of(peer),
            shunned: self.swarm.shuns(peer),
            kept_out: self.kept_out.contains(peer),
        });
        let away = self.finder.known().filter(|(peer, ..)| !self.neighbours.contains_key(peer));
        let away = away.map(|(peer, address, by)| NeighbourView {
            peer,
            name: self.name_of(&peer),
            connected: false,
            address,
            found_by: Some(by),
            gateway: holder == Some(peer),
            releases: Vec::new(),
            shunned: self.swarm.shuns(&peer),
            kept_out: self.kept_out.contains(&peer),
        });
        connected.chain(away).collect()
    }

    /// As it told, the gateway at every step and others now and then; and which chunks it holds.
    fn releases_of(&self, peer: &PeerId) -> Vec<NeighbourRelease> {
        let of_product = |(name, product): (&Name, &Product)| {
            let told = self
                .presences
                .of(peer)
                .and_then(|presence| presence.products.iter().find(|state| state.product == *name));
            let held = product.content().and_then(|(list, _)| self.swarm.held_by(peer, &list));
            if let Some(state) = told {
                return Some(NeighbourRelease {
                    product: name.clone(),
                    running: state.running.clone(),
                    phase: Some(state.phase),
                    // It may have told a while ago, and chunks are told of as they come.
                    chunks_have: held.unwrap_or(0).max(state.chunks_have),
                    chunks_total: state.chunks_total,
                });
            }
            let (list, chunks_total) = product.content()?;
            let chunks_have = self.swarm.held_by(peer, &list)?;
            let (product, running, phase) = (name.clone(), None, None);
            Some(NeighbourRelease { product, running, phase, chunks_have, chunks_total })
        };
        self.installer.products().filter_map(of_product).collect()
    }

    fn apart_views(&self, now: Instant) -> Vec<ApartView> {
        let apart = self.reach.apart(now);
        apart.map(|(peer, name)| ApartView { peer, name: name.clone() }).collect()
    }

    /// As its certificate or HQ has said, now or before.
    pub(super) fn name_of(&self, peer: &PeerId) -> Option<Name> {
        if *peer == self.me {
            return Some(self.membership.certificate.name.clone());
        }
        self.names.get(peer).cloned()
    }
}

fn idle_view(
    name: &Name,
    wanted: Option<&ReleaseHead>,
    running: Option<&ReleaseHead>,
) -> ReleaseView {
    let runs = running.is_some_and(|running| wanted.is_none_or(|w| w.id == running.id));
    let release = if runs { running } else { wanted };
    let manifest = release.map_or(0, |r| r.manifest.iter().map(|c| u64::from(c.stored)).sum());
    let bytes_total = manifest + release.map_or(0, |r| r.stored_bytes);
    let chunks_total = release.map_or(0, |r| r.chunks);
    ReleaseView {
        product: name.clone(),
        wanted: None,
        running: None,
        phase: if runs { Phase::Running } else { Phase::Waiting },
        chunks_have: if runs { chunks_total } else { 0 },
        chunks_total,
        bytes_have: if runs { bytes_total } else { 0 },
        bytes_total,
        bytes_from_hq: 0,
        bytes_from_neighbours: 0,
        bytes_local: 0,
        took: None,
        note: None,
        lacking: None,
    }
}
