//! What a terminal's workers do: ask for chunks, serve them, and work on the disk.
//!
//! Some requests are on the wire, the rest wait and can still be dropped. Verification is exact: a
//! reply says whether its bytes would hash to the right name, and wrong ones are never written.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use storemesh_protocol::{
    content::{ChunkId, ChunkRef},
    feeds::terminal::RoomFor,
    terminal::{DiskAnswer, DiskError, DiskJob, FetchError, Input, Room, Source},
};

use super::{
    Event, World,
    link::Class,
    net::{ConnId, Node, Packet, What},
    terminal::{Manners, Uplink},
};

/// Requests written to one stream before the first is answered.
const ON_WIRE: usize = 8;
const SERVE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) enum Job {
    /// What stands was looked through.
    Ready,
    Of(DiskJob),
    Store {
        from: Source,
        chunk: ChunkRef,
        bytes: u32,
    },
    Fail {
        from: Source,
        chunk: ChunkId,
        why: FetchError,
    },
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: VecDeque<ChunkRef>,
    on_wire: BTreeMap<u64, ChunkRef>,
}

impl Requests {
    pub(super) fn all(&self) -> impl Iterator<Item = ChunkId> + use<> {
        let all = self.on_wire.values().chain(&self.waiting).map(|chunk| chunk.id);
        all.collect::<Vec<_>>().into_iter()
    }
}

impl World {
    pub(super) fn fetch(&mut self, t: usize, from: Source, chunk: ChunkRef) {
        if self.line_to(t, from).is_none() {
            self.push(t, Input::NotFetched { from, chunk: chunk.id, why: FetchError::Lost });
            return;
        }
        let program = self.hosts[t].program.as_mut().expect("it runs");
        program.requests.entry(from).or_default().waiting.push_back(chunk);
        self.ask_more(t, from);
    }

    pub(super) fn cancel(&mut self, t: usize, from: Source, chunk: ChunkId) {
        let program = self.hosts[t].program.as_mut().expect("it runs");
        if let Some(requests) = program.requests.get_mut(&from) {
            requests.waiting.retain(|waiting| waiting.id != chunk);
        }
    }

    fn ask_more(&mut self, t: usize, from: Source) {
        let Some(conn) = self.line_to(t, from) else { return };
        loop {
            let program = self.hosts[t].program.as_mut().expect("it runs");
            let Some(requests) = program.requests.get_mut(&from) else { return };
            if requests.on_wire.len() >= ON_WIRE {
                return;
            }
            let Some(chunk) = requests.waiting.pop_front() else { return };
            self.requests_made += 1;
            let id = self.requests_made;
            requests.on_wire.insert(id, chunk);
            self.send_from(Node::Terminal(t), conn, Class::Bulk, Packet::Request { id, chunk });
        }
    }

    pub(super) fn line_to(&self, t: usize, from: Source) -> Option<ConnId> {
        let program = self.hosts[t].program.as_ref()?;
        match (from, program.uplink) {
            (Source::Neighbour(peer), _) => program.lines.get(&peer).copied(),
            (Source::Hq, Uplink::Up(conn)) => Some(conn),
            (Source::Hq, Uplink::None | Uplink::Calling(_)) => None,
        }
    }

    /// A neighbour asks for a chunk.
    pub(super) fn serve(&mut self, t: usize, conn: ConnId, id: u64, chunk: ChunkRef) {
        let now = self.agenda.now();
        let Some(side) = self
            .conns
            .get(&conn)
            .and_then(|c| c.ends.iter().position(|end| end.node == Node::Terminal(t)))
        else {
            return;
        };
        let Node::Terminal(asker) = self.conns[&conn].other(side) else { return };
        let asker = self.hosts[asker].peer;
        let host = &mut self.hosts[t];
        let Some(program) = &host.program else { return };
        let admitted = program.admitted.contains_key(&asker);
        let what = match host.manners {
            _ if !admitted => What::Reset,
            Manners::Mute => return,
            Manners::Liar => What::Wrong(chunk.stored),
            Manners::Honest if host.disk.has(&chunk.id) => What::Right(chunk.stored),
            Manners::Honest => What::Missing,
        };
        let at = host.disk.work(now, u64::from(chunk.plain)) + SERVE;
        self.agenda.at(at, Event::Serve { conn, side, id, what });
    }

