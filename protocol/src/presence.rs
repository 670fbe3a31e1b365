//! Telling how this terminal is: to the gateway, and as the gateway to HQ for the whole store.
//!
//! A presence replaces the one before and is never kept. It is sent when something has changed, at
//! most once per [`EVERY`], so that a download costs HQ's link next to nothing. A gateway that has
//! just been made tells HQ at once.

use std::{collections::BTreeMap, time::Duration};

use storemesh_keys::PeerId;

use crate::{Instant, wire::mesh::Presence};

/// The pace of a bar that a person watches.
const EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// Something about this terminal is not as it was.
    Changed,
    /// A neighbour told how it is.
    Told {
        peer: PeerId,
        presence: Presence,
    },
    /// An admitted neighbour, of which nothing is known yet.
    NeighbourUp(PeerId),
    NeighbourLost(PeerId),
    /// Who the gateway is: this terminal itself, with HQ on the line, or a neighbour.
    Gateway(To),
    Tick,
}

/// Whom to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Nobody,
    Neighbour(PeerId),
    /// By the lease of this epoch: HQ knows nothing of a new one's holder yet.
    Hq {
        epoch: u64,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// Tell `peer` how this terminal is.
    Tell(PeerId),
    /// Tell HQ how this terminal and these are.
    Report(Vec<(PeerId, Presence)>),
}

#[derive(Debug)]
pub(crate) struct Presences {
    to: To,
    neighbours: BTreeMap<PeerId, Presence>,
    changed: bool,
    not_before: Instant,
}

impl Presences {
    pub(crate) fn new() -> Self {
        Self { to: To::Nobody, neighbours: BTreeMap::new(), changed: true, not_before: Instant(0) }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Option<Output> {
        match input {
            Input::Changed => self.changed = true,
            Input::Told { peer, presence } => {
                if let Some(known) = self.neighbours.get_mut(&peer) {
                    *known = presence;
                    self.changed |= matches!(self.to, To::Hq { .. });
                }
            }
            Input::NeighbourUp(peer) => {
                self.neighbours.insert(peer, Presence::default());
                self.changed = true;
            }
            Input::NeighbourLost(peer) => {
                self.changed |=
                    self.neighbours.remove(&peer).is_some() && matches!(self.to, To::Hq { .. });
            }
            Input::Gateway(to) => {
                if self.to != to {
                    self.to = to;
                    self.changed = true;
                    self.not_before = now;
                }
            }
            Input::Tick => {}
        }
        if self.deadline() > now {
            return None;
        }
        self.changed = false;
        self.not_before = now + EVERY;
        match self.to {
            To::Nobody => None,
            To::Neighbour(peer) => Some(Output::Tell(peer)),
            To::Hq { .. } => {
                let all = self.neighbours.iter().map(|(peer, presence)| (*peer, presence.clone()));
                Some(Output::Report(all.collect()))
            }
        }
    }

    /// How an admitted neighbour is, if it has told: it tells the gateway alone.
    pub(crate) fn of(&self, peer: &PeerId) -> Option<&Presence> {
        self.neighbours.get(peer).filter(|presence| !presence.products.is_empty())
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub(crate) fn deadline(&self) -> Instant {
        let known = match self.to {
            To::Nobody => false,
            To::Neighbour(peer) => self.neighbours.contains_key(&peer),
            To::Hq { .. } => true,
        };
        if self.changed && known { self.not_before } else { Instant::NEVER }
    }
}
