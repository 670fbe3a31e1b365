//! The list of files and chunks that make up a release.
//!
//! The rule: a [`Manifest`] that exists is safe to write out. It comes from [`Manifest::decode`],
//! which refuses whatever breaks one of the rules of [`ManifestError`], or from
//! [`super::Builder`], which is held to the same rules. Entries are sorted by path and chunks
//! stand in the order in which the files use them, so equal trees give equal bytes and with them
//! the same [`super::ReleaseId`].
//!
//! A folder need not be listed to hold something; the builder lists them all.

use std::error::Error;

use minicbor::{Decode, Encode};
use storemesh_keys::Name;

use super::{
    ChunkRef, RelPath,
    check::{MANIFEST_MAX, ManifestError, check},
    list,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest(Fields);

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    #[n(0)]
    pub path: RelPath,
    #[n(1)]
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Kind {
    #[n(0)]
    Folder {
        /// Permission bits.
        #[n(0)]
        mode: u32,
    },
    #[n(1)]
    File {
        /// Permission bits.
        #[n(0)]
        mode: u32,
        /// The length of its chunks together.
        #[n(1)]
        bytes: u64,
        /// Places in the manifest's table of chunks, in the order of the file.
        #[cbor(n(2), decode_with = "list::references")]
        chunks: Vec<u32>,
    },
    #[n(2)]
    Symlink {
        #[n(0)]
        target: String,
    },
}

/// A manifest as it is encoded; nobody has looked at it yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Fields {
    #[n(0)]
    pub(super) product: Name,
    #[n(1)]
    pub(super) version: Name,
    #[cbor(n(2), decode_with = "list::entries")]
    pub(super) entries: Vec<Entry>,
    /// Each chunk once.
    #[cbor(n(3), decode_with = "list::chunks")]
    pub(super) chunks: Vec<ChunkRef>,
}

impl Manifest {
    pub(super) fn new(fields: Fields) -> Result<Self, ManifestError> {
        check(&fields)?;
        Ok(Self(fields))
    }

    pub fn decode(encoded: &[u8]) -> Result<Self, ManifestError> {
        if encoded.len() > MANIFEST_MAX {
            return Err(ManifestError::TooLong(encoded.len()));
        }
        let fields = minicbor::decode(encoded).map_err(|why| {
            let rule = why.source().map(|rule| format!(": {rule}"));
            ManifestError::NotReadable(format!("{why}{}", rule.unwrap_or_default()))
        })?;
        Self::new(fields)
    }

    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(&self.0).expect("writing to memory does not fail")
    }

    pub fn product(&self) -> &Name {
        &self.0.product
    }

    pub fn version(&self) -> &Name {
        &self.0.version
    }

    /// Sorted by path: a folder comes right before all that lies in it.
    pub fn entries(&self) -> &[Entry] {
        &self.0.entries
    }

    /// Each chunk once, in the order in which the files use them first.
    pub fn chunks(&self) -> &[ChunkRef] {
        &self.0.chunks
    }

    /// The chunks of one of its entries, in the order of the file; none for what is no file.
    pub fn chunks_of<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a ChunkRef> {
        entry.kind.chunks().iter().map(|index| &self.0.chunks[*index as usize])
    }

    /// The length of all files together.
    pub fn plain_bytes(&self) -> u64 {
        self.0.entries.iter().map(|entry| entry.kind.bytes()).sum()
    }

    /// The stored length of all chunks, each once: what crosses the WAN for a store that has
    /// nothing yet, but for the manifest itself.
    pub fn stored_bytes(&self) -> u64 {
        self.0.chunks.iter().map(|chunk| u64::from(chunk.stored)).sum()
    }
}

impl Kind {
    /// Places in the manifest's table of chunks; none for what is no file.
    pub fn chunks(&self) -> &[u32] {
        match self {
            Self::File { chunks, .. } => chunks,
            Self::Folder { .. } | Self::Symlink { .. } => &[],
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::File { bytes, .. } => *bytes,
            Self::Folder { .. } | Self::Symlink { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::samples::{build, finish, trees};

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(tree in trees()) {
            let (manifest, encoded) = finish(build(&tree));
            prop_assert_eq!(Manifest::decode(&encoded), Ok(manifest));
        }

        #[test]
        fn damaged_bytes_never_panic_and_never_break_a_rule(
            tree in trees(),
            damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
            cut in prop::option::of(any::<usize>()),
        ) {
            let (_, mut encoded) = finish(build(&tree));
            let length = encoded.len();
            for (at, byte) in damage {
                encoded[at % length] = byte;
            }
            encoded.truncate(cut.map_or(length, |cut| cut % length));
            if let Ok(manifest) = Manifest::decode(&encoded) {
                prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = Manifest::decode(&bytes);
        }
    }
}
