//! A flood of strangers on the LAN costs a terminal little, and keeps no neighbour out.
//!
//! A thousand dials from another machine, in every way that one can call and not belong here: silent,
//! silent in the middle of a handshake, with a key that nobody knows, and with the certificate of
//! another chain. They come from many addresses, as many at once as the terminal lets them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, StreamProtocol, SwarmBuilder,
    identity::Keypair,
    multiaddr::Protocol,
    noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use storemesh_keys::{
    Certificate, ChainId, HqSigned, HqSigner, OnlineKey, PeerId, Roles, SecretKey, Signed,
    Timestamp, Trust,
};
use storemesh_protocol::wire::{
    self, PROTOCOL,
    mesh::{CONTROL_STREAM, Frame, Hello, goes_first},
};
use storemesh_sim::live::{lan::Lan, relay::Wan, stop};
use storemesh_tests::{
    require,
    shop::{self, LanShop, MET_WITHIN},
};
use tokio::{io::AsyncWriteExt as _, net::TcpSocket, time::timeout};

const DIALS: usize = 1000;
/// What they may cost the terminal.
const COST_KIB_MAX: u64 = 20 * 1024;
/// A refused certificate ends the connection within this.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// Addresses that the flood comes from, 10.98.0.100 and on.
const SOURCES: u8 = 50;
/// Calls with a handshake from one address before the next one's turn.
const TURN: usize = 10;
/// One in so many calls does the whole handshake, which takes this machine's cores too.
const HANDSHAKES_EVERY: usize = 4;
const HUNG_UP_WITHIN: Duration = Duration::from_secs(10);

/// What a dialler says first, and then waits for an answer that it does not read.
const HALF_A_HANDSHAKE: &[u8] = b"\x13/multistream/1.0.0\n\x07/noise\n";

fn source(turn: usize) -> Ipv4Addr {
    let turn = u8::try_from(turn % usize::from(SOURCES)).expect("of fifty");
    Ipv4Addr::new(10, 98, 0, 100 + turn)
}

fn ip(words: &str) -> Result<()> {
    let done = Command::new("ip").args(words.split(' ')).output()?;
    ensure!(done.status.success(), "`ip {words}`: {}", done.stderr.escape_ascii());
    Ok(())
}

/// Dials until told to stop, and at least [`DIALS`] times. Returns how long the slowest connection
/// with a refused certificate stood.
async fn flood(
    to: SocketAddr,
    at: PeerId,
    dials: &AtomicUsize,
    enough: &AtomicBool,
) -> Result<Duration> {
    for turn in 0..usize::from(SOURCES) {
        ip(&format!("address add {}/24 dev lan0", source(turn)))?;
    }
    let (mut held, mut slowest) = (Vec::new(), Duration::ZERO);
    let mut handshakes = 0;
    for n in 0.. {
        if DIALS <= n && enough.load(Relaxed) {
            break;
        }
        if n % HANDSHAKES_EVERY == 0 {
            if handshakes % TURN == 0 {
                ip(&format!(
                    "route replace {}/32 dev lan0 src {}",
                    to.ip(),
                    source(handshakes / TURN)
                ))?;
            }
            handshakes += 1;
            let shown = (handshakes % 2 == 0).then(foreign);
            if let Some(stood) = stranger(to, at, shown).await? {
                slowest = slowest.max(stood);
            }
        } else {
            let socket = TcpSocket::new_v4()?;
            socket.bind((source(n), 0).into())?;
            if let Ok(Ok(mut stream)) = timeout(CLOSED_WITHIN, socket.connect(to)).await {
                if n % 2 == 0 {
                    // It may have hung up.
                    _ = stream.write_all(HALF_A_HANDSHAKE).await;
                }
                held.push(stream);
            }
        }
        dials.fetch_add(1, Relaxed);
    }
    Ok(slowest)
}

