//! The feeds' thread on real files, with HQ's own composite at the other end of the line.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use redb::{StorageBackend, backends::InMemoryBackend};
use storemesh_host::{
    folder,
    frames::{read_frame, write_frame},
};
use storemesh_keys::{
    Certificate, ChainId, HqSigner, Name, OnlineKey, PeerId, Roles, Signed, Timestamp, Trust,
};
use storemesh_protocol::{
    Instant as Since,
    feeds::{
        hq::{self, HqFeeds},
        terminal::{AckLevel, Body, Post, PostError, Posted, ToFeeds},
    },
    terminal::Source,
    wire::feeds::FEED_FRAME_MAX,
};
use tempfile::TempDir;
use tokio::{
    io::{DuplexStream, duplex, split},
    task::JoinHandle,
};

use super::*;
use crate::driver as terminal_driver;

const STORE: &str = "s1";
const LINK: u64 = 1;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn root() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

fn trust() -> Trust {
    Trust { chain: ChainId::of_root(root().public()), generation_min: 0 }
}

fn signer() -> HqSigner {
    let key = SecretKey::from_seed([2; 32]);
    let online = OnlineKey {
        chain: trust().chain,
        name: name("acme"),
        generation: 1,
        key: key.public(),
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    };
    HqSigner::new(key, Signed::sign(&root(), &online), &trust()).unwrap()
}

/// A terminal's data folder.
pub(crate) struct Till {
    folder: TempDir,
    key: SecretKey,
    membership: Membership,
}

/// Its feeds at work.
pub(crate) struct Working {
    pub(crate) feeds: Feeds,
    peer: PeerId,
    /// What the terminal's other driver would hear.
    _terminal: mpsc::Receiver<terminal_driver::Event>,
}

impl Till {
    pub(crate) fn new(number: u8) -> Self {
        let key = SecretKey::from_seed([10 + number; 32]);
        let certificate = signer().sign(&Certificate {
            chain: trust().chain,
            serial: u64::from(number),
            peer: key.peer_id(),
            door: None,
            name: name(&format!("till-{number}")),
            store: name(STORE),
            roles: Roles::TERMINAL,
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
        });
        let membership = Membership { chain: trust().chain, certificate, hq: Vec::new() };
        Self { folder: tempfile::tempdir().unwrap(), key, membership }
    }

    pub(crate) fn id_and_trust(&self) -> (String, Trust) {
        (self.key.peer_id().to_string(), trust())
    }

    pub(crate) fn start(&self) -> Working {
        let data = folder::open(self.folder.path()).unwrap();
        let (inbox, terminal) = terminal_driver::inbox();
        let feeds = start(&data, &self.key, &self.membership, &inbox, Instant::now()).unwrap();
        Working { feeds, peer: self.key.peer_id(), _terminal: terminal }
    }
}

impl Working {
    /// A stream to `side`: the other end of it.
    fn stream(&self, side: Source) -> DuplexStream {
        let (near, far) = duplex(1 << 16);
        let carrier = self.feeds.carrier.clone();
        tokio::spawn(async move {
            let (mut input, mut output) = split(near);
            let gone = std::future::pending();
            _ = carrier.carry(side, &mut input, &mut output, gone).await;
        });
        far
    }

    /// A line to an HQ that has nothing but this, until it is aborted.
    pub(crate) fn hq(&self) -> JoinHandle<()> {
        self.feeds.inbox.tell(ToFeeds::Gateway(Some(self.peer)));
        tokio::spawn(office(self.peer, self.stream(Source::Hq)))
    }

    async fn post(&self, key: &str, body: &str, ack: AckLevel) -> Result<Posted, PostError> {
        let wait = if ack == AckLevel::Disk { Duration::ZERO } else { PATIENCE };
        self.post_within(key, body, ack, wait).await
    }

    async fn post_within(
        &self,
        key: &str,
        body: &str,
        ack: AckLevel,
        wait: Duration,
    ) -> Result<Posted, PostError> {
        let (topic, key) = (name("sales"), key.as_bytes().to_vec());
        let body = Body::Event(body.as_bytes().to_vec());
        self.feeds.inbox.post(Post { topic, key, body, ack, wait }).await.unwrap()
    }

