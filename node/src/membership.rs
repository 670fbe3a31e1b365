//! A terminal's data folder: its identity key and its database.

use std::path::Path;

use anyhow::Context as _;
use storemesh_host::{db::Db, folder::Folder};
use storemesh_keys::{FileError, SecretKey, identity};
use storemesh_protocol::terminal::TABLES;

use crate::own_room;

/// The files within the data folder.
pub(crate) const KEY: &str = "identity.key";
const DB: &str = "terminal.redb";
/// A store's membership, leases and releases are some kilobytes.
const CACHE_BYTES: usize = 4 << 20;

/// The identity, made at the first call.
pub(crate) fn identity(folder: &Folder) -> anyhow::Result<SecretKey> {
    let path = folder.join(KEY);
    match identity::load(&path) {
        Err(FileError::Absent(_)) => Ok(identity::create(&path)?),
        found => Ok(found?),
    }
}

pub(crate) fn db(folder: &Folder) -> anyhow::Result<Db> {
    let path = folder.join(DB);
    let db = Db::open(&path, TABLES, CACHE_BYTES)
        .with_context(|| format!("the data folder `{}`", folder.path().display()))?;
    own_room::reserve_for_database(&path);
    Ok(db)
}

/// Whether anything was ever kept here, as far as we may look.
pub(crate) fn is_terminal(data: &Path) -> bool {
    data.join(KEY).try_exists().unwrap_or(true)
}