/// Connects with a key of its own and shows that certificate, if any; holds on until it is hung up
/// on. Returns how long that took after a certificate, or none when it did not get that far.
async fn stranger(
    to: SocketAddr,
    at: PeerId,
    shown: Option<(SecretKey, HqSigned<Certificate>)>,
) -> Result<Option<Duration>> {
    let key = shown.as_ref().map_or_else(random_key, |(key, _)| key.clone());
    let identity = Keypair::ed25519_from_bytes(key.seed().to_vec())?;
    let mut swarm = SwarmBuilder::with_existing_identity(identity)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| libp2p_stream::Behaviour::new())?
        .build();
    let address = Multiaddr::from(to.ip()).with(Protocol::Tcp(to.port()));
    swarm.dial(DialOpts::unknown_peer_id().address(address).build())?;
    let mut control = swarm.behaviour().new_control();
    #[expect(clippy::wildcard_enum_match_arm, reason = "waits for two of libp2p's events")]
    let met = timeout(HUNG_UP_WITHIN, async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => return Some(peer_id),
                SwarmEvent::OutgoingConnectionError { .. } => return None,
                _ => {}
            }
        }
    });
    let Some(peer) = met.await.context("neither connected nor refused")? else { return Ok(None) };
    let Some((_, certificate)) = shown else {
        // It says nothing; the next ones do not wait for its end.
        tokio::spawn(async move {
            let ended = async {
                while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionClosed { .. })
                {
                }
            };
            _ = timeout(HUNG_UP_WITHIN, ended).await;
        });
        return Ok(None);
    };
    ensure!(goes_first(key.peer_id(), at) == key.peer_id(), "such keys were chosen");
    let driven = async {
        loop {
            if let SwarmEvent::ConnectionClosed { .. } = swarm.select_next_some().await {
                return;
            }
        }
    };
    let speaks = async {
        let mut stream = control.open_stream(peer, StreamProtocol::new(PROTOCOL)).await.ok()?;
        let hello = Some(Hello { certificate, listen: Vec::new() });
        let frame = wire::encode(&Frame { hello, ..Frame::default() });
        let length = u32::try_from(frame.len()).ok()?.to_be_bytes();
        let said = [&[CONTROL_STREAM][..], &length, &frame].concat();
        stream.write_all(&said).await.ok()?;
        stream.flush().await.ok()?;
        let shown = Instant::now();
        // Its hello, which it says to everybody, and then the end.
        _ = stream.read_to_end(&mut Vec::new()).await;
        Some(shown.elapsed())
    };
    let both = async { futures::join!(driven, speaks).1 };
    match timeout(HUNG_UP_WITHIN, both).await {
        Ok(stood) => Ok(stood),
        Err(_) => bail!("a connection with a refused certificate still stands"),
    }
}

/// A terminal of another chain, whose turn it is to speak first with anybody.
fn foreign() -> (SecretKey, HqSigned<Certificate>) {
    let mut seed = [0_u8; 32];
    let key = loop {
        for byte in &mut seed {
            *byte = byte.wrapping_mul(31).wrapping_add(rand_byte());
        }
        let key = SecretKey::from_seed(seed);
        if key.peer_id().as_bytes()[0] == 0 {
            break key;
        }
    };
    let (root, online_key) = (SecretKey::from_seed([7; 32]), SecretKey::from_seed([8; 32]));
    let chain = ChainId::of_root(root.public());
    let online = OnlineKey {
        chain,
        name: "others".parse().expect("a name"),
        generation: 1,
        key: online_key.public(),
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    };
    let trust = Trust { chain, generation_min: 0 };
    let signer = HqSigner::new(online_key, Signed::sign(&root, &online), &trust);
    let certificate = signer.expect("the root vouches for it").sign(&Certificate {
        chain,
        serial: 1,
        peer: key.peer_id(),
        door: None,
        name: "till-1".parse().expect("a name"),
        store: "store-1".parse().expect("a name"),
        roles: Roles::TERMINAL,
        from: Timestamp(0),
        until: Timestamp(u64::MAX / 2),
    });
    (key, certificate.into_signed())
}

