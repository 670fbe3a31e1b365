//! What a release is made of: chunks, the manifest that lists them, and the head that names both.
//!
//! The rule: everything is named by the BLAKE3 hash of its plain bytes, so it does not matter who
//! brought it. A chunk is at most [`CHUNK_MAX`]; a file is a list of chunks, a [`Manifest`] lists
//! the files, and a [`ReleaseHead`], small enough to be signed and sent around, lists the chunks
//! of the manifest. A publisher goes [`cut`], [`pack`], [`Builder`], [`ReleaseHead::new`]; a
//! terminal goes [`unpack`], [`ReleaseHead::read_manifest`], and then chunk by chunk.
//!
//! All of it may come from a stranger. Types that a stranger can fill check themselves when they
//! are decoded, and nothing is allocated because a stranger says how long it will be. A
//! [`Manifest`] that exists keeps all the rules of [`ManifestError`]; who holds one may write its
//! paths below a folder without looking again.
//!
//! Reading and writing folders is left to `hq` and `node`.

mod hash;

mod bits;
mod builder;
mod check;
mod chunk;
mod cut;
mod links;
mod list;
mod manifest;
mod path;
mod release;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod samples;

pub use bits::{BITS_MAX, Bits};
pub use builder::Builder;
pub use check::{
    CHUNKS_MAX, ENTRIES_MAX, MANIFEST_MAX, ManifestError, REFERENCES_MAX, RELEASE_BYTES_MAX,
};
pub use chunk::{CHUNK_MAX, ChunkError, ChunkId, ChunkRef, STORED_MAX, pack, unpack};
pub use cut::{CUT_AVERAGE, CUT_MIN, cut};
pub use hash::NotAHash;
pub(crate) use hash::hash_name;
pub use links::{LINK_STEPS_MAX, LinkError, TARGET_MAX};
pub use manifest::{Entry, Kind, Manifest};
pub use path::{PART_MAX, PATH_MAX, PathError, RelPath};
pub use release::{ListId, MANIFEST_PIECES_MAX, ReleaseHead, ReleaseId, dir_name, list_id};
