//! The bulk streams: chunks on request.
//!
//! The rule: a terminal writes requests ahead, QUIC keeps them for us, and one chunk at a time is
//! in our memory, so that a slow terminal costs a chunk a stream (`storemesh_host::bulk`). A
//! request that does not read ends its stream, not the link. Who may not fetch (any more) has its
//! streams reset at once, and asks its neighbours.

use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream, VarInt};
use storemesh_host::{bulk, logs::CHUNKS};
use storemesh_keys::PeerId;
use storemesh_protocol::content::ChunkId;
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinSet, spawn_blocking},
};

use crate::chunks::Chunks;

/// Streams of one terminal that are answered at once; more wait their turn. A terminal needs one.
const STREAMS_MAX: usize = 4;
/// The terminal does not hold its store's lease.
const NO_LEASE: VarInt = VarInt::from_u32(2);

/// Until the connection ends. Dropped, it leaves no stream behind.
pub(super) async fn serve(
    connection: &Connection,
    peer: PeerId,
    chunks: &Chunks,
    mut may_fetch: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(STREAMS_MAX));
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            // In this order: a stream opened right after the lease was granted is answered.
            biased;
            changed = may_fetch.changed() => {
                // The driver has hung up: so will the caller.
                let Ok(()) = changed else { return };
                if !*may_fetch.borrow_and_update() {
                    streams.shutdown().await;
                }
            }
            stream = connection.accept_bi() => {
                let Ok((mut out, mut input)) = stream else { return };
                while streams.try_join_next().is_some() {}
                if *may_fetch.borrow() {
                    streams.spawn(in_turn(room.clone(), out, input, peer, chunks.clone()));
                } else {
                    // Either is an error when the other side has ended it already.
                    _ = (out.reset(NO_LEASE), input.stop(NO_LEASE));
                }
            }
        }
    }
}

async fn in_turn(
    room: Arc<Semaphore>,
    out: SendStream,
    input: RecvStream,
    peer: PeerId,
    chunks: Chunks,
) {
    let _turn = room.acquire().await.expect("nobody closes it");
    if let Err(why) = answer(out, input, peer, chunks).await {
        tracing::debug!("a bulk stream ended: {why:#}");
    }
}

async fn answer(
    mut out: SendStream,
    mut input: RecvStream,
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
