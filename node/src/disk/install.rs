//! From a manifest to the release that runs: staging, activating, abandoning.
//!
//! The rule: one of these at a time, whoever holds [`Disk::turn`], and a verified chunk is never
//! lost by any of them. A tree that cannot be gone on with now, because its release was given up or
//! the disk failed, is set aside: it stays a source of chunks until a sweep finds nobody who wants
//! it. Chunks come in all the while ([`Disk::store`]).

use std::{io, path::PathBuf, sync::Arc};

use anyhow::{Context as _, ensure};
use storemesh_protocol::{
    content::{Bits, ChunkRef, Manifest, ReleaseHead, ReleaseId},
    terminal::DiskError,
};
use tracing::warn;

use super::{
    Disk, Left, NO_PANIC, StageError, error::is_full, layout::Layout, product::Product,
    staging::Staging, standing::Standing, tree,
};

impl Disk {
    /// Lays out the release's tree, or goes on with the one that is there, and fills in what the
    /// disk already holds; says which chunks of the manifest are written. From now on
    /// [`Self::store`] writes into it too. Where the very release stands undamaged there is nothing
    /// to lay out. The manifest's pieces must be on disk.
    pub(crate) fn stage(
        &self,
        head: &ReleaseHead,
        manifest: Arc<Manifest>,
    ) -> Result<Bits, StageError> {
        let _turn = self.turn.lock().expect(NO_PANIC);
        self.stage_in_turn(head, manifest)
    }

    /// Finishes the tree, syncs it and switches `current` to it; then removes all releases of the
    /// product but this and the one before, and what nobody needs any more. After an error
    /// `current` is what it was, and the release can be staged again; the error is for a person.
    pub(crate) fn activate(&self, head: &ReleaseHead) -> Result<(), DiskError> {
        let _turn = self.turn.lock().expect(NO_PANIC);
        self.activate_in_turn(head).map_err(|error| {
            let full = error.chain().filter_map(|why| why.downcast_ref()).any(is_full);
            if full { DiskError::NoRoom } else { DiskError::Failed(format!("{error:#}")) }
        })
    }

    /// The release is no longer wanted. Its chunks stay until the next sweep: the release that is
    /// wanted in its place may need them.
    pub(crate) fn abandon(&self, head: &ReleaseHead) {
        let _turn = self.turn.lock().expect(NO_PANIC);
        if let Some(staging) = self.staging(&head.id) {
            self.set_aside(&staging, false);
        }
        let mut trees = self.trees_mut();
        if let Some(left) = trees.left.iter_mut().find(|left| left.tree.head.id == head.id) {
            left.claimed = false;
            let manifest = left.tree.layout.manifest().clone();
            drop(trees);
            self.unclaim(head, &manifest);
        } else {
            drop(trees);
            self.cache.claim(head.manifest.iter().map(|piece| &piece.id), false);
        }
    }

    fn stage_in_turn(
        &self,
        head: &ReleaseHead,
        manifest: Arc<Manifest>,
    ) -> Result<Bits, StageError> {
        if let Some(staging) = self.staging(&head.id) {
            return Ok(staging.written());
        }
        if let Some(standing) = self.standing_whole(&head.id) {
            return Ok(Bits::full(standing.head.chunks));
        }
        self.cache.claim(manifest.chunks().iter().map(|chunk| &chunk.id), true);
        let product = Product::of(&self.releases, head);
        let layout = Arc::new(Layout::new(manifest));
        let staging = match self.resume(&product, head, &layout) {
            Some(staging) => staging,
            None => self.lay_out(&product, head, &layout)?,
        };
        let staging = Arc::new(staging);
        {
            let mut trees = self.trees_mut();
            trees.left.retain(|left| left.tree.head.id != head.id);
            trees.staging.push(staging.clone());
        }
        if let Err(error) = self.fill(&staging) {
            self.set_aside(&staging, true);
            return Err(error.into());
        }
        self.remove_superseded(&product);
        Ok(staging.written())
    }

