//! A hostile box on a store's network, against the real programs: with a certificate and without.
//!
//! It speaks the real protocol, over libp2p, with a certificate that the test makes with the chain's
//! root key, and then does what no terminal would.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, Stream, StreamProtocol, SwarmBuilder, identity::Keypair, multiaddr::Protocol, noise,
    swarm::SwarmEvent, tcp, yamux,
};
use libp2p_stream::Control;
use storemesh_host::frames::{read_frame, write_frame};
use storemesh_keys::{
    Certificate, ChainId, HqSigner, OnlineKey, PeerId, Roles, SecretKey, Signed, Timestamp, Trust,
    root,
};
use storemesh_protocol::{
    content::{Bits, cut, pack},
    wire::{
        CONTROL_MAX, PROTOCOL,
        bulk::{BODY_MAX, HEAD_MAX, Reply, Request},
        decode, encode,
        mesh::{BEAT, BULK_STREAM, CONTROL_STREAM, Frame, Have, Hello},
    },
};
use storemesh_sim::live::{chain::STORE, stop};
use storemesh_tests::shop::Shop;
use tokio::{
    io::AsyncWriteExt as _,
    runtime::{Builder, Runtime},
    sync::Mutex,
    time::sleep,
};
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, FuturesAsyncWriteCompatExt as _};

const NAME: StreamProtocol = StreamProtocol::new(PROTOCOL);
const RELEASE: usize = 6_000_000;
const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// Without the hostile one it takes about 2 s here; a source that stalls is left after 2 s, and the
/// gateway asks around for 3. The rest is for a busy test machine.
const ARRIVED_WITHIN: Duration = Duration::from_secs(30);

/// How it answers requests for chunks.
#[derive(Clone, Copy, Debug)]
enum Manners {
    WrongBytes,
    /// As many bytes as a chunk may have, whatever it was asked for.
    WrongLength,
    Nothing,
    ByteASecond,
}

/// The box. Dropped, it is gone.
struct Hostile {
    runtime: Runtime,
    key: SecretKey,
    certificate: Vec<u8>,
}

impl Hostile {
    /// With a certificate of the shop's own chain, and a lower identity than all terminals have, so
    /// that it is the one who opens the control streams. Another number makes another box.
    fn of(shop: &Shop, number: u8) -> Result<Self> {
        let passphrase = fs::read_to_string(shop.path("passphrase"))?;
        let root = root::open(&shop.path("root.age"), passphrase.trim_end())?;
        let chain = ChainId::of_root(root.public());
        let online = SecretKey::from_seed([2; 32]);
        let described = OnlineKey {
            chain,
            name: "demo-chain".parse()?,
            generation: 1,
            key: online.public(),
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
        };
        let trust = Trust { chain, generation_min: 0 };
        let signer = HqSigner::new(online, Signed::sign(&root, &described), &trust)?;
        let peers: Vec<PeerId> = shop
            .chain
            .statuses()?
            .iter()
            .map(|status| Ok(status.peer.parse()?))
            .collect::<Result<_>>()?;
        let lowest = |key: &SecretKey| peers.iter().all(|peer| key.peer_id() < *peer);
        let mut keys = (0..=u16::MAX).map(|tried| {
            let mut seed = [number; 32];
            seed[..2].copy_from_slice(&tried.to_be_bytes());
            SecretKey::from_seed(seed)
        });
        let key = keys.find(lowest).context("no key is low enough")?;
        let certificate = signer.sign(&Certificate {
            chain,
            serial: 666 + u64::from(number),
            peer: key.peer_id(),
            door: None,
            name: "hostile".parse()?,
            store: STORE.parse()?,
            roles: Roles::TERMINAL,
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
        });
        let hello = Hello { certificate: certificate.into_signed(), listen: Vec::new() };
        let certificate = encode(&Frame { hello: Some(hello), ..Frame::default() });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime, key, certificate })
    }

    fn dial(&self, port: u16) -> Result<(libp2p::PeerId, Control)> {
        let key = self.key.clone();
        self.runtime.block_on(async move {
            let keypair = Keypair::ed25519_from_bytes(key.seed().to_vec())?;
            let mut swarm = SwarmBuilder::with_existing_identity(keypair)
                .with_tokio()
                .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
                .with_behaviour(|_| libp2p_stream::Behaviour::new())?
                .with_swarm_config(|config| {
                    config.with_idle_connection_timeout(Duration::from_hours(1))
                })
                .build();
            let control = swarm.behaviour().new_control();
            let address = Multiaddr::from(Ipv4Addr::LOCALHOST).with(Protocol::Tcp(port));
            swarm.dial(address)?;
            let peer = loop {
                if let SwarmEvent::ConnectionEstablished { peer_id, .. } =
                    swarm.select_next_some().await
                {
                    break peer_id;
                }
            };
            tokio::spawn(async move {
                loop {
                    swarm.select_next_some().await;
                }
            });
            Ok((peer, control))
        })
    }

    /// Is let into the mesh at this port, says that it holds all that the other seeks, and answers.
    fn joins(&self, port: u16, manners: Manners) -> Result<(libp2p::PeerId, Control)> {
        let (peer, mut control) = self.dial(port)?;
        let mine = control.clone();
        let greeting = self.certificate.clone();
        self.runtime.block_on(async {
            let mut incoming = control.accept(NAME)?;
            tokio::spawn(async move {
                while let Some((_, stream)) = incoming.next().await {
                    tokio::spawn(answer(stream, manners));
                }
            });
            let stream = open(&mut control, peer, CONTROL_STREAM).await?;
            let (input, output) = stream.split();
            let (mut input, mut output) = (input.compat(), output.compat_write());
            write_frame(&mut output, &greeting).await?;
            let output = Arc::new(Mutex::new(output));
            let beating = output.clone();
            tokio::spawn(async move {
                while write_frame(&mut *beating.lock().await, &[]).await.is_ok() {
                    sleep(BEAT).await;
                }
            });
            tokio::spawn(async move {
                while let Ok(Some(bytes)) = read_frame(&mut input, CONTROL_MAX).await {
                    let Ok(Frame { have: Some(have), .. }) = decode(&bytes) else { continue };
                    let all = Have { chunks: Bits::full(have.chunks.len()), more: None, ..have };
                    let frame = encode(&Frame { have: Some(all), ..Frame::default() });
                    _ = write_frame(&mut *output.lock().await, &frame).await;
                }
            });
            Ok((peer, mine))
        })
    }
}

