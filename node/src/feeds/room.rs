//! Room for the journal.
//!
//! The rule: the journal's file owns blocks for [`AHEAD_BYTES`] more than was ever written to it, taken
//! at start and again as they are used up, so that whoever else fills the disk does not take them. Before
//! anything is handled it is looked at what is left of them, and of the disk: below [`OTHERS_BYTES`] nothing
//! is taken that others wrote, so that none of them fills it, and below [`LAST_BYTES`] nothing new at all,
//! which leaves room for what must be written all the same, HQ's acknowledgements before all. So a full disk
//! is an answer to a sale, and never a commit that fails.
//!
//! Downloads leave more of the disk free than this (`disk.reserve_bytes`): they stop long before sales
//! do. On a disk that cannot reserve, the look at what is free is all there is; one that can and does not, for
//! whatever reason, has no more than what is owned.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::StorageBackend;
use rustix::{
    fs::{FallocateFlags, SeekFrom},
    io::{Errno, retry_on_intr},
};
use storemesh_protocol::feeds::terminal::RoomFor;

use super::lanes::BATCH_BYTES;

/// A busy terminal's sales of a day: 5,000 baskets with their copies of a kilobyte, three times.
const AHEAD_BYTES: u64 = 16 << 20;
/// On a small disk no more than this part of what is free.
const AHEAD_OF_FREE: u64 = 8;
/// What the largest batch writes, and some for HQ's acknowledgements: sales and frames of [`BATCH_BYTES`]
/// each, in redb's pages, which may be twice as large as what is in them, and half as much for the rest.
const LAST_BYTES: u64 = 8 << 20;
const _: () = assert!(LAST_BYTES >= 2 * 3 * BATCH_BYTES as u64, "the largest batch finds room");
/// What neighbours cannot take, however much they write: a busy terminal's own sales of 13 days, 5,000 baskets
/// of a kilobyte.
const OTHERS_BYTES: u64 = 64 << 20;
/// And so much more before anything is taken again that was refused.
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
}

impl Reserved {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let written = AtomicU64::new(end_of_data(&file)?);
        // What a former start has taken is still there, at the least so much of it.
        let owned = AtomicU64::new(file.metadata()?.blocks() * STAT_BLOCK);
        Ok(Self(Arc::new(Inner { file, written, owned })))
    }

    /// How much may be written behind the end without asking the disk for room.
    fn ahead(&self) -> u64 {
        let (owned, written) = (&self.0.owned, &self.0.written);
        owned.load(Ordering::Relaxed).saturating_sub(written.load(Ordering::Relaxed))
    }

    /// Takes blocks up to so many bytes behind the end; the file does not get longer.
    fn reserve(&self, bytes: u64) -> Result<(), Errno> {
        let end = self.0.written.load(Ordering::Relaxed) + bytes;
        let take = || rustix::fs::fallocate(&self.0.file, FallocateFlags::KEEP_SIZE, 0, end);
        retry_on_intr(take)?;
        self.0.owned.fetch_max(end, Ordering::Relaxed);
        Ok(())
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

/// What there is room for.
#[derive(Debug)]
pub(super) struct Room {
    file: Reserved,
    found: RoomFor,
    reserves: Reserves,
}

/// What the disk said when it was asked for room last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reserves {
    Yes,
    /// Not now: there is none, or something is wrong with the disk.
    Fails(Errno),
    /// The file system does not reserve.
    Never,
}

impl Room {
    pub(super) fn new(file: Reserved) -> Self {
        let mut room = Self { file, found: RoomFor::All, reserves: Reserves::Yes };
        room.look();
        room
    }

    /// Takes more room where there is any, and says what it is enough for.
    pub(super) fn look(&mut self) -> RoomFor {
        let free = match self.file.free() {
            Ok(free) => free,
            Err(why) => {
                // It is no reason to refuse sales.
                tracing::debug!("the disk does not say how much is free: {why}");
                return self.found;
            }
        };
        let wanted = AHEAD_BYTES.min(free / AHEAD_OF_FREE);
        let ask = match self.reserves {
            Reserves::Yes => self.file.ahead() < wanted / 2,
            Reserves::Fails(_) => true,
            Reserves::Never => false,
        };
        if ask {
            let answer = self.file.reserve(wanted);
            self.asked(answer);
        }
        let free = self.file.free().unwrap_or(free);
        self.found = room_for(self.found, self.left(free));
        self.found
    }

