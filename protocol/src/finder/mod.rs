//! Whom to dial, and when.
//!
//! Addresses come from mDNS, from memory, from the configuration, from HQ and from the terminals
//! themselves; all count alike and the first that works wins ([`places`] has their order). Of two
//! terminals that know each other the one with the lower PeerId dials at once and the other only after
//! [`PATIENCE`], so that there is mostly one connection. A neighbour that is lost or does not answer is
//! dialled again, ever more slowly up to [`BACKOFF_MAX`], for as long as anybody knows an address of
//! it; at once when this terminal's own addresses have changed, since that is what was wrong.
//!
//! Being wrong costs a dial: who answers is proven by the handshake, and whether it belongs to this
//! store by its certificate. [`Input`] and [`Output`] are the whole of it.

mod places;
mod refused;
mod why;

#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use std::{collections::BTreeMap, time::Duration};

use storemesh_keys::PeerId;

pub(crate) use self::why::Dial;
use self::{
    places::{Places, STAGGER, is_dialable},
    refused::Refused,
};
use crate::Instant;

/// How long the higher PeerId waits for the lower one's dial.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// The first pause after a round of dials that came to nothing; it doubles.
const BACKOFF: Duration = Duration::from_millis(500);
/// At most this long until the next try: a terminal switched on again should not wait longer.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A connection that ends sooner than this has not worked either.
const LASTING: Duration = Duration::from_secs(5);
/// A dial of a configured address that has not been answered for so long will not be.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Terminals remembered: twice the largest store, so that a flood of announcements ends.
const PEERS_MAX: usize = 128;

/// How an address came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FoundBy {
    Mdns,
    Hq,
    Remembered,
    Configured,
    /// It dialled us, and said where it listens.
    Hello,
}

#[derive(Clone, Debug)]
pub(crate) enum Input {
    Found {
        peer: PeerId,
        address: SocketAddr,
        by: FoundBy,
    },
    /// `peer` itself says where it listens, the best first; replaces what it said before.
    Told {
        peer: PeerId,
        addresses: Vec<SocketAddr>,
    },
    /// Where this terminal listens.
    Here(Vec<SocketAddr>),
    /// An address somebody configured without saying whose it is.
    Configured(SocketAddr),
    Connected {
        peer: PeerId,
        address: SocketAddr,
    },
    /// A dial was answered by `peer`, whether or not that connection stays.
    Answered {
        peer: PeerId,
        address: SocketAddr,
    },
    /// The connection is gone; `admitted` when both had shown good certificates on it.
    Lost {
        peer: PeerId,
        admitted: bool,
    },
    DialFailed {
        peer: Option<PeerId>,
        address: SocketAddr,
    },
    /// It is not one of ours, or no longer: forget it until it is found again, and not too soon.
    Forget(PeerId),
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Dial { peer: Option<PeerId>, address: SocketAddr },
}

#[derive(Debug)]
pub(crate) struct Finder {
    me: PeerId,
    here: Vec<IpAddr>,
    peers: BTreeMap<PeerId, Peer>,
    refused: Refused,
    /// Configured addresses; whoever answers there is remembered by its PeerId beside.
    configured: BTreeMap<SocketAddr, Spot>,
}

#[derive(Debug)]
struct Peer {
    places: Places,
    state: State,
    /// Rounds of dials in a row that came to nothing.
    failures: u32,
    /// It was admitted once.
    was_here: bool,
}

#[derive(Debug)]
struct Spot {
    answered_by: Option<PeerId>,
    state: State,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be dialled then.
    Idle(Instant),
    /// Dialled; the next dial is due then, or the answer to the last one.
    Dialling(Instant),
    /// Since then.
    Connected(Instant),
}

impl State {
    fn due(self) -> Instant {
        match self {
            Self::Idle(at) | Self::Dialling(at) => at,
            Self::Connected(_) => Instant::NEVER,
        }
    }
}

/// The lower PeerId dials at once.
fn wait(me: PeerId, id: PeerId) -> Duration {
    if me < id { Duration::ZERO } else { PATIENCE }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX)
}

