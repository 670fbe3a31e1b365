//! The bulk streams: chunks on request.
//!
//! The rule: each request is answered, in order, with a head and then as many raw bytes as the
//! head says; a chunk HQ does not hold, or cannot read, has none. The terminal writes requests
//! ahead, QUIC keeps them for us, and one chunk at a time is in our memory, so that a slow
//! terminal costs a chunk a stream. A request that does not read ends its stream, not the link.

use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream};
use storemesh_host::frames::{read_frame, write_frame};
use storemesh_protocol::{
    content::ChunkId,
    wire::{
        self,
        bulk::{HEAD_MAX, Reply, Request},
    },
};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
};

use crate::chunks::Chunks;

/// Streams of one terminal that are answered at once; more wait their turn. A terminal needs one.
const STREAMS_MAX: usize = 4;

/// Until the connection ends. Dropped, it leaves no stream behind.
pub(super) async fn serve(connection: &Connection, chunks: &Chunks) {
    let room = Arc::new(Semaphore::new(STREAMS_MAX));
    let mut streams = JoinSet::new();
    loop {
        let turn = room.clone().acquire_owned().await.expect("nobody closes it");
        while streams.try_join_next().is_some() {}
        let Ok((out, input)) = connection.accept_bi().await else { return };
        let chunks = chunks.clone();
        streams.spawn(async move {
            if let Err(why) = answer(out, input, chunks).await {
                tracing::debug!("a bulk stream ended: {why:#}");
            }
            drop(turn);
        });
    }
}

async fn answer(mut out: SendStream, mut input: RecvStream, chunks: Chunks) -> anyhow::Result<()> {
    while let Some(frame) = read_frame(&mut input, HEAD_MAX).await? {
        let Request { chunk } = wire::decode(&frame)?;
        let stored = stored_form(chunk, &chunks).await?;
        let length = u32::try_from(stored.len())?;
        write_frame(&mut out, &wire::encode(&Reply { chunk, length })).await?;
        out.write_all(&stored).await?;
    }
    out.finish()?;
    Ok(())
}

async fn stored_form(chunk: ChunkId, chunks: &Chunks) -> anyhow::Result<Vec<u8>> {
    let chunks = chunks.clone();
    let stored = spawn_blocking(move || chunks.read(&chunk)).await?;
    Ok(stored
        .unwrap_or_else(|why| {
            tracing::error!("{why:#}");
            None
        })
        .unwrap_or_default())
}
