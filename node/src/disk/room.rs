//! What room there is, and what a release takes of it.
//!
//! The rule: here it is only measured; whether it is enough, and what goes to make it enough, is
//! decided by `storemesh_protocol`. What a release takes is what its tree takes once it is laid out,
//! in whole blocks, and what comes compressed and lies in the cache beside it till the switch. From
//! then on nothing more is needed: the tree's room is reserved, and a chunk that finds no room in the
//! cache goes into the tree alone.

use std::sync::Arc;

use storemesh_protocol::{
    content::{Kind, Manifest, ReleaseHead},
    terminal::Room,
};

use super::{Disk, NO_PANIC, layout::Layout, product::Product, tree};

/// What a file or folder takes is rounded up to this: what most file systems do.
const BLOCK_BYTES: u64 = 4096;

/// How much of the disk storemesh may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// What releases and chunks may take; none for no limit but the disk's own.
    pub(crate) quota_bytes: Option<u64>,
    /// What downloads leave free on the file system.
    pub(crate) reserve_bytes: u64,
}

impl Disk {
    /// For a release whose manifest was not to be had for lack of room, what its head says.
    pub(crate) fn measure(
        &self,
        head: &ReleaseHead,
        manifest: Option<&Arc<Manifest>>,
        previous: Option<&ReleaseHead>,
    ) -> Result<Room, String> {
        let _turn = self.turn.lock().expect(NO_PANIC);
        let free = tree::free_bytes(&self.releases)
            .map_err(|error| format!("the disk does not say how much is free: {error}"))?;
        let product = Product::of(&self.releases, head);
        Ok(Room {
            needed: self.needed(&product, head, manifest),
            free,
            reserve: self.limits.reserve_bytes,
            used: match self.limits.quota_bytes {
                Some(_) => tree::bytes(&self.releases) + tree::bytes(self.cache.folder()),
                // Nobody asks, and there may be many files to look at.
                None => 0,
            },
            quota: self.limits.quota_bytes,
            garbage: self.garbage_in_turn().iter().map(|garbage| garbage.bytes).sum(),
            previous: previous.map_or(0, |previous| self.would_free(previous)),
        })
    }

    /// Removes a release that does not run; what cannot be removed is told.
    pub(crate) fn give_up(&self, head: &ReleaseHead) {
        let _turn = self.turn.lock().expect(NO_PANIC);
        if !self.runs(head) {
            self.remove_standing(|standing| standing.head.id == head.id);
        }
    }

    /// What [`Self::give_up`] makes room for.
    fn would_free(&self, head: &ReleaseHead) -> u64 {
        if self.runs(head) {
            return 0;
        }
        let trees = self.trees();
        let goes = trees.standing.iter().filter(|standing| standing.head.id == head.id);
        goes.map(|standing| tree::bytes(&standing.tree)).sum()
    }

    fn runs(&self, head: &ReleaseHead) -> bool {
        let product = Product::of(&self.releases, head);
        product.current() == Some(product.tree(head))
    }

    fn needed(
        &self,
        product: &Product,
        head: &ReleaseHead,
        manifest: Option<&Arc<Manifest>>,
    ) -> u64 {
        let pieces: u64 = head.manifest.iter().map(|piece| u64::from(piece.plain)).sum();
        let stands = self.trees().standing.iter().any(|standing| {
            standing.head.id == head.id && standing.complete && !standing.is_damaged()
        });
        if stands || self.staging(&head.id).is_some() {
            return 0;
        }
        let Some(manifest) = manifest else { return head.plain_bytes + 2 * pieces };
        let laid_out = tree::bytes(&product.staging(head));
        let lacking = tree_bytes(manifest).saturating_sub(laid_out);
        if laid_out > 0 {
            return lacking;
        }
        lacking + pieces + self.through_cache(&Layout::new(manifest.clone()))
    }

    /// What is still to come compressed will lie in the cache, beside the tree.
    fn through_cache(&self, layout: &Layout) -> u64 {
        let standing = self.trees().standing.clone();
        let lacking = layout.manifest().chunks().iter().filter(|chunk| {
            chunk.stored <= chunk.plain
                && !self.cache.lists(&chunk.id)
                && !standing.iter().any(|standing| standing.lists(&chunk.id))
        });
        lacking.map(|chunk| u64::from(chunk.stored)).sum()
    }

    /// Whether the cache may take so much more; what has a place in a tree does without it.
    pub(super) fn is_roomy(&self, bytes: usize) -> bool {
        let free = tree::free_bytes(&self.releases).unwrap_or(0);
        self.limits.reserve_bytes.saturating_add(bytes as u64) <= free
    }
}

/// What all files of a release take.
fn tree_bytes(manifest: &Manifest) -> u64 {
    let files = manifest.entries().iter().map(|entry| match entry.kind {
        Kind::File { bytes, .. } => bytes.next_multiple_of(BLOCK_BYTES),
        // Small, and on some file systems none.
        Kind::Folder { .. } | Kind::Symlink { .. } => 0,
    });
    files.sum()
}
