//! File trees: what Linux wants done when one is made, judged, synced and removed.
//!
//! A release may hold files and folders that their owner cannot write, or even read. So modes are
//! set last, inner folders before outer ones, and removal begins with making folders writable.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _},
    os::unix::fs::{
        DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _,
        PermissionsExt as _, symlink,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FallocateFlags, RenameFlags},
    io::Errno,
};
use storemesh_protocol::content::{ChunkRef, Entry, Kind, Manifest};

/// Ends the names of files that are being written beside their place.
pub(super) const NEW: &str = ".new";
/// Folders of a release, its own and those the manifest does not list.
const FOLDER_MODE: u32 = 0o755;
/// A tree of up to so many files and folders is synced one by one, so that it does not wait for
/// what other programs have written; with more, one sync of the file system is far quicker.
/// A guess.
const SYNC_EACH_MAX: usize = 64;

/// Makes folders, and files of their full length, so that the room is taken before the first byte
/// comes. No symlinks yet: nothing can be written through one.
pub(super) fn lay_out(tree: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut folders = DirBuilder::new();
    folders.mode(0o700).recursive(true).create(tree)?;
    let mut last_parent = None;
    for Entry { path, kind } in manifest.entries() {
        let parent = path.parent();
        if parent != last_parent {
            if let Some(parent) = &parent {
                folders.create(tree.join(parent.as_str()))?;
            }
            last_parent = parent;
        }
        let path = tree.join(path.as_str());
        match kind {
            Kind::Folder { .. } => folders.create(path)?,
            Kind::File { bytes, .. } => {
                let file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
                reserve(&file, *bytes)?;
            }
            Kind::Symlink { .. } => {}
        }
    }
    Ok(())
}

fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // Some file systems cannot reserve: then a full disk shows when the chunks come.
        Err(Errno::OPNOTSUPP) => file.set_len(bytes),
        done => Ok(done?),
    }
}

/// Makes a tree whose files are all written into what the manifest says, and makes it last.
pub(super) fn finish(tree: &Path, manifest: &Manifest) -> io::Result<()> {
    for Entry { path, kind } in manifest.entries() {
        if let Kind::Symlink { target } = kind {
            symlink(target, tree.join(path.as_str()))?;
        }
    }
    settle(tree, manifest)
}

/// Sets the modes of a complete tree, and makes it last.
pub(super) fn settle(tree: &Path, manifest: &Manifest) -> io::Result<()> {
    let each = manifest.entries().len() <= SYNC_EACH_MAX;
    let settle = |path: &Path, mode: u32| -> io::Result<()> {
        if !each {
            return fs::set_permissions(path, Permissions::from_mode(mode));
        }
        // Opened before the mode may forbid it.
        let file = File::open(path)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    };
    let mut folders = vec![(tree.to_owned(), FOLDER_MODE)];
    for Entry { path, kind } in manifest.entries() {
        match kind {
            Kind::File { mode, .. } => settle(&tree.join(path.as_str()), *mode)?,
            Kind::Folder { mode } => folders.push((tree.join(path.as_str()), *mode)),
            Kind::Symlink { .. } => {}
        }
    }
    for path in unlisted_folders(manifest) {
        folders.push((tree.join(path), FOLDER_MODE));
    }
    // A longer path is never the folder of a shorter one.
    folders.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_os_str().len()));
    for (path, mode) in folders {
        settle(&path, mode)?;
    }
    if !each {
        let parent = tree.parent().unwrap_or(Path::new("."));
        rustix::fs::syncfs(File::open(parent)?)?;
    }
    Ok(())
}

/// Folders that hold something but are no entry themselves.
pub(super) fn unlisted_folders(manifest: &Manifest) -> Vec<&str> {
    let entries = manifest.entries();
    let mut unlisted = Vec::new();
    for entry in entries {
        let mut path = entry.path.as_str();
        while let Some((parent, _)) = path.rsplit_once('/') {
            let listed = entries.binary_search_by(|e| e.path.parts().cmp(parent.split('/')));
            if listed.is_ok() {
                break;
            }
            unlisted.push(parent);
            path = parent;
        }
    }
    unlisted.sort_unstable();
    unlisted.dedup();
    unlisted
}

/// Whether the tree has every entry, of the right kind and length. Says nothing of the bytes, and
/// nothing of the modes, which are easily set again.
pub(super) fn is_complete(tree: &Path, manifest: &Manifest) -> bool {
    manifest.entries().iter().all(|Entry { path, kind }| {
        let path = tree.join(path.as_str());
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            // In a folder that its owner may not look into, as the manifest wants it.
            Err(error) => return error.kind() == io::ErrorKind::PermissionDenied,
        };
        match kind {
            Kind::Folder { .. } => found.is_dir(),
            Kind::File { bytes, .. } => found.is_file() && found.len() == *bytes,
            Kind::Symlink { target } => {
                fs::read_link(path).is_ok_and(|found| found == Path::new(target))
            }
        }
    })
}

/// Removes a file, a symlink or a whole tree, whatever its modes; nothing there is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.is_dir() => return fs::remove_file(path),
        Ok(_) => {}
    }
    // By a list, not by recursion: a release may be 2,000 folders deep.
    let mut folders: Vec<PathBuf> = vec![path.to_owned()];
    let mut next = 0;
    while next < folders.len() {
        let folder = folders[next].clone();
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        next += 1;
    }
    folders.iter().rev().try_for_each(fs::remove_dir)
}

/// Puts `from` at `to`. Where something stands there, the two change places in one step.
pub(super) fn exchange(from: &Path, to: &Path) -> io::Result<()> {
    let standing = rustix::fs::statat(CWD, to, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let flags = if standing { RenameFlags::EXCHANGE } else { RenameFlags::empty() };
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}

/// Bytes that may still be written to the file system of this folder.
pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A whole file; one that is longer is an error, whatever its length.
pub(super) fn read_at_most(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > max as u64 {
        return Err(io::Error::other(format!("{length} bytes, at most {max}")));
    }
    let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(max) + 1);
    file.take(max as u64).read_to_end(&mut content)?;
    Ok(content)
}

/// Why a chunk was not read at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// There are other bytes, or none.
    Damaged,
    /// Says nothing of the bytes: too many open files, or nobody may read the file.
    Failed,
}

/// A chunk's plain form from a file, verified, behind the byte that makes it a stored form.
pub(super) fn read_chunk(path: &Path, offset: u64, chunk: &ChunkRef) -> Result<Vec<u8>, Unread> {
    let mut stored = vec![0; 1 + chunk.plain as usize];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut stored[1..], offset));
    match read {
        Ok(()) if chunk.verify(&stored[1..]).is_ok() => Ok(stored),
        Ok(()) => Err(Unread::Damaged),
        Err(why) => {
            let absent = matches!(
                why.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
            );
            let rotten = why.raw_os_error() == Some(Errno::IO.raw_os_error());
            Err(if absent || rotten { Unread::Damaged } else { Unread::Failed })
        }
    }
}

/// What a file or a whole tree takes on the disk; what cannot be looked at is not counted.
pub(super) fn bytes(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut paths = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        bytes += found.blocks() * 512;
        if found.is_dir() {
            let inner = fs::read_dir(&path).into_iter().flatten().flatten();
            paths.extend(inner.map(|entry| entry.path()));
        }
    }
    bytes
}
