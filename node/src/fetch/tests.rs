//! Sources that do not do as they should, at the other end of a real stream.

use std::{sync::Arc, time::Instant};

use storemesh_host::frames::{read_frame, write_frame};
use storemesh_keys::PeerId;
use storemesh_protocol::{
    content::{CHUNK_MAX, ChunkId, pack},
    wire::{
        self,
        bulk::{BODY_MAX, HEAD_MAX, Reply, Request},
    },
};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    time::sleep,
};

use super::*;
use crate::{
    disk::Limits,
    driver::{Event, inbox},
    recent::Recent,
};

const PATIENCE: Patience = Patience {
    head: Duration::from_millis(400),
    place: Duration::from_millis(200),
    body: Duration::from_millis(400),
};
/// What is not slow is done by then, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);

struct Scene {
    fetcher: Fetcher,
    events: mpsc::Receiver<Event>,
    _data: tempfile::TempDir,
}

impl Scene {
    fn new(places: usize) -> Self {
        let data = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::open(data.path(), Limits::default()).unwrap());
        let (inbox, events) = inbox();
        let from = Source::Neighbour(PeerId::from_bytes([7; 32]));
        let (traffic, storing) = (Traffic::default(), Arc::new(Semaphore::new(places)));
        let (recent, patience) = (Arc::new(Recent::default()), PATIENCE);
        let fetcher = Fetcher { from, patience, disk, inbox, traffic, storing, recent };
        Self { fetcher, events, _data: data }
    }

    /// Asks a source that behaves like this, and again on a new stream when one ends.
    fn ask<F>(&self, source: impl Fn(DuplexStream) -> F + Send + 'static) -> mpsc::Sender<ChunkRef>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (fetches, wanted) = mpsc::channel(64);
        let asking = self.fetcher.clone();
        tokio::spawn(asking.run(wanted, move || {
            let (near, far) = duplex(4096);
            tokio::spawn(source(far));
            async move { Ok(tokio::io::split(near)) }
        }));
        fetches
    }

    /// What the composite hears next.
    async fn heard(&mut self) -> (ChunkId, Result<u32, FetchError>) {
        let event = timeout(SOON, self.events.recv()).await.expect("nothing was heard").unwrap();
        let Event::Input(input) = event else { panic!("{event:?}") };
        if let Input::Fetched { chunk, bytes, .. } = input {
            return (chunk, Ok(bytes));
        }
        let Input::NotFetched { chunk, why, .. } = input else { panic!("{input:?}") };
        (chunk, Err(why))
    }

    /// One chunk asked of a source of this kind.
    async fn one<F>(source: impl Fn(DuplexStream) -> F + Send + 'static) -> Result<u32, FetchError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut scene = Self::new(4);
        let (chunk, _) = chunk(1);
        let fetches = scene.ask(source);
        fetches.send(chunk).await.unwrap();
        let (id, result) = scene.heard().await;
        assert_eq!(id, chunk.id);
        if result.is_err() {
            assert!(scene.fetcher.disk.serve(&chunk.id).is_none(), "nothing wrong is kept");
        }
        let all = timeout(SOON, scene.fetcher.storing.acquire_many(4)).await;
        assert!(all.is_ok(), "it holds a place");
        result
    }
}

/// Half a mebibyte that does not compress.
fn chunk(seed: u64) -> (ChunkRef, Vec<u8>) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    pack(&(0..CHUNK_MAX / 2).map(|_| next()).collect::<Vec<u8>>())
}

async fn asked(stream: &mut DuplexStream) -> ChunkId {
    let frame = read_frame(stream, HEAD_MAX).await.unwrap().unwrap();
    wire::decode::<Request>(&frame).unwrap().chunk
}

async fn head(stream: &mut DuplexStream, chunk: ChunkId, length: usize) {
    let length = u32::try_from(length).unwrap();
    _ = write_frame(stream, &wire::encode(&Reply { chunk, length })).await;
}

async fn honest(mut stream: DuplexStream) {
    let stored: Vec<_> = (1..40).map(chunk).collect();
    while let Ok(Some(frame)) = read_frame(&mut stream, HEAD_MAX).await {
        let id = wire::decode::<Request>(&frame).unwrap().chunk;
        let (_, body) = stored.iter().find(|(chunk, _)| chunk.id == id).unwrap();
        head(&mut stream, id, body.len()).await;
        stream.write_all(body).await.unwrap();
    }
}