    /// An answer to a request.
    pub(super) fn answered(&mut self, t: usize, from: Source, id: u64, what: What) {
        let (now, boot) = (self.agenda.now(), self.hosts[t].boot);
        let host = &mut self.hosts[t];
        let Some(program) = &mut host.program else { return };
        let Some(requests) = program.requests.get_mut(&from) else { return };
        let Some(chunk) = requests.on_wire.remove(&id) else { return };
        if let (Source::Hq, What::Right(_)) = (from, what) {
            let store = &mut self.stores[host.store];
            store.sent_again += u64::from(!store.came.insert(chunk.id));
        }
        let fail = |why| Job::Fail { from, chunk: chunk.id, why };
        let work = u64::from(chunk.plain);
        let (bytes, job) = match what {
            What::Right(bytes) => (work, Job::Store { from, chunk, bytes }),
            What::Wrong(_) => (work, fail(FetchError::Wrong)),
            What::Missing => (0, fail(FetchError::Missing)),
            What::Reset => (0, fail(FetchError::Lost)),
        };
        let at = host.disk.work(now, bytes);
        self.agenda.at(at, Event::DiskDone { t, boot, job });
        self.ask_more(t, from);
    }

    /// Takes as long as what the job reads and writes.
    pub(super) fn disk_job(&mut self, t: usize, job: DiskJob) {
        let bytes = match &job {
            DiskJob::Check { chunks, .. } => self.bytes_held(t, chunks),
            DiskJob::Stage { manifest, .. } => self.bytes_held(t, manifest.chunks()),
            DiskJob::Activate { release, .. } => release.plain_bytes / 4,
            DiskJob::ReadManifest { .. }
            | DiskJob::Measure { .. }
            | DiskJob::GiveUp { .. }
            | DiskJob::Abandon { .. }
            | DiskJob::Sweep => 0,
        };
        let (now, boot) = (self.agenda.now(), self.hosts[t].boot);
        let disk = &mut self.hosts[t].disk;
        let syncs = matches!(job, DiskJob::Activate { .. });
        let at = if syncs { disk.sync(now, bytes) } else { disk.job(now, bytes) };
        self.agenda.at(at, Event::DiskDone { t, boot, job: Job::Of(job) });
    }

    fn bytes_held(&self, t: usize, chunks: &[ChunkRef]) -> u64 {
        let have = self.hosts[t].disk.check(chunks);
        have.iter_set().map(|at| u64::from(chunks[at as usize].plain)).sum()
    }

    pub(super) fn disk_done(&mut self, t: usize, job: Job) {
        let host = &mut self.hosts[t];
        let input = match job {
            Job::Ready => Input::Disk(DiskAnswer::Ready),
            Job::Of(job) => {
                let Some(answer) = self.done_as_asked(t, job) else { return };
                Input::Disk(answer)
            }
            Job::Store { from, chunk, .. } if host.room < RoomFor::All => {
                Input::NotFetched { from, chunk: chunk.id, why: FetchError::NoRoom }
            }
            Job::Store { from, chunk, bytes } => {
                host.disk.put(chunk.id);
                Input::Fetched { from, chunk: chunk.id, bytes }
            }
            Job::Fail { from, chunk, why } => Input::NotFetched { from, chunk, why },
        };
        self.push(t, input);
    }

    fn done_as_asked(&mut self, t: usize, job: DiskJob) -> Option<DiskAnswer> {
        // Downloads leave more of the disk free than anything else.
        let full = self.hosts[t].room < RoomFor::All;
        let disk = &mut self.hosts[t].disk;
        match job {
            DiskJob::Check { list, chunks } => {
                return Some(DiskAnswer::Checked { list, have: disk.check(&chunks) });
            }
            DiskJob::ReadManifest { release } => {
                let whole = disk.check(&release.manifest).is_full();
                let manifest = self.releases.iter().find(|known| known.head.id == release.id);
                let manifest = manifest.filter(|_| whole).map(|known| known.manifest.clone());
                let manifest = manifest.ok_or_else(|| "a piece is not on disk".to_owned());
                return Some(DiskAnswer::ManifestRead { release: release.id, manifest });
            }
            DiskJob::Measure { release, .. } => {
                let free = if full { 0 } else { u64::MAX };
                let room = Room { needed: release.plain_bytes, free, ..Room::default() };
                return Some(DiskAnswer::Measured { release: release.id, room: Ok(room) });
            }
            DiskJob::Stage { release, manifest } => {
                let have = if full {
                    Err(DiskError::NoRoom)
                } else {
                    Ok(disk.stage(release.id, &manifest))
                };
                return Some(DiskAnswer::Staged { release: release.id, have });
            }
            DiskJob::Activate { release, manifest } => {
                let id = release.id;
                let done = if !disk.is_whole(&release, &manifest) {
                    Err(DiskError::Failed("chunks are not on disk".to_owned()))
                } else if full {
                    Err(DiskError::NoRoom)
                } else {
                    disk.activate(release, manifest);
                    Ok(())
                };
                return Some(DiskAnswer::Activated { release: id, done });
            }
            DiskJob::GiveUp { release } => disk.give_up(&release),
            DiskJob::Abandon { release } => disk.abandon(release.id),
            // The modelled disk has room for what a download left.
            DiskJob::Sweep => disk.sweep(),
        }
        None
    }
}
