//! How many bytes of chunks a neighbour's connection has carried, for people.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Shared by the tasks of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    came: Arc<AtomicU64>,
    went: Arc<AtomicU64>,
}

impl Traffic {
    pub(crate) fn came(&self, bytes: u64) {
        self.came.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn went(&self, bytes: u64) {
        self.went.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What came in and what went out.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.came.load(Ordering::Relaxed), self.went.load(Ordering::Relaxed))
    }
}
