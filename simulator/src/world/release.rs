//! Releases of this world: real manifests and heads, of chunks that are only descriptors.

use std::{collections::BTreeMap, sync::Arc};

use storemesh_keys::Name;
use storemesh_protocol::content::{
    Builder, ChunkId, ChunkRef, ListId, Manifest, RelPath, ReleaseHead, list_id,
};

/// What chunks are cut to on the average.
const CHUNK: u32 = 256 << 10;

#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) head: ReleaseHead,
    pub(super) manifest: Arc<Manifest>,
    pub(super) pieces: ListId,
    pub(super) content: ListId,
    /// All of it, pieces of the manifest as well, by id.
    pub(super) chunks: BTreeMap<ChunkId, ChunkRef>,
}

pub(super) fn name(text: &str) -> Name {
    text.parse().expect("a name that the simulator makes is one")
}

impl Release {
    /// `count` chunks, those before `kept` as in every other version of the product.
    pub(super) fn new(product: &str, version: u32, count: u32, kept: u32) -> Self {
        let chunk = |at: u32| {
            let of = if at < kept { 0 } else { version };
            let id = ChunkId::of(format!("{product} {of} {at}").as_bytes());
            // Not all alike, so that chunks overtake each other.
            let plain = CHUNK / 2 + u32::from(id.0[0]) * (CHUNK / 256);
            ChunkRef { id, stored: plain + 1, plain }
        };
        let mut builder = Builder::new();
        for (file, first) in (0..count).step_by(8).enumerate() {
            let chunks = (first..count.min(first + 8)).map(chunk).collect();
            let path = RelPath::new(format!("bin/part-{file}")).expect("a plain path");
            builder.file(path, 0o755, chunks);
        }
        let version = name(&format!("1.{version}"));
        let (manifest, encoded) =
            builder.finish(name(product), version).expect("a small release keeps the rules");
        let (head, pieces) = ReleaseHead::new(&manifest, &encoded);
        let all = pieces.iter().map(|(piece, _)| piece).chain(manifest.chunks());
        Self {
            chunks: all.map(|chunk| (chunk.id, *chunk)).collect(),
            pieces: list_id(&head.manifest),
            content: list_id(manifest.chunks()),
            manifest: Arc::new(manifest),
            head,
        }
    }
}
