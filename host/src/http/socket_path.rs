//! Unix sockets in folders with long names.
//!
//! A socket's address holds 107 bytes, and a data folder may well be deeper than that. Linux
//! reaches the same folder by `/proc/self/fd/N` while it is open, so a path that is too long is
//! replaced by that one; it is good for as long as the [`ShortPath`] lives.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

const ADDRESS_BYTES: usize = 107;

#[derive(Debug)]
pub(super) struct ShortPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl ShortPath {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().as_bytes().len() <= ADDRESS_BYTES {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }

    /// Only a loan: given away whole, the folder could be closed before the path is used.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
