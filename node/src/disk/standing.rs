//! A release that stands complete in its folder, and serves its chunks from its files.
//!
//! The rule: nothing read here is given out before it was hashed, each time. Disks rot, and the
//! files are within reach of whoever works on the terminal. What is damaged is as good as absent,
//! and is remembered until somebody was told.
//!
//! Beside the folder `V-<hash8>` lies `.V-<hash8>.manifest`: the length of the encoded head in 4
//! bytes, the head, and the manifest's bytes as they came, so that a standing release serves its
//! manifest too.
//!
//! A staged tree that nobody writes into any more is read in the same way: of a download that was
//! given up, or that a former process began.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, ensure};
use storemesh_protocol::content::{
    ChunkId, ChunkRef, MANIFEST_MAX, Manifest, ReleaseHead, dir_name,
};

use super::{
    layout::{Layout, Place},
    tree::{self, Unread},
};

/// The head of the longest manifest: 64 pieces at 50 bytes, and some names and numbers.
const HEAD_MAX: usize = 16 << 10;
const LENGTH: usize = 4;

#[derive(Debug)]
pub(super) struct Standing {
    pub(super) head: ReleaseHead,
    pub(super) layout: Arc<Layout>,
    pub(super) tree: PathBuf,
    pub(super) kept: PathBuf,
    /// Where the manifest begins in the kept file.
    manifest_at: u64,
    /// False where files are missing: a source of chunks, but no release to run.
    pub(super) complete: bool,
    /// Bytes were read that are not what they should be.
    damaged: AtomicBool,
    told: AtomicBool,
}

impl Standing {
    /// The tree of the release that is `named` so, judged by the manifest kept beside.
    pub(super) fn read(tree: PathBuf, kept: PathBuf, named: &OsStr) -> anyhow::Result<Self> {
        let content = tree::read_at_most(&kept, LENGTH + HEAD_MAX + MANIFEST_MAX)
            .with_context(|| format!("reading `{}`", kept.display()))?;
        let (head, manifest) =
            decode(&content).with_context(|| format!("`{}` is not readable", kept.display()))?;
        ensure!(named == dir_name(&head).as_str(), "`{}` is of another release", kept.display());
        Ok(Self::new(head, Arc::new(Layout::new(Arc::new(manifest))), tree, kept))
    }

    pub(super) fn new(
        head: ReleaseHead,
        layout: Arc<Layout>,
        tree: PathBuf,
        kept: PathBuf,
    ) -> Self {
        let complete = tree::is_complete(&tree, layout.manifest());
        let manifest_at = (LENGTH + encode_head(&head).len()) as u64;
        let (damaged, told) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { head, layout, tree, kept, manifest_at, complete, damaged, told }
    }

    /// A chunk's plain form behind the byte that says so, which is its stored form; verified. Also
    /// of a piece of the manifest.
    pub(super) fn stored(&self, id: &ChunkId) -> Option<Vec<u8>> {
        let Some(index) = self.layout.index(id) else { return self.piece(id) };
        let chunk = self.layout.chunk(index);
        // Where the first file is damaged the next one may be whole.
        self.layout.places(index).iter().find_map(|place| {
            self.chunk(&self.layout.path(&self.tree, *place), place.offset, chunk)
        })
    }

    /// Whether every place of every file holds the bytes it should; where not, that is remembered.
    pub(super) fn is_whole(&self) -> bool {
        let whole = self.looks_whole();
        self.damaged.fetch_or(!whole, Ordering::Relaxed);
        whole
    }

    /// Whether bytes were read that are not what they should be.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn looks_whole(&self) -> bool {
        let chunks = self.layout.manifest().chunks().iter().zip(0..);
        let mut places = chunks.flat_map(|(chunk, index)| {
            self.layout.places(index).iter().map(move |place| (chunk, place))
        });
        let is_right = |(chunk, place): (&ChunkRef, &Place)| {
            tree::read_chunk(&self.layout.path(&self.tree, *place), place.offset, chunk).is_ok()
        };
        tree::is_complete(&self.tree, self.layout.manifest()) && places.all(is_right)
    }

    /// Whether damage was met; true once.
    pub(super) fn take_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed) && !self.told.swap(true, Ordering::Relaxed)
    }

    pub(super) fn lists(&self, id: &ChunkId) -> bool {
        self.layout.index(id).is_some() || self.head.manifest.iter().any(|piece| piece.id == *id)
    }

    fn piece(&self, id: &ChunkId) -> Option<Vec<u8>> {
        let at = self.head.manifest.iter().position(|piece| piece.id == *id)?;
        let (before, from) = self.head.manifest.split_at(at);
        let behind: u64 = before.iter().map(|piece| u64::from(piece.plain)).sum();
        self.chunk(&self.kept, self.manifest_at + behind, &from[0])
    }

    fn chunk(&self, path: &Path, offset: u64, chunk: &ChunkRef) -> Option<Vec<u8>> {
        match tree::read_chunk(path, offset, chunk) {
            Ok(stored) => Some(stored),
            Err(Unread::Damaged) => {
                self.damaged.store(true, Ordering::Relaxed);
                None
            }
            Err(Unread::Failed) => None,
        }
    }
}

/// What is kept beside a release's folder.
pub(super) fn encode(head: &ReleaseHead, manifest: &[u8]) -> Vec<u8> {
    let head = encode_head(head);
    let length = u32::try_from(head.len()).expect("a head has at most 64 pieces");
    [&length.to_be_bytes()[..], &head, manifest].concat()
}

fn encode_head(head: &ReleaseHead) -> Vec<u8> {
    minicbor::to_vec(head).expect("writing to memory does not fail")
}

fn decode(content: &[u8]) -> anyhow::Result<(ReleaseHead, Manifest)> {
    let (length, rest) = content.split_first_chunk().context("it is too short")?;
    let length = u32::from_be_bytes(*length) as usize;
    ensure!(length <= rest.len().min(HEAD_MAX), "it is too short");
    let (head, manifest) = rest.split_at(length);
    let head: ReleaseHead = minicbor::decode(head)?;
    // Else the pieces would not be found where they are looked for.
    ensure!(encode_head(&head).len() == length, "its head is of another version");
    let manifest = head.read_manifest(&[manifest.to_vec()])?;
    Ok((head, manifest))
}
