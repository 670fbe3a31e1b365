//! What a caller of the disk can do differently.

use std::io;

use storemesh_protocol::content::ChunkError;
use thiserror::Error;

/// Why a release's tree was not laid out. What was downloaded before is still there.
#[derive(Debug, Error)]
pub(crate) enum StageError {
    /// Make room; the download goes on from there.
    #[error(
        "disk full: the release needs {} MiB, {} MiB are free",
        needed.div_ceil(1 << 20),
        free >> 20
    )]
    Full { needed: u64, free: u64 },
    /// Look after the disk.
    #[error("the disk does not take the release: {0}")]
    Disk(#[from] io::Error),
}

/// Why a chunk was not stored.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// Ask somebody else.
    #[error(transparent)]
    Wrong(#[from] ChunkError),
    /// Look after the disk, or make room; the source did nothing wrong.
    #[error("the disk does not take the chunk: {0}")]
    Disk(#[from] io::Error),
}
