//! Where in a release's files each of its chunks lies.
//!
//! Made once per release from its manifest. A chunk may lie in many places: twice in one file, or
//! in many files. All of them hold the same bytes, so writing means all places, reading any one.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use storemesh_protocol::content::{ChunkId, ChunkRef, Entry, Kind, Manifest};

#[derive(Debug)]
pub(super) struct Layout {
    manifest: Arc<Manifest>,
    by_id: HashMap<ChunkId, u32>,
    /// All places, those of the first chunk first.
    places: Vec<Place>,
    /// Where the places of each chunk begin, and at last where all end.
    begins: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Which of the manifest's entries.
    pub(super) entry: u32,
    pub(super) offset: u64,
}

impl Layout {
    pub(super) fn new(manifest: Arc<Manifest>) -> Self {
        let chunks = manifest.chunks();
        let by_id = chunks.iter().zip(0..).map(|(chunk, index)| (chunk.id, index)).collect();

        let mut used: Vec<(u32, Place)> = Vec::new();
        for (Entry { kind, .. }, entry) in manifest.entries().iter().zip(0..) {
            let mut offset = 0;
            for &chunk in kind.chunks() {
                used.push((chunk, Place { entry, offset }));
                offset += u64::from(chunks[chunk as usize].plain);
            }
        }
        used.sort_by_key(|(chunk, _)| *chunk);

        let mut begins = vec![0; chunks.len() + 1];
        for (chunk, _) in &used {
            begins[*chunk as usize + 1] += 1;
        }
        for index in 1..begins.len() {
            begins[index] += begins[index - 1];
        }
        let places = used.into_iter().map(|(_, place)| place).collect();
        Self { manifest, by_id, places, begins }
    }

    pub(super) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    pub(super) fn index(&self, id: &ChunkId) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    pub(super) fn chunk(&self, index: u32) -> &ChunkRef {
        &self.manifest.chunks()[index as usize]
    }

    pub(super) fn places(&self, index: u32) -> &[Place] {
        &self.places[self.begins[index as usize]..self.begins[index as usize + 1]]
    }

    pub(super) fn path(&self, tree: &Path, place: Place) -> PathBuf {
        tree.join(self.manifest.entries()[place.entry as usize].path.as_str())
    }

    /// Whether the file at this place has other chunks than this one.
    pub(super) fn is_shared(&self, place: Place) -> bool {
        match &self.manifest.entries()[place.entry as usize].kind {
            Kind::File { chunks, .. } => chunks.len() > 1,
            Kind::Folder { .. } | Kind::Symlink { .. } => false,
        }
    }
}
