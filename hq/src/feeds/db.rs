//! The database of HQ's feeds: every entry of every store, and what is read out of them.

use std::path::Path;

use storemesh_host::db::Db;
use storemesh_protocol::feeds::hq::TABLES;

/// The file within the data folder.
pub(crate) const FILE: &str = "feeds.redb";
/// What is new lies together, and is what is read: a day of a large chain.
const CACHE_BYTES: usize = 128 << 20;

pub(crate) fn open(path: &Path) -> anyhow::Result<Db> {
    Db::open(path, TABLES, CACHE_BYTES)
}
