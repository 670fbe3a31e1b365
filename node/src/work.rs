//! The disk's long jobs, one after the other on a thread of their own.
//!
//! Looking chunks up, laying out a tree, syncing and switching must not hold up the driver, and must
//! keep their order: a tree is abandoned before it is laid out again. Each answers with one input.
//! Storing and serving single chunks is not done here but by whoever has or wants the bytes.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use storemesh_protocol::terminal::{DiskAnswer, DiskJob, Input};
use tokio::sync::oneshot;

use crate::{
    disk::{Disk, Garbage},
    driver::Inbox,
};

#[derive(Debug)]
pub(crate) enum Job {
    /// What the composite asks for.
    Of(DiskJob),
    /// Says what a sweep would delete.
    Garbage(oneshot::Sender<Vec<Garbage>>),
    /// Sweeps, and says what that deleted.
    Collect(oneshot::Sender<Vec<Garbage>>),
}

/// Who reads a damaged file notes it; so soon it is mended.
const LOOK_FOR_DAMAGE: Duration = Duration::from_secs(10);

/// Where jobs go in; they end with it.
#[derive(Clone, Debug)]
pub(crate) struct Jobs(mpsc::Sender<Job>);

impl Jobs {
    /// The composite has few jobs under way at once, one for each product: the queue stays short.
    pub(crate) fn put(&self, job: Job) {
        self.0.send(job).expect("the thread ends after the last sender");
    }
}

/// Names what stands, and then works until every sender is gone.
pub(crate) fn start(disk: Arc<Disk>, inbox: Inbox) -> anyhow::Result<Jobs> {
    let (jobs, queue) = mpsc::channel();
    let work = move || {
        let tell = |answer| inbox.input_blocking(Input::Disk(answer));
        for (release, manifest, current) in disk.standing() {
            if tell(DiskAnswer::Standing { release, manifest, current }).is_err() {
                return;
            }
        }
        if tell(DiskAnswer::Ready).is_err() {
            return;
        }
        // The driver may end before its last job is done; nobody misses the answer then.
        loop {
            match queue.recv_timeout(LOOK_FOR_DAMAGE) {
                Ok(job) => {
                    if let Some(answer) = do_one(&disk, job) {
                        _ = tell(answer);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for release in disk.take_damaged() {
                _ = tell(DiskAnswer::Damaged { release });
            }
        }
    };
    thread::Builder::new()
        .name("disk".to_owned())
        .spawn(work)
        .context("starting the thread that works on the disk")?;
    Ok(Jobs(jobs))
}

fn do_one(disk: &Disk, job: Job) -> Option<DiskAnswer> {
    match job {
        Job::Of(job) => return do_as_asked(disk, job),
        // Who asked may have gone in the meantime.
        Job::Garbage(reply) => _ = reply.send(disk.garbage()),
        Job::Collect(reply) => {
            let garbage = disk.garbage();
            disk.sweep();
            _ = reply.send(garbage);
        }
    }
    None
}

fn do_as_asked(disk: &Disk, job: DiskJob) -> Option<DiskAnswer> {
    match job {
        DiskJob::Check { list, chunks } => {
            return Some(DiskAnswer::Checked { list, have: disk.check(&chunks) });
        }
        DiskJob::ReadManifest { release } => {
            let manifest = disk.read_manifest(&release).map(Arc::new);
            return Some(DiskAnswer::ManifestRead { release: release.id, manifest });
        }
        DiskJob::Measure { release, manifest, previous } => {
            let room = disk.measure(&release, manifest.as_ref(), previous.as_ref());
            return Some(DiskAnswer::Measured { release: release.id, room });
        }
        DiskJob::Stage { release, manifest } => {
            let have = disk.stage(&release, manifest).map_err(Into::into);
            return Some(DiskAnswer::Staged { release: release.id, have });
        }
        DiskJob::Activate { release, .. } => {
            let done = disk.activate(&release);
            return Some(DiskAnswer::Activated { release: release.id, done });
        }
        DiskJob::GiveUp { release } => disk.give_up(&release),
        DiskJob::Abandon { release } => disk.abandon(&release),
        DiskJob::Sweep => disk.sweep(),
    }
    None
}
