//! The streams to one neighbour: a control stream, and a bulk stream each way.
//!
//! The side with the lower PeerId opens the control stream, and again when it ends while the
//! connection stands. Its first byte says what a stream is. Each control stream is a session: its
//! frames go to the driver, and with it the neighbour comes and goes. A bulk stream is answered once
//! the driver has said that the peer is admitted, and not at all when that does not come in time. Who
//! opens the control stream opens one for feeds besides, once it has admitted the other, and again when
//! that ends before the session does.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, io::WriteHalf};
use libp2p::{Stream, StreamProtocol};
use libp2p_stream::Control;
use storemesh_host::{
    bulk,
    frames::{read_frame, write_frame},
};
use storemesh_keys::PeerId;
use storemesh_protocol::{
    content::ChunkId,
    terminal::{GREETING_TIMEOUT, Source},
    wire::{
        CONTROL_MAX, PROTOCOL,
        feeds::FEEDS_STREAM,
        mesh::{BEAT, BULK_STREAM, CONTROL_STREAM, SILENCE, goes_first},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, FuturesAsyncWriteCompatExt as _};

use super::{Shared, behaviour::to_libp2p};
use crate::{
    counters::Traffic,
    driver::{Event, Inbox, Line, Neighbour},
    fetch::{Fetcher, Patience},
};

const NAME: StreamProtocol = StreamProtocol::new(PROTOCOL);
/// Whoever opens a stream says by then what it is.
pub(super) const KIND_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams that a peer may open before it is admitted: control, bulk, feeds, and one that is ending.
const STRANGERS_STREAMS: usize = 4;
/// A timer that fires so much too late tells of a busy machine, not of a silent neighbour.
const OWN_DELAY: Duration = Duration::from_millis(150);
/// Before a control stream that ended is opened again.
const REOPEN: Duration = Duration::from_millis(300);
/// The same of a stream for feeds: one of the two has found something wrong with the other.
const REOPEN_FEEDS: Duration = Duration::from_secs(5);
/// Frames that wait for one neighbour: updates of what we have, mostly.
const FRAMES: usize = 1024;
/// As many chunks as the composite asks of one neighbour at once, and some to spare.
const FETCHES: usize = 256;

#[derive(Clone)]
pub(super) struct Streams {
    me: PeerId,
    control: Control,
    shared: Shared,
    /// Whose connections are to be cut.
    silent: mpsc::UnboundedSender<PeerId>,
    sessions: Arc<AtomicU64>,
    peers: Arc<Mutex<BTreeMap<PeerId, Peer>>>,
}

/// A connected peer.
struct Peer {
    address: SocketAddr,
    /// Tells this time of being connected from former ones.
    stay: u64,
    /// Every stream of it that is being taken holds a clone.
    taken: Arc<()>,
    session: Option<Session>,
}

#[derive(Clone)]
struct Session {
    id: u64,
    admitted: watch::Receiver<bool>,
    traffic: Traffic,
}

impl Streams {
    pub(super) fn new(
        me: PeerId,
        control: Control,
        shared: Shared,
        silent: mpsc::UnboundedSender<PeerId>,
    ) -> Self {
        let (sessions, peers) = (Arc::default(), Arc::default());
        Self { me, control, shared, silent, sessions, peers }
    }

    /// Takes the streams that neighbours open; to be polled for as long as the mesh runs.
    pub(super) fn accept(&mut self) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let mut incoming = self.control.accept(NAME).context("taking streams")?;
        let this = self.clone();
        Ok(async move {
            while let Some((peer, stream)) = incoming.next().await {
                let Some(peer) = super::behaviour::from_libp2p(&peer) else { continue };
                let this = this.clone();
                tokio::spawn(async move {
                    if let Err(why) = this.take(peer, stream).await {
                        tracing::debug!(%peer, "a stream ended: {why:#}");
                    }
                });
            }
        })
    }

    /// A connection to `peer` stands.
    pub(super) fn connected(&self, peer: PeerId, address: SocketAddr) {
        let mut peers = self.peers();
        if peers.contains_key(&peer) {
            return;
        }
        let stay = self.sessions.fetch_add(1, Ordering::Relaxed);
        let taken = Arc::default();
        peers.insert(peer, Peer { address, stay, taken, session: None });
        drop(peers);
        if goes_first(self.me, peer) == self.me {
            tokio::spawn(self.clone().keep_open(peer, stay));
        }
    }

    /// The last connection to `peer` is gone; its sessions end with it.
    pub(super) fn gone(&self, peer: PeerId) {
        self.peers().remove(&peer);
    }

    /// Whether the composite has let `peer` in.
    pub(super) fn is_admitted(&self, peer: &PeerId) -> bool {
        let peers = self.peers();
        let session = peers.get(peer).and_then(|peer| peer.session.as_ref());
        session.is_some_and(|session| *session.admitted.borrow())
    }

    /// Opens the control stream, and again, for as long as the peer stays connected.
    async fn keep_open(self, peer: PeerId, stay: u64) {
        let stays = |this: &Self| this.peers().get(&peer).is_some_and(|peer| peer.stay == stay);
        while stays(&self) {
            let opened = open(&mut self.control.clone(), peer, CONTROL_STREAM).await;
            let ended = match opened {
                Ok(stream) => self.session(peer, stream).await,
                Err(why) => Err(why),
            };
            if let Err(why) = ended {
                tracing::debug!(%peer, "a control stream ended: {why:#}");
            }
            sleep(REOPEN).await;
        }
    }

    async fn take(self, peer: PeerId, mut stream: Stream) -> anyhow::Result<()> {
        let taken = self.peers().get(&peer).map(|peer| peer.taken.clone());
        let streams = taken.as_ref().map_or(0, |taken| Arc::strong_count(taken) - 1);
        if streams > STRANGERS_STREAMS && !self.is_admitted(&peer) {
            // What a stream brings is kept for it until somebody reads it.
            bail!("more than {STRANGERS_STREAMS} streams before it is admitted");
        }
        let mut kind = [0];
        timeout(KIND_TIMEOUT, stream.read_exact(&mut kind)).await.context("no first byte")??;
        match kind {
            [CONTROL_STREAM] if goes_first(self.me, peer) == peer => {
                self.session(peer, stream).await
            }
            [CONTROL_STREAM] => bail!("the control stream is ours to open"),
            [BULK_STREAM] => self.answer(peer, stream).await,
            [FEEDS_STREAM] if goes_first(self.me, peer) == peer => {
                let Session { admitted, .. } = self.admission(peer).await?;
                self.carry_feeds(peer, stream, admitted).await
            }
            [FEEDS_STREAM] => bail!("the stream for feeds is ours to open"),
            [other] => bail!("a stream of kind {other}, which this version does not know"),
        }
    }

    async fn session(&self, peer: PeerId, stream: Stream) -> anyhow::Result<()> {
        let id = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (frames, queue) = mpsc::channel(FRAMES);
        let (fetches, wanted) = mpsc::channel(FETCHES);
        let (admitted, admission) = watch::channel(false);
        let traffic = Traffic::default();
        let address = {
            let mut peers = self.peers();
            let Some(known) = peers.get_mut(&peer) else { bail!("the connection is gone") };
            let traffic = traffic.clone();
            known.session = Some(Session { id, admitted: admission.clone(), traffic });
            known.address
        };
        if goes_first(self.me, peer) == self.me {
            // On its own, so that its end is always told.
            tokio::spawn(self.clone().keep_feeds_open(peer, admission));
        }
        let line = Line { frames, fetches };
        let neighbour = Neighbour { line, admitted, traffic: traffic.clone() };
        self.shared
            .inbox
            .send(Event::NeighbourUp { peer, address, session: id, neighbour })
            .await?;

        let (mut input, mut output) = halves(stream);
        let from = Source::Neighbour(peer);
        let Shared { disk, inbox, storing, recent, .. } = self.shared.clone();
        let patience = Patience::NEIGHBOUR;
        let asking = Fetcher { from, patience, disk, inbox, traffic, storing, recent };
        let control = self.control.clone();
        let fetching = asking.run(wanted, || {
            let mut control = control.clone();
            async move { Ok(halves(open(&mut control, peer, BULK_STREAM).await?)) }
        });
        let ended = tokio::select! {
            ended = read(peer, id, &mut input, &self.shared.inbox) => ended,
            ended = write(&mut output, queue) => ended,
            ended = fetching => ended.map_err(Into::into),
        };
        if let Some(known) = self.peers().get_mut(&peer) {
            known.session.take_if(|session| session.id == id);
        }
        if ended.as_ref().is_err_and(anyhow::Error::is::<Silent>) {
            // TCP would hold on to the dead connection for much longer. The mesh may have ended.
            _ = self.silent.send(peer);
        }
        self.shared.inbox.send(Event::NeighbourDown { peer, session: id }).await?;
        ended
    }

    /// The session with `peer`, once it is admitted.
    async fn admission(&self, peer: PeerId) -> anyhow::Result<Session> {
        let session = self.peers().get(&peer).and_then(|peer| peer.session.clone());
        let Some(mut session) = session else { bail!("opened a stream before it greeted") };
        let wait = session.admitted.wait_for(|admitted| *admitted);
        timeout(GREETING_TIMEOUT, wait).await.context("opened a stream unadmitted")??;
        Ok(session)
    }

    /// Opens the stream for feeds once the peer is admitted, and again, until the session ends.
    async fn keep_feeds_open(self, peer: PeerId, mut admitted: watch::Receiver<bool>) {
        while admitted.wait_for(|admitted| *admitted).await.is_ok() && !is_gone(&admitted) {
            let ended = match open(&mut self.control.clone(), peer, FEEDS_STREAM).await {
                Ok(stream) => self.carry_feeds(peer, stream, admitted.clone()).await,
                Err(why) => Err(why),
            };
            if let Err(why) = ended {
                tracing::debug!(%peer, "a stream for feeds ended: {why:#}");
            }
            // The end of the session ends the wait.
            _ = timeout(REOPEN_FEEDS, gone(admitted.clone())).await;
        }
    }

    async fn carry_feeds(
        &self,
        peer: PeerId,
        stream: Stream,
        admitted: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let (mut input, mut output) = halves(stream);
        let side = Source::Neighbour(peer);
        self.shared.feeds.carry(side, &mut input, &mut output, gone(admitted)).await
    }

    async fn answer(&self, peer: PeerId, stream: Stream) -> anyhow::Result<()> {
        let Session { traffic, .. } = self.admission(peer).await?;
        let (mut input, mut output) = halves(stream);
        let stored = |chunk: ChunkId| {
            let (recent, disk) = (self.shared.recent.get(&chunk), self.shared.disk.clone());
            async move {
                if recent.is_some() {
                    return recent;
                }
                spawn_blocking(move || disk.serve(&chunk)).await.ok().flatten().map(Arc::new)
            }
        };
        bulk::answer(&mut input, &mut output, stored, |bytes| traffic.went(bytes)).await
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<PeerId, Peer>> {
        self.peers.lock().expect("nobody panics while holding it")
    }
}

/// Once the driver has let go of the session.
async fn gone(mut admitted: watch::Receiver<bool>) {
    while admitted.changed().await.is_ok() {}
}

fn is_gone(admitted: &watch::Receiver<bool>) -> bool {
    admitted.has_changed().is_err()
}

type Halves = (Compat<futures::io::ReadHalf<Stream>>, Compat<WriteHalf<Stream>>);

fn halves(stream: Stream) -> Halves {
    let (input, output) = stream.split();
    (input.compat(), output.compat_write())
}

async fn open(control: &mut Control, peer: PeerId, kind: u8) -> anyhow::Result<Stream> {
    let opening = control.open_stream(to_libp2p(&peer), NAME);
    let mut stream = timeout(KIND_TIMEOUT, opening).await.context("no stream in time")??;
    stream.write_all(&[kind]).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Until the neighbour ends the stream, or is silent.
async fn read(
    peer: PeerId,
    session: u64,
    input: &mut (impl AsyncRead + Unpin),
    inbox: &Inbox,
) -> anyhow::Result<()> {
    loop {
        let Some(bytes) = heard(read_frame(input, CONTROL_MAX)).await?? else { return Ok(()) };
        if !bytes.is_empty() {
            inbox.send(Event::NeighbourFrame { peer, session, bytes }).await?;
        }
    }
}

/// What comes within [`SILENCE`]. Time in which this machine itself did not get to run does not
/// count against the neighbour.
async fn heard<T>(frame: impl Future<Output = T>) -> Result<T, Silent> {
    let mut frame = pin!(frame);
    loop {
        let begun = Instant::now();
        if let Ok(frame) = timeout(SILENCE, &mut frame).await {
            return Ok(frame);
        }
        if begun.elapsed() < SILENCE + OWN_DELAY {
            return Err(Silent);
        }
    }
}

/// The other side, or the way to it, is gone though nobody said so.
#[derive(Debug, thiserror::Error)]
#[error("nothing was heard for {} ms", SILENCE.as_millis())]
struct Silent;

/// Until the driver lets go of the neighbour. An empty frame says that we are there.
async fn write(
    output: &mut (impl AsyncWrite + Unpin),
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> anyhow::Result<()> {
    loop {
        match timeout(BEAT, queue.recv()).await {
            Ok(Some(frame)) => write_frame(output, &frame).await?,
            Ok(None) => return Ok(()),
            Err(_) => write_frame(output, &[]).await?,
        }
    }
}
