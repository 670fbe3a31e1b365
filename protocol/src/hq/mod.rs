//! One head office: routes what terminals and operators say to the machines that decide.
//!
//! It takes connections whose key the handshake has proven, their frames, and operators' orders;
//! it gives frames, saves and answers. A link may fetch chunks while [`Output::Fetching`] says so.
//! Nothing a terminal sends can make it fail: what does not read, or comes out of turn, ends that
//! link alone.

mod fleet;
mod leases;
mod link;
mod order;
mod registry;
mod releases;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use storemesh_keys::{HqSigner, Name, PeerId, Timestamp, Trust};

use self::{
    fleet::Fleet,
    leases::{GivenBack, Leases},
    link::Link,
    registry::Registry,
    releases::Releases,
};
pub use self::{
    fleet::{FleetRow, ProductRow},
    leases::SILENCE,
    order::{Answer, Order, Refusal, ReleaseRow, StoreRow},
    registry::{CERTIFICATE_VALID, INVITATION_VALID},
};
use crate::{BadRow, Instant, Rows, Save, feeds::hq::FromFeeds};

/// One connection of a terminal, numbered by the driver, never used twice.
pub type LinkId = u64;

/// Every table an HQ keeps.
pub const TABLES: &[&str] = &[
    registry::STORES,
    registry::INVITATIONS,
    registry::TERMINALS,
    fleet::ADDRESSES,
    leases::LEASES,
    releases::RELEASES,
    releases::FORMER_WANTED,
];

#[derive(Debug)]
pub enum Input {
    /// A connection stands, and the handshake proved that `peer` holds its key.
    Connected {
        link: LinkId,
        peer: PeerId,
    },
    /// A whole frame of its control stream.
    Frame {
        link: LinkId,
        bytes: Vec<u8>,
    },
    Disconnected {
        link: LinkId,
    },
    /// An operator or an operator's program wants something; answered under the same ticket.
    Order {
        ticket: u64,
        order: Order,
    },
    /// What HQ's feeds say.
    Feeds(FromFeeds),
    /// The [`Hq::deadline`] has come.
    Tick,
}

#[derive(Debug)]
pub enum Output {
    Save(Save),
    Send {
        link: LinkId,
        frame: Vec<u8>,
    },
    /// Let what was sent go out, then close.
    Close {
        link: LinkId,
        why: String,
    },
    /// `link` is a terminal of ours.
    Admitted {
        link: LinkId,
        name: Name,
        store: Name,
    },
    /// Whether `link` may fetch chunks from now on: by a lease, not before.
    Fetching {
        link: LinkId,
        may: bool,
    },
    Answer {
        ticket: u64,
        answer: Result<Answer, Refusal>,
    },
    /// From now on `peer` speaks for its store.
    Gateway {
        store: Name,
        peer: PeerId,
        name: Name,
        epoch: u64,
    },
    /// A terminal joined its store.
    Enrolled {
        store: Name,
        peer: PeerId,
        name: Name,
    },
}

#[derive(Debug)]
pub struct Hq {
    signer: HqSigner,
    trust: Trust,
    links: BTreeMap<LinkId, Link>,
    /// The admitted links of each terminal: mostly one, more while an old one dies.
    admitted: BTreeMap<PeerId, BTreeSet<LinkId>>,
    registry: Registry,
    fleet: Fleet,
    leases: Leases,
    releases: Releases,
    /// Terminals whose disk was cloned, as the feeds say.
    kept_out: BTreeSet<PeerId>,
}

impl Hq {
    /// Goes on from what was saved.
    ///
    /// # Errors
    /// A row that does not read, by its table.
    pub fn load(signer: HqSigner, trust: Trust, rows: &Rows) -> Result<Self, BadRow> {
        Ok(Self {
            registry: Registry::load(rows)?,
            fleet: Fleet::load(rows)?,
            leases: Leases::load(rows, &trust)?,
            releases: Releases::load(rows)?,
            kept_out: BTreeSet::new(),
            links: BTreeMap::new(),
            admitted: BTreeMap::new(),
            signer,
            trust,
        })
    }

    /// Takes one input; `wall` is HQ's own clock, the chain's time.
    #[must_use]
    pub fn handle(&mut self, now: Instant, wall: Timestamp, input: Input) -> Vec<Output> {
        match input {
            Input::Connected { link, peer } => {
                self.links.insert(link, Link::new(peer));
                Vec::new()
            }
            Input::Frame { link, bytes } => self.frame(now, wall, link, &bytes),
            Input::Disconnected { link } => {
                let mut outputs = Vec::new();
                self.hung_up(link, wall, &mut outputs);
                outputs
            }
            Input::Order { ticket, order } => {
                let mut outputs = Vec::new();
                let answer = self.order(order, wall, &mut outputs);
                outputs.push(Output::Answer { ticket, answer });
                outputs
            }
            Input::Feeds(FromFeeds::Wanted(wanted)) => {
                self.releases.is_wanted(wanted);
                Vec::new()
            }
            Input::Feeds(FromFeeds::KeepOut(peer)) => self.keep_out(peer),
            Input::Feeds(FromFeeds::LetIn(peer)) => {
                self.kept_out.remove(&peer);
                Vec::new()
            }
            Input::Tick => {
                let mut outputs = Vec::new();
                for (store, rulings) in self.leases.due(now, wall, &self.signer) {
                    // An auxiliary lease may have become ripe.
                    self.settle_fetching(&store, &mut outputs);
                    self.tell_rulings(&store, rulings, &mut outputs);
                }
                for (peer, save) in self.fleet.due(now) {
                    let store = self.registry.terminal(&peer).map(|known| known.store.clone());
                    if let Some(store) = store {
                        self.tell_moved(&store, peer, Some(save), &mut outputs);
                    }
                }
                outputs
            }
        }
    }

    fn hung_up(&mut self, id: LinkId, wall: Timestamp, outputs: &mut Vec<Output>) {
        let Some(Link { peer, member: Some(member), .. }) = self.links.remove(&id) else { return };
        if let Some(links) = self.admitted.get_mut(&peer) {
            links.remove(&id);
        }
        if self.link_of(peer).is_none() {
            self.admitted.remove(&peer);
            self.fleet.gone(peer, &self.leases.seen_by(&member.store, peer));
            self.leases.hung_up(&member.store, peer);
            let back = GivenBack::No;
            let rulings = self.leases.gone(wall, &self.signer, &member.store, peer, back);
            self.tell_rulings(&member.store, rulings, outputs);
        }
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.leases.deadline().min(self.fleet.deadline())
    }
}