async fn open(control: &mut Control, peer: libp2p::PeerId, kind: u8) -> Result<Stream> {
    let mut stream = control.open_stream(peer, NAME).await?;
    stream.write_all(&[kind]).await?;
    stream.flush().await?;
    Ok(stream)
}

async fn answer(mut stream: Stream, manners: Manners) -> Result<()> {
    let mut kind = [0];
    stream.read_exact(&mut kind).await?;
    let mut stream = stream.compat();
    while let Some(frame) = read_frame(&mut stream, HEAD_MAX).await? {
        let Request { chunk } = decode(&frame)?;
        let length = match manners {
            Manners::Nothing => continue,
            Manners::WrongBytes | Manners::ByteASecond => 100_000,
            Manners::WrongLength => u32::try_from(BODY_MAX)? + 1,
        };
        write_frame(&mut stream, &encode(&Reply { chunk, length })).await?;
        match manners {
            Manners::ByteASecond => loop {
                stream.write_all(&[0]).await?;
                stream.flush().await?;
                sleep(Duration::from_secs(1)).await;
            },
            Manners::WrongBytes | Manners::WrongLength | Manners::Nothing => {
                stream.write_all(&vec![0; length as usize]).await?;
                stream.flush().await?;
            }
        }
    }
    Ok(())
}

fn ports(shop: &mut Shop) -> Result<Vec<u16>> {
    let daemons = shop.chain.terminals.iter_mut().map(|terminal| terminal.daemon());
    daemons.map(|daemon| daemon.context("it runs")?.port("mesh_port")).collect()
}

/// The hostile one is a neighbour of every terminal, and then there is a release.
fn among(manners: Manners) -> Result<(Shop, Hostile)> {
    let mut shop = Shop::running(2)?;
    let hostile = Hostile::of(&shop, 1)?;
    for port in ports(&mut shop)? {
        hostile.joins(port, manners)?;
    }
    stop::until("the hostile one being let in", SEEN_WITHIN, || {
        let met = shop.chain.statuses()?.iter().all(|status| status.neighbours == 2);
        Ok(met.then_some(()))
    })?;
    let directory = shop.directory("v1", 1, RELEASE)?;
    let began = Instant::now();
    let published = shop.publish(&directory, "1")?;
    shop.arrived(&directory, &published)?;
    let took = began.elapsed();
    assert!(took < ARRIVED_WITHIN, "{manners:?}: {took:?}");
    eprintln!("{manners:?}: the release was everywhere after {took:?}");
    Ok((shop, hostile))
}

