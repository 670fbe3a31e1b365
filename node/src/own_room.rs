//! Room that the node keeps for itself, so that a disk that others have filled does not end it.
//!
//! The rule: its database may grow to [`DATABASE_BYTES`] without asking for room, and a start needs no
//! more than [`START_BYTES`], held by a file that is deleted first and made again last. Where that is
//! not to be had, on a disk that is full already or cannot reserve, the node runs without: it is told,
//! and had at the next start.

use std::{fs, io, path::Path};

use rustix::fs::FallocateFlags;
use tracing::{debug, warn};

/// A terminal's rows are some hundred KiB at most; redb keeps as much again while it commits.
const DATABASE_BYTES: u64 = 4 << 20;
/// Ports, a token, and what the database writes when it was not closed.
const START_BYTES: u64 = 1 << 20;

/// Takes the room that the database may yet need, without making its file longer.
pub(crate) fn reserve_for_database(path: &Path) {
    if let Err(error) = reserve(path, FallocateFlags::KEEP_SIZE, DATABASE_BYTES) {
        warn!(file = %path.display(), %error, "no room can be reserved for the database");
    }
}

/// Lets go of the room for a start.
pub(crate) fn let_go(held: &Path) {
    match fs::remove_file(held) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            debug!(file = %held.display(), %error, "cannot be deleted");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Takes the room for the next start.
pub(crate) fn hold(held: &Path) {
    let made =
        fs::File::create(held).and_then(|_| reserve(held, FallocateFlags::empty(), START_BYTES));
    if let Err(error) = made {
        warn!(file = %held.display(), %error, "no room can be reserved for the next start");
    }
}

fn reserve(path: &Path, how: FallocateFlags, bytes: u64) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    Ok(rustix::fs::fallocate(file, how, 0, bytes)?)
}
