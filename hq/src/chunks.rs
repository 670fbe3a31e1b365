//! The chunks HQ holds, each a file in its stored form.
//!
//! The rule: a file under `chunks/` that has a chunk's name is that chunk, whole. A chunk is
//! verified, written beside, synced, and only then gets its name, so a kill leaves at most a file
//! under `chunks/new/`, which the next start removes. Writing one that is there already does
//! nothing. Chunks are never changed and not yet removed.
//!
//! Everything here blocks; callers on the runtime use its threads for blocking work.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use storemesh_protocol::content::{ChunkError, ChunkId, ChunkRef, STORED_MAX, unpack};

#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    folder: Arc<Path>,
    /// Tells files that are being written apart, also two of the same chunk.
    next: Arc<AtomicU64>,
}

/// Why a chunk was not taken.
#[derive(Debug)]
pub(crate) enum PutError {
    /// The sender is to blame.
    NotTheChunk(ChunkError),
    /// Our disk is.
    Disk(anyhow::Error),
}

impl Chunks {
    pub(crate) fn open(data: &Path) -> anyhow::Result<Self> {
        let folder = data.join("chunks");
        let new = folder.join("new");
        fs::create_dir_all(&new).with_context(|| format!("creating `{}`", new.display()))?;
        let leftovers = || -> io::Result<()> {
            for entry in fs::read_dir(&new)? {
                fs::remove_file(entry?.path())?;
            }
            Ok(())
        };
        leftovers().with_context(|| format!("clearing `{}`", new.display()))?;
        Ok(Self { folder: folder.into(), next: Arc::default() })
    }

    pub(crate) fn has(&self, id: &ChunkId) -> bool {
        self.path(id).exists()
    }

    /// The stored form; none when HQ does not hold the chunk.
    pub(crate) fn read(&self, id: &ChunkId) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.path(id);
        let read = || -> io::Result<Option<Vec<u8>>> {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(why) => return Err(why),
            };
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            // Nothing longer ever got a name here.
            let mut stored = Vec::with_capacity(length.min(STORED_MAX));
            file.take(STORED_MAX as u64).read_to_end(&mut stored)?;
            Ok(Some(stored))
        };
        read().with_context(|| format!("reading `{}`", path.display()))
    }

    /// The plain form of a chunk HQ holds, verified again.
    pub(crate) fn read_plain(&self, chunk: &ChunkRef) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(stored) = self.read(&chunk.id)? else { return Ok(None) };
        let plain = unpack(chunk, &stored);
        let plain = plain.map(|plain| Some(plain.into_owned()));
        plain.with_context(|| format!("`{}` is damaged", self.path(&chunk.id).display()))
    }

    /// Verifies and keeps a chunk. Whether it was new here.
    pub(crate) fn put(&self, chunk: &ChunkRef, stored: &[u8]) -> Result<bool, PutError> {
        unpack(chunk, stored).map_err(PutError::NotTheChunk)?;
        if self.has(&chunk.id) {
            return Ok(false);
        }
        let path = self.path(&chunk.id);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let new = self.folder.join("new").join(number.to_string());
        let write = || -> io::Result<()> {
            let mut file = File::create_new(&new)?;
            file.write_all(stored)?;
            file.sync_data()?;
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::rename(&new, &path)
        };
        let written = write().with_context(|| format!("writing `{}`", path.display()));
        if let Err(why) = written {
            // The next start removes it where this fails.
            _ = fs::remove_file(&new);
            return Err(PutError::Disk(why));
        }
        Ok(true)
    }

    /// Makes the names of these chunks last: to be called before anything says that HQ has them.
    pub(crate) fn sync<'a>(&self, ids: impl Iterator<Item = &'a ChunkId>) -> anyhow::Result<()> {
        let mut folders: BTreeSet<PathBuf> =
            ids.filter_map(|id| self.path(id).parent().map(Path::to_owned)).collect();
        folders.insert(self.folder.to_path_buf());
        for folder in folders {
            let synced = File::open(&folder).and_then(|folder| folder.sync_all());
            synced.with_context(|| format!("syncing `{}`", folder.display()))?;
        }
        Ok(())
    }

    fn path(&self, id: &ChunkId) -> PathBuf {
        let name = id.to_string();
        self.folder.join(&name[..2]).join(name)
    }
}

#[cfg(test)]
mod tests {
    use storemesh_protocol::content::pack;

    use super::*;

    #[test]
    fn a_chunk_comes_back_as_it_was_put_also_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let chunks = Chunks::open(data.path()).unwrap();
        let plain = b"price list ".repeat(5000);
        let (chunk, stored) = pack(&plain);
        assert!(!chunks.has(&chunk.id) && chunks.read(&chunk.id).unwrap().is_none());
        assert!(chunks.put(&chunk, &stored).unwrap());
        assert!(!chunks.put(&chunk, &stored).unwrap());
        chunks.sync([chunk.id].iter()).unwrap();

        let chunks = Chunks::open(data.path()).unwrap();
        assert!(chunks.has(&chunk.id));
        assert_eq!(chunks.read(&chunk.id).unwrap().unwrap(), stored);
        assert_eq!(chunks.read_plain(&chunk).unwrap().unwrap(), plain);
    }

    #[test]
    fn bytes_that_are_not_the_chunk_are_not_kept() {
        let data = tempfile::tempdir().unwrap();
        let chunks = Chunks::open(data.path()).unwrap();
        let (chunk, mut stored) = pack(&[7; 100]);
        stored[0] = 0;
        assert!(matches!(chunks.put(&chunk, &stored), Err(PutError::NotTheChunk(_))));
        assert!(!chunks.has(&chunk.id));
    }

    #[test]
    fn what_a_kill_left_half_written_is_gone_after_the_next_start() {
        let data = tempfile::tempdir().unwrap();
        Chunks::open(data.path()).unwrap();
        let left = data.path().join("chunks/new/0");
        fs::write(&left, "half").unwrap();
        let chunks = Chunks::open(data.path()).unwrap();
        assert!(!left.exists());
        let (chunk, stored) = pack(b"whole");
        assert!(chunks.put(&chunk, &stored).unwrap());
    }

    #[test]
    fn a_chunk_that_the_disk_damaged_is_named_by_its_file() {
        let data = tempfile::tempdir().unwrap();
        let chunks = Chunks::open(data.path()).unwrap();
        let (chunk, stored) = pack(b"a whole chunk");
        chunks.put(&chunk, &stored).unwrap();
        fs::write(chunks.path(&chunk.id), b"\0another chunk").unwrap();
        let error = format!("{:#}", chunks.read_plain(&chunk).unwrap_err());
        assert!(error.contains(&chunk.id.to_string()), "{error}");
    }
}
