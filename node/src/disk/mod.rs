//! The terminal's chunks and releases on disk.
//!
//! `DATA/chunks` holds what is in flight, `DATA/releases/P` the releases of product P: the one
//! that runs, the one before, and the tree of the one that is on its way. The rule: a chunk is
//! verified before it is written, before it is counted, and before it is given to a neighbour; a
//! release becomes current by one rename, after all of it was synced.
//!
//! A kill at any moment leaves chunks that are found again and trees that are removed at the next
//! start; a full or damaged disk gives an error, a lacking chunk, or a fetch again, never wrong
//! bytes.
//!
//! [`Disk`] is called by many worker threads at once. Storing and serving chunks never wait for
//! each other; staging, activating and abandoning take turns. What is wanted, what to fetch and
//! when to switch is decided by `storemesh_protocol::terminal`.

mod cache;
mod error;
mod layout;
mod product;
mod staging;
mod standing;
mod tree;

#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::{Context as _, ensure};
use storemesh_keys::Name;
use storemesh_protocol::content::{
    Bits, ChunkId, ChunkRef, Manifest, ReleaseHead, ReleaseId, unpack,
};
use tracing::warn;

pub(crate) use self::error::{StageError, StoreError};
use self::{cache::Cache, product::Product, staging::Staging, standing::Standing};

/// Cheap to share: take an [`Arc`] of it.
pub(crate) struct Disk {
    releases: PathBuf,
    cache: Cache,
    trees: RwLock<Trees>,
    /// Held by who changes the set of trees, from the first look to the last rename.
    turn: Mutex<()>,
}

/// Few of each, and held only to look: a list is copied before anything is read or written.
#[derive(Default)]
struct Trees {
    standing: Vec<Arc<Standing>>,
    staging: Vec<Arc<Staging>>,
}