fn random_key() -> SecretKey {
    let mut seed = [0; 32];
    for byte in &mut seed {
        *byte = rand_byte();
    }
    SecretKey::from_seed(seed)
}

fn rand_byte() -> u8 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0).to_le_bytes()[0]
}

fn rss_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// Until the terminal on that machine holds the flood's connections no more and those it has.
fn flooding(
    lan: &Lan,
    to: SocketAddr,
    at: PeerId,
    dials: &AtomicUsize,
    enough: &AtomicBool,
) -> Result<Duration> {
    lan.inside("t3", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(flood(to, at, dials, enough))
    })?
}

#[test]
fn a_thousand_dials_cost_little_and_honest_neighbours_are_served_meanwhile() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::open_on_lan(Wan::default(), 3)?;
    for terminal in [0, 1] {
        shop.chain.terminals[terminal].join(&shop.chain.hq.invite("store-1")?)?;
    }
    shop.chain.terminals[0].start_with([] as [&str; 0])?;
    stop::until("a gateway", MET_WITHIN, || {
        Ok((shop.chain.terminals[0].status()?.uplink == "up").then_some(()))
    })?;
    let pid = shop.chain.terminals[0].daemon().context("it runs")?.pid();
    let peer: PeerId = shop.chain.terminals[0].status()?.peer.parse()?;
    let at = SocketAddr::new(shop.lan().address("t1")?, 7410);
    let (dials, enough) = (AtomicUsize::new(0), AtomicBool::new(false));

    let directory = shop.directory("v1", 1, 4_000_000)?;
    let before = rss_kib(pid)?;
    let mut most = before;
    // The newcomer's process is the shop's, and the flood must not hold on to the shop.
    let mut newcomer = shop.chain.terminals.remove(1);
    let flooded = thread::scope(|scope| {
        let lan = shop.lan();
        let flood = scope.spawn(|| flooding(lan, at, peer, &dials, &enough));
        let served = || -> Result<Duration> {
            stop::until("the flood having begun", MET_WITHIN, || {
                most = most.max(rss_kib(pid)?);
                Ok((DIALS / 4 <= dials.load(Relaxed) || flood.is_finished()).then_some(()))
            })?;
            let started = Instant::now();
            newcomer.start_with([] as [&str; 0])?;
            stop::until("an honest neighbour admitted", MET_WITHIN, || {
                most = most.max(rss_kib(pid)?);
                Ok((newcomer.status()?.neighbours == 1).then_some(()))
            })?;
            let joined = started.elapsed();
            stop::until("a thousand dials", Duration::from_mins(2), || {
                most = most.max(rss_kib(pid)?);
                Ok((DIALS <= dials.load(Relaxed) || flood.is_finished()).then_some(()))
            })?;
            Ok(joined)
        };
        let mut served = served;
        let joined = served();
        let published = shop.publish(&directory, "1");
        let arrived =
            published.and_then(|published| shop::arrived(&newcomer, &directory, &published));
        enough.store(true, Relaxed);
        let slowest = flood.join().expect("the flood does not panic")?;
        Ok::<_, anyhow::Error>((joined?, arrived?, slowest))
    });
    let stopped = newcomer.stop();
    let (joined, release, slowest) = flooded?;
    stopped?;
    let cost = most - before;
    eprintln!(
        "{} dials: {cost} KiB more than {before}, a neighbour in after {joined:?}, a refused \
         certificate's connection stood {slowest:?} at most",
        dials.load(Relaxed)
    );
    assert!(cost < COST_KIB_MAX, "{cost} KiB more than {before}");
    assert!(slowest > Duration::ZERO && slowest < CLOSED_WITHIN, "{slowest:?}");
    assert_eq!(release.bytes_from_hq, 0, "{release:?}");
    Ok(())
}
