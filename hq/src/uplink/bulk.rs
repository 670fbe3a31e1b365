//! The bulk streams: chunks on request.
//!
//! The rule: a terminal writes requests ahead, QUIC keeps them for us, and one chunk at a time is
//! in our memory, so that a slow terminal costs a chunk a stream (`storemesh_host::bulk`). A
//! request that does not read ends its stream, not the link.

use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream};
use storemesh_host::bulk;
use storemesh_protocol::content::ChunkId;
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
    let stored = |chunk| stored_form(chunk, chunks.clone());
    bulk::answer(&mut input, &mut out, stored, |_| {}).await?;
    out.finish()?;
    Ok(())
}

/// None where HQ does not hold it, or cannot read it.
async fn stored_form(chunk: ChunkId, chunks: Chunks) -> Option<Vec<u8>> {
    let stored = spawn_blocking(move || chunks.read(&chunk)).await.ok()?;
    stored.unwrap_or_else(|why| {
        tracing::error!("{why:#}");
        None
    })
}
