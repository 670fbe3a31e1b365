//! Whom to dial, and when.
//!
//! Addresses come from mDNS, from memory, from the configuration and from HQ; all count alike and
//! the first that works wins. Of two terminals that know each other the one with the lower PeerId
//! dials at once and the other only after [`PATIENCE`], so that there is mostly one connection.
//! A neighbour that is lost or does not answer is dialled again, ever more slowly up to
//! [`BACKOFF_MAX`], for as long as anybody knows an address of it.
//!
//! Being wrong costs a dial: who answers is proven by the handshake, and whether it belongs to this
//! store by its certificate. [`Input`] and [`Output`] are the whole of it.

mod why;

use core::net::SocketAddr;
use std::{collections::BTreeMap, time::Duration};

use storemesh_keys::PeerId;

pub(crate) use self::why::Dial;
use crate::Instant;

/// How long the higher PeerId waits for the lower one's dial.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// The first pause after a dial that came to nothing; it doubles.
const BACKOFF: Duration = Duration::from_millis(500);
/// At most this long until the next try: a terminal switched on again should not wait longer.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A connection that ends sooner than this has not worked either.
const LASTING: Duration = Duration::from_secs(5);
/// A dial that has not been answered for so long will not be.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Terminals remembered: twice the largest store, so that a flood of announcements ends.
const PEERS_MAX: usize = 128;
/// Addresses remembered for each; the one that answered last stays.
const ADDRESSES_MAX: usize = 8;

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
    /// It is not one of ours, or no longer: forget it until it is found again.
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
    peers: BTreeMap<PeerId, Peer>,
    /// Configured addresses; whoever answers there is remembered by its PeerId beside.
    configured: BTreeMap<SocketAddr, Spot>,
}

#[derive(Debug)]
struct Peer {
    /// The most promising last.
    addresses: Vec<(SocketAddr, FoundBy)>,
    state: State,
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
    /// Dialled, and no answer expected after that.
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

fn backoff(failures: u32) -> Duration {
    BACKOFF.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX)
}

impl Finder {
    pub(crate) fn new(me: PeerId) -> Self {
        Self { me, peers: BTreeMap::new(), configured: BTreeMap::new() }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match input {
            Input::Found { peer, address, by } => self.found(now, peer, address, by),
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

    /// How `peer` came to be known first, for people.
    pub(crate) fn found_by(&self, peer: &PeerId) -> Option<FoundBy> {
        self.peers.get(peer).and_then(|p| p.addresses.last()).map(|(_, by)| *by)
    }

    /// Everybody ever found and not forgotten, with the most promising address.
    pub(crate) fn known(&self) -> impl Iterator<Item = (PeerId, SocketAddr, FoundBy)> {
        self.peers
            .iter()
            .filter_map(|(id, peer)| peer.addresses.last().map(|(at, by)| (*id, *at, *by)))
    }

    fn found(&mut self, now: Instant, id: PeerId, address: SocketAddr, by: FoundBy) {
        if id == self.me {
            return;
        }
        if !self.peers.contains_key(&id) && self.peers.len() >= PEERS_MAX && !self.make_room() {
            return;
        }
        let wait = if self.me < id { Duration::ZERO } else { PATIENCE };
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            addresses: Vec::new(),
            state: State::Idle(now + wait),
            failures: 0,
            was_here: false,
        });
        if peer.addresses.iter().any(|(known, _)| *known == address) {
            return;
        }
        if peer.addresses.len() >= ADDRESSES_MAX {
            peer.addresses.remove(0);
        }
        // The newest is tried first; while connected, the one in use stays the most promising.
        let last = peer.addresses.len();
        let at =
            if matches!(peer.state, State::Connected(_)) { last.saturating_sub(1) } else { last };
        peer.addresses.insert(at, (address, by));
        if let State::Idle(due) = &mut peer.state {
            // News is a reason to try sooner than the backoff says.
            *due = (*due).min(now + wait);
        }
    }

