//! From "HQ wants this release" to "this terminal runs it", one product at a time.
//!
//! A wanted release goes through [`Phase`]s: its manifest's pieces are looked for on disk and sought
//! in the mesh, the manifest is read, a tree is staged and filled with what earlier releases already
//! hold, the rest is sought, and when nothing is lacking the tree is synced and switched to. Each
//! step is one job for the disk ([`DiskJob`]) and its answer ([`DiskAnswer`]); an answer about a release
//! that is no longer wanted is ignored, so a newer wish can come at any moment.
//!
//! What fails is tried again from the start after [`RETRY`]: nothing verified is lost by that, since
//! every step first looks at what is on disk. A release that finds no room ([`Room`]) is not begun:
//! garbage goes, then the release before the running one, where that is enough; else it waits and
//! looks again every [`LOOK_FOR_ROOM`]. Releases that stand, running or previous, stay known to the
//! swarm, so that neighbours can fetch from them.

mod job;
mod product;
mod room;
#[cfg(test)]
mod tests;
mod why;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use storemesh_keys::Name;

use crate::{
    Instant,
    content::{Bits, ChunkRef, ListId, ReleaseId, list_id},
    disk::{DiskAnswer, DiskError, DiskJob},
    feeds::Wanted,
    terminal::Event,
    wire::mesh::Phase,
};
pub(crate) use job::Job;
use job::MadeRoom;
pub(crate) use product::Product;
use product::Standing;
pub use room::{Lacking, Limit, Room};

/// After a failure: long enough not to wear out a disk that fails, short enough to need nobody.
const RETRY: Duration = Duration::from_mins(1);
/// How often a release that found no room looks again. It asks the file system for two numbers, so
/// often enough that whoever makes room sees it go on.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) enum Input {
    Disk(DiskAnswer),
    Wanted(Wanted),
    /// The disk did not take a chunk that was fetched.
    DiskRefuses(DiskError),
    /// The swarm has all chunks of this list.
    Complete(ListId),
    Tick,
}

#[derive(Clone, Debug)]
pub(crate) enum Output {
    Disk(DiskJob),
    Expect {
        chunks: Arc<[ChunkRef]>,
    },
    Seek {
        chunks: Arc<[ChunkRef]>,
        have: Bits,
    },
    /// No more of it than is there, which neighbours may have.
    Hold(ListId),
    Drop(ListId),
    Event(Event),
}

#[derive(Debug, Default)]
pub(crate) struct Installer {
    ready: bool,
    products: BTreeMap<Name, Product>,
}

impl Installer {
    /// Begins with the releases that were wanted before the restart.
    pub(crate) fn new(wanted: impl Iterator<Item = Wanted>) -> Self {
        let product = |wanted: Wanted| {
            (wanted.product().clone(), Product { wanted: Some(wanted), ..Product::default() })
        };
        Self { ready: false, products: wanted.map(product).collect() }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Disk(answer) => self.disk(now, answer, &mut outputs),
            Input::Wanted(wanted) => self.wanted(now, wanted, &mut outputs),
            Input::DiskRefuses(why) => self.disk_refuses(now, &why, &mut outputs),
            Input::Complete(list) => self.complete(&list, &mut outputs),
            Input::Tick => {
                for product in self.products.values_mut() {
                    let Some(job) = product.job.as_mut().filter(|job| job.retry_at <= now) else {
                        continue;
                    };
                    if job.phase == Phase::NoRoom {
                        job.retry_at = now + LOOK_FOR_ROOM;
                        product.measure(&mut outputs);
                    } else {
                        product.begin_again(now, &mut outputs);
                    }
                }
            }
        }
        outputs
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub(crate) fn deadline(&self) -> Instant {
        let jobs = self.products.values().filter_map(|product| product.job.as_ref());
        jobs.map(|job| job.retry_at).min().unwrap_or(Instant::NEVER)
    }

    pub(crate) fn products(&self) -> impl Iterator<Item = (&Name, &Product)> {
        self.products.iter()
    }

    /// Whether something that is wanted finds no room on the disk. That holds while it tries again:
    /// a gateway that said otherwise each time would never seem worse than its neighbours for long
    /// enough to hand over.
    pub(crate) fn lacks_room(&self) -> bool {
        let stuck = |product: &Product| product.job.as_ref().is_some_and(|job| job.stuck);
        self.products.values().any(stuck)
    }

    /// Whether `wanted` is news here.
    pub(crate) fn is_news(&self, wanted: &Wanted) -> bool {
        let known = self.products.get(wanted.product()).and_then(|p| p.wanted.as_ref());
        known.is_none_or(|known| known.order() < wanted.order())
    }

