//! Taking up a staged tree that another process, or an earlier try, left half-written.
//!
//! The rule: nothing of it is believed. A tree whose names and kinds are not just what
//! [`tree::lay_out`] made is not taken up at all, so that nothing can be written through a symlink
//! or into a file that lies elsewhere too; of one that is, the chunks count whose bytes hash to
//! their names at every place. What a power cut did not let reach the disk reads as zeros, or as
//! something torn, and is fetched again.
//!
//! A kill while the tree was being finished leaves modes and symlinks as the manifest wants them.
//! Those are undone; finishing does them again.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::{fs::SeekFrom, io::Errno};
use storemesh_protocol::content::{CHUNK_MAX, Entry, Kind, Manifest};

use super::{layout::Layout, tree};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Folder,
    File(u64),
    /// May be there or not.
    Symlink,
}

/// Whether the tree has every file and folder of the manifest and nothing else; it is as it was
/// laid out then, but for what was written into its files.
pub(super) fn reopen(tree: &Path, manifest: &Manifest) -> io::Result<bool> {
    let mut expected = expected(manifest);
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = tree.join(&folder);
        if !fs::symlink_metadata(&path)?.is_dir() {
            return Ok(false);
        }
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { return Ok(false) };
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let found = entry.metadata()?;
            match expected.remove(name.as_str()) {
                Some(Expected::Folder) if found.is_dir() => folders.push(name),
                Some(Expected::File(bytes))
                    if found.is_file() && found.len() == bytes && found.nlink() == 1 =>
                {
                    fs::set_permissions(entry.path(), Permissions::from_mode(0o600))?;
                }
                Some(Expected::Symlink) if found.is_symlink() => fs::remove_file(entry.path())?,
                Some(Expected::Folder | Expected::File(_) | Expected::Symlink) | None => {
                    return Ok(false);
                }
            }
        }
    }
    Ok(expected.into_values().all(|lacking| lacking == Expected::Symlink))
}

/// At how many of its places each chunk stands as it should.
pub(super) fn verify(layout: &Layout, tree: &Path) -> io::Result<Vec<usize>> {
    let manifest = layout.manifest();
    let chunks = manifest.chunks();
    let mut right = vec![0; chunks.len()];
    let mut plain = vec![0; CHUNK_MAX];
    for Entry { path, kind } in manifest.entries() {
        if kind.chunks().is_empty() {
            continue;
        }
        // For writing, so that a file which cannot be written is met before it is counted on.
        let file = OpenOptions::new().read(true).write(true).open(tree.join(path.as_str()))?;
        let mut offset = 0;
        for &index in kind.chunks() {
            let chunk = &chunks[index as usize];
            let plain = &mut plain[..chunk.plain as usize];
            let length = u64::from(chunk.plain);
            if !is_hole(&file, offset, length)
                && file.read_exact_at(plain, offset).is_ok()
                && chunk.verify(plain).is_ok()
            {
                right[index as usize] += 1;
            }
            offset += length;
        }
    }
    Ok(right)
}

fn expected(manifest: &Manifest) -> HashMap<&str, Expected> {
    let entries = manifest.entries().iter().map(|Entry { path, kind }| {
        let expected = match kind {
            Kind::Folder { .. } => Expected::Folder,
            Kind::File { bytes, .. } => Expected::File(*bytes),
            Kind::Symlink { .. } => Expected::Symlink,
        };
        (path.as_str(), expected)
    });
    let unlisted = tree::unlisted_folders(manifest).into_iter();
    entries.chain(unlisted.map(|path| (path, Expected::Folder))).collect()
}

/// Whether nothing was written here yet, where the file system can tell: most of a tree that was
/// just begun need not be read.
fn is_hole(file: &File, offset: u64, length: u64) -> bool {
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(data) => data >= offset + length,
        Err(why) => why == Errno::NXIO,
    }
}
