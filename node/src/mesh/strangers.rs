//! How many connections those may have that nobody has let in yet.
//!
//! Anybody on the network can connect, say nothing, or shake hands with any key. Such a connection
//! counts until its peer is admitted or it ends: [`PER_SOURCE`] at once and [`TRIES`] per [`WINDOW`]
//! from one address, [`STRANGERS_MAX`] from all. What is over that is hung up on before a handshake.
//! An address from which somebody was admitted keeps its own share when strangers have taken all the
//! rest, so that a flood does not keep neighbours out.
//!
//! Neighbours we dial ourselves do not count, nor does who calls from this machine itself. Newcomers
//! that share an address with a flood, or come while one from many addresses lasts, are found late.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};

use super::behaviour::socket_address;

/// A terminal needs one, two when both dial, and more while old ones of it die.
const PER_SOURCE: usize = 8;
/// More than a store of fifty brings when it is switched on all at once.
const STRANGERS_MAX: usize = 64;
/// New connections from one address per [`WINDOW`]: a handshake takes a core half a millisecond.
const TRIES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// Addresses whose tries are counted; twice the largest store and some. Past it nobody is turned
/// away for having tried too often.
const SOURCES_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Strangers {
    connections: BTreeMap<ConnectionId, Stranger>,
    tries: BTreeMap<IpAddr, u32>,
    window_ends: Instant,
    /// Somebody was admitted from there, most [`SOURCES_MAX`].
    welcome: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct Stranger {
    source: IpAddr,
    /// Known once the handshake is done.
    peer: Option<PeerId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum TooMany {
    #[error("{PER_SOURCE} connections from one address wait to be admitted")]
    AtOnce,
    #[error("{TRIES} connections from one address within {} s", WINDOW.as_secs())]
    Tries,
    #[error("{STRANGERS_MAX} connections wait to be admitted")]
    Strangers,
}

impl Strangers {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            connections: BTreeMap::new(),
            tries: BTreeMap::new(),
            window_ends: now + WINDOW,
            welcome: BTreeSet::new(),
        }
    }

    /// The composite has let `peer` in.
    pub(super) fn admitted(&mut self, peer: PeerId) {
        for (_, stranger) in self.connections.extract_if(.., |_, it| it.peer == Some(peer)) {
            self.tries.remove(&stranger.source);
            if self.welcome.len() < SOURCES_MAX {
                self.welcome.insert(stranger.source);
            }
        }
    }

    fn arrives(&mut self, now: Instant, id: ConnectionId, source: IpAddr) -> Result<(), TooMany> {
        if self.window_ends <= now {
            self.tries.clear();
            self.window_ends = now + WINDOW;
        }
        if !source.is_loopback() {
            let from = |stranger: &&Stranger| stranger.source == source;
            if PER_SOURCE <= self.connections.values().filter(from).count() {
                return Err(TooMany::AtOnce);
            }
            if self.tries.len() < SOURCES_MAX || self.tries.contains_key(&source) {
                let tries = self.tries.entry(source).or_default();
                if TRIES <= *tries {
                    return Err(TooMany::Tries);
                }
                *tries += 1;
            }
        }
        if STRANGERS_MAX <= self.connections.len() && !self.welcome.contains(&source) {
            return Err(TooMany::Strangers);
        }
        self.connections.insert(id, Stranger { source, peer: None });
        Ok(())
    }

    fn proved(&mut self, id: ConnectionId, peer: PeerId) {
        if let Some(stranger) = self.connections.get_mut(&id) {
            stranger.peer = Some(peer);
        }
    }

    fn ended(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }
}

impl NetworkBehaviour for Strangers {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        // What is not TCP is nobody's.
        let Some(source) = socket_address(from) else { return Ok(()) };
        let source = SocketAddr::ip(&source).to_canonical();
        self.arrives(Instant::now(), id, source).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.proved(id, peer);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.ended(closed.connection_id),
            FromSwarm::ListenFailure(failed) => self.ended(failed.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn one_address_gets_its_share_and_the_others_theirs() {
        let now = Instant::now();
        let mut strangers = Strangers::new(now);
        for n in 0..PER_SOURCE {
            assert_eq!(strangers.arrives(now, id(n), ip(1)), Ok(()));
        }
        assert_eq!(strangers.arrives(now, id(100), ip(1)), Err(TooMany::AtOnce));
        assert_eq!(strangers.arrives(now, id(101), ip(2)), Ok(()));
        strangers.ended(id(0));
        assert_eq!(strangers.arrives(now, id(102), ip(1)), Ok(()));
    }

    #[test]
    fn who_tries_again_and_again_is_hung_up_on_until_the_window_ends() {
        let now = Instant::now();
        let mut strangers = Strangers::new(now);
        for n in 0..TRIES {
            assert_eq!(strangers.arrives(now, id(n as usize), ip(1)), Ok(()));
            strangers.ended(id(n as usize));
        }
        assert_eq!(strangers.arrives(now, id(100), ip(1)), Err(TooMany::Tries));
        assert_eq!(strangers.arrives(now + WINDOW, id(101), ip(1)), Ok(()));
    }

    #[test]
    fn who_was_admitted_once_gets_in_when_strangers_have_taken_every_place() {
        let now = Instant::now();
        let mut strangers = Strangers::new(now);
        let peer = PeerId::random();
        assert_eq!(strangers.arrives(now, id(0), ip(200)), Ok(()));
        strangers.proved(id(0), peer);
        strangers.admitted(peer);
        assert!(strangers.connections.is_empty(), "it is no stranger any more");
        for n in 1..=STRANGERS_MAX {
            let source = ip(u8::try_from(n).unwrap());
            assert_eq!(strangers.arrives(now, id(n), source), Ok(()));
        }
        assert_eq!(strangers.arrives(now, id(100), ip(201)), Err(TooMany::Strangers));
        assert_eq!(strangers.arrives(now, id(101), ip(200)), Ok(()));
    }

    #[test]
    fn this_machine_itself_has_no_share_of_its_own() {
        let now = Instant::now();
        let mut strangers = Strangers::new(now);
        let here = IpAddr::from([127, 0, 0, 1]);
        for n in 0..STRANGERS_MAX {
            assert_eq!(strangers.arrives(now, id(n), here), Ok(()));
        }
        assert_eq!(strangers.arrives(now, id(100), here), Err(TooMany::Strangers));
    }
}
