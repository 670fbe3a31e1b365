//! The mesh: libp2p connections to the store's other terminals.
//!
//! One task owns libp2p: it listens, dials what the composite asks for, and announces and hears over
//! mDNS. A connection proves the peer's key and nothing else; the streams over it ([`streams`]) begin
//! with a control stream, opened by the side with the lower PeerId, and chunks flow only once the
//! composite has admitted the peer. Whoever connects and does not get that far is cut off.
//!
//! Of two connections to one peer the one that the lower PeerId dialled stays, so both sides keep
//! the same one. Nothing here decides whom to know or trust.

// libp2p's events cannot be matched whole.
#![allow(clippy::wildcard_enum_match_arm)]

mod behaviour;
mod listening;
mod muxer;
mod peers;
mod strangers;
mod streams;

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use futures::StreamExt as _;
use libp2p::{
    Swarm, mdns,
    swarm::{
        ConnectionId, DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use storemesh_keys::{PeerId, SecretKey};
use storemesh_protocol::terminal::{FoundBy, GREETING_TIMEOUT, Input};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::sleep,
};

use self::{
    behaviour::{Behaviour, BehaviourEvent},
    peers::{Dialled, Peers},
    streams::Streams,
};
use crate::{disk::Disk, driver::Inbox, feeds::Carrier, recent::Recent};

/// A peer that has not been admitted so long after it connected will not be: it has so long to say
/// what its stream is, and then to show its certificate.
const ADMISSION: Duration = streams::KIND_TIMEOUT.saturating_add(GREETING_TIMEOUT);

/// What the driver asks of the mesh.
#[derive(Debug)]
enum Command {
    Dial {
        address: SocketAddr,
        peer: Option<PeerId>,
    },
    Close(PeerId),
    /// It is one of ours: it no longer counts as a stranger.
    Admitted(PeerId),
}

/// The way from the driver to the mesh. Commands are few: as many as there are neighbours.
#[derive(Clone, Debug)]
pub(crate) struct Commands(mpsc::UnboundedSender<Command>);

impl Commands {
    pub(crate) fn dial(&self, address: SocketAddr, peer: Option<PeerId>) {
        // The mesh ends with the process.
        _ = self.0.send(Command::Dial { address, peer });
    }

    pub(crate) fn close(&self, peer: PeerId) {
        _ = self.0.send(Command::Close(peer));
    }

    pub(crate) fn admitted(&self, peer: PeerId) {
        _ = self.0.send(Command::Admitted(peer));
    }
}

/// How the mesh listens.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: Vec<IpAddr>,
    pub(crate) port: u16,
    pub(crate) mdns: bool,
}

/// What the streams of all neighbours use.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<Disk>,
    pub(crate) inbox: Inbox,
    pub(crate) storing: Arc<Semaphore>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) feeds: Carrier,
}

pub(crate) struct Mesh {
    swarm: Swarm<Behaviour>,
    peers: Peers,
    streams: Streams,
    dials: BTreeMap<ConnectionId, (SocketAddr, Option<PeerId>)>,
    arrived: mpsc::UnboundedSender<PeerId>,
    /// Peers that connected a while ago.
    arrivals: mpsc::UnboundedReceiver<PeerId>,
    /// Peers that are connected, and are not heard.
    silents: mpsc::UnboundedReceiver<PeerId>,
    commands: mpsc::UnboundedReceiver<Command>,
    inbox: Inbox,
    /// On which addresses libp2p listens.
    addresses: watch::Sender<Vec<SocketAddr>>,
    /// What happened before [`Mesh::run`].
    early: Vec<SwarmEvent<BehaviourEvent>>,
}

impl Mesh {
    /// Listens; the port is the one that was taken.
    pub(crate) async fn start(
        key: &SecretKey,
        settings: &Settings,
        shared: Shared,
    ) -> anyhow::Result<(Self, Commands, u16)> {
        let me = key.peer_id();
        let mut swarm = behaviour::swarm(key, settings.mdns)?;
        let mut early = Vec::new();
        let port = listen(&mut swarm, settings, &mut early).await?;
        let control = swarm.behaviour().streams.new_control();
        let (silent, silents) = mpsc::unbounded_channel();
        let inbox = shared.inbox.clone();
        let streams = Streams::new(me, control, shared, silent);
        let (sender, commands) = mpsc::unbounded_channel();
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let mesh = Self {
            swarm,
            peers: Peers::new(me),
            streams,
            dials: BTreeMap::new(),
            arrived,
            arrivals,
            silents,
            commands,
            inbox,
            addresses: watch::Sender::default(),
            early,
        };
        Ok((mesh, Commands(sender), port))
    }