    /// The tree that was laid out before, if one is there and as it should be.
    fn resume(
        &self,
        product: &Product,
        head: &ReleaseHead,
        layout: &Arc<Layout>,
    ) -> Option<Staging> {
        let (tree, kept) = (product.staging(head), product.kept(head));
        if tree.symlink_metadata().is_err() {
            return None;
        }
        {
            // From here on it is wanted, also by a sweep that makes room for it.
            let mut trees = self.trees_mut();
            trees.left.retain(|left| left.tree.tree != tree);
            let left = Standing::new(head.clone(), layout.clone(), tree.clone(), kept);
            trees.left.push(Left { tree: Arc::new(left), claimed: true });
        }
        let resumed =
            Staging::resume(head.clone(), layout.clone(), tree.clone(), product.tree(head));
        match resumed {
            Ok(Some(staging)) => {
                if let Err(why) = self.keep_manifest(product, head) {
                    warn!(tree = %tree.display(), %why, "its manifest cannot be kept beside it");
                }
                return Some(staging);
            }
            Ok(None) => warn!(tree = %tree.display(), "not as it was laid out: begun anew"),
            Err(error) => warn!(tree = %tree.display(), %error, "cannot be read: begun anew"),
        }
        self.trees_mut().left.retain(|left| left.tree.tree != tree);
        None
    }

    fn lay_out(
        &self,
        product: &Product,
        head: &ReleaseHead,
        layout: &Arc<Layout>,
    ) -> Result<Staging, StageError> {
        let tree = product.staging(head);
        product.create()?;
        tree::remove(&tree)?;
        let laid_out = self.keep_manifest(product, head).and_then(|()| {
            Staging::lay_out(head.clone(), layout.clone(), tree.clone(), product.tree(head))
        });
        laid_out.map_err(|error| {
            // Half of a tree holds nothing that anybody could miss.
            if let Err(error) = tree::remove(&tree) {
                warn!(tree = %tree.display(), %error, "a staged tree cannot be removed");
            }
            error.into()
        })
    }

    /// What the release is lies beside its tree, so that its chunks can be told from each other
    /// after a restart; the pieces in the cache are what neighbours are served from.
    fn keep_manifest(&self, product: &Product, head: &ReleaseHead) -> io::Result<()> {
        let pieces = self.manifest_pieces(head).map_err(io::Error::other)?;
        for (piece, plain) in head.manifest.iter().zip(&pieces) {
            if !self.cache.has(piece) {
                self.cache.put(&piece.id, &[&[0], &plain[..]].concat())?;
            }
        }
        product.keep(head, &pieces.concat()).map_err(|error| {
            error.downcast().unwrap_or_else(|error| io::Error::other(format!("{error:#}")))
        })
    }

    fn fill(&self, staging: &Staging) -> io::Result<()> {
        let written = staging.written();
        for index in written.iter_missing() {
            let chunk = staging.layout.chunk(index);
            if let Some(plain) = self.plain(chunk) {
                staging.take(&chunk.id, &plain)?;
            }
        }
        Ok(())
    }

    /// What was set aside of a product has been looked through by then; more than one tree on its
    /// way is more than a disk should be asked for.
    fn remove_superseded(&self, product: &Product) {
        let of_product =
            |left: &mut Left| left.tree.tree.parent() == Some(product.folder()) && !left.claimed;
        let superseded: Vec<_> = self.trees_mut().left.extract_if(.., of_product).collect();
        for left in superseded {
            for path in [&left.tree.tree, &left.tree.kept] {
                // Its release may stand, and go by the same manifest.
                let stands = self.trees().standing.iter().any(|other| other.kept == *path);
                if !stands && let Err(error) = tree::remove(path) {
                    warn!(path = %path.display(), %error, "what was given up cannot be removed");
                }
            }
        }
    }

