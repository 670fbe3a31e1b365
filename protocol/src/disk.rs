//! What a terminal's disk is asked to do, and what it answers.
//!
//! The rule: jobs are done one after the other, in the order in which they were given, and each that
//! asks something is answered once. The installer gives them, the composite passes them on as they
//! are, and who owns the disk does them: the program's worker, and the simulator's modelled disk.
//! What fails is an answer like any other, so no disk can stop a terminal. Single chunks that are
//! fetched or served are none of this.

use std::sync::Arc;

use crate::{
    content::{Bits, ChunkRef, ListId, Manifest, ReleaseHead, ReleaseId},
    install::Room,
};

#[derive(Clone, Debug)]
pub enum DiskJob {
    /// Look which of these chunks are on disk, verifying them.
    Check { list: ListId, chunks: Arc<[ChunkRef]> },
    /// All pieces of the release's manifest are on disk: read it.
    ReadManifest { release: ReleaseHead },
    /// Say what room the release takes and what there is, and what `previous` takes that might be
    /// given up for it. Of its manifest nothing is known where its own pieces found no room.
    Measure { release: ReleaseHead, manifest: Option<Arc<Manifest>>, previous: Option<ReleaseHead> },
    /// Remove this release: it was measured as the previous one, and its room is needed.
    GiveUp { release: ReleaseHead },
    /// Lay out the tree, and fill in what the disk already holds. From now on fetched
    /// chunks of this release are also written into the tree.
    Stage { release: ReleaseHead, manifest: Arc<Manifest> },
    /// Nothing is lacking: sync the tree, switch to it, and drop what only the download needed.
    Activate { release: ReleaseHead, manifest: Arc<Manifest> },
    /// Another release is wanted now: drop what this one has staged.
    Abandon { release: ReleaseHead },
    /// Nothing is on its way: drop every chunk that is kept for a download.
    Sweep,
}

#[derive(Clone, Debug)]
pub enum DiskAnswer {
    /// A release's directory stands complete on disk, found at start; `current` when it is the one
    /// that runs.
    Standing { release: ReleaseHead, manifest: Arc<Manifest>, current: bool },
    /// All that stands has been named, and the disk is ready for work.
    Ready,
    /// Answers [`DiskJob::Check`]: which of the list's chunks are on this disk.
    Checked { list: ListId, have: Bits },
    /// Answers [`DiskJob::ReadManifest`]; the error is for a person.
    ManifestRead { release: ReleaseId, manifest: Result<Arc<Manifest>, String> },
    /// Answers [`DiskJob::Measure`]; the error is for a person.
    Measured { release: ReleaseId, room: Result<Room, String> },
    /// Answers [`DiskJob::Stage`]: which chunks of the content are in the staged tree, written from
    /// what the disk already held.
    Staged { release: ReleaseId, have: Result<Bits, DiskError> },
    /// Answers [`DiskJob::Activate`].
    Activated { release: ReleaseId, done: Result<(), DiskError> },
    /// A file of a standing release is no longer what it was. Asked by nobody.
    Damaged { release: ReleaseId },
}

/// Why this terminal's disk did not do as it was asked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DiskError {
    /// What is there is kept, and it goes on when there is room.
    #[error("the disk is full")]
    NoRoom,
    /// For a person.
    #[error("{0}")]
    Failed(String),
}
