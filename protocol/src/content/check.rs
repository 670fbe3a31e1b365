//! The rules of a manifest.
//!
//! A manifest may be forged by whoever sits between, or by a broken HQ, and it tells a terminal
//! what to write where. So each rule here is named after what it stops: writing outside the
//! release's folder, filling the disk or the memory, a program that runs with another user's
//! rights. One order of entries and one of chunks are allowed, which stops duplicates by the way.
//!
//! Where symlinks lead is `links`' question.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{
    Kind, LinkError, RelPath,
    links::Links,
    manifest::{Entry, Fields},
};

/// Entries of a manifest. A guess: several times what a large program with all its libraries has.
pub const ENTRIES_MAX: usize = 200_000;
/// Chunks of a manifest: 32 GiB at the average length, and 16 KiB for a map of who has what.
pub const CHUNKS_MAX: usize = 131_072;
/// The length of all files together. A terminal's disk is smaller.
pub const RELEASE_BYTES_MAX: u64 = 64 << 30;
/// An encoded manifest. Room for every entry to have a path of 300 bytes.
pub const MANIFEST_MAX: usize = 64 << 20;
/// Uses of chunks by all files together: what [`RELEASE_BYTES_MAX`] gives when each is of the
/// smallest length the cutter makes, and a last, shorter one for every entry.
pub const REFERENCES_MAX: usize = (1 << 20) + ENTRIES_MAX;
const _: () = assert!(RELEASE_BYTES_MAX / super::CUT_MIN as u64 == 1 << 20);
/// Permission bits: no setuid, setgid or sticky.
const MODE_BITS: u32 = 0o777;

/// Why a manifest is refused. A publisher changes what is named; a terminal distrusts the sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    #[error("manifest of {0} bytes, at most {MANIFEST_MAX}")]
    TooLong(usize),
    #[error("manifest is not readable: {0}")]
    NotReadable(String),
    #[error("{0} files and folders, at most {ENTRIES_MAX}")]
    TooManyEntries(usize),
    #[error("{0} chunks, at most {CHUNKS_MAX}")]
    TooManyChunks(usize),
    #[error("files use {0} chunks, at most {REFERENCES_MAX}")]
    TooManyReferences(usize),
    #[error("files of {0} bytes together, at most {RELEASE_BYTES_MAX}")]
    TooLarge(u64),
    #[error("{0:?} is there twice")]
    Twice(RelPath),
    #[error("{0:?} is out of order")]
    OutOfOrder(RelPath),
    #[error("{0:?} lies below {1:?}, which is not a folder")]
    BelowAFile(RelPath, RelPath),
    #[error("{path:?} has mode {mode:o}, allowed are permission bits (no setuid, setgid, sticky)")]
    Mode { path: RelPath, mode: u32 },
    #[error("{path:?} is a symlink that {why}")]
    Link { path: RelPath, why: LinkError },
    #[error("{path:?} says it has {bytes} bytes, its chunks have {chunks}")]
    Length { path: RelPath, bytes: u64, chunks: u64 },
    #[error("{0:?} uses chunk {1}, out of order or not in the table")]
    Reference(RelPath, u32),
    #[error("chunk {0} of the table is there twice")]
    ChunkTwice(usize),
    #[error("the table has {0} chunks, files use {1}")]
    UnusedChunks(usize, usize),
    /// The manifest's bytes are not those the head names.
    #[error("not the manifest of this release")]
    AnotherRelease,
    /// The head is wrong about its own manifest.
    #[error("manifest and release head differ in their {0}")]
    HeadDiffers(&'static str),
}

pub(super) fn check(manifest: &Fields) -> Result<(), ManifestError> {
    let Fields { entries, chunks, .. } = manifest;
    if entries.len() > ENTRIES_MAX {
        return Err(ManifestError::TooManyEntries(entries.len()));
    }
    if chunks.len() > CHUNKS_MAX {
        return Err(ManifestError::TooManyChunks(chunks.len()));
    }
    let references = entries.iter().map(|entry| entry.kind.chunks().len()).sum();
    if references > REFERENCES_MAX {
        return Err(ManifestError::TooManyReferences(references));
    }
    check_tree(entries)?;
    check_lengths(manifest)?;
    check_table(manifest)?;
    Links::of(entries).check()
}

fn check_tree(entries: &[Entry]) -> Result<(), ManifestError> {
    for entry in entries {
        match &entry.kind {
            Kind::Folder { mode } | Kind::File { mode, .. } if mode & !MODE_BITS != 0 => {
                return Err(ManifestError::Mode { path: entry.path.clone(), mode: *mode });
            }
            Kind::Folder { .. } | Kind::File { .. } | Kind::Symlink { .. } => {}
        }
    }
    for [before, entry] in entries.array_windows() {
        if before.path == entry.path {
            return Err(ManifestError::Twice(entry.path.clone()));
        }
        if before.path > entry.path {
            return Err(ManifestError::OutOfOrder(entry.path.clone()));
        }
        // What lies below a path comes right after it, so that the neighbour is all there is to
        // look at.
        if !matches!(before.kind, Kind::Folder { .. }) && entry.path.is_below(&before.path) {
            return Err(ManifestError::BelowAFile(entry.path.clone(), before.path.clone()));
        }
    }
    Ok(())
}

fn check_lengths(manifest: &Fields) -> Result<(), ManifestError> {
    let mut total = 0;
    for Entry { path, kind } in &manifest.entries {
        let Kind::File { bytes, chunks, .. } = kind else { continue };
        let mut length = 0;
        for &index in chunks {
            let Some(chunk) = manifest.chunks.get(index as usize) else {
                return Err(ManifestError::Reference(path.clone(), index));
            };
            length += u64::from(chunk.plain);
        }
        if *bytes != length {
            let (path, bytes) = (path.clone(), *bytes);
            return Err(ManifestError::Length { path, bytes, chunks: length });
        }
        total += length;
    }
    if total > RELEASE_BYTES_MAX {
        return Err(ManifestError::TooLarge(total));
    }
    Ok(())
}

fn check_table(manifest: &Fields) -> Result<(), ManifestError> {
    let mut ids = BTreeSet::new();
    if let Some(twice) = manifest.chunks.iter().position(|chunk| !ids.insert(chunk.id)) {
        return Err(ManifestError::ChunkTwice(twice));
    }
    let mut used = 0;
    for Entry { path, kind } in &manifest.entries {
        for &index in kind.chunks() {
            if index as usize > used {
                return Err(ManifestError::Reference(path.clone(), index));
            }
            used = used.max(index as usize + 1);
        }
    }
    if used != manifest.chunks.len() {
        return Err(ManifestError::UnusedChunks(manifest.chunks.len(), used));
    }
    Ok(())
}
