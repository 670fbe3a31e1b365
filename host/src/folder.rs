//! A program's data folder, and the right to write in it.
//!
//! The rule: one process at a time, and never one that is older than what is on disk. A lock on
//! `lock` keeps a second process out for as long as the first lives; the kernel lets go of it
//! however that one ends. `format` says in which form the folder was written: a newer form is
//! refused before anything is read, since an older program would take it for damage.
//!
//! Commands that only ask a running service do not open the folder; they read its token and ports
//! beside it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::files;

/// The form of data folder that this program writes.
pub const FORMAT: u32 = 1;

/// An opened data folder; dropping it lets another process in.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held for the lock on it.
    _lock: File,
}

impl Folder {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

/// Opens `data` for writing, and makes it (0700) where it does not exist.
pub fn open(data: &Path) -> anyhow::Result<Folder> {
    create(data)?;
    let lock = lock(data)?;
    check_format(data)?;
    Ok(Folder { path: data.to_owned(), _lock: lock })
}

fn create(data: &Path) -> anyhow::Result<()> {
    let creating = || format!("creating the data folder `{}`", data.display());
    if let Some(parent) = data.parent() {
        fs::create_dir_all(parent).with_context(creating)?;
    }
    match DirBuilder::new().mode(0o700).create(data) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => bail!(
            "you may not create `{}`: choose a data folder of your own with --data, or run this as \
             root",
            data.display()
        ),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && data.is_dir() => Ok(()),
        other => other.with_context(creating),
    }
}

fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let locking = || format!("locking `{}`", path.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).with_context(locking)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "the data folder `{}` is already in use by another storemesh: stop it, or choose \
             another folder with --data",
            data.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(locking),
    }
}

fn check_format(data: &Path) -> anyhow::Result<()> {
    let path = data.join("format");
    let Some(content) = files::read_small(&path, 64)? else {
        return files::replace(&path, format!("{FORMAT}\n").as_bytes());
    };
    let text = String::from_utf8_lossy(&content);
    let Ok(format) = text.trim().parse::<u32>() else {
        bail!("`{}` is damaged: it should hold a number such as {FORMAT}", path.display());
    };
    if FORMAT < format {
        bail!(
            "the data folder `{}` was written by a newer storemesh (format {format}, this program \
             knows {FORMAT}): run the newer program",
            data.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_folder_is_private_and_opens_again() {
        let outer = tempfile::tempdir().unwrap();
        let data = outer.path().join("deep/inside");
        drop(open(&data).unwrap());
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(data.join("format")).unwrap(), "1\n");
        open(&data).unwrap();
    }

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_gone() {
        let outer = tempfile::tempdir().unwrap();
        let first = open(outer.path()).unwrap();
        let error = open(outer.path()).unwrap_err().to_string();
        assert!(error.contains("already in use by another storemesh"), "{error}");
        drop(first);
        open(outer.path()).unwrap();
    }

    #[test]
    fn a_folder_of_a_newer_version_is_refused_and_left_as_it_is() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("format"), "2\n").unwrap();
        let error = open(outer.path()).unwrap_err().to_string();
        assert!(error.contains("newer storemesh (format 2, this program knows 1)"), "{error}");
        assert_eq!(fs::read_to_string(outer.path().join("format")).unwrap(), "2\n");
    }

    #[test]
    fn a_file_in_the_folders_place_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let data = outer.path().join("file");
        fs::write(&data, "").unwrap();
        assert!(open(&data).unwrap_err().to_string().contains("creating the data folder"));
    }
}
