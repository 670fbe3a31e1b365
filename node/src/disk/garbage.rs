//! What may go from the disk, and its going.
//!
//! The rule: what somebody may still need has a root, and the rest is garbage. Roots are each
//! product's current release and the one before, the trees that are being staged, and what
//! somebody has asked for since the start and not given up. [`Disk::garbage`] lists, and
//! [`Disk::sweep`] deletes just that list; what cannot be deleted is in the next one.
//!
//! Files that are not ours are never listed.

use std::{collections::HashSet, fmt, io, path::PathBuf, sync::Arc};

use storemesh_protocol::content::ChunkId;
use tracing::{debug, warn};

use super::{Disk, Left, NO_PANIC, product::Product, staging::Staging, tree};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Garbage {
    pub(crate) path: PathBuf,
    /// What deleting it gives back.
    pub(crate) bytes: u64,
    pub(crate) why: Why,
}

/// For people, by its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    Chunk(ChunkId),
    GivenUp,
    LeftOver,
    OldRelease,
}

impl Disk {
    /// What [`Self::sweep`] would delete at this moment. Waits while a tree is laid out or switched
    /// to.
    pub(crate) fn garbage(&self) -> Vec<Garbage> {
        let _turn = self.turn.lock().expect(NO_PANIC);
        self.garbage_in_turn()
    }

    /// Deletes what is garbage. [`Self::activate`] does it too.
    pub(crate) fn sweep(&self) {
        let _turn = self.turn.lock().expect(NO_PANIC);
        self.sweep_in_turn();
    }

    pub(super) fn sweep_in_turn(&self) {
        let garbage = self.garbage_in_turn();
        self.trees_mut().left.retain(|left| left.claimed);
        for garbage in garbage {
            if let Why::Chunk(id) = &garbage.why {
                if let Err(error) = self.cache.delete(id) {
                    warn!(chunk = %id, %error, "a chunk cannot be deleted");
                }
            } else {
                garbage.delete();
            }
        }
    }

    pub(super) fn garbage_in_turn(&self) -> Vec<Garbage> {
        let trees = self.trees();
        let (standing, staging) = (trees.standing.clone(), trees.staging.clone());
        let left: Vec<_> = trees.left.iter().filter(|left| left.claimed).cloned().collect();
        drop(trees);

        let needed = |id: &ChunkId| {
            let stages = |staging: &Arc<Staging>| {
                let mut pieces = staging.head.manifest.iter();
                staging.layout.index(id).is_some() || pieces.any(|piece| piece.id == *id)
            };
            staging.iter().any(stages) || left.iter().any(|left: &Left| left.tree.lists(id))
        };
        let chunks = self.cache.garbage(needed).into_iter();
        let mut garbage: Vec<_> =
            chunks.map(|(id, path)| Garbage::new(path, Why::Chunk(id))).collect();

        let mut keep: HashSet<PathBuf> = HashSet::new();
        keep.extend(standing.iter().map(|standing| standing.tree.clone()));
        keep.extend(staging.iter().map(|staging| staging.tree.clone()));
        keep.extend(left.iter().map(|left| left.tree.tree.clone()));
        let products = Product::all(&self.releases).and_then(|products| {
            products.iter().map(|product| product.garbage(&keep)).collect::<io::Result<Vec<_>>>()
        });
        match products {
            Ok(found) => garbage.extend(found.into_iter().flatten()),
            Err(error) => warn!(%error, "the releases cannot be looked through"),
        }
        garbage
    }
}

impl Garbage {
    pub(super) fn new(path: PathBuf, why: Why) -> Self {
        Self { bytes: tree::bytes(&path), path, why }
    }

    /// Deletes what lies in a product's folder. A failure is told, and tried again by the next
    /// sweep.
    pub(super) fn delete(&self) {
        let Self { path, bytes, why } = self;
        debug!(path = %path.display(), bytes, %why, "deleting");
        let deleted = match why {
            Why::OldRelease => Product::remove(path),
            Why::Chunk(_) | Why::GivenUp | Why::LeftOver => tree::remove(path),
        };
        if let Err(error) = deleted {
            warn!(path = %path.display(), %why, %error, "cannot be deleted");
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chunk(_) => "a chunk that no download needs",
            Self::GivenUp => "a download that was given up",
            Self::LeftOver => "left over from a change that was cut short",
            Self::OldRelease => "neither the running release nor the one before",
        })
    }
}
