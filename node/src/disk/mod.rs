//! The terminal's chunks and releases on disk.
//!
//! `DATA/releases/P` holds the releases of product P: the one that runs, the one before, and the
//! tree of the one that is on its way; `DATA/chunks` holds what is in flight and has no place in
//! such a tree, or came compressed. The rule: a chunk is verified before it is written, before it
//! is counted, and before it is given to a neighbour; a release becomes current by one rename,
//! after all of it was synced.
//!
//! A kill at any moment leaves chunks and trees that are verified and gone on with; a full or
//! damaged disk gives an error, a lacking chunk, or a fetch again, never wrong bytes.
//!
//! [`Disk`] is called by many worker threads at once. Storing and serving chunks never wait for
//! each other; staging, activating, abandoning and sweeping take turns. What is wanted, what to
//! fetch and when to switch is decided by `storemesh_protocol::terminal`.

mod cache;
mod error;
mod garbage;
mod install;
mod layout;
mod product;
mod resume;
mod room;
mod staging;
mod standing;
mod tree;

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::Context as _;
use storemesh_protocol::content::{
    Bits, ChunkId, ChunkRef, Manifest, ReleaseHead, ReleaseId, unpack,
};

use self::{
    cache::Cache,
    error::is_full,
    product::Product,
    staging::{Staging, Taken},
    standing::Standing,
};
pub(crate) use self::{
    error::{StageError, StoreError},
    garbage::Garbage,
    room::Limits,
};

/// Cheap to share: take an [`Arc`] of it.
pub(crate) struct Disk {
    releases: PathBuf,
    cache: Cache,
    limits: Limits,
    trees: RwLock<Trees>,
    /// Held by who changes the set of trees, from the first look to the last rename.
    turn: Mutex<()>,
}

/// Few of each, and held only to look: a list is copied before anything is read or written.
#[derive(Default)]
struct Trees {
    standing: Vec<Arc<Standing>>,
    staging: Vec<Arc<Staging>>,
    left: Vec<Left>,
}

/// A staged tree that nobody writes into: a former process began it, or it was set aside.
#[derive(Clone)]
struct Left {
    tree: Arc<Standing>,
    /// Its release was asked for since the start and not given up.
    claimed: bool,
}

impl Disk {
    /// Takes up what stands in the data folder, and removes what a crash left half-made; but not
    /// what was downloaded, since nobody has said yet what is wanted.
    pub(crate) fn open(data: &Path, limits: Limits) -> anyhow::Result<Self> {
        let releases = data.join("releases");
        let describe = || format!("opening `{}`", releases.display());
        fs::create_dir_all(&releases).with_context(describe)?;
        let mut trees = Trees::default();
        for product in Product::all(&releases).with_context(describe)? {
            let found = product.open()?;
            trees.standing.extend(found.standing.into_iter().map(Arc::new));
            let left = found.left.into_iter().map(Arc::new);
            trees.left.extend(left.map(|tree| Left { tree, claimed: false }));
        }
        let cache = Cache::open(data.join("chunks"))?;
        Ok(Self { releases, cache, limits, trees: RwLock::new(trees), turn: Mutex::default() })
    }

    /// The releases that stand complete, and whether each is its product's current one.
    pub(crate) fn standing(&self) -> Vec<(ReleaseHead, Arc<Manifest>, bool)> {
        let standing = self.trees().standing.clone();
        let complete = standing.iter().filter(|standing| standing.complete);
        let describe = |standing: &Arc<Standing>| {
            let current = Product::of(&self.releases, &standing.head).current();
            let current = current.as_ref() == Some(&standing.tree);
            (standing.head.clone(), standing.layout.manifest().clone(), current)
        };
        complete.map(describe).collect()
    }

    /// Which of these chunks are on disk, verified. Somebody wants them: the next sweep leaves
    /// them, and a download whose manifest they are.
    pub(crate) fn check(&self, chunks: &[ChunkRef]) -> Bits {
        self.cache.claim(chunks.iter().map(|chunk| &chunk.id), true);
        for left in &mut self.trees_mut().left {
            let listed = |piece: &ChunkRef| chunks.iter().any(|chunk| chunk.id == piece.id);
            left.claimed |= left.tree.head.manifest.iter().all(listed);
        }
        let mut have = Bits::new(u32::try_from(chunks.len()).unwrap_or(u32::MAX));
        for (chunk, index) in chunks.iter().zip(0..) {
            if self.cache.has(chunk) || self.in_trees(&chunk.id).is_some() {
                have.set(index);
            }
        }
        have
    }

