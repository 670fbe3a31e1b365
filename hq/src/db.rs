//! HQ's database: every table of the composite, in one file.

use std::path::Path;

use storemesh_host::db::Db;
use storemesh_protocol::hq::TABLES;

/// The file within the data folder.
pub(crate) const FILE: &str = "hq.redb";
/// The registry of a large chain is some megabytes.
const CACHE_BYTES: usize = 32 << 20;

pub(crate) fn open(path: &Path) -> anyhow::Result<Db> {
    Db::open(path, TABLES, CACHE_BYTES)
}
