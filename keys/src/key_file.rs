//! Files that hold one secret key.
//!
//! They are written whole or not at all, readable by their owner alone, and never over another
//! file: the bytes go into a new file beside it, are synced, and the file then gets its name,
//! which fails when the name is taken. A kill in between leaves a hidden file with a key that
//! nobody uses. Linux only: permission bits and a rename that does not replace.
//!
//! What a file is for is written in it, so that a root key is not taken for an identity.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    SecretKey,
    secret::Seed,
    signed::{decode_whole, encode_whole},
};

/// Endless data: a key file is some hundred bytes, encrypted or not.
const FILE_MAX: usize = 4096;

/// What is wrong with a key file, and so what the operator must do.
#[derive(Debug, Error)]
pub enum FileError {
    /// Create one, or name the right path.
    #[error("`{}` does not exist", .0.display())]
    Absent(PathBuf),
    /// Name another path, or move the file away.
    #[error("`{}` exists already and is never overwritten", .0.display())]
    Exists(PathBuf),
    /// Do as the text says, and think of who may have read it.
    #[error("`{path}` can be read by others: run `chmod 600 {path}`", path = .0.display())]
    ReadableByOthers(PathBuf),
    /// Name the right file, or restore it from a backup.
    #[error("`{}` is damaged, or is not {what}", .path.display())]
    NotAKey { path: PathBuf, what: &'static str },
    /// Type it again.
    #[error("wrong passphrase for `{}`", .0.display())]
    WrongPassphrase(PathBuf),
    /// Choose one.
    #[error("an empty passphrase protects nothing")]
    EmptyPassphrase,
    /// Mend the disk or the permissions.
    #[error("{doing} `{}`", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

/// The content of a key file.
#[derive(Encode, Decode)]
struct Record<'a> {
    #[b(0)]
    what: &'a str,
    #[n(1)]
    seed: Seed,
}

pub(crate) fn encode(what: &str, key: &SecretKey) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(encode_whole(&Record { what, seed: Seed(key.clone()) }))
}

pub(crate) fn decode(
    path: &Path,
    what: &'static str,
    bytes: &[u8],
) -> Result<SecretKey, FileError> {
    match decode_whole::<Record<'_>>(bytes) {
        Ok(record) if record.what == what => Ok(record.seed.0),
        Ok(_) | Err(_) => Err(FileError::NotAKey { path: path.into(), what }),
    }
}

/// Writes a new file that only its owner can read, durably.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let io = |doing| move |source| FileError::Io { doing, path: path.into(), source };
    let Some(name) = path.file_name() else {
        return Err(io("creating")(io::ErrorKind::InvalidInput.into()));
    };
    // Of its own name, so that two who create at once cannot rename each other's file.
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).expect("the operating system gives randomness");
    let hidden = format!(".{}.new-{:016x}", name.display(), u64::from_be_bytes(chance));
    let temporary = path.with_file_name(hidden);

    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| Ok(renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE)?));
    if let Err(why) = written {
        // Nothing more can be done about a file that was perhaps never made.
        _ = fs::remove_file(&temporary);
        if why.kind() == io::ErrorKind::AlreadyExists {
            return Err(FileError::Exists(path.into()));
        }
        return Err(io("creating")(why));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(io("syncing the folder of"))
}

/// Whether others than the owner can read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    MustNotRead,
    /// For what is encrypted.
    MayRead,
}

pub(crate) fn read(path: &Path, others: Others) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let io = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            return FileError::Absent(path.into());
        }
        FileError::Io { doing: "reading", path: path.into(), source }
    };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode();
    if others == Others::MustNotRead && mode & 0o077 != 0 {
        return Err(FileError::ReadableByOthers(path.into()));
    }
    // One byte more than any key file has; what is longer fails to decode. Room for all of it
    // at once, since a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX + 1));
    file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}