    fn left(&self, free: u64) -> u64 {
        let ahead = self.file.ahead();
        match self.reserves {
            // Whatever is said to be free: a write may find as little of it.
            Reserves::Fails(_) => ahead,
            Reserves::Yes | Reserves::Never => ahead.saturating_add(free),
        }
    }

    /// The disk was asked for room, and has answered.
    fn asked(&mut self, answer: Result<(), Errno>) {
        let reserves = match answer {
            Ok(()) => Reserves::Yes,
            Err(Errno::OPNOTSUPP) => Reserves::Never,
            Err(error) => Reserves::Fails(error),
        };
        if self.reserves != reserves {
            match reserves {
                Reserves::Yes => tracing::info!("room is reserved for the journal again"),
                Reserves::Fails(error) => tracing::error!(
                    %error,
                    "the disk gives no room for the journal, though it says that some is free: look at \
                     its quota, and at the disk"
                ),
                Reserves::Never => tracing::warn!(
                    "this file system reserves no room: whoever fills the disk takes the journal's"
                ),
            }
        }
        self.reserves = reserves;
    }
}

fn room_for(before: RoomFor, left: u64) -> RoomFor {
    let least = |what, bytes| if before < what { bytes + AGAIN_BYTES } else { bytes };
    if left < least(RoomFor::OwnPosts, LAST_BYTES) {
        RoomFor::Nothing
    } else if left < least(RoomFor::All, OTHERS_BYTES) {
        RoomFor::OwnPosts
    } else {
        RoomFor::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_before_it_is_and_takes_sales_again_when_there_is_some_more() {
        use RoomFor::{All, Nothing, OwnPosts};
        assert_eq!(room_for(OwnPosts, LAST_BYTES), OwnPosts);
        assert_eq!(room_for(All, LAST_BYTES - 1), Nothing);
        assert_eq!(room_for(Nothing, LAST_BYTES), Nothing);
        assert_eq!(room_for(Nothing, LAST_BYTES + AGAIN_BYTES), OwnPosts);
    }

    #[test]
    fn what_others_wrote_gives_way_long_before_own_sales() {
        use RoomFor::{All, Nothing, OwnPosts};
        assert_eq!(room_for(All, OTHERS_BYTES), All);
        assert_eq!(room_for(All, OTHERS_BYTES - 1), OwnPosts);
        assert_eq!(room_for(OwnPosts, OTHERS_BYTES), OwnPosts);
        assert_eq!(room_for(OwnPosts, OTHERS_BYTES + AGAIN_BYTES), All);
        assert_eq!(room_for(Nothing, u64::MAX), All);
    }

    #[test]
    fn a_disk_that_gives_no_room_has_what_is_owned_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feeds.redb");
        std::fs::write(&path, [1; 4096]).unwrap();
        let mut room = Room::new(Reserved::open(&path).unwrap());
        assert_eq!(room.found, RoomFor::All, "tests need some room");
        for error in [Errno::NOSPC, Errno::DQUOT, Errno::IO] {
            room.asked(Err(error));
            assert_eq!(room.left(u64::MAX), room.file.ahead(), "{error}");
            assert_eq!(room.look(), RoomFor::All, "it is asked again, and gives");
            assert_eq!(room.reserves, Reserves::Yes);
        }
        room.asked(Err(Errno::OPNOTSUPP));
        assert_eq!(room.left(u64::MAX), u64::MAX);
        assert_eq!(room.look(), RoomFor::All);
        assert_eq!(room.reserves, Reserves::Never, "it is not asked again");
    }

    #[test]
    fn the_file_owns_more_than_was_written_and_is_no_longer_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feeds.redb");
        std::fs::write(&path, [1; 4096]).unwrap();
        let file = Reserved::open(&path).unwrap();
        let mut room = Room::new(file.clone());
        assert_eq!(room.found, RoomFor::All, "tests need some room");
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