    pub(crate) async fn has_a_schema(&self) {
        let looking = async {
            while self.feeds.inbox.look().await.unwrap().schema == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("HQ's schema never came");
    }

    async fn stop(self) {
        self.feeds.inbox.stop();
        self.feeds.ended.await.unwrap().unwrap();
    }
}

/// HQ's side of one line, with a database in memory.
async fn office(peer: PeerId, line: DuplexStream) {
    let db = Db::on(InMemoryBackend::new(), hq::TABLES, CACHE_BYTES).unwrap();
    let loaded = db.batch(|storage| HqFeeds::load(signer(), trust(), storage));
    let (mut feeds, _) = loaded.unwrap();
    let (mut input, mut output) = split(line);
    let started = Instant::now();
    let mut inputs = vec![hq::Input::Up { link: LINK, peer, store: name(STORE) }];
    // Frames are read on their own: a read that is given up would lose its place.
    let (heard, mut frames) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok(Some(bytes)) = read_frame(&mut input, FEED_FRAME_MAX).await {
            if heard.send(bytes).await.is_err() {
                return;
            }
        }
    });
    loop {
        let now = Since(u64::try_from(started.elapsed().as_micros()).unwrap());
        let said = std::mem::take(&mut inputs);
        let wall = Timestamp(1_000_000);
        let outputs = db.batch(|storage| feeds.handle(now, wall, storage, said)).unwrap();
        for said in outputs {
            if let hq::Output::Send { frame, .. } = said
                && write_frame(&mut output, &frame).await.is_err()
            {
                return;
            }
        }
        match tokio::time::timeout(Duration::from_millis(5), frames.recv()).await {
            Ok(Some(bytes)) => inputs.push(hq::Input::Frame { link: LINK, bytes }),
            Ok(None) => return,
            Err(_) => inputs.push(hq::Input::Tick),
        }
    }
}