impl Disk {
    /// Takes up what stands in the data folder, and removes what a crash left half-made.
    pub(crate) fn open(data: &Path) -> anyhow::Result<Self> {
        let releases = data.join("releases");
        let describe = || format!("opening `{}`", releases.display());
        fs::create_dir_all(&releases).with_context(describe)?;
        let mut trees = Trees::default();
        for entry in fs::read_dir(&releases).with_context(describe)? {
            let entry = entry.with_context(describe)?;
            let is_product = entry.file_name().to_str().is_some_and(|n| n.parse::<Name>().is_ok());
            if is_product && entry.file_type().with_context(describe)?.is_dir() {
                trees.standing.extend(Product::open(entry.path())?.into_iter().map(Arc::new));
            }
        }
        let cache = Cache::open(data.join("chunks"))?;
        Ok(Self { releases, cache, trees: RwLock::new(trees), turn: Mutex::default() })
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

    /// Which of these chunks are on disk, verified. Somebody wants them: the next sweep leaves them.
    pub(crate) fn check(&self, chunks: &[ChunkRef]) -> Bits {
        self.cache.claim(chunks.iter().map(|chunk| &chunk.id), true);
        let standing = self.trees().standing.clone();
        let mut have = Bits::new(u32::try_from(chunks.len()).unwrap_or(u32::MAX));
        for (chunk, index) in chunks.iter().zip(0..) {
            let stands = |standing: &Arc<Standing>| standing.stored(&chunk.id).is_some();
            if self.cache.has(chunk) || standing.iter().any(stands) {
                have.set(index);
            }
        }
        have
    }

    /// Reads the manifest from its pieces; the error is for a person.
    pub(crate) fn read_manifest(&self, head: &ReleaseHead) -> Result<Manifest, String> {
        head.read_manifest(&self.manifest_pieces(head)?).map_err(|why| why.to_string())
    }

    /// Lays out the release's tree and fills in what the disk already holds; says which chunks of
    /// the manifest are written. From now on [`Self::store`] writes into it too. Where the very
    /// release stands undamaged there is nothing to lay out.
    pub(crate) fn stage(
        &self,
        head: &ReleaseHead,
        manifest: Arc<Manifest>,
    ) -> Result<Bits, StageError> {
        let _turn = self.turn.lock().expect(NO_PANIC);
        self.stage_in_turn(head, manifest)
    }

    /// Verifies what a neighbour or HQ sent, and writes it wherever it is needed.
    pub(crate) fn store(&self, chunk: &ChunkRef, stored: &[u8]) -> Result<(), StoreError> {
        let plain = unpack(chunk, stored)?;
        // First here, then the trees: one that is laid out in between finds the chunk here.
        self.cache.put(&chunk.id, stored)?;
        let staging = self.trees().staging.clone();
        for staging in staging {
            if let Some(index) = staging.layout.index(&chunk.id) {
                staging.write(index, &plain)?;
            }
        }
        Ok(())
    }

    /// A chunk's stored form, for a neighbour: as it was received, or made from a standing
    /// release's files. What a former process cached is served once [`Self::check`] or
    /// [`Self::stage`] has verified it.
    pub(crate) fn serve(&self, chunk: &ChunkId) -> Option<Vec<u8>> {
        if let Some(stored) = self.cache.stored(chunk) {
            return Some(stored);
        }
        let standing = self.trees().standing.clone();
        standing.iter().find_map(|standing| standing.stored(chunk))
    }

    /// Finishes the tree, syncs it and switches `current` to it; then removes all releases of the
    /// product but this and the one before, and the chunks nobody needs any more. After an error
    /// `current` is what it was, and the release can be staged again; the error is for a person.
    pub(crate) fn activate(&self, head: &ReleaseHead) -> Result<(), String> {
        let _turn = self.turn.lock().expect(NO_PANIC);
        self.activate_in_turn(head).map_err(|error| format!("{error:#}"))
    }

    /// Removes the tree that was laid out. Its chunks stay until the next sweep: the release that
    /// is wanted in its place may need them.
    pub(crate) fn abandon(&self, head: &ReleaseHead) {
        let _turn = self.turn.lock().expect(NO_PANIC);
        if let Some(staging) = self.staging(&head.id) {
            self.unclaim(head, staging.layout.manifest());
        }
        self.cache.claim(head.manifest.iter().map(|piece| &piece.id), false);
        self.drop_staging(head);
    }

    /// Deletes cached chunks that no download asked for since the start, or that were abandoned.
    /// [`Self::activate`] does it too.
    pub(crate) fn sweep(&self) {
        let staging = self.trees().staging.clone();
        self.cache.sweep(|id| {
            let needs = |staging: &Arc<Staging>| {
                let mut pieces = staging.head.manifest.iter();
                staging.layout.index(id).is_some() || pieces.any(|piece| piece.id == *id)
            };
            staging.iter().any(needs)
        });
    }

    fn stage_in_turn(
        &self,
        head: &ReleaseHead,
        manifest: Arc<Manifest>,
    ) -> Result<Bits, StageError> {
        if let Some(staging) = self.staging(&head.id) {
            return Ok(staging.written());
        }
        if let Some(standing) = self.standing_whole(&head.id) {
            return Ok(Bits::full(standing.head.chunks));
        }
        self.cache.claim(manifest.chunks().iter().map(|chunk| &chunk.id), true);
        let fill = || -> Result<Bits, StageError> {
            let product = Product::of(&self.releases, head);
            product.create()?;
            self.check_room(head, &manifest)?;
            let laid_out = Staging::lay_out(head.clone(), manifest.clone(), product.staging(head));
            let staging = Arc::new(laid_out.map_err(|error| self.full_or(error, head))?);
            self.trees_mut().staging.push(staging.clone());
            self.fill(&staging)?;
            Ok(staging.written())
        };
        fill().inspect_err(|_| self.drop_staging(head))
    }

    fn fill(&self, staging: &Staging) -> io::Result<()> {
        let standing = self.trees().standing.clone();
        for (chunk, index) in staging.layout.manifest().chunks().iter().zip(0..) {
            let stands = || standing.iter().find_map(|standing| standing.plain(&chunk.id));
            if let Some(plain) = self.cache.plain(chunk).or_else(stands) {
                staging.write(index, &plain)?;
            }
        }
        Ok(())
    }

    /// The tree, and what will pass through the cache, must fit beside what is there.
    fn check_room(&self, head: &ReleaseHead, manifest: &Manifest) -> Result<(), StageError> {
        let standing = self.trees().standing.clone();
        let lacking = manifest.chunks().iter().filter(|chunk| {
            !self.cache.lists(&chunk.id) && !standing.iter().any(|s| s.lists(&chunk.id))
        });
        let to_fetch: u64 = lacking.map(|chunk| u64::from(chunk.stored)).sum();
        let needed = head.plain_bytes + to_fetch;
        let free = tree::free_bytes(&self.releases)?;
        if free < needed {
            return Err(StageError::Full { needed, free });
        }
        Ok(())
    }

    /// There was room, and then another program took it.
    fn full_or(&self, error: io::Error, head: &ReleaseHead) -> StageError {
        match tree::free_bytes(&self.releases) {
            Ok(free) if error.kind() == io::ErrorKind::StorageFull => {
                StageError::Full { needed: head.plain_bytes, free }
            }
            Ok(_) | Err(_) => StageError::Disk(error),
        }
    }

    fn activate_in_turn(&self, head: &ReleaseHead) -> anyhow::Result<()> {
        let pieces = self.manifest_pieces(head).map_err(anyhow::Error::msg)?;
        let manifest = match self.staging(&head.id) {
            Some(staging) => staging.layout.manifest().clone(),
            None => Arc::new(head.read_manifest(&pieces)?),
        };
        // Where it is staged this only looks; where it stands it is verified once more.
        let have = self.stage_in_turn(head, manifest.clone())?;
        ensure!(have.is_full(), "{} of {} chunks are on disk", have.count(), have.len());

        let product = Product::of(&self.releases, head);
        let before = product.current();
        let describe = || format!("activating `{}`", product.tree(head).display());
        product.keep(head, &pieces.concat())?;
        if let Some(staging) = self.staging(&head.id) {
            staging.close();
            let stand = tree::finish(&staging.tree, &manifest).and_then(|()| product.stand(head));
            if let Err(error) = stand {
                self.drop_staging(head);
                return Err(error).with_context(describe);
            }
        } else {
            tree::settle(&product.tree(head), &manifest).with_context(describe)?;
        }
        self.take_up(&product, head, &manifest);
        product.switch(head).with_context(describe)?;

        let tree = product.tree(head);
        // Where it was current already, the one before still is the one before.
        if before.as_ref() != Some(&tree) {
            self.remove_older(&product, &[Some(tree), before]);
        }
        self.unclaim(head, &manifest);
        self.sweep();
        Ok(())
    }

    /// From now on the release's chunks are served from its folder.
    fn take_up(&self, product: &Product, head: &ReleaseHead, manifest: &Arc<Manifest>) {
        let (tree, kept) = (product.tree(head), product.kept(head));
        let standing = Standing::new(head.clone(), manifest.clone(), tree, kept);
        let mut trees = self.trees_mut();
        trees.staging.retain(|staging| staging.head.id != head.id);
        trees.standing.retain(|other| other.tree != standing.tree);
        trees.standing.push(Arc::new(standing));
    }

    fn remove_older(&self, product: &Product, stay: &[Option<PathBuf>]) {
        let mut trees = self.trees_mut();
        let older = |standing: &mut Arc<Standing>| {
            standing.tree.parent() == Some(product.folder())
                && !stay.iter().flatten().any(|path| *path == standing.tree)
        };
        let older: Vec<_> = trees.standing.extract_if(.., older).collect();
        drop(trees);
        for Standing { tree, .. } in older.iter().map(AsRef::as_ref) {
            // The switch is done. What stays now is removed at the next start.
            if let Err(error) = product.remove(tree) {
                warn!(release = %tree.display(), %error, "an older release cannot be removed");
            }
        }
    }

    fn drop_staging(&self, head: &ReleaseHead) {
        if let Some(staging) = self.staging(&head.id) {
            staging.close();
            self.trees_mut().staging.retain(|staging| staging.head.id != head.id);
        }
        let tree = Product::of(&self.releases, head).staging(head);
        if let Err(error) = tree::remove(&tree) {
            warn!(tree = %tree.display(), %error, "a staged tree cannot be removed");
        }
    }

    fn unclaim(&self, head: &ReleaseHead, manifest: &Manifest) {
        let chunks = head.manifest.iter().chain(manifest.chunks());
        self.cache.claim(chunks.map(|chunk| &chunk.id), false);
    }

    fn manifest_pieces(&self, head: &ReleaseHead) -> Result<Vec<Vec<u8>>, String> {
        let standing = self.trees().standing.clone();
        let read = |piece: &ChunkRef| {
            let stands = || standing.iter().find_map(|standing| standing.plain(&piece.id));
            let plain = self.cache.plain(piece).or_else(stands);
            plain.ok_or_else(|| format!("piece {} of the manifest is not on disk", piece.id))
        };
        head.manifest.iter().map(read).collect()
    }

    /// The release itself, if it stands and every byte of it is right.
    fn standing_whole(&self, id: &ReleaseId) -> Option<Arc<Standing>> {
        let trees = self.trees();
        let standing = trees.standing.iter().find(|standing| standing.head.id == *id)?.clone();
        drop(trees);
        standing.is_whole().then_some(standing)
    }

    fn staging(&self, id: &ReleaseId) -> Option<Arc<Staging>> {
        self.trees().staging.iter().find(|staging| staging.head.id == *id).cloned()
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
