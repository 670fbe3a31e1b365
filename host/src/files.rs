//! Small files, written whole or not at all.
//!
//! The rule: a reader, also after a power cut, sees the old content or the new, never a part. The
//! new content goes to a file beside it, is synced, takes the name by rename, and the folder is
//! synced. Only the owner can read what is written here: some of it is secret, and none of it is
//! anybody else's business. A file left beside by a crash is overwritten by the next writing.
//!
//! Two writers of one path at once are not foreseen: the data folder's lock keeps them apart.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Puts `content` at `path`, mode 0600.
pub fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let beside = beside(path);
    let write = || -> io::Result<()> {
        _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder_of(path)
    };
    write().with_context(|| format!("writing `{}`", path.display()))
}

/// Reads a file that should be small; `None` when there is none.
pub fn read_small(path: &Path, max_bytes: u64) -> anyhow::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("opening `{}`", path.display()));
        }
    };
    let mut content = Vec::new();
    file.take(max_bytes + 1)
        .read_to_end(&mut content)
        .with_context(|| format!("reading `{}`", path.display()))?;
    anyhow::ensure!(
        content.len() as u64 <= max_bytes,
        "`{}` is larger than {max_bytes} bytes",
        path.display()
    );
    Ok(Some(content))
}

/// Refuses a secret that others on this machine can read.
pub fn check_private(path: &Path) -> anyhow::Result<()> {
    let mode = fs::metadata(path)
        .with_context(|| format!("reading the permissions of `{}`", path.display()))?
        .permissions()
        .mode();
    let others_may = mode & 0o077 != 0;
    anyhow::ensure!(
        !others_may,
        "`{0}` can be read by others (mode {1:03o}): chmod 600 {0}",
        path.display(),
        mode & 0o777
    );
    Ok(())
}

/// Makes a rename or a creation in `path`'s folder last.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Where a new file is written before it takes the name.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_private_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thing");
        fs::write(beside(&path), "left by a crash").unwrap();
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read_small(&path, 3).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        check_private(&path).unwrap();
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = check_private(&path).unwrap_err().to_string();
        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_that_should_be_small_and_is_not_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        fs::write(&path, "12345").unwrap();
        assert!(read_small(&path, 4).unwrap_err().to_string().contains("larger than 4 bytes"));
        assert!(read_small(&folder.path().join("none"), 4).unwrap().is_none());
    }
}
