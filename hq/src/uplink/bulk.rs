//! The bulk streams: chunks on request.
//!
//! The rule: a terminal writes requests ahead, QUIC keeps them for us, and one chunk at a time is
//! in our memory, so that a slow terminal costs a chunk a stream (`storemesh_host::bulk`). A
//! request that does not read ends its stream, not the link. Who may not fetch (any more) has its
//! streams reset at once, and asks its neighbours.

use std::sync::Arc;

use quinn::VarInt;
use storemesh_host::{bulk, logs::CHUNKS};
use storemesh_keys::PeerId;
use storemesh_protocol::content::ChunkId;
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinSet, spawn_blocking},
};

use super::streams::Stream;
use crate::chunks::Chunks;

/// Streams of one terminal that are answered at once; more wait their turn. A terminal needs one.
const STREAMS_MAX: usize = 4;
/// The terminal does not hold its store's lease.
const NO_LEASE: VarInt = VarInt::from_u32(2);

/// Those of one terminal. Dropped, it leaves none behind.
pub(super) struct Bulk {
    peer: PeerId,
    chunks: Chunks,
    may_fetch: watch::Receiver<bool>,
    room: Arc<Semaphore>,
    streams: JoinSet<()>,
}

impl Bulk {
    pub(super) fn new(peer: PeerId, chunks: Chunks, may_fetch: watch::Receiver<bool>) -> Self {
        let room = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { peer, chunks, may_fetch, room, streams: JoinSet::new() }
    }

    /// Waits for another word on whether the terminal may fetch; false when the driver has hung up,
    /// and so will the caller.
    pub(super) async fn changed(&mut self) -> bool {
        let Ok(()) = self.may_fetch.changed().await else { return false };
        if !*self.may_fetch.borrow_and_update() {
            self.streams.abort_all();
        }
        true
    }

    pub(super) fn take(&mut self, stream: Stream) {
        while self.streams.try_join_next().is_some() {}
        if *self.may_fetch.borrow() {
            let (room, chunks) = (self.room.clone(), self.chunks.clone());
            self.streams.spawn(in_turn(room, stream, self.peer, chunks));
        } else {
            stream.reset(NO_LEASE);
        }
    }
}

async fn in_turn(room: Arc<Semaphore>, stream: Stream, peer: PeerId, chunks: Chunks) {
    let _turn = room.acquire().await.expect("nobody closes it");
    if let Err(why) = answer(stream, peer, chunks).await {
        tracing::debug!("a bulk stream ended: {why:#}");
    }
}

async fn answer(
    Stream { mut out, mut input }: Stream,
    peer: PeerId,
    chunks: Chunks,
) -> anyhow::Result<()> {
    let stored = |chunk| stored_form(chunk, peer, chunks.clone());
    bulk::answer(&mut input, &mut out, stored, |_| {}).await?;
    out.finish()?;
    Ok(())
}

/// None where HQ does not hold it, or cannot read it.
async fn stored_form(chunk: ChunkId, peer: PeerId, chunks: Chunks) -> Option<Vec<u8>> {
    let stored = spawn_blocking(move || chunks.read(&chunk)).await.ok()?;
    let stored = stored.unwrap_or_else(|why| {
        tracing::error!("{why:#}");
        None
    })?;
    tracing::debug!(target: CHUNKS, %peer, %chunk, bytes = stored.len(), "sending");
    Some(stored)
}