    /// Reads the manifest from its pieces; the error is for a person.
    pub(crate) fn read_manifest(&self, head: &ReleaseHead) -> Result<Manifest, String> {
        head.read_manifest(&self.manifest_pieces(head)?).map_err(|why| why.to_string())
    }

    /// Verifies what a neighbour or HQ sent, and writes it wherever it is needed: into the trees
    /// that use it, and into the cache where none does. What came compressed is cached too, so that
    /// neighbours get it compressed, unless there is no room for that.
    pub(crate) fn store(&self, chunk: &ChunkRef, stored: &[u8]) -> Result<(), StoreError> {
        let plain = unpack(chunk, stored)?;
        let compressed = matches!(plain, Cow::Owned(_));
        // One that is laid out in between finds the chunk, or is seen by `write`: it looks for
        // trees until there is no new one.
        let mut cached = false;
        if compressed && self.is_roomy(stored.len()) {
            match self.cache.put(&chunk.id, stored) {
                Err(error) if is_full(&error) => {}
                done => cached = done.map(|()| true)?,
            }
        }
        if !self.write(&chunk.id, &plain)? && !cached {
            self.cache.put(&chunk.id, stored)?;
            self.write(&chunk.id, &plain)?;
        }
        Ok(())
    }

    /// A chunk's stored form, for a neighbour: as it was received, or made from the files of a
    /// release. What a former process cached is served once [`Self::check`] or [`Self::stage`] has
    /// verified it.
    pub(crate) fn serve(&self, chunk: &ChunkId) -> Option<Vec<u8>> {
        self.cache.stored(chunk).or_else(|| self.in_trees(chunk))
    }

    /// Standing releases of which a file was found to be not what it was, each once. Staging and
    /// activating one again repairs it.
    pub(crate) fn take_damaged(&self) -> Vec<ReleaseId> {
        let standing = self.trees().standing.clone();
        // Who is incomplete is not known to be standing, and has nothing to be repaired.
        let damaged = standing.iter().filter(|release| release.complete && release.take_damaged());
        damaged.map(|release| release.head.id).collect()
    }

    /// Writes a chunk into all trees that use it; whether any did.
    fn write(&self, id: &ChunkId, plain: &[u8]) -> io::Result<bool> {
        loop {
            let staging = self.trees().staging.clone();
            let mut most = Taken::Not;
            for staging in staging {
                match (staging.take(id, plain)?, most) {
                    (Taken::Now, _) => most = Taken::Now,
                    (Taken::Before, Taken::Not) => most = Taken::Before,
                    (Taken::Not, _) | (Taken::Before, Taken::Now | Taken::Before) => {}
                }
            }
            if most != Taken::Now {
                return Ok(most == Taken::Before);
            }
        }
    }

    /// A chunk's plain form, verified, from wherever it is.
    fn plain(&self, chunk: &ChunkRef) -> Option<Vec<u8>> {
        let from_tree = || {
            let mut stored = self.in_trees(&chunk.id)?;
            stored.remove(0);
            Some(stored)
        };
        self.cache.plain(chunk).or_else(from_tree)
    }

    /// A chunk, or a piece of a manifest, from the files of a release, in its plain stored form.
    fn in_trees(&self, id: &ChunkId) -> Option<Vec<u8>> {
        let trees = self.trees();
        let staging = trees.staging.clone();
        let left = trees.left.iter().map(|left| left.tree.clone());
        let others: Vec<_> = trees.standing.iter().cloned().chain(left).collect();
        drop(trees);
        let staged = staging.iter().find_map(|staging| staging.stored(id));
        staged.or_else(|| others.iter().find_map(|other| other.stored(id)))
    }

    fn manifest_pieces(&self, head: &ReleaseHead) -> Result<Vec<Vec<u8>>, String> {
        let read = |piece: &ChunkRef| {
            let missing = || format!("piece {} of the manifest is not on disk", piece.id);
            self.plain(piece).ok_or_else(missing)
        };
        head.manifest.iter().map(read).collect()
    }

    fn trees(&self) -> RwLockReadGuard<'_, Trees> {
        self.trees.read().expect(NO_PANIC)
    }

    fn trees_mut(&self) -> RwLockWriteGuard<'_, Trees> {
        self.trees.write().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "no thread panics while it holds this";

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("releases", &self.releases).finish_non_exhaustive()
    }
}
