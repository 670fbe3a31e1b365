//! One terminal's disk, from the first chunk to the switch, on a real file system.

mod activate;
mod crash;
mod damage;
mod full;
mod garbage;
mod one_copy;
mod quota;
mod resume;
mod store;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use storemesh_protocol::content::{
    Builder, ChunkRef, Kind, Manifest, RelPath, ReleaseHead, cut, dir_name, pack,
};
use tempfile::TempDir;

use super::{Disk, Limits, layout::Layout, tree};

/// A release as HQ holds it.
struct Release {
    head: ReleaseHead,
    manifest: Arc<Manifest>,
    /// Stored forms of the files' chunks, in the manifest's order.
    chunks: Vec<(ChunkRef, Vec<u8>)>,
    pieces: Vec<(ChunkRef, Vec<u8>)>,
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
struct Publisher {
    builder: Builder,
    chunks: BTreeMap<[u8; 32], Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Publisher {
    fn file(mut self, path: &str, mode: u32, content: &[u8]) -> Self {
        let mut refs = Vec::new();
        for plain in cut(content) {
            let (chunk, stored) = pack(&plain.unwrap());
            self.chunks.insert(chunk.id.0, stored);
            refs.push(chunk);
        }
        self.builder.file(RelPath::new(path).unwrap(), mode, refs);
        self.files.insert(path.to_owned(), content.to_vec());
        self
    }

    fn folder(mut self, path: &str, mode: u32) -> Self {
        self.builder.folder(RelPath::new(path).unwrap(), mode);
        self
    }

    fn symlink(mut self, path: &str, target: &str) -> Self {
        self.builder.symlink(RelPath::new(path).unwrap(), target);
        self
    }

    fn publish(self, version: &str) -> Release {
        self.publish_as("till", version)
    }

    fn publish_as(self, product: &str, version: &str) -> Release {
        let name = |text: &str| text.parse().unwrap();
        let (manifest, encoded) = self.builder.finish(name(product), name(version)).unwrap();
        let (head, pieces) = ReleaseHead::new(&manifest, &encoded);
        let chunks = manifest.chunks().iter().map(|c| (*c, self.chunks[&c.id.0].clone())).collect();
        Release { head, manifest: Arc::new(manifest), chunks, pieces, files: self.files }
    }
}

/// Some software; what is shared by all versions is most of it.
fn software(version: &str) -> Release {
    Publisher::default()
        .file("bin/till", 0o755, &noise(1, 1_500_000))
        .file("bin/tool", 0o555, &[noise(2, 400_000), noise(1, 300_000)].concat())
        .file("version", 0o444, version.as_bytes())
        .file("empty", 0o644, b"")
        .folder("log", 0o700)
        .folder("lib", 0o555)
        .file("lib/one.so", 0o444, &text(30_000))
        .file("lib/same.so", 0o644, &text(30_000))
        .symlink("lib/two.so", "one.so")
        .symlink("till", "bin/till")
        .publish(version)
}

struct Terminal {
    data: TempDir,
    disk: Disk,
}

impl Terminal {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let disk = Disk::open(data.path(), Limits::default()).unwrap();
        Self { data, disk }
    }

    /// What is on disk is all that a new process knows.
    fn restart(&mut self) {
        self.disk = Disk::open(self.data.path(), Limits::default()).unwrap();
    }

    fn fetch_manifest(&self, release: &Release) {
        for (piece, stored) in &release.pieces {
            self.disk.store(piece, stored).unwrap();
        }
        assert_eq!(self.disk.read_manifest(&release.head).unwrap(), *release.manifest);
    }

    /// Fetches what is lacking; says how many chunks that were.
    fn fetch(&self, release: &Release) -> usize {
        self.fetch_manifest(release);
        let have = self.disk.stage(&release.head, release.manifest.clone()).unwrap();
        let missing: Vec<u32> = have.iter_missing().collect();
        for &index in &missing {
            let (chunk, stored) = &release.chunks[index as usize];
            self.disk.store(chunk, stored).unwrap();
        }
        missing.len()
    }

    fn install(&self, release: &Release) -> usize {
        let fetched = self.fetch(release);
        self.disk.activate(&release.head).unwrap();
        self.assert_runs(release);
        fetched
    }

    fn product(&self) -> PathBuf {
        self.data.path().join("releases/till")
    }

    fn tree(&self, release: &Release) -> PathBuf {
        let product = self.product().with_file_name(release.head.product.as_str());
        product.join(dir_name(&release.head))
    }

    fn staged(&self, release: &Release) -> PathBuf {
        self.product().join(format!(".{}.staging", dir_name(&release.head)))
    }

    /// Looks for the manifest as a terminal does after its start; whether all of it is there.
    fn looks_for(&self, release: &Release) -> bool {
        let pieces: Vec<_> = release.pieces.iter().map(|(piece, _)| *piece).collect();
        self.disk.check(&pieces).is_full()
    }

    /// Where a chunk lies in the staged tree, the first time.
    fn place(&self, release: &Release, index: u32) -> (PathBuf, u64) {
        let layout = Layout::new(release.manifest.clone());
        let place = layout.places(index)[0];
        (layout.path(&self.staged(release), place), place.offset)
    }

    fn cached(&self) -> usize {
        fs::read_dir(self.data.path().join("chunks")).unwrap().count()
    }

    fn cached_file(&self, chunk: &ChunkRef) -> PathBuf {
        self.data.path().join("chunks").join(chunk.id.to_string())
    }

    /// Names in the product's folder, sorted.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.product()).unwrap();
        let mut names: Vec<_> =
            names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// `current` is this release, whole: every byte, mode and link.
    fn assert_runs(&self, release: &Release) {
        let target = fs::read_link(self.tree(release).with_file_name("current")).unwrap();
        assert_eq!(target, Path::new(&dir_name(&release.head)));
        let tree = self.tree(release);
        assert!(tree::is_complete(&tree, &release.manifest));
        for entry in release.manifest.entries() {
            let path = tree.join(entry.path.as_str());
            let expected = match &entry.kind {
                Kind::File { mode, .. } => {
                    assert!(fs::read(&path).unwrap() == release.files[entry.path.as_str()]);
                    mode
                }
                Kind::Folder { mode } => mode,
                Kind::Symlink { .. } => continue,
            };
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, *expected, "{path:?}");
        }
        let product = |head: &ReleaseHead| head.product == release.head.product;
        let current = self.disk.standing().into_iter().filter(|s| s.2 && product(&s.0));
        let current: Vec<_> = current.collect();
        assert_eq!(current.len(), 1);
        assert_eq!(current[0].0, release.head);
    }
}

impl Release {
    /// Those that came compressed, by their place in the manifest.
    fn compressed(&self) -> Vec<usize> {
        (0..self.chunks.len()).filter(|&index| self.chunks[index].1[0] == 1).collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Read-only folders would stay behind where the tests do not run as root.
        _ = tree::remove(&self.data.path().join("releases"));
    }
}

/// Flips one bit of a file, whatever its mode.
fn damage(path: &Path, offset: u64) {
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Bytes that compress.
fn text(length: usize) -> Vec<u8> {
    b"one coffee, two rolls, a newspaper; ".iter().copied().cycle().take(length).collect()
}
