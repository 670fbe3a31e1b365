//! The tree of a release that is on its way: chunks are written into its files as they come.
//!
//! The rule: [`Staging::write`] is called with verified bytes only, by many threads at once, and
//! puts them at every place of the tree that uses them. A chunk that comes twice is the same
//! bytes at the same places, so nobody waits for anybody. Once [`Staging::close`] has returned no
//! write is under way and none begins: a tree that is being finished, or removed, is left alone.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
};

use storemesh_protocol::content::{Bits, Manifest, ReleaseHead};

use super::{layout::Layout, tree};

/// Open files kept for the next chunk. Most releases have few large files.
const OPEN_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Staging {
    pub(super) head: ReleaseHead,
    pub(super) layout: Layout,
    pub(super) tree: PathBuf,
    /// Shared by who writes, taken whole to close.
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

impl Staging {
    pub(super) fn lay_out(
        head: ReleaseHead,
        manifest: Arc<Manifest>,
        tree: PathBuf,
    ) -> io::Result<Self> {
        tree::lay_out(&tree, &manifest)?;
        Ok(Self {
            head,
            written: Mutex::new(Bits::new(head_chunks(&manifest))),
            layout: Layout::new(manifest),
            tree,
            gate: RwLock::new(Gate::Open),
            files: Mutex::default(),
        })
    }

    pub(super) fn write(&self, index: u32, plain: &[u8]) -> io::Result<()> {
        let gate = self.gate.read().expect(NO_PANIC);
        if *gate == Gate::Closed || self.written.lock().expect(NO_PANIC).get(index) {
            return Ok(());
        }
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

    pub(super) fn written(&self) -> Bits {
        self.written.lock().expect(NO_PANIC).clone()
    }

    pub(super) fn close(&self) {
        *self.gate.write().expect(NO_PANIC) = Gate::Closed;
        self.files.lock().expect(NO_PANIC).clear();
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

fn head_chunks(manifest: &Manifest) -> u32 {
    u32::try_from(manifest.chunks().len()).expect("a manifest has at most 131,072 chunks")
}
