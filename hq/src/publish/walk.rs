//! What lies in the folder that is to be published.
//!
//! The rule: every name is kept or the folder is refused, with the path named: a release that
//! silently lacks something is worse than none. Kept are folders, files with their permission
//! bits, and symlinks; what else a Unix folder can hold (devices, sockets, pipes), and names that
//! are not UTF-8, a release cannot. Where symlinks lead, and which bits may stand, are the
//! manifest's rules and checked there.
//!
//! Symlinks are not followed, but for the folder itself.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use storemesh_protocol::content::{ENTRIES_MAX, RelPath};

/// All but the file type.
const MODE_BITS: u32 = 0o7777;

#[derive(Debug)]
pub(super) struct Tree {
    /// Sorted by path.
    pub(super) entries: Vec<Entry>,
    /// The length of all files together.
    pub(super) bytes: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: RelPath,
    pub(super) what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    Folder { mode: u32 },
    File { mode: u32, bytes: u64 },
    Symlink { target: String },
}

pub(super) fn walk(dir: &Path) -> anyhow::Result<Tree> {
    let found = fs::metadata(dir).with_context(|| format!("reading `{}`", dir.display()))?;
    if !found.is_dir() {
        bail!(
            "`{}` is not a folder: a release is a folder with all that belongs to it",
            dir.display()
        );
    }
    let mut tree = Tree { entries: Vec::new(), bytes: 0 };
    // Folders still to look into, by their path in the release; none is the release's own.
    let mut folders: Vec<Option<RelPath>> = vec![None];
    while let Some(folder) = folders.pop() {
        let at = folder.as_ref().map_or_else(|| dir.to_owned(), |path| dir.join(path.as_ref()));
        let reading = || format!("reading `{}`", at.display());
        for entry in fs::read_dir(&at).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let path = path_of(folder.as_ref(), &entry.path())?;
            let what = look_at(&entry.path())?;
            match &what {
                What::Folder { .. } => folders.push(Some(path.clone())),
                What::File { bytes, .. } => tree.bytes += bytes,
                What::Symlink { .. } => {}
            }
            tree.entries.push(Entry { path, what });
            if tree.entries.len() > ENTRIES_MAX {
                bail!(
                    "`{}` holds more than {ENTRIES_MAX} files and folders: publish it as several \
                     products",
                    dir.display()
                );
            }
        }
    }
    if tree.entries.is_empty() {
        bail!("`{}` is empty: there is nothing to publish", dir.display());
    }
    tree.entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(tree)
}

fn path_of(folder: Option<&RelPath>, full: &Path) -> anyhow::Result<RelPath> {
    let name = full.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        bail!("the name of `{}` is not UTF-8: rename it", full.display());
    };
    let path = match folder {
        Some(folder) => format!("{folder}/{name}"),
        None => name.to_owned(),
    };
    RelPath::new(path).with_context(|| format!("`{}` cannot be kept: rename it", full.display()))
}

