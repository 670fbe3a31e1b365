//! Reads the tree once, cuts it into chunks and packs them, on all cores.
//!
//! One thread reads and cuts, and hashes what it cut: a chunk that this release had before is not
//! packed again. As many threads as there are cores pack. Queues between them are short, so what
//! is in memory does not depend on the size of a file. Packed chunks leave in any order; the
//! reader alone knows which file has which.
//!
//! When the receiver of chunks is gone, or reading fails, all threads end.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc as std_mpsc},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, anyhow, bail};
use storemesh_protocol::content::{Builder, ChunkId, ChunkRef, cut, pack};
use tokio::sync::mpsc;

use super::{
    progress::Progress,
    walk::{Entry, Tree, What},
};

/// Plain chunks that wait for a packer, at most 1 MiB each.
const PLAIN_QUEUE: usize = 4;
/// Packed chunks that wait for the uploader.
const PACKED_QUEUE: usize = 8;

#[derive(Debug)]
pub(super) struct Packed {
    pub(super) chunk: ChunkRef,
    pub(super) stored: Vec<u8>,
}

/// The packed chunks, each once.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) packed: mpsc::Receiver<Packed>,
}

/// Starts the threads. The first one's result is the manifest to be finished, when all was read.
pub(super) fn start(
    dir: PathBuf,
    tree: Tree,
    progress: Progress,
) -> (JoinHandle<anyhow::Result<Builder>>, Cut) {
    let (plain, to_pack) = std_mpsc::sync_channel(PLAIN_QUEUE);
    let (packed_out, packed) = mpsc::channel(PACKED_QUEUE);
    let to_pack = Arc::new(Mutex::new(to_pack));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let packers: Vec<_> = (0..cores)
        .map(|_| {
            let (to_pack, packed) = (to_pack.clone(), packed_out.clone());
            thread::spawn(move || pack_all(&to_pack, &packed))
        })
        .collect();
    drop((to_pack, packed_out));
    let reader = thread::spawn(move || {
        let read = Reader { dir, plain, ids: HashSet::new(), progress }.read(tree);
        let refs = packers
            .into_iter()
            .flat_map(|packer| packer.join().expect("packing does not panic"))
            .collect();
        read?.build(&refs)
    });
    (reader, Cut { packed })
}

/// What each chunk became, for the manifest.
fn pack_all(
    to_pack: &Mutex<std_mpsc::Receiver<Vec<u8>>>,
    packed: &mpsc::Sender<Packed>,
) -> Vec<(ChunkId, ChunkRef)> {
    let mut refs = Vec::new();
    loop {
        // Held while waiting: the others would only wait too.
        let plain = to_pack.lock().expect("receiving does not panic").recv();
        let Ok(plain) = plain else { return refs };
        let (chunk, stored) = pack(&plain);
        refs.push((chunk.id, chunk));
        if packed.blocking_send(Packed { chunk, stored }).is_err() {
            return refs;
        }
    }
}

struct Reader {
    dir: PathBuf,
    plain: std_mpsc::SyncSender<Vec<u8>>,
    /// Every chunk so far.
    ids: HashSet<ChunkId>,
    progress: Progress,
}

/// The tree, each file with its chunks.
struct Read {
    entries: Vec<(Entry, Vec<ChunkId>)>,
}

impl Reader {
    /// Consumes itself, so that the packers see the end.
    fn read(mut self, tree: Tree) -> anyhow::Result<Read> {
        let mut entries = Vec::with_capacity(tree.entries.len());
        for entry in tree.entries {
            let chunks = match entry.what {
                What::File { bytes, .. } => {
                    let path = self.dir.join(entry.path.as_ref());
                    self.file(&path, bytes)
                        .with_context(|| format!("reading `{}`", path.display()))?
                }
                What::Folder { .. } | What::Symlink { .. } => Vec::new(),
            };
            entries.push((entry, chunks));
        }
        Ok(Read { entries })
    }

    fn file(&mut self, path: &Path, bytes: u64) -> anyhow::Result<Vec<ChunkId>> {
        let changed = || anyhow!("it changed while it was read: publish again when it is still");
        // A pipe that took the file's place would be waited for; nothing else is opened.
        if !fs::symlink_metadata(path)?.is_file() {
            bail!(changed());
        }
        let file = File::open(path)?;
        let before = file.metadata()?;
        let mut chunks = Vec::new();
        let mut read = 0;
        for plain in cut(&file) {
            let plain = plain?;
            read += plain.len() as u64;
            self.progress.read(plain.len() as u64);
            let id = ChunkId::of(&plain);
            chunks.push(id);
            if self.ids.insert(id) && self.plain.send(plain).is_err() {
                bail!("uploading stopped");
            }
        }
        let after = file.metadata()?;
        if read != bytes || before.len() != after.len() || before.modified()? != after.modified()? {
            bail!(changed());
        }
        Ok(chunks)
    }
}

impl Read {
    fn build(self, refs: &HashMap<ChunkId, ChunkRef>) -> anyhow::Result<Builder> {
        let mut builder = Builder::new();
        for (Entry { path, what }, chunks) in self.entries {
            match what {
                What::Folder { mode } => builder.folder(path, mode),
                What::Symlink { target } => builder.symlink(path, target),
                What::File { mode, .. } => {
                    let chunks = chunks.iter().map(|id| refs.get(id).copied());
                    let chunks: Option<Vec<_>> = chunks.collect();
                    builder.file(path, mode, chunks.context("uploading stopped")?);
                }
            }
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use storemesh_protocol::content::{Kind, unpack};

    use super::*;
    use crate::publish::walk::walk;

    #[tokio::test]
    async fn every_file_can_be_put_together_from_the_packed_chunks_and_none_comes_twice() {
        let folder = tempfile::tempdir().unwrap();
        let big: Vec<u8> =
            (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        for name in ["one", "two"] {
            fs::write(folder.path().join(name), &big).unwrap();
        }
        fs::write(folder.path().join("empty"), "").unwrap();
        let tree = walk(folder.path()).unwrap();
        let (builder, mut cut) = start(folder.path().to_owned(), tree, Progress::start(0));
        let mut plain = HashMap::new();
        while let Some(Packed { chunk, stored }) = cut.packed.recv().await {
            let before = plain.insert(chunk.id, unpack(&chunk, &stored).unwrap().into_owned());
            assert!(before.is_none(), "packed twice");
        }
        let builder = builder.join().unwrap().unwrap();
        let (manifest, _) = builder.finish("p".parse().unwrap(), "1".parse().unwrap()).unwrap();
        assert_eq!(manifest.entries().len(), 3);
        for entry in manifest.entries() {
            let Kind::File { chunks, bytes, .. } = &entry.kind else { panic!("{entry:?}") };
            let place = |index: &u32| plain[&manifest.chunks()[*index as usize].id].clone();
            let content: Vec<u8> = chunks.iter().flat_map(place).collect();
            assert_eq!(content.len() as u64, *bytes);
            assert!(content.is_empty() || content == big);
        }
    }

    #[tokio::test]
    async fn when_uploading_stops_the_threads_end_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let noise: Vec<u8> =
            (0..2_000_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        fs::write(folder.path().join("file"), noise).unwrap();
        let tree = walk(folder.path()).unwrap();
        let (builder, cut) = start(folder.path().to_owned(), tree, Progress::start(0));
        drop(cut);
        assert!(builder.join().unwrap().is_err());
    }
}
