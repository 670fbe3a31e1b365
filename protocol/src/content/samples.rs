//! What the tests of this folder share: noise, names, and trees of all kinds.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};
use storemesh_keys::Name;

use super::{Builder, ChunkId, ChunkRef, Manifest, RelPath};

/// Bytes that do not compress, the same for the same seed (splitmix64).
pub(super) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31).to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// A chunk of which nobody will ask the content.
pub(super) fn chunk(number: u32) -> ChunkRef {
    let plain = 1 + number * 37 % 1_000_000;
    ChunkRef { id: ChunkId::of(&number.to_be_bytes()), stored: plain + 1, plain }
}

pub(super) fn finish(builder: Builder) -> (Manifest, Vec<u8>) {
    builder.finish(name("till"), name("1.0.0")).unwrap()
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Folder(u32),
    File(u32, Vec<u32>),
    Symlink(String),
}

/// A tree as it may lie on a publisher's disk, in any order.
pub(super) fn trees() -> impl Strategy<Value = Vec<(RelPath, Node)>> {
    let part = prop::sample::select(vec!["a", "b", "a-b", "a.b", "ä", "\\", "A\nB", "..."]);
    let node = prop_oneof![
        (0..=0o777_u32).prop_map(Node::Folder),
        (0..=0o777_u32, vec(0..12_u32, 0..6)).prop_map(|(mode, chunks)| Node::File(mode, chunks)),
        "[ab./]{1,8}".prop_map(Node::Symlink),
    ];
    vec((vec(part, 1..5).prop_map(|parts| path(&parts.join("/"))), node), 0..30).prop_map(real)
}

/// Leaves out what no disk could hold, and symlinks that nobody may publish.
fn real(nodes: Vec<(RelPath, Node)>) -> Vec<(RelPath, Node)> {
    let (mut taken, mut folders) = (BTreeSet::new(), BTreeSet::new());
    let mut kept: Vec<(RelPath, Node)> = Vec::new();
    for (path, node) in nodes {
        let above: Vec<_> = std::iter::successors(path.parent(), RelPath::parent).collect();
        let is_folder = matches!(node, Node::Folder(_));
        if taken.contains(&path)
            || above.iter().any(|folder| taken.contains(folder) && !folders.contains(folder))
            || !is_folder && folders.contains(&path)
        {
            continue;
        }
        kept.push((path.clone(), node.clone()));
        if matches!(node, Node::Symlink(_)) && build(&kept).finish(name("p"), name("v")).is_err() {
            kept.pop();
            continue;
        }
        taken.insert(path.clone());
        folders.extend(above);
        folders.extend(is_folder.then_some(path));
    }
    // A later symlink may have taken an earlier one out; the publisher would be told.
    while build(&kept).finish(name("p"), name("v")).is_err() {
        kept.pop();
    }
    kept
}

pub(super) fn build(tree: &[(RelPath, Node)]) -> Builder {
    let mut builder = Builder::new();
    for (path, node) in tree {
        match node {
            Node::Folder(mode) => builder.folder(path.clone(), *mode),
            Node::File(mode, chunks) => {
                let chunks = chunks.iter().map(|number| chunk(*number)).collect();
                builder.file(path.clone(), *mode, chunks);
            }
            Node::Symlink(target) => builder.symlink(path.clone(), target.clone()),
        }
    }
    builder
}