impl Finder {
    pub(crate) fn new(me: PeerId) -> Self {
        let (here, refused) = (Vec::new(), Refused::default());
        Self { me, here, peers: BTreeMap::new(), refused, configured: BTreeMap::new() }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match input {
            Input::Found { peer, address, by } => self.found(now, peer, address, by),
            Input::Told { peer, addresses } => self.told(now, peer, &addresses),
            Input::Here(addresses) => self.moved(now, &addresses),
            Input::Configured(address) => {
                let spot = Spot { answered_by: None, state: State::Idle(now), failures: 0 };
                self.configured.entry(address).or_insert(spot);
            }
            Input::Connected { peer, address } => self.connected(now, peer, address),
            Input::Answered { peer, address } => self.answered(now, peer, address),
            Input::Lost { peer, admitted } => self.lost(now, peer, admitted),
            Input::DialFailed { peer: Some(peer), address } => {
                if let Some(known) = self.peers.get_mut(&peer)
                    && matches!(known.state, State::Dialling(_))
                {
                    known.failed(now, address);
                }
            }
            Input::DialFailed { peer: None, address } => {
                if let Some(spot) = self.configured.get_mut(&address)
                    && matches!(spot.state, State::Dialling(_))
                {
                    spot.failed(now);
                }
            }
            Input::Forget(peer) => {
                self.peers.remove(&peer);
                self.refused.insert(now, peer);
                for spot in self.configured.values_mut().filter(|s| s.answered_by == Some(peer)) {
                    spot.failed(now);
                }
            }
            Input::Tick => {}
        }
        self.dial_what_is_due(now)
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub(crate) fn deadline(&self) -> Instant {
        let peers = self.peers.values().map(|peer| peer.state.due());
        peers.chain(self.configured.values().map(|s| s.state.due())).min().unwrap_or(Instant::NEVER)
    }

    /// How `peer`'s most promising address came to be known, for people.
    pub(crate) fn found_by(&self, peer: &PeerId) -> Option<FoundBy> {
        self.peers.get(peer).and_then(|p| p.places.first()).map(|(_, by)| by)
    }

    /// Everybody ever found and not forgotten, with the most promising address.
    pub(crate) fn known(&self) -> impl Iterator<Item = (PeerId, SocketAddr, FoundBy)> {
        self.peers.iter().filter_map(|(id, peer)| peer.places.first().map(|(at, by)| (*id, at, by)))
    }

    fn found(&mut self, now: Instant, id: PeerId, address: SocketAddr, by: FoundBy) {
        if is_dialable(&address)
            && !self.refused.contains(now, &id)
            && self.make_known(now, id)
            && let Some(peer) = self.peers.get_mut(&id)
            && peer.places.found(address, by, &self.here)
        {
            peer.hurry(now + wait(self.me, id));
        }
    }

    fn told(&mut self, now: Instant, id: PeerId, addresses: &[SocketAddr]) {
        // It was let in, whatever it was before.
        self.refused.remove(&id);
        let addresses: Vec<_> = addresses.iter().copied().filter(is_dialable).collect();
        // Whoever says nowhere is not believed: it is somewhere.
        if !addresses.is_empty()
            && self.make_known(now, id)
            && let Some(peer) = self.peers.get_mut(&id)
            && peer.places.told(&addresses, &self.here)
        {
            peer.hurry(now + wait(self.me, id));
        }
    }

    /// Returns whether `id` is one of `peers` from now on.
    fn make_known(&mut self, now: Instant, id: PeerId) -> bool {
        if id == self.me {
            return false;
        }
        if !self.peers.contains_key(&id) && self.peers.len() >= PEERS_MAX && !self.make_room() {
            return false;
        }
        let due = now + wait(self.me, id);
        self.peers.entry(id).or_insert_with(|| Peer::new(State::Idle(due)));
        true
    }

    /// This terminal stands somewhere else in the network, or another network is there.
    fn moved(&mut self, now: Instant, addresses: &[SocketAddr]) {
        let here: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        if here == self.here {
            return;
        }
        self.here = here;
        for (id, peer) in &mut self.peers {
            peer.failures = 0;
            peer.hurry(now + wait(self.me, *id));
        }
        for spot in self.configured.values_mut() {
            spot.failures = 0;
            if let State::Idle(due) = &mut spot.state {
                *due = (*due).min(now);
            }
        }
    }

    /// Anybody on the network can announce what is not there: the announced that has answered least
    /// makes room for another.
    fn make_room(&mut self) -> bool {
        let idle = |peer: &Peer| !matches!(peer.state, State::Connected(_));
        let least = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                let announced = peer.places.all_by(FoundBy::Mdns);
                !peer.was_here && peer.failures > 0 && announced && idle(peer)
            })
            .max_by_key(|(_, peer)| peer.failures)
            .map(|(id, _)| *id);
        least.is_some_and(|id| self.peers.remove(&id).is_some())
    }

    fn connected(&mut self, now: Instant, id: PeerId, address: SocketAddr) {
        self.answered(now, id, address);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.state = State::Connected(now);
            peer.places.works(address);
        } else if self.peers.len() < PEERS_MAX {
            // It dialled us. Where it listens its hello will say.
            self.peers.insert(id, Peer::new(State::Connected(now)));
        }
    }

    /// Whoever is at a configured address is known now.
    fn answered(&mut self, now: Instant, id: PeerId, address: SocketAddr) {
        if let Some(spot) = self.configured.get_mut(&address) {
            spot.answered_by = Some(id);
            (spot.state, spot.failures) = (State::Connected(now), 0);
            self.found(now, id, address, FoundBy::Configured);
            if !self.peers.contains_key(&id)
                && let Some(spot) = self.configured.get_mut(&address)
            {
                // It is not kept, so nobody will say when it is lost.
                spot.state = State::Idle(now + BACKOFF_MAX);
            }
        }
    }

    fn lost(&mut self, now: Instant, id: PeerId, admitted: bool) {
        if let Some(peer) = self.peers.get_mut(&id)
            && let State::Connected(since) = peer.state
        {
            peer.was_here |= admitted;
            if peer.places.is_empty() {
                self.peers.remove(&id);
            } else if admitted && since + LASTING <= now {
                peer.failures = 0;
                peer.state = State::Idle(now + wait(self.me, id));
            } else {
                peer.round_failed(now);
            }
        }
        for spot in self.configured.values_mut().filter(|spot| spot.answered_by == Some(id)) {
            // Its PeerId is known by now: `peers` dials it. Somebody else may answer here later.
            spot.state = State::Idle(now + BACKOFF_MAX);
        }
    }

    fn dial_what_is_due(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        for (id, peer) in &mut self.peers {
            let dial = peer.dial_when_due(now, &self.here);
            outputs.extend(dial.map(|address| Output::Dial { peer: Some(*id), address }));
        }
        for (address, spot) in &mut self.configured {
            if let State::Dialling(until) = spot.state
                && until <= now
            {
                spot.failed(now);
            }
            if let State::Idle(due) = spot.state
                && due <= now
            {
                let there = spot.answered_by.and_then(|id| self.peers.get(&id));
                if there.is_some_and(|peer| matches!(peer.state, State::Connected(_))) {
                    spot.state = State::Connected(now);
                } else {
                    outputs.push(Output::Dial { peer: None, address: *address });
                    spot.state = State::Dialling(now + DIAL_TIMEOUT);
                }
            }
        }
        outputs
    }
}

