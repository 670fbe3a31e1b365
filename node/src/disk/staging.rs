//! The tree of a release that is on its way: chunks are written into its files as they come.
//!
//! The rule: [`Staging::take`] is called with verified bytes only, by many threads at once, and
//! puts them at every place of the tree that uses them. A chunk that comes twice is the same
//! bytes at the same places, so nobody waits for anybody. Once [`Staging::close`] has returned no
//! write is under way and none begins: a tree that is being finished, or set aside, is left alone.
//!
//! For many chunks the tree is the only place where they are, so it gives them out too, hashed each
//! time. A chunk that was damaged meanwhile is no longer counted, and fetched again before the
//! release is switched to.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
};

use storemesh_protocol::content::{Bits, ChunkId, ReleaseHead};

use super::{
    layout::Layout,
    resume,
    tree::{self, Unread},
};

/// Open files kept for the next chunk. Most releases have few large files.
const OPEN_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Staging {
    pub(super) head: ReleaseHead,
    pub(super) layout: Arc<Layout>,
    pub(super) tree: PathBuf,
    /// Where the tree goes when it is finished.
    stands_at: PathBuf,
    /// Shared by who reads and writes, taken whole to close.
    gate: RwLock<Gate>,
    written: Mutex<Bits>,
    /// By entry of the manifest, the last used at the end.
    files: Mutex<Vec<(u32, Arc<File>)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Closed,
}

/// What a tree did with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It does not use the chunk, or was closed before.
    Not,
    Now,
    Before,
}

impl Staging {
    /// A new tree. What a failure leaves half-made is for the caller to remove.
    pub(super) fn lay_out(
        head: ReleaseHead,
        layout: Arc<Layout>,
        tree: PathBuf,
        stands_at: PathBuf,
    ) -> io::Result<Self> {
        tree::lay_out(&tree, layout.manifest())?;
        Ok(Self::new(head, layout, tree, stands_at))
    }

    /// A tree that was laid out before, with all of it that proves right; none where it is not as
    /// it was laid out.
    pub(super) fn resume(
        head: ReleaseHead,
        layout: Arc<Layout>,
        tree: PathBuf,
        stands_at: PathBuf,
    ) -> io::Result<Option<Self>> {
        if !resume::reopen(&tree, layout.manifest())? {
            return Ok(None);
        }
        let right = resume::verify(&layout, &tree)?;
        let staging = Self::new(head, layout, tree, stands_at);
        for (right, index) in right.into_iter().zip(0..) {
            let places = staging.layout.places(index);
            if right == places.len() {
                staging.written.lock().expect(NO_PANIC).set(index);
            } else if right > 0
                && let Some(stored) = places.iter().find_map(|place| {
                    let path = staging.layout.path(&staging.tree, *place);
                    tree::read_chunk(&path, place.offset, staging.layout.chunk(index)).ok()
                })
            {
                staging.write(index, &stored[1..])?;
            }
        }
        Ok(Some(staging))
    }

    fn new(head: ReleaseHead, layout: Arc<Layout>, tree: PathBuf, stands_at: PathBuf) -> Self {
        let chunks = u32::try_from(layout.manifest().chunks().len());
        let chunks = chunks.expect("a manifest has at most 131,072 chunks");
        Self {
            head,
            layout,
            tree,
            stands_at,
            gate: RwLock::new(Gate::Open),
            written: Mutex::new(Bits::new(chunks)),
            files: Mutex::default(),
        }
    }

    /// Writes a chunk wherever the tree uses it.
    pub(super) fn take(&self, id: &ChunkId, plain: &[u8]) -> io::Result<Taken> {
        let Some(index) = self.layout.index(id) else { return Ok(Taken::Not) };
        let gate = self.gate.read().expect(NO_PANIC);
        if self.has(index) {
            return Ok(Taken::Before);
        }
        if *gate == Gate::Closed {
            return Ok(Taken::Not);
        }
        self.write(index, plain)?;
        Ok(Taken::Now)
    }

    /// A chunk that was written, behind the byte that says it is plain; verified.
    pub(super) fn stored(&self, id: &ChunkId) -> Option<Vec<u8>> {
        let index = self.layout.index(id)?;
        let gate = self.gate.read().expect(NO_PANIC);
        if !self.has(index) {
            return None;
        }
        let chunk = self.layout.chunk(index);
        let places = self.layout.places(index).iter();
        let mut reads = places.flat_map(|place| {
            // While it is open it is nowhere else; later it may have got its name already.
            let moved = (*gate == Gate::Closed).then_some(&self.stands_at);
            let trees = [Some(&self.tree), moved].into_iter().flatten();
            trees.map(|tree| tree::read_chunk(&self.layout.path(tree, *place), place.offset, chunk))
        });
        let mut damaged = false;
        let stored = reads.find_map(|read| {
            damaged |= matches!(read, Err(Unread::Damaged));
            read.ok()
        });
        if damaged && *gate == Gate::Open {
            self.written.lock().expect(NO_PANIC).clear(index);
        }
        stored
    }

    pub(super) fn written(&self) -> Bits {
        self.written.lock().expect(NO_PANIC).clone()
    }

    pub(super) fn close(&self) {
        *self.gate.write().expect(NO_PANIC) = Gate::Closed;
        self.files.lock().expect(NO_PANIC).clear();
    }

    fn has(&self, index: u32) -> bool {
        self.written.lock().expect(NO_PANIC).get(index)
    }

    fn write(&self, index: u32, plain: &[u8]) -> io::Result<()> {
        for place in self.layout.places(index) {
            let path = || self.layout.path(&self.tree, *place);
            if self.layout.is_shared(*place) {
                self.file(place.entry, path)?.write_all_at(plain, place.offset)?;
            } else {
                open(&path())?.write_all_at(plain, place.offset)?;
            }
        }
        self.written.lock().expect(NO_PANIC).set(index);
        Ok(())
    }

    fn file(&self, entry: u32, path: impl FnOnce() -> PathBuf) -> io::Result<Arc<File>> {
        let mut files = self.files.lock().expect(NO_PANIC);
        if let Some(at) = files.iter().position(|(known, _)| *known == entry) {
            files[at..].rotate_left(1);
        } else {
            drop(files);
            let file = Arc::new(open(&path())?);
            files = self.files.lock().expect(NO_PANIC);
            if files.len() >= OPEN_MAX {
                files.remove(0);
            }
            files.push((entry, file));
        }
        let (_, last) = files.last().expect("one was just put there");
        Ok(last.clone())
    }
}

const NO_PANIC: &str = "no thread panics while it holds this";

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}
