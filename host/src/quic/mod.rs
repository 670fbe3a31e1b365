//! QUIC between our own identities: the link between a gateway and HQ.
//!
//! The rule: both ends of every connection have proven their ed25519 identity in the handshake
//! (raw public keys, RFC 7250), and nothing else gets in: no certificate of another kind, no
//! anonymous client. *Who may speak* is not decided here. The client takes whichever identity the
//! server proves, and the server takes any client: the first exchange on the connection compares
//! [`peer_of`] with what HQ has signed.
//!
//! A peer that falls silent is given up after [`IDLE`]; a stranger holds a handshake for
//! [`HANDSHAKE`] at most, and when many are under way at once must first show that it receives at
//! the address it claims. A lost connection is no loss: whoever dialled dials again.

mod raw_key;
mod socket;
mod transport;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use quinn::{
    Connection, ConnectionError, Endpoint, EndpointConfig, Incoming, TokioRuntime,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
    rustls::pki_types::CertificateDer,
};
use storemesh_keys::{PeerId, SecretKey};

pub use socket::SOCKET_BUFFER_BYTES;
use storemesh_protocol::wire::ALPN;
pub use transport::{BIDI_STREAMS, IDLE, KEEP_ALIVE};

/// Several round trips over a bad WAN, and not so long that idle strangers pile up.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// With more handshakes than this under way a newcomer's address is validated first, which costs
/// it one round trip. A guess: an HQ's whole chain does not reconnect in the same instant.
const UNVALIDATED_HANDSHAKES: usize = 64;
/// More than this many at once and the rest is refused: they try again, memory stays bounded.
const HANDSHAKES: usize = 1024;

/// An endpoint that accepts connections on `address` and can also connect.
///
/// `[::]` listens on IPv4 too. Must be called inside a tokio runtime.
pub fn server_endpoint(key: &SecretKey, address: SocketAddr) -> anyhow::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(raw_key::server_config(key)?)
        .context("preparing the QUIC handshake")?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport::config())).max_incoming(HANDSHAKES);
    endpoint(key, Some(config), socket::bind(address)?)
}

/// An endpoint that only connects, from any free port.
///
/// Must be called inside a tokio runtime.
pub fn client_endpoint(key: &SecretKey) -> anyhow::Result<Endpoint> {
    endpoint(key, None, socket::bind_any()?)
}

fn endpoint(
    key: &SecretKey,
    server: Option<quinn::ServerConfig>,
    socket: std::net::UdpSocket,
) -> anyhow::Result<Endpoint> {
    let crypto = QuicClientConfig::try_from(raw_key::client_config(key)?)
        .context("preparing the QUIC handshake")?;
    let mut client = quinn::ClientConfig::new(Arc::new(crypto));
    client.transport_config(Arc::new(transport::config()));
    let runtime = Arc::new(TokioRuntime);
    let mut endpoint = Endpoint::new(EndpointConfig::default(), server, socket, runtime)
        .context("starting QUIC")?;
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

/// Connects to whoever answers at `address`, and returns who that is.
pub async fn connect(
    endpoint: &Endpoint,
    address: SocketAddr,
) -> anyhow::Result<(Connection, PeerId)> {
    let connecting = || format!("connecting to {address}");
    // Identities are keys, so the handshake's server name says nothing; TLS wants one.
    let handshake = endpoint.connect(address, "storemesh").with_context(connecting)?;
    let connection = finish(handshake).await.with_context(connecting)?;
    let peer = peer_of(&connection);
    Ok((connection, peer))
}

/// Whether a connection failed because nothing came back, rather than something odd.
pub fn is_silence(why: &anyhow::Error) -> bool {
    let timed_out = |cause: &ConnectionError| matches!(cause, ConnectionError::TimedOut);
    why.downcast_ref::<NoHandshake>().is_some()
        || why.downcast_ref::<ConnectionError>().is_some_and(timed_out)
}

/// The accepting side of an endpoint.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    /// Every handshake under way holds a clone, so its count is their number and one.
    under_way: Arc<()>,
}

/// A connection that wants to come in; see [`Handshake::finish`].
#[derive(Debug)]
pub struct Handshake {
    connecting: quinn::Connecting,
    from: SocketAddr,
    _under_way: Arc<()>,
}

impl Listener {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, under_way: Arc::new(()) }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next stranger, or `None` when the endpoint is closed.
    ///
    /// Finish each handshake in a task of its own, so that a slow one holds up nobody.
    pub async fn accept(&self) -> Option<Handshake> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let from = plain(incoming.remote_address());
            let Some(connecting) = self.admit(incoming) else { continue };
            return Some(Handshake { connecting, from, _under_way: self.under_way.clone() });
        }
    }

    fn admit(&self, incoming: Incoming) -> Option<quinn::Connecting> {
        let under_way = Arc::strong_count(&self.under_way) - 1;
        if HANDSHAKES <= under_way {
            incoming.refuse();
            return None;
        }
        if UNVALIDATED_HANDSHAKES <= under_way && !incoming.remote_address_validated() {
            // A retry that cannot be sent leaves the stranger without an answer: it asks again.
            _ = incoming.retry();
            return None;
        }
        let from = plain(incoming.remote_address());
        let accepted = incoming.accept();
        accepted.inspect_err(|error| tracing::debug!(%from, %error, "refused at once")).ok()
    }
}

impl Handshake {
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// Waits until the other side has proven who it is.
    pub async fn finish(self) -> anyhow::Result<(Connection, PeerId)> {
        let from = self.from;
        let connection =
            finish(self.connecting).await.with_context(|| format!("a connection from {from}"))?;
        let peer = peer_of(&connection);
        Ok((connection, peer))
    }
}

async fn finish(connecting: quinn::Connecting) -> anyhow::Result<Connection> {
    match tokio::time::timeout(HANDSHAKE, connecting).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(NoHandshake.into()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no handshake within {} s", HANDSHAKE.as_secs())]
struct NoHandshake;

/// Who is at the other end of an established connection.
pub fn peer_of(connection: &Connection) -> PeerId {
    let identity = connection.peer_identity().expect("both sides prove a key in the handshake");
    let keys = identity
        .downcast::<Vec<CertificateDer<'static>>>()
        .expect("this is the type quinn gives for rustls");
    let key = keys.first().expect("an empty list is no proof and ends the handshake");
    raw_key::peer_in(key).expect("the handshake refuses every other kind of key")
}

/// Where the other end of a connection is; IPv4 reads as such on a dual-stack socket too.
pub fn address_of(connection: &Connection) -> SocketAddr {
    plain(connection.remote_address())
}

fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(IpAddr::V4(ip), address.port()),
            None => address,
        },
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests;