fn look_at(full: &Path) -> anyhow::Result<What> {
    let found =
        fs::symlink_metadata(full).with_context(|| format!("reading `{}`", full.display()))?;
    let (kind, mode) = (found.file_type(), found.permissions().mode() & MODE_BITS);
    if kind.is_dir() {
        return Ok(What::Folder { mode });
    }
    if kind.is_file() {
        return Ok(What::File { mode, bytes: found.len() });
    }
    if kind.is_symlink() {
        let target =
            fs::read_link(full).with_context(|| format!("reading `{}`", full.display()))?;
        let Some(target) = target.to_str() else {
            bail!("`{}` leads to a name that is not UTF-8: remove it", full.display());
        };
        return Ok(What::Symlink { target: target.to_owned() });
    }
    let what = match () {
        () if kind.is_socket() => "a socket",
        () if kind.is_fifo() => "a pipe",
        () => "a device",
    };
    bail!("`{}` is {what}, which a release cannot hold: remove it", full.display());
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    };

    use tempfile::TempDir;

    use super::*;
    use crate::{cli::PublishFlags, publish};

    /// Makes a folder, and gives what publishing it would be refused with.
    fn refusal(make: impl FnOnce(&Path)) -> String {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("innocent"), "x").unwrap();
        make(folder.path());
        format!("{:#}", look_over(&folder).unwrap_err())
    }

    fn look_over(folder: &TempDir) -> anyhow::Result<Tree> {
        let tree = walk(folder.path())?;
        let flags = PublishFlags {
            dir: folder.path().to_owned(),
            product: "p".parse()?,
            version: "1".parse()?,
            hold: false,
        };
        publish::check_tree(&tree, &flags).map_err(|why| publish::refused(&flags.dir, &why))?;
        Ok(tree)
    }

    #[test]
    fn folders_files_and_symlinks_that_stay_inside_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("bin/empty")).unwrap();
        fs::write(at("bin/till"), "program").unwrap();
        fs::set_permissions(at("bin/till"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("bin-notes"), "").unwrap();
        symlink("bin/till", at("run")).unwrap();
        symlink("../nowhere-yet", at("bin/later")).unwrap();
        let tree = look_over(&folder).unwrap();
        let paths: Vec<_> = tree.entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["bin", "bin/empty", "bin/later", "bin/till", "bin-notes", "run"]);
        assert_eq!(tree.entries[3].what, What::File { mode: 0o755, bytes: 7 });
        assert_eq!(tree.bytes, 7);
    }

    #[test]
    fn setuid_setgid_and_sticky_bits_are_refused_by_path() {
        for mode in [0o4755, 0o2755, 0o1755] {
            let refusal = refusal(|dir| {
                fs::create_dir(dir.join("bin")).unwrap();
                fs::write(dir.join("bin/su"), "x").unwrap();
                let mode = fs::Permissions::from_mode(mode);
                fs::set_permissions(dir.join("bin/su"), mode).unwrap();
            });
            assert!(refusal.contains("bin/su") && refusal.contains("chmod"), "{refusal}");
        }
    }

    #[test]
    fn symlinks_that_lead_out_are_refused_by_path() {
        for target in ["/etc/passwd", "..", "sub/../../x", "sub/up/../x"] {
            let refusal = refusal(|dir| {
                fs::create_dir(dir.join("sub")).unwrap();
                symlink("..", dir.join("sub/up")).unwrap();
                symlink(target, dir.join("link")).unwrap();
            });
            assert!(refusal.contains("\"link\"") && refusal.contains("remove it"), "{refusal}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused_by_path() {
        let socket = refusal(|dir| drop(UnixListener::bind(dir.join("sock")).unwrap()));
        assert!(socket.contains("sock` is a socket"), "{socket}");
        let pipe = refusal(|dir| {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            mknodat(CWD, dir.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        });
        assert!(pipe.contains("pipe` is a pipe"), "{pipe}");
        let device = format!("{:#}", look_at(Path::new("/dev/null")).unwrap_err());
        assert!(device.contains("`/dev/null` is a device"), "{device}");
    }

    #[test]
    fn names_that_are_not_utf_8_are_refused() {
        let name = OsStr::from_bytes(b"caf\xe9");
        let file = refusal(|dir| fs::write(dir.join(name), "x").unwrap());
        assert!(file.contains("not UTF-8: rename it"), "{file}");
        let link = refusal(|dir| symlink(name, dir.join("menu")).unwrap());
        assert!(link.contains("menu") && link.contains("not UTF-8"), "{link}");
    }

    #[test]
    fn no_folder_and_an_empty_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(format!("{:#}", look_over(&folder).unwrap_err()).contains("is empty"));
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(walk(&file).unwrap_err().to_string().contains("is not a folder"));
        assert!(format!("{:#}", walk(&folder.path().join("no")).unwrap_err()).contains("no`"));
    }
}