/// Carries frames between two terminals.
fn join(one: &Working, other: &Working) -> JoinHandle<()> {
    let mut near = one.stream(Source::Neighbour(other.peer));
    let mut far = other.stream(Source::Neighbour(one.peer));
    tokio::spawn(async move {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn before_hq_has_told_of_any_journal_nothing_is_taken() {
    let till = Till::new(1).start();
    assert_eq!(till.post("a", "1", AckLevel::Disk).await, Err(PostError::NoSchema));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_entry_also_after_a_restart() {
    let till = Till::new(1);
    let working = till.start();
    working.hq();
    working.has_a_schema().await;
    let first = working.post("a", "1", AckLevel::Disk).await.unwrap();
    assert_eq!(first.id.seq, 1);
    let second = working.post("b", "1", AckLevel::Disk).await.unwrap();
    assert_eq!(second.id.seq, 2);
    assert_eq!(working.post("a", "1", AckLevel::Disk).await.unwrap().id, first.id);
    working.stop().await;

    let working = till.start();
    assert_eq!(working.post("a", "1", AckLevel::Disk).await.unwrap().id, first.id);
    let other = working.post("b", "2", AckLevel::Disk).await;
    assert_eq!(other, Err(PostError::Conflict(second.id)));
    let third = working.post("c", "3", AckLevel::Disk).await.unwrap();
    assert_ne!(third.id.feed.boot, first.id.feed.boot, "every start is a boot of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_hq_hears_when_it_has_the_entry_and_not_before() {
    let till = Till::new(1).start();
    let line = till.hq();
    till.has_a_schema().await;
    let reached = till.post("a", "1", AckLevel::Hq).await.unwrap().reached;
    assert_eq!(reached, AckLevel::Hq);
    line.abort();
    let soon = Duration::from_millis(50);
    let alone = till.post_within("b", "2", AckLevel::Hq, soon).await.unwrap();
    assert_eq!(alone.reached, AckLevel::Disk, "the line is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_neighbour_hears_when_its_disk_has_the_entry() {
    let (one, two) = (Till::new(1).start(), Till::new(2).start());
    one.hq();
    one.has_a_schema().await;
    let soon = Duration::from_millis(50);
    let alone = one.post_within("a", "1", AckLevel::Neighbour, soon).await.unwrap();
    // HQ may have it, which is more than was asked for; a neighbour has not.
    assert_ne!(alone.reached, AckLevel::Neighbour);
    two.feeds.inbox.tell(ToFeeds::Gateway(Some(one.peer)));
    let wire = join(&one, &two);
    two.has_a_schema().await;
    let posted = two.post("b", "2", AckLevel::Neighbour).await.unwrap();
    assert!(posted.reached >= AckLevel::Neighbour, "{posted:?}");
    let through = two.post("c", "3", AckLevel::Hq).await.unwrap();
    assert_eq!(through.reached, AckLevel::Hq, "by way of the gateway");
    wire.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_to_a_side_takes_the_place_of_the_former() {
    let till = Till::new(1).start();
    let mut former = till.stream(Source::Hq);
    let greeted = read_frame(&mut former, FEED_FRAME_MAX).await.unwrap();
    assert!(greeted.is_some());
    let mut newer = till.stream(Source::Hq);
    assert!(read_frame(&mut newer, FEED_FRAME_MAX).await.unwrap().is_some());
    let ending = async { while let Ok(Some(_)) = read_frame(&mut former, FEED_FRAME_MAX).await {} };
    tokio::time::timeout(PATIENCE, ending).await.expect("it was not let go of");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_long_ends_its_stream_and_nothing_else() {
    let till = Till::new(1).start();
    let mut stream = till.stream(Source::Hq);
    let length = u32::try_from(FEED_FRAME_MAX + 1).unwrap().to_be_bytes();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &length).await.unwrap();
    let ending = async { while let Ok(Some(_)) = read_frame(&mut stream, FEED_FRAME_MAX).await {} };
    tokio::time::timeout(PATIENCE, ending).await.expect("it goes on");
    assert!(till.feeds.inbox.look().await.is_ok());
}

/// A disk that refuses to sync once it is broken.
#[derive(Debug, Default)]
struct Disk {
    memory: InMemoryBackend,
    broken: Arc<AtomicBool>,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.memory.write(offset, data)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_disk_fails_nobody_is_answered_and_the_thread_ends() {
    let (till, disk) = (Till::new(1), Disk::default());
    let broken = disk.broken.clone();
    let file = till.folder.path().join("room");
    std::fs::write(&file, b"").unwrap();
    let (inbox, lanes) = lanes();
    let (speak, _told) = mpsc::unbounded_channel();
    let driver = Driver {
        setup: setup(&till.key, &till.membership).unwrap(),
        db: Arc::new(Db::on(disk, TABLES, CACHE_BYTES).unwrap()),
        room: Room::new(Reserved::open(&file).unwrap()),
        lanes,
        tell: speak,
        started: Instant::now(),
    };
    let ended = driver.start().unwrap();
    let (carrier, peer) = (Carrier::new(inbox.clone()), till.key.peer_id());
    let (_, terminal) = terminal_driver::inbox();
    let db = Arc::new(Db::on(InMemoryBackend::new(), TABLES, CACHE_BYTES).unwrap());
    let feeds = Feeds { inbox: inbox.clone(), db, carrier, ended };
    let working = Working { feeds, peer, _terminal: terminal };
    working.hq();
    working.has_a_schema().await;
    assert!(working.post("a", "1", AckLevel::Disk).await.is_ok());
    broken.store(true, Ordering::Relaxed);
    let body = Body::Event(b"2".to_vec());
    let (topic, key) = (name("sales"), b"b".to_vec());
    let post = Post { topic, key, body, ack: AckLevel::Disk, wait: Duration::ZERO };
    assert!(inbox.post(post).await.is_err(), "answered from memory");
    let why = format!("{:#}", working.feeds.ended.await.unwrap().unwrap_err());
    assert!(why.contains("mend the disk"), "{why}");
    assert!(inbox.look().await.is_err());
}
