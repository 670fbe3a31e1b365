//! A release that stands complete in its folder, and serves its chunks from its files.
//!
//! The rule: nothing read here is given out before it was hashed, each time. Disks rot, and the
//! files are within reach of whoever works on the terminal. What is damaged is as good as absent.
//!
//! Beside the folder `V-<hash8>` lies `.V-<hash8>.manifest`: the length of the encoded head in 4
//! bytes, the head, and the manifest's bytes as they came, so that a standing release serves its
//! manifest too.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use storemesh_protocol::content::{
    ChunkId, ChunkRef, MANIFEST_MAX, Manifest, ReleaseHead, dir_name,
};

use super::{
    layout::{Layout, Place},
    tree,
};

/// The head of the longest manifest: 64 pieces at 50 bytes, and some names and numbers.
const HEAD_MAX: usize = 16 << 10;
const LENGTH: usize = 4;

#[derive(Debug)]
pub(super) struct Standing {
    pub(super) head: ReleaseHead,
    pub(super) layout: Layout,
    pub(super) tree: PathBuf,
    kept: PathBuf,
    /// Where the manifest begins in the kept file.
    manifest_at: u64,
    /// False where files are missing: a source of chunks, but no release to run.
    pub(super) complete: bool,
}

impl Standing {
    /// The release whose folder is `tree`, judged by the manifest kept beside.
    pub(super) fn read(tree: PathBuf, kept: PathBuf) -> anyhow::Result<Self> {
        let content = tree::read_at_most(&kept, LENGTH + HEAD_MAX + MANIFEST_MAX)
            .with_context(|| format!("reading `{}`", kept.display()))?;
        let (head, manifest) =
            decode(&content).with_context(|| format!("`{}` is not readable", kept.display()))?;
        let named = tree.file_name().is_some_and(|name| name == dir_name(&head).as_str());
        ensure!(named, "`{}` is of another release", kept.display());
        Ok(Self::new(head, Arc::new(manifest), tree, kept))
    }

    pub(super) fn new(
        head: ReleaseHead,
        manifest: Arc<Manifest>,
        tree: PathBuf,
        kept: PathBuf,
    ) -> Self {
        let complete = tree::is_complete(&tree, &manifest);
        let manifest_at = (LENGTH + encode_head(&head).len()) as u64;
        Self { head, layout: Layout::new(manifest), tree, kept, manifest_at, complete }
    }

    /// A chunk's plain form, verified; also of a piece of the manifest.
    pub(super) fn plain(&self, id: &ChunkId) -> Option<Vec<u8>> {
        let mut form = self.stored(id)?;
        form.remove(0);
        Some(form)
    }

    /// A chunk's plain form behind the byte that says so, which is its stored form.
    pub(super) fn stored(&self, id: &ChunkId) -> Option<Vec<u8>> {
        let Some(index) = self.layout.index(id) else { return self.piece(id) };
        let chunk = self.layout.chunk(index);
        // Where the first file is damaged the next one may be whole.
        self.layout
            .places(index)
            .iter()
            .find_map(|place| read(&self.layout.path(&self.tree, *place), place.offset, chunk))
    }

    /// Whether every place of every file holds the bytes it should.
    pub(super) fn is_whole(&self) -> bool {
        let chunks = self.layout.manifest().chunks().iter().zip(0..);
        let mut places = chunks.flat_map(|(chunk, index)| {
            self.layout.places(index).iter().map(move |place| (chunk, place))
        });
        let is_right = |(chunk, place): (&ChunkRef, &Place)| {
            read(&self.layout.path(&self.tree, *place), place.offset, chunk).is_some()
        };
        tree::is_complete(&self.tree, self.layout.manifest()) && places.all(is_right)
    }

    pub(super) fn lists(&self, id: &ChunkId) -> bool {
        self.layout.index(id).is_some() || self.head.manifest.iter().any(|piece| piece.id == *id)
    }

    fn piece(&self, id: &ChunkId) -> Option<Vec<u8>> {
        let at = self.head.manifest.iter().position(|piece| piece.id == *id)?;
        let (before, from) = self.head.manifest.split_at(at);
        let behind: u64 = before.iter().map(|piece| u64::from(piece.plain)).sum();
        read(&self.kept, self.manifest_at + behind, &from[0])
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

fn read(path: &Path, offset: u64, chunk: &ChunkRef) -> Option<Vec<u8>> {
    let mut stored = vec![0; 1 + chunk.plain as usize];
    File::open(path).ok()?.read_exact_at(&mut stored[1..], offset).ok()?;
    chunk.verify(&stored[1..]).ok()?;
    Some(stored)
}