    fn wanted(&mut self, now: Instant, wanted: Wanted, outputs: &mut Vec<Output>) {
        if !self.is_news(&wanted) {
            return;
        }
        let product = self.products.entry(wanted.product().clone()).or_default();
        outputs.push(Output::Event(Event::Wanted {
            product: wanted.product().clone(),
            version: wanted.release.version.clone(),
        }));
        // What is being switched to at this moment goes through first.
        let over =
            |job: &mut Job| job.release.id != wanted.release.id && job.phase != Phase::Activating;
        if let Some(job) = product.job.take_if(over) {
            if job.phase != Phase::Running {
                outputs.push(Output::Disk(DiskJob::Abandon { release: job.release.clone() }));
            }
            product.wanted = Some(wanted);
            self.drop_unless_standing(job.lists(), outputs);
        } else {
            product.wanted = Some(wanted);
        }
        if self.ready {
            for product in self.products.values_mut() {
                product.begin(now, outputs);
            }
            self.sweep_if_idle(outputs);
        }
    }

    /// What a download left is dropped when there is none; activating drops its own.
    fn sweep_if_idle(&self, outputs: &mut Vec<Output>) {
        let idle = |p: &Product| p.job.as_ref().is_none_or(|job| job.phase == Phase::Running);
        if self.products.values().all(idle) {
            outputs.push(Output::Disk(DiskJob::Sweep));
        }
    }

    fn disk(&mut self, now: Instant, answer: DiskAnswer, outputs: &mut Vec<Output>) {
        match answer {
            DiskAnswer::Standing { release, manifest, current } => {
                let standing = Standing::new(release, &manifest);
                standing.serve(outputs);
                let product = self.products.entry(standing.release.product.clone()).or_default();
                if current {
                    product.running = Some(standing);
                } else {
                    product.previous = Some(standing);
                }
            }
            DiskAnswer::Ready => {
                self.ready = true;
                for product in self.products.values_mut() {
                    product.begin(now, outputs);
                }
                self.sweep_if_idle(outputs);
            }
            DiskAnswer::Checked { list, have } => self.checked(&list, have, outputs),
            DiskAnswer::ManifestRead { release, manifest } => {
                let Some(product) = self.product(&release, Phase::Manifest) else { return };
                let job = product.job.as_mut().expect("it is at that");
                match manifest {
                    Ok(manifest) => {
                        job.phase = Phase::Staging;
                        job.manifest = Some(manifest);
                        product.measure(outputs);
                    }
                    Err(why) => job.fail(now, why, outputs),
                }
            }
            DiskAnswer::Measured { release, room } => self.measured(now, &release, room, outputs),
            DiskAnswer::Staged { release, have } => {
                let Some(job) = self.job(&release, Phase::Staging) else { return };
                match have {
                    Ok(have) => job.fetch(have, outputs),
                    Err(why) => job.refused(now, why, outputs),
                }
            }
            DiskAnswer::Activated { release, done } => self.activated(now, &release, done, outputs),
            DiskAnswer::Damaged { release } => self.damaged(now, &release, outputs),
        }
    }

    fn checked(&mut self, list: &ListId, have: Bits, outputs: &mut Vec<Output>) {
        for product in self.products.values_mut() {
            if let Some(job) = &mut product.job
                && (job.phase, job.pieces) == (Phase::Waiting, *list)
            {
                job.phase = Phase::Manifest;
                let chunks = job.release.manifest.as_slice().into();
                outputs.push(Output::Seek { chunks, have: have.clone() });
            }
        }
    }

    /// What runs is mended from neighbours and HQ, like any release that is wanted.
    fn damaged(&mut self, now: Instant, release: &ReleaseId, outputs: &mut Vec<Output>) {
        for product in self.products.values_mut() {
            if product.running().is_some_and(|running| running.id == *release) {
                product.damaged = true;
                product.job.take_if(|job| job.phase == Phase::Running);
                product.begin(now, outputs);
            }
        }
    }

    /// The release is begun where it fits, or would fit once something else is gone.
    fn measured(
        &mut self,
        now: Instant,
        release: &ReleaseId,
        room: Result<Room, String>,
        outputs: &mut Vec<Output>,
    ) {
        let of = |p: &&mut Product| p.job.as_ref().is_some_and(|job| job.release.id == *release);
        let Some(product) = self.products.values_mut().find(of) else { return };
        let spare = product.spare().is_some();
        let measures = |job: &&mut Job| matches!(job.phase, Phase::Staging | Phase::NoRoom);
        let Some(job) = product.job.as_mut().filter(measures) else { return };
        let room = match room {
            Ok(room) => room,
            Err(why) => {
                job.fail(now, why, outputs);
                return;
            }
        };
        let Some(lacking) = room.lacking() else {
            if job.manifest.is_some() {
                job.stage(outputs);
            } else {
                product.begin_again(now, outputs);
                // That its manifest's pieces find room is yet to be seen.
                product.job.iter_mut().for_each(|job| job.stuck = true);
            }
            return;
        };
        if job.made_room == MadeRoom::Nothing && room.garbage > 0 {
            job.made_room = MadeRoom::Swept;
            outputs.push(Output::Disk(DiskJob::Sweep));
            product.measure(outputs);
            return;
        }
        // It would go at the switch anyhow; till then it is what one could go back to, so it is
        // given up for nothing less than the new release's coming at all.
        let enough = lacking.bytes <= room.previous && job.made_room != MadeRoom::GaveUpPrevious;
        if spare
            && enough
            && let Some(previous) = product.previous.take()
        {
            job.made_room = MadeRoom::GaveUpPrevious;
            let lists = previous.lists.each_ref().map(|chunks| list_id(chunks));
            let release = previous.release;
            outputs.push(Output::Disk(DiskJob::GiveUp { release }));
            product.measure(outputs);
            self.drop_unless_standing(lists.into_iter(), outputs);
            return;
        }
        // What would go for it anyway need not be made room for.
        let without = spare.then(|| room.without_previous().lacking()).flatten();
        job.no_room(now, Some(without.unwrap_or(lacking)), outputs);
    }

