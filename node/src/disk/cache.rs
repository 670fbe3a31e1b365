//! `DATA/chunks`: the chunks that are in flight, each a file named by its hash, as received.
//!
//! The rule: bytes of this folder count only after they were unpacked and hashed in this process,
//! so nothing is synced here, and a file that a power cut tore is as good as none. It is deleted
//! when it is met. A file takes its name by rename, so that one name never has two writers.
//!
//! A chunk is *claimed* when somebody asked for it or brought it since the start; what is not,
//! say after a download was given up, is [`Cache::garbage`].

use std::{
    borrow::Cow,
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use storemesh_protocol::content::{ChunkId, ChunkRef, STORED_MAX, unpack};
use tracing::warn;

use super::tree;

#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    files: Mutex<HashMap<ChunkId, Cached>>,
    /// Numbers the files being written: two neighbours may bring one chunk at once.
    writing: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Cached {
    /// The file's length, once its bytes are known to be right.
    verified: Option<usize>,
    claimed: bool,
}

impl Cache {
    /// Takes up what a former process left, unverified and unclaimed.
    pub(super) fn open(folder: PathBuf) -> anyhow::Result<Self> {
        let open = || -> io::Result<_> {
            fs::create_dir_all(&folder)?;
            let mut files = HashMap::new();
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.ends_with(tree::NEW) {
                    fs::remove_file(entry.path())?;
                } else if let Ok(id) = name.parse() {
                    files.insert(id, Cached { verified: None, claimed: false });
                }
            }
            Ok(files)
        };
        let files = open().with_context(|| format!("opening `{}`", folder.display()))?;
        Ok(Self { folder, files: Mutex::new(files), writing: AtomicU64::new(0) })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps the stored form of a chunk; the caller has verified it.
    pub(super) fn put(&self, id: &ChunkId, stored: &[u8]) -> io::Result<()> {
        let cached = Cached { verified: Some(stored.len()), claimed: true };
        if let Some(known) = self.files().get_mut(id)
            && known.verified.is_some()
        {
            known.claimed = true;
            return Ok(());
        }
        let number = self.writing.fetch_add(1, Ordering::Relaxed);
        let beside = self.folder.join(format!("{id}.{number}{}", tree::NEW));
        let written = fs::write(&beside, stored).and_then(|()| {
            // The lock is held so that `forget` cannot take the new file for the bad one it met.
            // It costs nobody time: the kernel lets one rename at a time into a folder.
            let mut files = self.files();
            fs::rename(&beside, self.path(id))?;
            files.insert(*id, cached);
            Ok(())
        });
        if written.is_err() {
            _ = fs::remove_file(&beside);
        }
        written
    }

    /// A chunk's plain form, verified.
    pub(super) fn plain(&self, chunk: &ChunkRef) -> Option<Vec<u8>> {
        let seen = *self.files().get(&chunk.id)?;
        let mut stored = self.read(&chunk.id, seen)?;
        let unpacked = unpack(chunk, &stored).map(|plain| match plain {
            Cow::Owned(plain) => Some(plain),
            Cow::Borrowed(_) => None,
        });
        match unpacked {
            Ok(plain) => {
                if let Some(cached) = self.files().get_mut(&chunk.id) {
                    // Where it was set meanwhile the file is another one, of another length.
                    cached.verified.get_or_insert(stored.len());
                }
                Some(plain.unwrap_or_else(|| {
                    stored.remove(0);
                    stored
                }))
            }
            Err(why) => {
                warn!(chunk = %chunk.id, %why, "damaged file in chunks/, deleted");
                self.forget(&chunk.id, seen);
                None
            }
        }
    }

    /// Whether a chunk is here, verified.
    pub(super) fn has(&self, chunk: &ChunkRef) -> bool {
        match self.files().get(&chunk.id) {
            None => return false,
            Some(Cached { verified: Some(_), .. }) => return true,
            Some(Cached { verified: None, .. }) => {}
        }
        self.plain(chunk).is_some()
    }

    /// Whether there is a file for the chunk, whatever its bytes.
    pub(super) fn lists(&self, id: &ChunkId) -> bool {
        self.files().contains_key(id)
    }

    /// A chunk's stored form, if it was verified since the start.
    pub(super) fn stored(&self, id: &ChunkId) -> Option<Vec<u8>> {
        let seen = *self.files().get(id)?;
        let length = seen.verified?;
        let stored = self.read(id, seen)?;
        if stored.len() != length {
            warn!(chunk = %id, "file in chunks/ has changed its length, deleted");
            self.forget(id, seen);
            return None;
        }
        Some(stored)
    }

    pub(super) fn claim<'a>(&self, ids: impl Iterator<Item = &'a ChunkId>, claimed: bool) {
        let mut files = self.files();
        for id in ids {
            if let Some(cached) = files.get_mut(id) {
                cached.claimed = claimed;
            }
        }
    }

    /// What nobody claimed, but for what `needed` says, each with its file.
    pub(super) fn garbage(&self, needed: impl Fn(&ChunkId) -> bool) -> Vec<(ChunkId, PathBuf)> {
        let files = self.files();
        let unclaimed = files.iter().filter(|(_, cached)| !cached.claimed).map(|(id, _)| *id);
        let unclaimed: Vec<ChunkId> = unclaimed.collect();
        drop(files);
        let garbage = unclaimed.into_iter().filter(|id| !needed(id));
        garbage.map(|id| (id, self.path(&id))).collect()
    }

    /// Deletes a chunk, unless somebody has claimed it meanwhile. One at a time, so that a
    /// neighbour's question never waits for thousands of deletions.
    pub(super) fn delete(&self, id: &ChunkId) -> io::Result<()> {
        let mut files = self.files();
        if files.get(id).is_some_and(|cached| !cached.claimed) {
            files.remove(id);
            fs::remove_file(self.path(id))?;
        }
        Ok(())
    }

    /// Deletes a file whose bytes were found to be wrong, unless a good one came since `seen`.
    fn forget(&self, id: &ChunkId, seen: Cached) {
        let mut files = self.files();
        if files.get(id).is_some_and(|cached| cached.verified == seen.verified) {
            files.remove(id);
            _ = fs::remove_file(self.path(id));
        }
    }

    fn read(&self, id: &ChunkId, seen: Cached) -> Option<Vec<u8>> {
        let path = self.path(id);
        match tree::read_at_most(&path, STORED_MAX) {
            Ok(stored) => Some(stored),
            Err(error) => {
                // Deleted since we looked is no news: an activation has swept it.
                if error.kind() != io::ErrorKind::NotFound {
                    warn!(file = %path.display(), %error, "a cached chunk cannot be read");
                }
                self.forget(id, seen);
                None
            }
        }
    }

    fn path(&self, id: &ChunkId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn files(&self) -> MutexGuard<'_, HashMap<ChunkId, Cached>> {
        self.files.lock().expect("no thread panics while it holds the list")
    }
}
