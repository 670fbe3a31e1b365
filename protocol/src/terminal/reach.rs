//! Which of the store's terminals this one cannot reach though they are here.
//!
//! The gateway tells its neighbours which terminals it is connected to, when that changes and at most
//! once per [`TELL_EVERY`]. A terminal that the gateway has seen for [`APART_AFTER`] and this one has
//! not is *apart*: both are on the network and the network does not let them speak, as the client
//! isolation of a Wi-Fi or a firewall does. Nothing follows from it but a word in `status`: the
//! gateway, or whoever else reaches both, passes on what they cannot give each other.
//!
//! The gateway's list may be late, or a lie: then the word is wrong for a while. [`Input`] and
//! [`Output`] are the whole of it, and [`Reach::apart`] is what it finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use storemesh_keys::{Name, PeerId};

use crate::Instant;

/// When a store is switched on all come within seconds: one list for all of them.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Finding each other takes a second or two; a neighbour that restarts is back by then.
const APART_AFTER: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) enum Input {
    /// An admitted neighbour.
    NeighbourUp(PeerId),
    NeighbourLost(PeerId),
    /// Who holds the lease, this terminal or another.
    Gateway(Option<PeerId>),
    /// A neighbour said to which terminals it is connected.
    Sees {
        from: PeerId,
        terminals: Vec<(PeerId, Name)>,
    },
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Tell every neighbour that these are the ones we are connected to.
    Tell(Vec<PeerId>),
}

#[derive(Debug)]
pub(super) struct Reach {
    me: PeerId,
    here: BTreeSet<PeerId>,
    gateway: Option<PeerId>,
    /// By the gateway, when that is another terminal.
    seen: BTreeMap<PeerId, Name>,
    /// Those of `seen` that are not here, and since when.
    missing: BTreeMap<PeerId, Instant>,
    /// What is here has changed since it was told.
    untold: bool,
    not_before: Instant,
}

impl Reach {
    pub(super) fn new(me: PeerId) -> Self {
        Self {
            me,
            here: BTreeSet::new(),
            gateway: None,
            seen: BTreeMap::new(),
            missing: BTreeMap::new(),
            untold: false,
            not_before: Instant(0),
        }
    }

    #[must_use]
    pub(super) fn handle(&mut self, now: Instant, input: Input) -> Option<Output> {
        match input {
            Input::NeighbourUp(peer) => self.untold |= self.here.insert(peer),
            Input::NeighbourLost(peer) => {
                self.untold |= self.here.remove(&peer);
                if self.gateway == Some(peer) {
                    self.seen.clear();
                }
            }
            Input::Gateway(gateway) => {
                if self.gateway != gateway {
                    self.gateway = gateway;
                    self.seen.clear();
                    self.untold = true;
                }
            }
            Input::Sees { from, terminals } => {
                if self.gateway == Some(from) {
                    self.seen =
                        terminals.into_iter().filter(|(peer, _)| *peer != self.me).collect();
                }
            }
            Input::Tick => {}
        }
        self.missing.retain(|peer, _| self.seen.contains_key(peer) && !self.here.contains(peer));
        for peer in self.seen.keys().filter(|peer| !self.here.contains(peer)) {
            self.missing.entry(*peer).or_insert(now);
        }
        if now < self.deadline() {
            return None;
        }
        self.untold = false;
        self.not_before = now + TELL_EVERY;
        Some(Output::Tell(self.here.iter().copied().collect()))
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub(super) fn deadline(&self) -> Instant {
        let tells = self.gateway == Some(self.me) && self.untold && !self.here.is_empty();
        if tells { self.not_before } else { Instant::NEVER }
    }

    /// Terminals that the gateway reaches and this one does not, by the names it gave them.
    pub(super) fn apart(&self, now: Instant) -> impl Iterator<Item = (PeerId, &Name)> {
        let long = move |peer: &PeerId| {
            self.missing.get(peer).is_some_and(|since| *since + APART_AFTER <= now)
        };
        self.seen.iter().filter(move |(peer, _)| long(peer)).map(|(peer, name)| (*peer, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{name, peer};

    const START: Instant = Instant(0);

    /// Terminal 1, whose gateway is 2 and sees 3.
    fn told() -> Reach {
        let mut reach = Reach::new(peer(1));
        for input in [
            Input::Gateway(Some(peer(2))),
            Input::NeighbourUp(peer(2)),
            Input::Sees { from: peer(2), terminals: seen(&[1, 3]) },
        ] {
            assert_eq!(reach.handle(START, input), None);
        }
        reach
    }

    fn seen(terminals: &[u8]) -> Vec<(PeerId, Name)> {
        terminals.iter().map(|n| (peer(*n), name(&format!("till-{n}")))).collect()
    }

    fn apart(reach: &Reach, now: Instant) -> Vec<PeerId> {
        reach.apart(now).map(|(peer, _)| peer).collect()
    }

    #[test]
    fn whom_the_gateway_sees_and_we_do_not_is_apart_after_a_while() {
        let reach = told();
        assert_eq!(apart(&reach, START), []);
        assert_eq!(apart(&reach, START + APART_AFTER), [peer(3)]);
    }

    #[test]
    fn a_terminal_that_came_is_not_apart_and_one_that_was_lost_is_given_time_again() {
        let mut reach = told();
        let (came, lost) = (START + APART_AFTER / 2, START + APART_AFTER);
        assert_eq!(reach.handle(came, Input::NeighbourUp(peer(3))), None);
        assert_eq!(apart(&reach, START + APART_AFTER), []);
        assert_eq!(reach.handle(lost, Input::NeighbourLost(peer(3))), None);
        assert_eq!(apart(&reach, lost + APART_AFTER / 2), []);
        assert_eq!(apart(&reach, lost + APART_AFTER), [peer(3)]);
    }

    #[test]
    fn what_a_gateway_said_ends_with_it() {
        for end in [Input::NeighbourLost(peer(2)), Input::Gateway(Some(peer(4)))] {
            let mut reach = told();
            assert_eq!(reach.handle(START, end), None);
            assert_eq!(apart(&reach, START + APART_AFTER), []);
        }
    }

    #[test]
    fn nobody_but_the_gateway_is_believed() {
        let mut reach = told();
        let sees = Input::Sees { from: peer(4), terminals: seen(&[5]) };
        assert_eq!(reach.handle(START, sees), None);
        assert_eq!(apart(&reach, START + APART_AFTER), [peer(3)]);
    }

    #[test]
    fn the_gateway_tells_at_most_once_a_second_and_only_what_changed() {
        let mut reach = Reach::new(peer(1));
        assert_eq!(reach.handle(START, Input::Gateway(Some(peer(1)))), None);
        let first = reach.handle(START, Input::NeighbourUp(peer(2)));
        assert_eq!(first, Some(Output::Tell(vec![peer(2)])));
        for n in 3..50 {
            assert_eq!(reach.handle(START, Input::NeighbourUp(peer(n))), None);
        }
        let due = reach.deadline();
        assert_eq!(due, START + TELL_EVERY);
        let all = (2..50).map(peer).collect();
        assert_eq!(reach.handle(due, Input::Tick), Some(Output::Tell(all)));
        assert_eq!(reach.handle(due, Input::NeighbourUp(peer(2))), None);
        assert_eq!(reach.deadline(), Instant::NEVER);
    }

    #[test]
    fn who_is_not_the_gateway_tells_nothing() {
        let mut reach = told();
        assert_eq!(reach.handle(START, Input::NeighbourUp(peer(3))), None);
        assert_eq!(reach.deadline(), Instant::NEVER);
    }
}