impl Peer {
    fn new(state: State) -> Self {
        Self { places: Places::default(), state, failures: 0, was_here: false }
    }

    /// There is a reason to try sooner than the backoff says.
    fn hurry(&mut self, at: Instant) {
        match &mut self.state {
            State::Idle(due) => *due = (*due).min(at),
            State::Dialling(due) if self.places.is_any_ahead() => *due = (*due).min(at),
            State::Dialling(_) | State::Connected(_) => {}
        }
    }

    fn failed(&mut self, now: Instant, address: SocketAddr) {
        self.places.failed(address);
        if self.places.is_any_ahead() {
            self.state = State::Dialling(now);
        } else if self.places.last_answer().is_none() {
            self.round_failed(now);
        }
    }

    fn round_failed(&mut self, now: Instant) {
        self.state = State::Idle(now + backoff(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    fn dial_when_due(&mut self, now: Instant, here: &[IpAddr]) -> Option<SocketAddr> {
        match self.state {
            State::Idle(due) if due <= now => self.places.begin_round(here),
            State::Dialling(due) if due <= now => {}
            State::Idle(_) | State::Dialling(_) | State::Connected(_) => return None,
        }
        let Some(address) = self.places.dial(now) else {
            if self.places.is_empty() {
                self.state = State::Idle(Instant::NEVER);
            } else {
                self.round_failed(now);
            }
            return None;
        };
        let answer = self.places.last_answer().unwrap_or(now);
        let next = if self.places.is_any_ahead() { now + STAGGER } else { answer };
        self.state = State::Dialling(next);
        Some(address)
    }
}

impl Spot {
    fn failed(&mut self, now: Instant) {
        self.state = State::Idle(now + backoff(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}
