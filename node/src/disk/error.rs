//! What a caller of the disk can do differently.

use std::io;

use storemesh_protocol::{content::ChunkError, terminal::DiskError};
use thiserror::Error;

/// Why a release's tree was not laid out. What was downloaded before is still there.
#[derive(Debug, Error)]
pub(crate) enum StageError {
    /// Make room; the download goes on from there.
    #[error("the disk is full")]
    NoRoom,
    /// Look after the disk.
    #[error("the disk does not take the release: {0}")]
    Disk(io::Error),
}

impl From<io::Error> for StageError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::NoRoom } else { Self::Disk(error) }
    }
}

impl From<StageError> for DiskError {
    fn from(error: StageError) -> Self {
        match error {
            StageError::NoRoom => Self::NoRoom,
            why @ StageError::Disk(_) => Self::Failed(why.to_string()),
        }
    }
}

/// Why a chunk was not stored.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// Ask somebody else.
    #[error(transparent)]
    Wrong(#[from] ChunkError),
    /// Make room; the source did nothing wrong.
    #[error("the disk is full")]
    NoRoom,
    /// Look after the disk; the source did nothing wrong.
    #[error("the disk does not take the chunk: {0}")]
    Disk(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::NoRoom } else { Self::Disk(error) }
    }
}

/// Whether the file system, or what it lets our user take, is used up.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
