//! The way of one release on to this terminal, from being wanted to running.

use std::{sync::Arc, time::Duration};

use super::{LOOK_FOR_ROOM, Lacking, Output, RETRY};
use crate::{
    Instant,
    content::{Bits, ChunkRef, ListId, Manifest, ReleaseHead, list_id},
    disk::{DiskError, DiskJob},
    terminal::Event,
    wire::mesh::Phase,
};

/// The way of one release on to this terminal.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) release: ReleaseHead,
    pub(crate) phase: Phase,
    pub(super) manifest: Option<Arc<Manifest>>,
    pub(crate) pieces: ListId,
    pub(crate) content: Option<ListId>,
    pub(super) began: Instant,
    pub(crate) took: Option<Duration>,
    /// What of the content the disk held at the start.
    pub(crate) bytes_local: u64,
    /// Why it is not running yet, for people.
    pub(crate) note: Option<String>,
    /// What it found too little of, once that was measured.
    pub(crate) lacking: Option<Lacking>,
    pub(super) made_room: MadeRoom,
    /// It has found no room, and nothing has shown since that there is.
    pub(super) stuck: bool,
    pub(super) retry_at: Instant,
}

/// What was done since the last look to make room, each thing once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MadeRoom {
    Nothing,
    Swept,
    GaveUpPrevious,
}

impl Job {
    pub(super) fn new(now: Instant, release: ReleaseHead, pieces: ListId) -> Self {
        Self {
            release,
            phase: Phase::Waiting,
            manifest: None,
            pieces,
            content: None,
            began: now,
            took: None,
            bytes_local: 0,
            note: None,
            lacking: None,
            made_room: MadeRoom::Nothing,
            stuck: false,
            retry_at: Instant::NEVER,
        }
    }

    /// Whose chunks it needs, as far as that is known.
    pub(super) fn lists(&self) -> impl Iterator<Item = ListId> + use<> {
        [Some(self.pieces), self.content].into_iter().flatten()
    }

    pub(super) fn stage(&mut self, outputs: &mut Vec<Output>) {
        self.phase = Phase::Staging;
        (self.note, self.lacking, self.retry_at) = (None, None, Instant::NEVER);
        let manifest = self.manifest.clone().expect("it was read before it was measured");
        outputs.push(Output::Expect { chunks: manifest.chunks().into() });
        let release = self.release.clone();
        outputs.push(Output::Disk(DiskJob::Stage { release, manifest }));
    }

    pub(super) fn fetch(&mut self, have: Bits, outputs: &mut Vec<Output>) {
        self.phase = Phase::Fetching;
        // Where nothing is lacking, it is the switch that has to find room.
        self.stuck &= have.is_full();
        let manifest = self.manifest.as_ref().expect("it was read before it was staged");
        let chunks: Arc<[ChunkRef]> = manifest.chunks().into();
        self.content = Some(list_id(&chunks));
        let bytes = |at: u32| u64::from(chunks[at as usize].stored);
        self.bytes_local = have.iter_set().map(bytes).sum();
        outputs.push(Output::Seek { chunks, have });
    }

    pub(super) fn refused(&mut self, now: Instant, why: DiskError, outputs: &mut Vec<Output>) {
        match why {
            DiskError::NoRoom => self.no_room(now, None, outputs),
            DiskError::Failed(why) => self.fail(now, why, outputs),
        }
    }

    /// Told once, however long it waits.
    pub(super) fn no_room(
        &mut self,
        now: Instant,
        lacking: Option<Lacking>,
        outputs: &mut Vec<Output>,
    ) {
        let unmeasured = || "the disk of the data folder is full: make room on it".to_owned();
        let why = lacking.map_or_else(unmeasured, Lacking::text);
        if !std::mem::replace(&mut self.stuck, true) {
            outputs.push(Output::Event(Event::NoRoom {
                product: self.release.product.clone(),
                version: self.release.version.clone(),
                why: why.clone(),
            }));
        }
        self.phase = Phase::NoRoom;
        self.made_room = MadeRoom::Nothing;
        self.retry_at = now + LOOK_FOR_ROOM;
        (self.note, self.lacking) = (Some(why), lacking);
    }

    pub(super) fn fail(&mut self, now: Instant, why: String, outputs: &mut Vec<Output>) {
        self.phase = Phase::Failed;
        self.stuck = false;
        self.retry_at = now + RETRY;
        outputs.push(Output::Event(Event::Failed {
            product: self.release.product.clone(),
            version: self.release.version.clone(),
            why: why.clone(),
        }));
        self.note = Some(why);
    }
}
