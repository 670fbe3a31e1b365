//! Brings to HQ the chunks it lacks.
//!
//! Chunks are gathered into batches, HQ is asked once a batch which it lacks, and only those go
//! over, several at a time, since HQ syncs each to its disk.

use std::{collections::HashSet, mem};

use serde::de::IgnoredAny;
use storemesh_host::http::Client;
use storemesh_protocol::content::{ChunkRef, ReleaseHead};
use tokio::task::JoinSet;

use crate::{
    admin::json::{Added, Chunk, NewRelease},
    ops::refusals,
};

/// A batch is full at either: HQ takes questions for 4,096 chunks, and this is kept in memory.
const BATCH_CHUNKS: usize = 1024;
const BATCH_BYTES: usize = 8 << 20;
/// Uploads at once. HQ's disk does them side by side.
const AT_ONCE: usize = 4;

#[derive(Debug)]
pub(super) struct Upload<'a> {
    client: &'a Client,
    batch: Vec<(ChunkRef, Vec<u8>)>,
    batch_bytes: usize,
    pub(super) new_chunks: u64,
    pub(super) moved_bytes: u64,
}

impl<'a> Upload<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client, batch: Vec::new(), batch_bytes: 0, new_chunks: 0, moved_bytes: 0 }
    }

    /// Fails where no HQ runs.
    pub(super) async fn hello(&self) -> anyhow::Result<()> {
        let nothing: [String; 0] = [];
        let _: Vec<String> =
            self.client.post("/v1/chunks/lacking", &nothing).await.map_err(refusals)?;
        Ok(())
    }

    pub(super) async fn add(&mut self, chunk: ChunkRef, stored: Vec<u8>) -> anyhow::Result<()> {
        self.batch_bytes += stored.len();
        self.batch.push((chunk, stored));
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_CHUNKS {
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends what was gathered so far.
    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        let batch = mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let ids: Vec<String> = batch.iter().map(|(chunk, _)| chunk.id.to_string()).collect();
        let lacking: HashSet<String> =
            self.client.post("/v1/chunks/lacking", &ids).await.map_err(refusals)?;
        let mut sending = JoinSet::new();
        for ((chunk, stored), id) in batch.into_iter().zip(ids) {
            if !lacking.contains(&id) {
                continue;
            }
            self.new_chunks += 1;
            self.moved_bytes += u64::from(chunk.stored);
            if sending.len() >= AT_ONCE {
                done(sending.join_next().await)?;
            }
            let client = self.client.clone();
            sending.spawn(async move {
                let path = format!("/v1/chunks/{id}?plain_bytes={}", chunk.plain);
                let _: IgnoredAny = client.put_bytes(&path, stored).await.map_err(refusals)?;
                Ok(())
            });
        }
        while let Some(sent) = sending.join_next().await {
            done(Some(sent))?;
        }
        Ok(())
    }

    pub(super) async fn head(&self, head: &ReleaseHead) -> anyhow::Result<()> {
        let piece = |chunk: &ChunkRef| Chunk {
            id: chunk.id.to_string(),
            stored_bytes: chunk.stored,
            plain_bytes: chunk.plain,
        };
        let new = NewRelease {
            product: head.product.to_string(),
            version: head.version.to_string(),
            release: head.id.to_string(),
            manifest: head.manifest.iter().map(piece).collect(),
            manifest_bytes: head.manifest_bytes,
            release_bytes: head.plain_bytes,
            stored_bytes: head.stored_bytes,
            chunks: head.chunks,
        };
        let _: Added = self.client.post("/v1/releases", &new).await.map_err(refusals)?;
        Ok(())
    }
}

fn done(sent: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Result<()> {
    match sent {
        Some(sent) => sent.expect("uploading does not panic"),
        None => Ok(()),
    }
}
