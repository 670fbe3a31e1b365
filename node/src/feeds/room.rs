//! Room for the journal.
//!
//! The rule: the journal's file owns blocks for [`AHEAD_BYTES`] more than was ever written to it, taken
//! at start and again as they are used up, so that whoever else fills the disk does not take them. Before
//! anything is handled it is looked at what is left of them, and of the disk: below [`LAST_BYTES`] nothing
//! new is taken, which leaves room for what must be written all the same, HQ's acknowledgements before
//! all. So a full disk is an answer to a sale, and never a commit that fails.
//!
//! Downloads leave more of the disk free than this (`disk.reserve_bytes`): they stop long before sales
//! do. On a disk that cannot reserve, the look at what is free is all there is.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use redb::StorageBackend;
use rustix::{
    fs::{FallocateFlags, SeekFrom},
    io::Errno,
};

/// A busy terminal's sales of a day: 5,000 baskets with their copies of a kilobyte, three times.
const AHEAD_BYTES: u64 = 16 << 20;
/// On a small disk no more than this part of what is free.
const AHEAD_OF_FREE: u64 = 8;
/// Four times what the largest batch writes.
const LAST_BYTES: u64 = 8 << 20;
/// And so much more before sales are taken again.
const AGAIN_BYTES: u64 = 2 << 20;
/// What `stat` counts a file's blocks in.
const STAT_BLOCK: u64 = 512;

/// The journal's file, which knows how far it was written.
#[derive(Clone, Debug)]
pub(super) struct Reserved(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    /// The end of all that was ever written.
    written: AtomicU64,
    /// Up to here the file owns its blocks.
    owned: AtomicU64,
    /// The file system does not reserve.
    refuses: AtomicBool,
}

impl Reserved {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let written = AtomicU64::new(end_of_data(&file)?);
        // What a former start has taken is still there, at the least so much of it.
        let owned = AtomicU64::new(file.metadata()?.blocks() * STAT_BLOCK);
        let refuses = AtomicBool::new(false);
        Ok(Self(Arc::new(Inner { file, written, owned, refuses })))
    }

    /// How much may be written behind the end without asking the disk for room.
    fn ahead(&self) -> u64 {
        let (owned, written) = (&self.0.owned, &self.0.written);
        owned.load(Ordering::Relaxed).saturating_sub(written.load(Ordering::Relaxed))
    }

    /// Takes blocks up to so many bytes behind the end; the file does not get longer.
    fn reserve(&self, bytes: u64) {
        if self.0.refuses.load(Ordering::Relaxed) {
            return;
        }
        let end = self.0.written.load(Ordering::Relaxed) + bytes;
        match rustix::fs::fallocate(&self.0.file, FallocateFlags::KEEP_SIZE, 0, end) {
            Ok(()) => _ = self.0.owned.fetch_max(end, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, "no room can be reserved for the journal");
                self.0.refuses.store(true, Ordering::Relaxed);
            }
        }
    }

    fn free(&self) -> io::Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.0.file)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

impl StorageBackend for Reserved {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len < self.len()? {
            // What is cut off is given back, and what was owned behind it.
            self.0.written.fetch_min(len, Ordering::Relaxed);
            self.0.owned.fetch_min(len, Ordering::Relaxed);
        }
        self.0.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.file.write_all_at(data, offset)?;
        self.0.written.fetch_max(offset + data.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// redb makes its file longer by doubling it, and writes there later; what is only reserved is no data.
fn end_of_data(file: &File) -> io::Result<u64> {
    let mut end = 0;
    loop {
        match rustix::fs::seek(file, SeekFrom::Data(end)) {
            Ok(data) => end = rustix::fs::seek(file, SeekFrom::Hole(data))?,
            // There is none behind it.
            Err(Errno::NXIO) => return Ok(end),
            Err(Errno::INVAL) => return Ok(file.metadata()?.len()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether there is room for more sales; shared with whoever shows it.
#[derive(Clone, Debug)]
pub(super) struct Room {
    file: Reserved,
    full: Arc<AtomicBool>,
}

impl Room {
    pub(super) fn new(file: Reserved) -> Self {
        let room = Self { file, full: Arc::default() };
        room.look();
        room
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Takes more room where there is any, and says whether sales may be taken.
    pub(super) fn look(&self) -> bool {
        let free = match self.file.free() {
            Ok(free) => free,
            Err(why) => {
                // It is no reason to refuse sales.
                tracing::debug!("the disk does not say how much is free: {why}");
                return self.is_full();
            }
        };
        let wanted = AHEAD_BYTES.min(free / AHEAD_OF_FREE);
        if self.file.ahead() < wanted / 2 {
            self.file.reserve(wanted);
        }
        let free = self.file.free().unwrap_or(free);
        let full = is_full(self.is_full(), self.file.ahead().saturating_add(free));
        self.full.store(full, Ordering::Relaxed);
        full
    }
}

fn is_full(was_full: bool, left: u64) -> bool {
    left < if was_full { LAST_BYTES + AGAIN_BYTES } else { LAST_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_before_it_is_and_takes_sales_again_when_there_is_some_more() {
        assert!(!is_full(false, LAST_BYTES));
        assert!(is_full(false, LAST_BYTES - 1));
        assert!(is_full(true, LAST_BYTES));
        assert!(!is_full(true, LAST_BYTES + AGAIN_BYTES));
    }

    #[test]
    fn the_file_owns_more_than_was_written_and_is_no_longer_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feeds.redb");
        std::fs::write(&path, [1; 4096]).unwrap();
        let file = Reserved::open(&path).unwrap();
        let room = Room::new(file.clone());
        assert!(!room.is_full(), "tests need some room");
        let ahead = file.ahead();
        assert!((1..=AHEAD_BYTES).contains(&ahead), "{ahead}");
        assert_eq!(file.len().unwrap(), 4096);
        // As redb grows it: longer at once, written bit by bit.
        file.set_len(1 << 20).unwrap();
        assert_eq!(file.ahead(), ahead);
        file.write(4096, &[2; 8192]).unwrap();
        assert_eq!(file.ahead(), ahead - 8192);
        file.write(0, &[2; 4096]).unwrap();
        assert_eq!(file.ahead(), ahead - 8192, "what was written before costs no room");
        // And again, once half of it is used.
        file.write(12288, &vec![3; usize::try_from(ahead / 2).unwrap()]).unwrap();
        room.look();
        assert!(file.ahead() > ahead / 2);

        file.sync_data().unwrap();
        let again = Reserved::open(&path).unwrap();
        let end = 12288 + ahead / 2;
        let written = again.0.written.load(Ordering::Relaxed);
        assert!((end..end + 4096).contains(&written), "{written}, not {end}");
        assert!(again.ahead() > ahead / 2, "what was taken is still there");
    }
}