    /// Fetching on would only be fetching again.
    fn disk_refuses(&mut self, now: Instant, why: &DiskError, outputs: &mut Vec<Output>) {
        let mut held = Vec::new();
        for product in self.products.values_mut() {
            let Some(job) = &mut product.job else { continue };
            match job.phase {
                Phase::Manifest => held.push(job.pieces),
                Phase::Fetching => held.extend(job.content),
                Phase::Waiting
                | Phase::Staging
                | Phase::Activating
                | Phase::Running
                | Phase::Failed
                | Phase::NoRoom => continue,
            }
            job.refused(now, why.clone(), outputs);
        }
        outputs.extend(held.into_iter().map(Output::Hold));
    }

    fn complete(&mut self, list: &ListId, outputs: &mut Vec<Output>) {
        for product in self.products.values_mut() {
            let Some(job) = &mut product.job else { continue };
            if (job.phase, job.pieces) == (Phase::Manifest, *list) && job.manifest.is_none() {
                let release = job.release.clone();
                outputs.push(Output::Disk(DiskJob::ReadManifest { release }));
            } else if (job.phase, job.content) == (Phase::Fetching, Some(*list)) {
                job.phase = Phase::Activating;
                let manifest = job.manifest.clone().expect("it was read before it was staged");
                outputs.push(Output::Event(Event::Complete {
                    product: job.release.product.clone(),
                    version: job.release.version.clone(),
                    chunks: job.release.chunks,
                }));
                let release = job.release.clone();
                outputs.push(Output::Disk(DiskJob::Activate { release, manifest }));
            }
        }
    }

    fn activated(
        &mut self,
        now: Instant,
        release: &ReleaseId,
        done: Result<(), DiskError>,
        outputs: &mut Vec<Output>,
    ) {
        let at = |p: &&mut Product| p.job.as_ref().is_some_and(|job| job.release.id == *release);
        let Some(product) = self.products.values_mut().find(at) else { return };
        let Some(job) = product.job.as_mut().filter(|job| job.phase == Phase::Activating) else {
            return;
        };
        if let Err(why) = done {
            job.refused(now, why, outputs);
            let lists: Vec<ListId> = job.lists().collect();
            product.start_over_if_superseded(now, outputs);
            self.drop_unless_standing(lists.into_iter(), outputs);
            return;
        }
        job.phase = Phase::Running;
        job.stuck = false;
        product.damaged = false;
        let took = now.since(job.began);
        job.took = Some(took);
        outputs.push(Output::Event(Event::Running {
            product: job.release.product.clone(),
            version: job.release.version.clone(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }));
        let manifest = job.manifest.as_ref().expect("it was read before it was staged");
        let now_running = Standing::new(job.release.clone(), manifest);
        let before = product.running.replace(now_running);
        // Running and one previous stay on disk.
        let gone = match before {
            Some(before) if before.release.id != *release => product.previous.replace(before),
            _ => None,
        };
        let gone = gone.filter(|gone| gone.release.id != *release);
        product.start_over_if_superseded(now, outputs);
        let lists = gone.iter().flat_map(|gone| gone.lists.iter().map(|chunks| list_id(chunks)));
        self.drop_unless_standing(lists, outputs);
    }

    /// Two releases may share a list, so one that goes away may leave its lists behind.
    fn drop_unless_standing(&self, lists: impl Iterator<Item = ListId>, outputs: &mut Vec<Output>) {
        for list in lists {
            if !self.products.values().any(|product| product.has(list)) {
                outputs.push(Output::Drop(list));
            }
        }
    }

    fn job(&mut self, release: &ReleaseId, phase: Phase) -> Option<&mut Job> {
        self.product(release, phase)?.job.as_mut()
    }

    /// The product whose job is for this release, and that far.
    fn product(&mut self, release: &ReleaseId, phase: Phase) -> Option<&mut Product> {
        let at = |job: &Job| job.release.id == *release && job.phase == phase;
        self.products.values_mut().find(|product| product.job.as_ref().is_some_and(at))
    }
}