    /// Anybody on the network can announce what is not there: the announced that has answered least
    /// makes room for another.
    fn make_room(&mut self) -> bool {
        let announced = |peer: &Peer| peer.addresses.iter().all(|(_, by)| *by == FoundBy::Mdns);
        let idle = |peer: &Peer| !matches!(peer.state, State::Connected(_));
        let least = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                !peer.was_here && peer.failures > 0 && announced(peer) && idle(peer)
            })
            .max_by_key(|(_, peer)| peer.failures)
            .map(|(id, _)| *id);
        least.is_some_and(|id| self.peers.remove(&id).is_some())
    }

    fn connected(&mut self, now: Instant, id: PeerId, address: SocketAddr) {
        self.answered(now, id, address);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.state = State::Connected(now);
            if let Some(at) = peer.addresses.iter().position(|(known, _)| *known == address) {
                let used = peer.addresses.remove(at);
                peer.addresses.push(used);
            }
        } else if self.peers.len() < PEERS_MAX {
            // It dialled us. Where it listens its hello will say.
            let (state, failures) = (State::Connected(now), 0);
            let was_here = false;
            self.peers.insert(id, Peer { addresses: Vec::new(), state, failures, was_here });
        }
    }

    /// Whoever is at a configured address is known now.
    fn answered(&mut self, now: Instant, id: PeerId, address: SocketAddr) {
        if let Some(spot) = self.configured.get_mut(&address) {
            spot.answered_by = Some(id);
            (spot.state, spot.failures) = (State::Connected(now), 0);
            self.found(now, id, address, FoundBy::Configured);
        }
    }

    fn lost(&mut self, now: Instant, id: PeerId, admitted: bool) {
        let wait = if self.me < id { Duration::ZERO } else { PATIENCE };
        if let Some(peer) = self.peers.get_mut(&id)
            && let State::Connected(since) = peer.state
        {
            peer.was_here |= admitted;
            if let Some((address, _)) = peer.addresses.last().copied() {
                if admitted && since + LASTING <= now {
                    peer.failures = 0;
                    peer.state = State::Idle(now + wait);
                } else {
                    peer.failed(now, address);
                }
            } else {
                self.peers.remove(&id);
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
            if let State::Dialling(until) = peer.state
                && until <= now
                && let Some((address, _)) = peer.addresses.last().copied()
            {
                peer.failed(now, address);
            }
            if let State::Idle(due) = peer.state
                && due <= now
            {
                match peer.addresses.last() {
                    Some((address, _)) => {
                        outputs.push(Output::Dial { peer: Some(*id), address: *address });
                        peer.state = State::Dialling(now + DIAL_TIMEOUT);
                    }
                    None => peer.state = State::Idle(Instant::NEVER),
                }
            }
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
    /// The next address has its turn; after a round of all, a pause.
    fn failed(&mut self, now: Instant, address: SocketAddr) {
        if let Some(at) = self.addresses.iter().position(|(known, _)| *known == address) {
            let tried = self.addresses.remove(at);
            self.addresses.insert(0, tried);
        }
        self.failures = self.failures.saturating_add(1);
        let round = u32::try_from(self.addresses.len().max(1)).unwrap_or(u32::MAX);
        let wait = if self.failures.is_multiple_of(round) {
            backoff(self.failures / round - 1)
        } else {
            Duration::from_millis(1)
        };
        self.state = State::Idle(now + wait);
    }
}

impl Spot {
    fn failed(&mut self, now: Instant) {
        self.state = State::Idle(now + backoff(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: PeerId = PeerId::from_bytes([1; 32]);
    const HIGH: PeerId = PeerId::from_bytes([2; 32]);

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn found(peer: PeerId, port: u16) -> Input {
        Input::Found { peer, address: at(port), by: FoundBy::Mdns }
    }

    #[test]
    fn the_lower_peer_dials_at_once_and_the_higher_when_nobody_came() {
        let now = Instant(5);
        let dial = |peer, port| vec![Output::Dial { peer: Some(peer), address: at(port) }];
        assert_eq!(Finder::new(LOW).handle(now, found(HIGH, 1)), dial(HIGH, 1));

        let mut high = Finder::new(HIGH);
        assert_eq!(high.handle(now, found(LOW, 1)), []);
        assert_eq!(high.deadline(), now + PATIENCE);
        assert_eq!(high.handle(now + PATIENCE, Input::Tick), dial(LOW, 1));
    }

    #[test]
    fn a_neighbour_that_dialled_us_is_not_dialled() {
        let mut finder = Finder::new(HIGH);
        assert_eq!(finder.handle(Instant(0), found(LOW, 1)), []);
        assert_eq!(finder.handle(Instant(1), Input::Connected { peer: LOW, address: at(9) }), []);
        assert_eq!(finder.deadline(), Instant::NEVER);
    }

    #[test]
    fn every_address_has_its_turn_before_there_is_a_pause() {
        let mut finder = Finder::new(LOW);
        let mut now = Instant(0);
        let mut dialled = finder.handle(now, found(HIGH, 1));
        assert!(finder.handle(now, found(HIGH, 2)).is_empty(), "one dial at a time");
        for _ in 0..3 {
            let Some(Output::Dial { address, .. }) = dialled.pop() else { panic!("no dial") };
            let failed = Input::DialFailed { peer: Some(HIGH), address };
            assert_eq!(finder.handle(now, failed), []);
            now = finder.deadline();
            dialled = finder.handle(now, Input::Tick);
        }
        assert_eq!(dialled, [Output::Dial { peer: Some(HIGH), address: at(2) }]);
        assert!(now >= Instant(0) + BACKOFF && now < Instant(0) + BACKOFF * 2);
    }

    #[test]
    fn a_lost_neighbour_is_dialled_again_for_ever_but_ever_more_slowly() {
        let mut finder = Finder::new(LOW);
        let mut now = Instant(0);
        let mut outputs = finder.handle(now, found(HIGH, 1));
        let mut last = now;
        for _ in 0..20 {
            assert_eq!(outputs.len(), 1);
            let failed = Input::DialFailed { peer: Some(HIGH), address: at(1) };
            assert_eq!(finder.handle(now, failed), []);
            last = now;
            now = finder.deadline();
            outputs = finder.handle(now, Input::Tick);
        }
        assert_eq!(now - last, BACKOFF_MAX);
    }

    #[test]
    fn a_neighbour_that_hangs_up_at_once_is_dialled_ever_more_slowly_too() {
        let mut finder = Finder::new(LOW);
        let mut now = Instant(0);
        assert_eq!(finder.handle(now, found(HIGH, 1)).len(), 1);
        for _ in 0..12 {
            let connected = Input::Connected { peer: HIGH, address: at(1) };
            assert_eq!(finder.handle(now, connected), []);
            let lost = Input::Lost { peer: HIGH, admitted: false };
            assert_eq!(finder.handle(now, lost), []);
            now = finder.deadline();
            assert_eq!(finder.handle(now, Input::Tick).len(), 1);
        }
        assert!(now > Instant(0) + BACKOFF_MAX * 4, "{now:?}");
    }

    #[test]
    fn a_flood_of_announcements_is_forgotten_past_the_limit() {
        let mut finder = Finder::new(LOW);
        for n in 0..1000_u16 {
            let mut bytes = [7; 32];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            _ = finder.handle(Instant(0), found(PeerId::from_bytes(bytes), n));
        }
        assert_eq!(finder.peers.len(), PEERS_MAX);
    }
}
