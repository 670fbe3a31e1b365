//! What a person is told of a release's way.

use super::{job::Job, product::Product};
use crate::{
    Instant,
    content::{ListId, list_id},
};

impl Product {
    /// A file of what runs was found to be damaged, and is not mended yet.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The chunks of the release that is on its way here, or runs.
    pub(crate) fn content(&self) -> Option<(ListId, u32)> {
        let coming = self.job.as_ref().and_then(|job| Some((job.content?, job.release.chunks)));
        coming.or_else(|| {
            let running = self.running.as_ref()?;
            Some((list_id(&running.lists[1]), running.release.chunks))
        })
    }
}

impl Job {
    /// When a release that failed is tried again.
    pub(crate) fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// Whether the list of its files is known.
    pub(crate) fn has_manifest(&self) -> bool {
        self.manifest.is_some()
    }
}
