//! How libp2p is set up, and our types in its.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder,
    connection_limits::{self, ConnectionLimits},
    identity::{Keypair, PublicKey, ed25519},
    mdns,
    multiaddr::Protocol,
    noise,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    tcp,
};
use socket2::{Domain, Socket, Type};
use storemesh_keys::{PeerId, SecretKey};

use super::{muxer, strangers::Strangers};

/// Also caps the back-off of mDNS at start-up.
const MDNS_QUERY: Duration = Duration::from_secs(5);
/// A connection is closed by the composite's word or by silence on its control stream, not by
/// idleness.
const IDLE: Duration = Duration::from_hours(24);
/// Twice the largest store, for when both sides dial.
const CONNECTIONS_MAX: u32 = 192;
/// A connection's handshake takes milliseconds; on a busy machine a second or two. Whoever takes
/// longer, or a dial that is not answered, makes room.
const HANDSHAKE: Duration = Duration::from_secs(5);

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) strangers: Strangers,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) streams: libp2p_stream::Behaviour,
}

pub(super) fn swarm(key: &SecretKey, with_mdns: bool) -> anyhow::Result<Swarm<Behaviour>> {
    let keypair =
        Keypair::ed25519_from_bytes(key.seed().to_vec()).context("taking the identity")?;
    let me = keypair.public().to_peer_id();
    let mdns = if with_mdns { announce(me) } else { None };
    let limits = ConnectionLimits::default()
        .with_max_established(Some(CONNECTIONS_MAX))
        .with_max_established_per_peer(Some(2));
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        strangers: Strangers::new(Instant::now()),
        mdns: mdns.into(),
        streams: libp2p_stream::Behaviour::new(),
    };
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, || muxer::Upgrade)
        .context("preparing TCP")?
        .with_behaviour(|_| behaviour)
        .context("preparing libp2p")?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .with_connection_timeout(HANDSHAKE)
        .build();
    Ok(swarm)
}

/// Where multicast is not to be had, neighbours are found in the other ways.
fn announce(me: libp2p::PeerId) -> Option<mdns::tokio::Behaviour> {
    let config = mdns::Config { query_interval: MDNS_QUERY, ..mdns::Config::default() };
    match mdns::tokio::Behaviour::new(config, me) {
        Ok(mdns) => Some(mdns),
        Err(why) => {
            tracing::warn!("no mDNS: {why}");
            None
        }
    }
}

pub(super) fn to_libp2p(peer: &PeerId) -> libp2p::PeerId {
    let key = ed25519::PublicKey::try_from_bytes(peer.as_bytes());
    // A peer comes from a handshake or a verified certificate, so its key is one.
    key.map_or_else(|_| libp2p::PeerId::random(), |key| PublicKey::from(key).to_peer_id())
}

/// None for a key that is not ed25519: not one of ours.
pub(super) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    peer.to_base58().parse().ok()
}

pub(super) fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

pub(super) fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let first = parts.next()?;
    let ip = if let Protocol::Ip4(ip) = first {
        IpAddr::V4(ip)
    } else if let Protocol::Ip6(ip) = first {
        IpAddr::V6(ip)
    } else {
        return None;
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    Some(SocketAddr::new(ip, port))
}

/// Whether this address can be listened on: as libp2p does it, IPv6 apart from IPv4.
pub(super) fn try_to_listen(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}