    /// Runs until the driver is gone.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        self.listening();
        tokio::spawn(listening::watch(self.addresses.subscribe(), self.inbox.clone()));
        let incoming = self.streams.accept()?;
        tokio::spawn(incoming);
        for event in std::mem::take(&mut self.early) {
            self.event(event).await?;
        }
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await?,
                    None => return Ok(()),
                },
                event = self.swarm.select_next_some() => self.event(event).await?,
                Some(peer) = self.silents.recv() => self.cut_off(peer),
                Some(peer) = self.arrivals.recv() => {
                    if !self.streams.is_admitted(&peer) {
                        self.cut_off(peer);
                    }
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Dial { address, peer } => {
                let at = behaviour::multiaddr(address);
                let options = match peer {
                    Some(peer) => {
                        // Several of its addresses are dialled at a time.
                        DialOpts::peer_id(behaviour::to_libp2p(&peer))
                            .condition(PeerCondition::Disconnected)
                            .addresses(vec![at])
                            .build()
                    }
                    None => DialOpts::unknown_peer_id().address(at).build(),
                };
                let id = options.connection_id();
                match self.swarm.dial(options) {
                    Ok(()) => _ = self.dials.insert(id, (address, peer)),
                    Err(why) => {
                        tracing::debug!(%address, "not dialled: {why}");
                        self.inbox.input(Input::DialFailed { address, peer }).await?;
                    }
                }
            }
            Command::Close(peer) => self.cut_off(peer),
            Command::Admitted(peer) => {
                self.swarm.behaviour_mut().strangers.admitted(behaviour::to_libp2p(&peer));
            }
        }
        Ok(())
    }

    /// Whatever the peer had of us is gone with this.
    fn cut_off(&mut self, peer: PeerId) {
        // An error means that there was no connection.
        _ = self.swarm.disconnect_peer_id(behaviour::to_libp2p(&peer));
    }

    async fn event(&mut self, event: SwarmEvent<BehaviourEvent>) -> anyhow::Result<()> {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Discovered(found))) => {
                for (peer, at) in found {
                    let known = behaviour::from_libp2p(&peer).zip(behaviour::socket_address(&at));
                    let Some((peer, address)) = known else { continue };
                    let by = FoundBy::Mdns;
                    self.inbox.input(Input::Discovered { peer, address, by }).await?;
                }
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let dialled = self.dials.remove(&connection_id);
                let by = if endpoint.is_dialer() { Dialled::ByUs } else { Dialled::ByThem };
                let Some(peer) = behaviour::from_libp2p(&peer_id) else {
                    _ = self.swarm.disconnect_peer_id(peer_id);
                    return Ok(());
                };
                let seen = behaviour::socket_address(endpoint.get_remote_address());
                // Where we dialled is where it listens; where it called from is not.
                let Some(address) = dialled.map(|(address, _)| address).or(seen) else {
                    return Ok(());
                };
                if let Some((address, _)) = dialled {
                    self.inbox.input(Input::Answered { peer, address }).await?;
                }
                if let Some(surplus) = self.peers.connected(peer, connection_id, by) {
                    self.swarm.close_connection(surplus);
                }
                self.streams.connected(peer, address);
                let arrived = self.arrived.clone();
                tokio::spawn(async move {
                    sleep(ADMISSION).await;
                    // The mesh may have ended.
                    _ = arrived.send(peer);
                });
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                let Some(peer) = behaviour::from_libp2p(&peer_id) else { return Ok(()) };
                self.peers.closed(peer, connection_id);
                if num_established == 0 {
                    self.streams.gone(peer);
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some((address, peer)) = self.dials.remove(&connection_id) {
                    let quiet = matches!(error, DialError::DialPeerConditionFalse(_));
                    tracing::debug!(%address, quiet, "a dial failed: {error}");
                    self.inbox.input(Input::DialFailed { address, peer }).await?;
                }
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                self.listening();
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!("listening: {error}"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "no longer listening");
            }
            // Strangers that failed, and steps on the way to the events above.
            _ => {}
        }
        Ok(())
    }

    /// Which of these neighbours can use is looked at elsewhere.
    fn listening(&self) {
        let mut all: Vec<SocketAddr> =
            self.swarm.listeners().filter_map(behaviour::socket_address).collect();
        all.sort_unstable();
        self.addresses.send_if_modified(|addresses| {
            let changed = *addresses != all;
            *addresses = all;
            changed
        });
    }
}

/// Listens on every address, all on one port. What else happens meanwhile is for later.
async fn listen(
    swarm: &mut Swarm<Behaviour>,
    settings: &Settings,
    early: &mut Vec<SwarmEvent<BehaviourEvent>>,
) -> anyhow::Result<u16> {
    // libp2p says nothing of why it cannot listen, so plain sockets try first, all before it.
    let mut wanted = Vec::new();
    for ip in &settings.listen {
        let address = SocketAddr::new(*ip, settings.port);
        match behaviour::try_to_listen(address) {
            Ok(()) => wanted.push(*ip),
            // Without IPv6 in the kernel there is nothing to listen on there.
            Err(why) if ip.is_ipv6() && why.kind() != ErrorKind::AddrInUse => {
                tracing::debug!(%address, "not listening: {why}");
            }
            Err(why) => return Err(not_listening(address, &why)),
        }
    }
    ensure!(!wanted.is_empty(), "there is no address to listen on for neighbours");
    let mut port = settings.port;
    for ip in wanted {
        let address = SocketAddr::new(ip, port);
        let listening = || format!("listening on TCP {address}");
        swarm.listen_on(behaviour::multiaddr(address)).with_context(listening)?;
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::NewListenAddr { address, .. } = &event {
                let socket = behaviour::socket_address(address)
                    .ok_or_else(|| anyhow!("listening at {address}, which is not TCP"))?;
                port = socket.port();
                early.push(event);
                break;
            }
            if let SwarmEvent::ListenerClosed { reason, .. } = &event {
                bail!("listening on TCP {address}: {reason:?}");
            }
            early.push(event);
        }
    }
    Ok(port)
}

fn not_listening(address: SocketAddr, why: &io::Error) -> anyhow::Error {
    if why.kind() == ErrorKind::AddrInUse {
        return anyhow!(
            "TCP port {} of {} is in use: stop the program that has it, or choose another port \
             with --mesh-port",
            address.port(),
            address.ip()
        );
    }
    anyhow!("listening on TCP {address}: {why}")
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