    fn activate_in_turn(&self, head: &ReleaseHead) -> anyhow::Result<()> {
        let pieces = self.manifest_pieces(head).map_err(anyhow::Error::msg)?;
        let manifest = match self.staging(&head.id) {
            Some(staging) => staging.layout.manifest().clone(),
            None => Arc::new(head.read_manifest(&pieces)?),
        };
        // Where it is staged this only looks; where it stands it is verified once more.
        let have = self.stage_in_turn(head, manifest.clone())?;
        ensure!(have.is_full(), "{} of {} chunks are on disk", have.count(), have.len());

        let product = Product::of(&self.releases, head);
        let before = product.current();
        let describe = || format!("activating `{}`", product.tree(head).display());
        // Once more: the files' times tell in which order releases were switched to.
        product.keep(head, &pieces.concat())?;
        let layout = if let Some(staging) = self.staging(&head.id) {
            staging.close();
            let stand = tree::finish(&staging.tree, &manifest).and_then(|()| product.stand(head));
            if let Err(error) = stand {
                self.set_aside(&staging, true);
                return Err(error).with_context(describe);
            }
            staging.layout.clone()
        } else {
            tree::settle(&product.tree(head), &manifest).with_context(describe)?;
            Arc::new(Layout::new(manifest.clone()))
        };
        self.take_up(&product, head, layout);
        product.switch(head).with_context(describe)?;

        let tree = product.tree(head);
        // Where it was current already, the one before still is the one before.
        if before.as_ref() != Some(&tree) {
            self.remove_older(&product, &[Some(tree), before]);
        }
        self.unclaim(head, &manifest);
        self.sweep_in_turn();
        Ok(())
    }

    /// From now on the release's chunks are served from its folder.
    fn take_up(&self, product: &Product, head: &ReleaseHead, layout: Arc<Layout>) {
        let (tree, kept) = (product.tree(head), product.kept(head));
        let standing = Standing::new(head.clone(), layout, tree, kept);
        let mut trees = self.trees_mut();
        trees.staging.retain(|staging| staging.head.id != head.id);
        trees.standing.retain(|other| other.tree != standing.tree);
        trees.standing.push(Arc::new(standing));
    }

    fn remove_older(&self, product: &Product, stay: &[Option<PathBuf>]) {
        self.remove_standing(|standing| {
            standing.tree.parent() == Some(product.folder())
                && !stay.iter().flatten().any(|path| *path == standing.tree)
        });
    }

    /// Of the releases that stand; none that is current may be among them.
    pub(super) fn remove_standing(&self, goes: impl Fn(&Standing) -> bool) {
        let gone: Vec<_> =
            self.trees_mut().standing.extract_if(.., |standing| goes(standing)).collect();
        for Standing { tree, .. } in gone.iter().map(AsRef::as_ref) {
            // Nobody needs it. What stays now is removed by the next sweep.
            if let Err(error) = Product::remove(tree) {
                warn!(release = %tree.display(), %error, "an older release cannot be removed");
            }
        }
    }

    /// Nobody writes into the tree from now on; its chunks are still to be had.
    fn set_aside(&self, staging: &Arc<Staging>, claimed: bool) {
        staging.close();
        let kept = Product::of(&self.releases, &staging.head).kept(&staging.head);
        let (head, layout) = (staging.head.clone(), staging.layout.clone());
        let tree = Arc::new(Standing::new(head, layout, staging.tree.clone(), kept));
        let mut trees = self.trees_mut();
        trees.staging.retain(|other| other.head.id != staging.head.id);
        trees.left.push(Left { tree, claimed });
    }

    fn unclaim(&self, head: &ReleaseHead, manifest: &Manifest) {
        let chunks = head.manifest.iter().chain(manifest.chunks());
        self.cache.claim(chunks.map(|chunk: &ChunkRef| &chunk.id), false);
    }

    /// The release itself, if it stands and every byte of it is right.
    fn standing_whole(&self, id: &ReleaseId) -> Option<Arc<Standing>> {
        let trees = self.trees();
        let standing = trees.standing.iter().find(|standing| standing.head.id == *id)?.clone();
        drop(trees);
        standing.is_whole().then_some(standing)
    }

    pub(super) fn staging(&self, id: &ReleaseId) -> Option<Arc<Staging>> {
        self.trees().staging.iter().find(|staging| staging.head.id == *id).cloned()
    }
}
