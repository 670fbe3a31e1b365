//! Makes the manifest of a tree, for who publishes it.
//!
//! Takes the entries in any order and puts them in the one order a manifest allows; folders that
//! were not named get [`FOLDER_MODE`]. So equal trees give equal bytes, however they were walked.
//! Nothing is judged before [`Builder::finish`], which judges everything.

use std::collections::BTreeMap;

use storemesh_keys::Name;

use super::{
    ChunkId, ChunkRef, Entry, Kind, MANIFEST_MAX, Manifest, ManifestError, RelPath,
    manifest::Fields,
};

/// What `mkdir` makes with the usual umask.
const FOLDER_MODE: u32 = 0o755;

#[derive(Debug, Default)]
pub struct Builder {
    pushed: Vec<Pushed>,
}

#[derive(Debug)]
struct Pushed {
    path: RelPath,
    what: What,
}

#[derive(Debug)]
enum What {
    Folder { mode: u32 },
    File { mode: u32, chunks: Vec<ChunkRef> },
    Symlink { target: String },
}

impl Builder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn folder(&mut self, path: RelPath, mode: u32) {
        self.pushed.push(Pushed { path, what: What::Folder { mode } });
    }

    /// A file of these chunks, in this order; of none, if it is empty.
    pub fn file(&mut self, path: RelPath, mode: u32, chunks: Vec<ChunkRef>) {
        self.pushed.push(Pushed { path, what: What::File { mode, chunks } });
    }

    pub fn symlink(&mut self, path: RelPath, target: impl Into<String>) {
        self.pushed.push(Pushed { path, what: What::Symlink { target: target.into() } });
    }

    /// The manifest and its encoded bytes, which give the release its id.
    pub fn finish(
        mut self,
        product: Name,
        version: Name,
    ) -> Result<(Manifest, Vec<u8>), ManifestError> {
        self.name_folders();
        self.pushed.sort_by(|a, b| a.path.cmp(&b.path));

        let mut table = Table::default();
        let entries = self.pushed.into_iter().map(|Pushed { path, what }| {
            let kind = match what {
                What::Folder { mode } => Kind::Folder { mode },
                What::Symlink { target } => Kind::Symlink { target },
                What::File { mode, chunks } => Kind::File {
                    mode,
                    bytes: chunks.iter().map(|chunk| u64::from(chunk.plain)).sum(),
                    chunks: chunks.into_iter().map(|chunk| table.place(chunk)).collect(),
                },
            };
            Entry { path, kind }
        });
        let entries = entries.collect();
        let fields = Fields { product, version, entries, chunks: table.chunks };
        let manifest = Manifest::new(fields)?;
        let encoded = manifest.encode();
        if encoded.len() > MANIFEST_MAX {
            return Err(ManifestError::TooLong(encoded.len()));
        }
        Ok((manifest, encoded))
    }

    /// Adds the folders that hold something and were not pushed.
    fn name_folders(&mut self) {
        let mut named: BTreeMap<RelPath, bool> =
            self.pushed.iter().map(|pushed| (pushed.path.clone(), false)).collect();
        for pushed in &self.pushed {
            let mut above = pushed.path.parent();
            while let Some(folder) = above {
                if named.contains_key(&folder) {
                    break;
                }
                above = folder.parent();
                named.insert(folder, true);
            }
        }
        for (path, missing) in named {
            if missing {
                self.folder(path, FOLDER_MODE);
            }
        }
    }
}

/// The chunks, each once, in the order in which they are used first.
#[derive(Default)]
struct Table {
    chunks: Vec<ChunkRef>,
    places: BTreeMap<ChunkId, u32>,
}

impl Table {
    fn place(&mut self, chunk: ChunkRef) -> u32 {
        *self.places.entry(chunk.id).or_insert_with(|| {
            self.chunks.push(chunk);
            u32::try_from(self.chunks.len() - 1).expect("memory holds fewer chunks")
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::samples::{build, chunk, finish, name, path, trees};

    #[test]
    fn chunks_stand_in_the_table_once_in_the_order_of_first_use() {
        let mut builder = Builder::new();
        builder.file(path("b"), 0o644, vec![chunk(3), chunk(1)]);
        builder.file(path("a/y/x"), 0o755, vec![chunk(2), chunk(3), chunk(2)]);
        let (manifest, _) = finish(builder);

        assert_eq!(manifest.chunks(), [chunk(2), chunk(3), chunk(1)]);
        let files: Vec<_> = manifest.entries().iter().map(|entry| entry.kind.chunks()).collect();
        assert_eq!(files, [&[][..], &[], &[0, 1, 0], &[1, 2]]);
        for (entry, folder) in manifest.entries().iter().zip(["a", "a/y"]) {
            assert_eq!((&entry.path, &entry.kind), (&path(folder), &Kind::Folder { mode: 0o755 }));
        }
        let b: Vec<_> = manifest.chunks_of(&manifest.entries()[3]).copied().collect();
        assert_eq!(b, [chunk(3), chunk(1)]);
    }

    #[test]
    fn a_publisher_is_told_what_cannot_be_published() {
        let mut builder = Builder::new();
        builder.file(path("a"), 0o4755, vec![]);
        let refused = builder.finish(name("till"), name("1")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            r#""a" has mode 4755, allowed are permission bits (no setuid, setgid, sticky)"#
        );

        let mut builder = Builder::new();
        builder.symlink(path("bin/out"), "../../etc");
        let refused = builder.finish(name("till"), name("1")).unwrap_err();
        assert_eq!(refused.to_string(), r#""bin/out" is a symlink that leads out of the release"#);

        let mut builder = Builder::new();
        builder.folder(path("a"), 0o755);
        builder.file(path("a"), 0o644, vec![]);
        let refused = builder.finish(name("till"), name("1")).unwrap_err();
        assert_eq!(refused, ManifestError::Twice(path("a")));
    }

    proptest! {
        #[test]
        fn equal_trees_give_equal_bytes_however_they_were_walked(
            (tree, walked) in trees().prop_flat_map(|tree| (Just(tree.clone()), Just(tree).prop_shuffle())),
        ) {
            prop_assert_eq!(finish(build(&tree)), finish(build(&walked)));
        }
    }
}
