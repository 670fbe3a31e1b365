//! A terminal's disk: what was committed, which chunks are written, which releases stand.
//!
//! The rule: a commit is there or it is not, and survives everything. A chunk that was written
//! survives the program; what was not synced may be gone after a power cut. Switching to a release
//! syncs it, and keeps the one before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use storemesh_keys::Name;
use storemesh_protocol::{
    Rows,
    content::{Bits, ChunkId, ChunkRef, Manifest, ReleaseHead, ReleaseId},
};

use super::clock::Time;
use crate::chance::Chance;

/// Reading, hashing and writing go at this pace: a till's flash, not a server's.
const RATE: u64 = 200 << 20;
pub(super) const COMMIT: Duration = Duration::from_millis(3);
const JOB: Duration = Duration::from_millis(5);
const SYNC: Duration = Duration::from_millis(60);

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) rows: Rows,
    /// Whether each one is synced.
    chunks: BTreeMap<ChunkId, bool>,
    /// Of each product the one that runs, then the one before.
    standing: BTreeMap<Name, Vec<(ReleaseHead, Arc<Manifest>)>>,
    staged: BTreeSet<ReleaseId>,
    free: Time,
}

impl Disk {
    /// When a piece of work over so many bytes is done; one thing after the other.
    pub(super) fn work(&mut self, now: Time, bytes: u64) -> Time {
        self.free = self.free.max(now) + Duration::from_micros(bytes * 1_000_000 / RATE);
        self.free
    }

    pub(super) fn job(&mut self, now: Time, bytes: u64) -> Time {
        self.free = self.work(now, bytes) + JOB;
        self.free
    }

    pub(super) fn sync(&mut self, now: Time, bytes: u64) -> Time {
        self.free = self.work(now, bytes) + SYNC;
        self.free
    }

    pub(super) fn put(&mut self, chunk: ChunkId) {
        self.chunks.entry(chunk).or_insert(false);
    }

    pub(super) fn has(&self, chunk: &ChunkId) -> bool {
        self.chunks.contains_key(chunk)
            || self.standing.values().flatten().any(|(head, manifest)| {
                let mut all = head.manifest.iter().chain(manifest.chunks());
                all.any(|other| other.id == *chunk)
            })
    }

    pub(super) fn check(&self, chunks: &[ChunkRef]) -> Bits {
        let mut held: BTreeSet<&ChunkId> = self.chunks.keys().collect();
        for (head, manifest) in self.standing.values().flatten() {
            held.extend(head.manifest.iter().chain(manifest.chunks()).map(|chunk| &chunk.id));
        }
        let mut have = Bits::new(u32::try_from(chunks.len()).expect("a list of a release"));
        for (at, chunk) in (0..).zip(chunks) {
            if held.contains(&chunk.id) {
                have.set(at);
            }
        }
        have
    }

    /// Lays out a tree; what is held goes into it.
    pub(super) fn stage(&mut self, release: ReleaseId, manifest: &Manifest) -> Bits {
        self.staged.insert(release);
        self.check(manifest.chunks())
    }

    pub(super) fn abandon(&mut self, release: ReleaseId) {
        self.staged.remove(&release);
    }

    pub(super) fn is_whole(&self, head: &ReleaseHead, manifest: &Manifest) -> bool {
        self.check(&head.manifest).is_full() && self.check(manifest.chunks()).is_full()
    }

    pub(super) fn activate(&mut self, head: ReleaseHead, manifest: Arc<Manifest>) {
        self.staged.remove(&head.id);
        for chunk in head.manifest.iter().chain(manifest.chunks()) {
            self.chunks.remove(&chunk.id);
        }
        let standing = self.standing.entry(head.product.clone()).or_default();
        standing.retain(|(other, _)| other.id != head.id);
        standing.insert(0, (head, manifest));
        standing.truncate(2);
    }

    /// Its room is needed, and it does not run.
    pub(super) fn give_up(&mut self, head: &ReleaseHead) {
        if self.running(&head.product) != Some(head) {
            let standing = self.standing.entry(head.product.clone()).or_default();
            standing.retain(|(other, _)| other.id != head.id);
        }
    }

    /// Chunks that were kept for a download.
    pub(super) fn sweep(&mut self) {
        if self.staged.is_empty() {
            self.chunks.clear();
        }
    }

    pub(super) fn running(&self, product: &Name) -> Option<&ReleaseHead> {
        self.standing.get(product)?.first().map(|(head, _)| head)
    }

    /// What stands, and whether it is the one that runs.
    pub(super) fn standing(&self) -> Vec<(ReleaseHead, Arc<Manifest>, bool)> {
        let all = self.standing.values().flat_map(|of| {
            of.iter().enumerate().map(|(at, (head, tree))| (head.clone(), tree.clone(), at == 0))
        });
        all.collect()
    }

    /// The program ended: trees that were being laid out are begun anew.
    pub(super) fn closed(&mut self, now: Time) {
        self.staged.clear();
        self.free = now;
    }

    pub(super) fn power_cut(&mut self, chance: &mut Chance) {
        self.chunks.retain(|_, synced| *synced || chance.hits(500));
        // What is there now has been read back.
        self.chunks.values_mut().for_each(|synced| *synced = true);
    }
}
