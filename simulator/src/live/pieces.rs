//! Which chunks of a published directory lie on a terminal's disk, whatever the terminal says of it.
//!
//! The directory is cut as a publisher cuts it, and each chunk is looked for at its place in every
//! tree of the product, standing or staged. A chunk counts only with the right bytes, and a terminal
//! writes none that it has not verified. So what is found after a `kill -9` is what had been verified,
//! but for a chunk that came compressed and stands nowhere yet: what is published here should not
//! compress.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use storemesh_protocol::content::{ChunkId, cut, pack};

use super::terminal::Terminal;

/// Some chunks.
pub type Held = BTreeSet<ChunkId>;

/// A directory's chunks and their places.
#[derive(Debug)]
pub struct Pieces {
    places: Vec<Place>,
    /// As they are stored, which is what `status` counts too.
    bytes: BTreeMap<ChunkId, u64>,
}

#[derive(Debug)]
struct Place {
    /// From the directory.
    file: PathBuf,
    offset: u64,
    chunk: ChunkId,
    plain: usize,
}

impl Pieces {
    /// Of the files in the directory.
    pub fn of(directory: &Path) -> Result<Self> {
        let mut pieces = Self { places: Vec::new(), bytes: BTreeMap::new() };
        let mut folders = vec![directory.to_owned()];
        while let Some(folder) = folders.pop() {
            let reading = || format!("reading `{}`", folder.display());
            for entry in fs::read_dir(&folder).with_context(reading)? {
                let path = entry.with_context(reading)?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.is_file() {
                    pieces.add(directory, &path)?;
                }
            }
        }
        Ok(pieces)
    }

    fn add(&mut self, directory: &Path, path: &Path) -> Result<()> {
        let reading = || format!("reading `{}`", path.display());
        let file = path.strip_prefix(directory).context("it was found in there")?;
        let mut offset = 0;
        for plain in cut(File::open(path).with_context(reading)?) {
            let plain = plain.with_context(reading)?;
            let (chunk, _) = pack(&plain);
            self.bytes.insert(chunk.id, u64::from(chunk.stored));
            let (file, plain) = (file.to_owned(), plain.len());
            self.places.push(Place { file, offset, chunk: chunk.id, plain });
            offset += u64::from(chunk.plain);
        }
        Ok(())
    }

    pub fn total(&self) -> u64 {
        self.bytes.values().sum()
    }

    pub fn bytes<'a>(&self, chunks: impl IntoIterator<Item = &'a ChunkId>) -> u64 {
        chunks.into_iter().filter_map(|chunk| self.bytes.get(chunk)).sum()
    }

    /// What the terminal's disk holds, which may be running or dead.
    pub fn held(&self, terminal: &Terminal, product: &str) -> Result<Held> {
        let releases = terminal.data().join("releases").join(product);
        let mut held = Held::new();
        let entries = match fs::read_dir(&releases) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(held),
            entries => entries.with_context(|| format!("reading `{}`", releases.display()))?,
        };
        for entry in entries {
            let tree = entry.with_context(|| format!("reading `{}`", releases.display()))?.path();
            if tree.is_dir() {
                let here = self.places.iter().filter(|place| place.stands_in(&tree));
                held.extend(here.map(|place| place.chunk));
            }
        }
        Ok(held)
    }
}

impl Place {
    fn stands_in(&self, tree: &Path) -> bool {
        let mut plain = vec![0; self.plain];
        // A file that is not there, or too short, holds nothing; a tree may be renamed as we look.
        let read = File::open(tree.join(&self.file))
            .and_then(|file| file.read_exact_at(&mut plain, self.offset));
        read.is_ok() && ChunkId::of(&plain) == self.chunk
    }
}