fn shunned_by_all(shop: &Shop) -> Result<bool> {
    for terminal in &shop.chain.terminals {
        let peers: serde_json::Value = terminal.run(["peers"])?.well("asking for peers")?.json()?;
        let peers = peers.as_array().context("a list")?;
        let hostile = peers.iter().find(|peer| peer["name"] == "hostile");
        let hostile = hostile.context("no word of the hostile one")?;
        if hostile["shunned"] != true {
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
fn who_sends_wrong_bytes_is_named_and_the_release_comes_from_others() -> Result<()> {
    let (shop, _hostile) = among(Manners::WrongBytes)?;
    assert!(shunned_by_all(&shop)?);
    Ok(())
}

#[test]
fn who_sends_wrong_lengths_is_named_and_the_release_comes_from_others() -> Result<()> {
    let (shop, _hostile) = among(Manners::WrongLength)?;
    assert!(shunned_by_all(&shop)?);
    Ok(())
}

#[test]
fn who_sends_nothing_delays_a_release_by_seconds() -> Result<()> {
    among(Manners::Nothing).map(|_| ())
}

#[test]
fn who_sends_a_byte_a_second_delays_a_release_by_seconds() -> Result<()> {
    among(Manners::ByteASecond).map(|_| ())
}

#[test]
fn half_open_connections_oversize_frames_and_askers_that_never_read_hurt_nobody_else() -> Result<()>
{
    let mut shop = Shop::running(2)?;
    let hostile = Hostile::of(&shop, 1)?;
    let ports = ports(&mut shop)?;
    // Half-open ones, which never say a word or something that is no handshake.
    let mut open_sockets = Vec::new();
    for number in 0..20 {
        let mut socket = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0])))?;
        if number % 2 == 0 {
            std::io::Write::write_all(&mut socket, &[0xff; 100])?;
        }
        open_sockets.push(socket);
    }
    let (mut kept, mut chunks) = (Vec::new(), Vec::new());
    for port in ports.iter().copied() {
        // Streams that were opened and left, and a frame that claims 4 GiB.
        let (peer, mut control) = hostile.dial(port)?;
        hostile.runtime.block_on(async {
            for kind in [CONTROL_STREAM, BULK_STREAM, 99, CONTROL_STREAM] {
                // The terminal may have hung up on it by now.
                let Ok(mut stream) = open(&mut control, peer, kind).await else { return };
                if kept.len() % 4 == 3 && stream.write_all(&[0xff; 1000]).await.is_ok() {
                    _ = stream.flush().await;
                }
                kept.push(stream);
            }
        });
    }
    let directory = shop.directory("v1", 1, RELEASE)?;
    let published = shop.publish(&directory, "1")?;
    let began = Instant::now();
    shop.arrived(&directory, &published)?;
    assert!(began.elapsed() < ARRIVED_WITHIN);
    for plain in cut(&fs::read(directory.join("bin/pos"))?[..]) {
        chunks.push(pack(&plain?).0.id);
    }
    // One that was let in asks for much on many streams, and reads none of it. Another box: the first
    // has been turned away.
    let reader = Hostile::of(&shop, 2)?;
    let (peer, mut control) = reader.joins(ports[1], Manners::Nothing)?;
    let unread = reader.runtime.block_on(async {
        let mut unread = Vec::new();
        for _ in 0..4 {
            let mut stream = open(&mut control, peer, BULK_STREAM).await?.compat();
            for chunk in &chunks {
                write_frame(&mut stream, &encode(&Request { chunk: *chunk })).await?;
            }
            unread.push(stream);
        }
        anyhow::Ok(unread)
    })?;
    let directory = shop.directory("v2", 2, RELEASE)?;
    let published = shop.publish(&directory, "2")?;
    shop.arrived(&directory, &published)?;
    drop((open_sockets, kept, unread));
    Ok(())
}
