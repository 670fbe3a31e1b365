//! One product on this terminal: what HQ wants of it, what stands, and what is on its way.

use std::sync::Arc;

use super::{Output, job::Job};
use crate::{
    Instant,
    content::{Bits, ChunkRef, ListId, Manifest, ReleaseHead, list_id},
    disk::DiskJob,
    feeds::Wanted,
};

#[derive(Debug, Default)]
pub(crate) struct Product {
    pub(crate) wanted: Option<Wanted>,
    pub(super) running: Option<Standing>,
    pub(super) previous: Option<Standing>,
    pub(crate) job: Option<Job>,
    /// What runs has a file that is no longer what it was: it is installed anew, in place.
    pub(super) damaged: bool,
}

/// A release whose tree stands on disk, whole.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) release: ReleaseHead,
    pub(super) lists: [Arc<[ChunkRef]>; 2],
}

impl Standing {
    pub(super) fn new(release: ReleaseHead, manifest: &Manifest) -> Self {
        let lists = [release.manifest.as_slice().into(), manifest.chunks().into()];
        Self { release, lists }
    }

    pub(super) fn serve(&self, outputs: &mut Vec<Output>) {
        for chunks in &self.lists {
            let have = Bits::full(len(chunks));
            outputs.push(Output::Seek { chunks: chunks.clone(), have });
        }
    }
}

impl Product {
    pub(crate) fn running(&self) -> Option<&ReleaseHead> {
        self.running.as_ref().map(|standing| &standing.release)
    }

    /// Something else was wanted while this release was being switched to.
    pub(super) fn start_over_if_superseded(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let wanted = self.wanted.as_ref().map(|wanted| wanted.release.id);
        if self.job.take_if(|job| Some(job.release.id) != wanted).is_some() {
            self.begin(now, outputs);
        }
    }

    /// Starts anew on the release on its way, of which the neighbours may have what is there meanwhile.
    pub(super) fn begin_again(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let content = self.job.take().and_then(|job| job.content);
        self.begin(now, outputs);
        if let Some(job) = &mut self.job {
            job.content = content;
        }
    }

    /// Starts on what is wanted, unless that runs or is being worked on.
    pub(super) fn begin(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let Some(wanted) = &self.wanted else { return };
        let release = wanted.release.clone();
        let runs = self.running().is_some_and(|running| running.id == release.id);
        if (runs && !self.damaged) || self.job.is_some() {
            return;
        }
        let chunks: Arc<[ChunkRef]> = release.manifest.as_slice().into();
        let pieces = list_id(&chunks);
        outputs.push(Output::Disk(DiskJob::Check { list: pieces, chunks }));
        self.job = Some(Job::new(now, release, pieces));
    }

    /// Asks what room there is for the release on its way.
    pub(super) fn measure(&self, outputs: &mut Vec<Output>) {
        let Some(job) = &self.job else { return };
        let (release, manifest) = (job.release.clone(), job.manifest.clone());
        let previous = self.spare().cloned();
        outputs.push(Output::Disk(DiskJob::Measure { release, manifest, previous }));
    }

    /// The release before the running one, where it could be given up for the one on its way.
    pub(super) fn spare(&self) -> Option<&ReleaseHead> {
        let previous = self.previous.as_ref().map(|standing| &standing.release);
        let comes = self.job.as_ref().map(|job| job.release.id);
        previous.filter(|previous| Some(previous.id) != comes)
    }

    /// Whether a release of it that stands or is on its way has this list.
    pub(super) fn has(&self, list: ListId) -> bool {
        let standing = self.running.iter().chain(&self.previous);
        standing.flat_map(|s| &s.lists).any(|chunks| list_id(chunks) == list)
            || self.job.iter().flat_map(Job::lists).any(|id| id == list)
    }
}

fn len(chunks: &[ChunkRef]) -> u32 {
    u32::try_from(chunks.len()).expect("a list has at most 131,072 chunks")
}