/// One byte now and then, for ever.
async fn trickling(mut stream: DuplexStream) {
    let id = asked(&mut stream).await;
    head(&mut stream, id, 1000).await;
    while stream.write_all(&[0]).await.is_ok() {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_honest_source_is_fetched_from() {
    assert_eq!(Scene::one(honest).await, Ok(chunk(1).0.stored));
}

#[tokio::test]
async fn wrong_bytes_are_told_as_such() {
    let wrong = async |mut stream: DuplexStream| {
        let id = asked(&mut stream).await;
        let (_, mut body) = chunk(1);
        body[1000] ^= 1;
        head(&mut stream, id, body.len()).await;
        stream.write_all(&body).await.unwrap();
        sleep(SOON).await;
    };
    assert_eq!(Scene::one(wrong).await, Err(FetchError::Wrong));
}

#[tokio::test]
async fn another_length_than_the_chunks_is_told_as_such() {
    for length in [1, 400_000, BODY_MAX] {
        let wrong = move |mut stream: DuplexStream| async move {
            let id = asked(&mut stream).await;
            head(&mut stream, id, length).await;
            _ = stream.write_all(&vec![0; length]).await;
            sleep(SOON).await;
        };
        assert_eq!(Scene::one(wrong).await, Err(FetchError::Wrong), "{length}");
    }
}

#[tokio::test]
async fn a_length_that_no_chunk_has_and_an_oversize_head_are_refused_at_once() {
    let endless = async |mut stream: DuplexStream| {
        let id = asked(&mut stream).await;
        head(&mut stream, id, BODY_MAX + 1).await;
        while stream.write_all(&[0; 1000]).await.is_ok() {}
    };
    assert_eq!(Scene::one(endless).await, Err(FetchError::Wrong));
    let oversize = async |mut stream: DuplexStream| {
        while stream.write_all(&[0xff; 1000]).await.is_ok() {}
    };
    assert_eq!(Scene::one(oversize).await, Err(FetchError::Wrong));
}

#[tokio::test]
async fn an_answer_to_another_question_is_refused() {
    let other = async |mut stream: DuplexStream| {
        asked(&mut stream).await;
        let (other, body) = chunk(2);
        head(&mut stream, other.id, body.len()).await;
        _ = stream.write_all(&body).await;
        sleep(SOON).await;
    };
    assert_eq!(Scene::one(other).await, Err(FetchError::Wrong));
}

#[tokio::test]
async fn a_stream_that_ends_in_the_middle_is_lost_and_the_next_request_opens_another() {
    let mut scene = Scene::new(4);
    let streams = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let fetches = scene.ask(move |mut stream| {
        let first = streams.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        async move {
            if first {
                let id = asked(&mut stream).await;
                head(&mut stream, id, 1000).await;
                stream.write_all(&[0; 500]).await.unwrap();
            } else {
                honest(stream).await;
            }
        }
    });
    let (chunk, _) = chunk(1);
    fetches.send(chunk).await.unwrap();
    assert_eq!(scene.heard().await, (chunk.id, Err(FetchError::Lost)));
    fetches.send(chunk).await.unwrap();
    assert_eq!(scene.heard().await, (chunk.id, Ok(chunk.stored)));
}

#[tokio::test]
async fn a_source_that_says_nothing_is_given_up() {
    let mute = async |mut stream: DuplexStream| {
        asked(&mut stream).await;
        sleep(SOON).await;
    };
    let began = Instant::now();
    assert_eq!(Scene::one(mute).await, Err(FetchError::Lost));
    assert!(began.elapsed() >= PATIENCE.head, "not before its time");
}

#[tokio::test]
async fn a_source_that_does_not_even_read_is_given_up() {
    let deaf = async |stream: DuplexStream| {
        sleep(SOON).await;
        drop(stream);
    };
    assert_eq!(Scene::one(deaf).await, Err(FetchError::Lost));
}

#[tokio::test]
async fn a_source_of_a_byte_now_and_then_is_given_up() {
    let began = Instant::now();
    assert_eq!(Scene::one(trickling).await, Err(FetchError::Lost));
    assert!(began.elapsed() >= PATIENCE.place + PATIENCE.body, "not before its time");
}

#[tokio::test]
async fn many_that_trickle_do_not_hold_up_one_that_does_not() {
    let mut scene = Scene::new(2);
    let (awaited, _) = chunk(1);
    let trickles: Vec<_> = (0..20).map(|_| scene.ask(trickling)).collect();
    for fetches in &trickles {
        fetches.send(awaited).await.unwrap();
    }
    sleep(Duration::from_millis(50)).await;
    let fetches = scene.ask(honest);
    let many: Vec<ChunkRef> = (2..32).map(|seed| chunk(seed).0).collect();
    for chunk in &many {
        fetches.send(*chunk).await.unwrap();
    }
    let (mut came, mut lost) = (0, 0);
    while came + lost < many.len() + trickles.len() {
        match scene.heard().await.1 {
            Ok(_) => came += 1,
            Err(why) => {
                assert_eq!(why, FetchError::Lost);
                lost += 1;
            }
        }
    }
    assert_eq!((came, lost), (many.len(), trickles.len()));
}
