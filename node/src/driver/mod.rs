//! Drives the one [`Terminal`]: a plain thread that owns it and its database.
//!
//! The rule is the driver's contract: take what is queued (at most [`BATCH_MAX`] events), let the
//! composite handle all, commit its saves in one transaction, then carry the other outputs out in
//! order, so that whatever leaves speaks only of what is on disk. It decides nothing, and bulk bytes
//! never come here: [`crate::fetch`] and [`crate::work`] move them and only say so.
//!
//! The inbox is bounded; when it is full, readers of connections wait and so do neighbours. The
//! other way nobody waits: a neighbour that does not read what it is told loses its connection. A
//! failed commit ends the thread, and the process with it.

mod inbox;
mod notices;

use std::{
    collections::{BTreeMap, VecDeque},
    thread,
};

use anyhow::{Context as _, anyhow};
use storemesh_host::{clock, db::Db};
use storemesh_keys::PeerId;
use storemesh_protocol::{
    Instant,
    content::ChunkRef,
    terminal::{FetchError, Input, Output, Source, Terminal},
};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::timeout,
};

pub(crate) use self::inbox::{Event, Inbox, Look, Stopping, inbox};
use crate::{
    counters::Traffic,
    feeds, mesh,
    uplink::{self, Dialer},
    work::{Job, Jobs},
};

/// As many as the contract has.
const BATCH_MAX: usize = 256;

/// The way to one neighbour, or to HQ. Dropping it ends the streams behind it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) frames: mpsc::Sender<Vec<u8>>,
    pub(crate) fetches: mpsc::Sender<ChunkRef>,
}

/// A neighbour's line, and what the other tasks of its connection look at.
#[derive(Debug)]
pub(crate) struct Neighbour {
    pub(crate) line: Line,
    /// Set once it may be served.
    pub(crate) admitted: watch::Sender<bool>,
    pub(crate) traffic: Traffic,
}

/// What the driver reaches out with.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) mesh: mesh::Commands,
    pub(crate) uplink: Dialer,
    pub(crate) jobs: Jobs,
    pub(crate) feeds: feeds::Inbox,
}

#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) terminal: Terminal,
    pub(crate) db: Db,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) reach: Reach,
    pub(crate) started: std::time::Instant,
    neighbours: BTreeMap<PeerId, (u64, Neighbour)>,
    uplink: Option<Uplink>,
    uplinks: u64,
    /// What carrying an output out showed at once.
    own: VecDeque<Input>,
}

/// The one uplink that counts.
#[derive(Debug)]
struct Uplink {
    session: u64,
    line: Option<(Line, watch::Sender<bool>)>,
    /// Dropped, the connection is closed.
    _open: uplink::Open,
}

impl Driver {
    pub(crate) fn new(
        terminal: Terminal,
        db: Db,
        events: mpsc::Receiver<Event>,
        reach: Reach,
        started: std::time::Instant,
    ) -> Self {
        Self {
            terminal,
            db,
            events,
            reach,
            started,
            neighbours: BTreeMap::new(),
            uplink: None,
            uplinks: 0,
            own: VecDeque::new(),
        }
    }

    /// Starts the thread, with `first` to be carried out at once. The receiver hears how it ended;
    /// a receiver that hears nothing means a bug made it panic.
    pub(crate) fn start(
        mut self,
        first: Vec<Output>,
    ) -> anyhow::Result<oneshot::Receiver<anyhow::Result<()>>> {
        let (tell, ended) = oneshot::channel();
        let runtime = Handle::current();
        let run = move || {
            let done = self.carry_out_all(first).and_then(|()| self.run(&runtime));
            // Whoever waited may have been stopped first.
            _ = tell.send(done);
        };
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(run)
            .context("starting the thread that drives the terminal")?;
        Ok(ended)
    }

    fn run(mut self, runtime: &Handle) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let now = self.now();
            let left = self.terminal.deadline(now).since(now);
            if self.own.is_empty() {
                let next =
                    async { timeout(left, self.events.recv_many(&mut batch, BATCH_MAX)).await };
                if let Ok(0) = runtime.block_on(next) {
                    return Ok(());
                }
            }
            let mut outputs = Vec::new();
            let mut stop = false;
            for input in std::mem::take(&mut self.own) {
                outputs.extend(self.terminal.handle(self.now(), input));
            }
            for event in batch.drain(..) {
                stop |= matches!(event, Event::Stop);
                if let Some(input) = self.input(event) {
                    outputs.extend(self.terminal.handle(self.now(), input));
                }
            }
            // However much there is to do, what is due is done.
            let now = self.now();
            if self.terminal.deadline(now) <= now {
                outputs.extend(self.terminal.handle(now, Input::Tick));
            }
            self.carry_out_all(outputs)?;
            if stop {
                return Ok(());
            }
        }
    }

    fn input(&mut self, event: Event) -> Option<Input> {
        let current = |known: &BTreeMap<PeerId, (u64, Neighbour)>, peer: &PeerId, session| {
            known.get(peer).is_some_and(|(now, _)| *now == session)
        };
        match event {
            Event::Input(input) => Some(input),
            Event::NeighbourUp { peer, address, session, neighbour } => {
                self.neighbours.insert(peer, (session, neighbour));
                Some(Input::Connected { peer, address })
            }
            Event::NeighbourFrame { peer, session, bytes } => {
                current(&self.neighbours, &peer, session).then_some(Input::Frame { peer, bytes })
            }
            Event::NeighbourDown { peer, session } => {
                match self.neighbours.get(&peer) {
                    Some((now, _)) if *now != session => return None,
                    Some(_) => _ = self.neighbours.remove(&peer),
                    // We hung up on it; the composite may have heard of a session since.
                    None => {}
                }
                Some(Input::Disconnected { peer })
            }
            Event::UplinkUp { session, hq, line, speaks } => {
                let uplink = self.uplink.as_mut().filter(|uplink| uplink.session == session)?;
                uplink.line = Some((line, speaks));
                Some(Input::UplinkUp { hq })
            }
            Event::UplinkFrame { session, bytes } => {
                self.uplink.as_ref().filter(|uplink| uplink.session == session)?;
                Some(Input::UplinkFrame(bytes))
            }
            Event::UplinkDown { session, why } => {
                self.uplink.take_if(|uplink| uplink.session == session)?;
                Some(Input::UplinkDown { why })
            }
            Event::Stop => Some(Input::Stopping),
            Event::Look(reply) => {
                let bytes =
                    |(peer, (_, n)): (&PeerId, &(u64, Neighbour))| (*peer, n.traffic.bytes());
                let traffic = self.neighbours.iter().map(bytes).collect();
                // Who asked may have gone in the meantime.
                _ = reply.send(Look { status: self.terminal.status(self.now()), traffic });
                None
            }
            Event::Why(ask, reply) => {
                _ = reply.send(self.terminal.why(self.now(), &ask));
                None
            }
        }
    }

    fn carry_out_all(&mut self, outputs: Vec<Output>) -> anyhow::Result<()> {
        let is_save = |output: &Output| matches!(output, Output::Save(_));
        let (saves, rest): (Vec<_>, Vec<_>) = outputs.into_iter().partition(is_save);
        if !saves.is_empty() {
            let saves = saves.iter().filter_map(Output::as_save);
            self.db.commit(saves).with_context(|| {
                anyhow!("the node cannot write its database and stops: mend the disk and start it")
            })?;
        }
        for output in rest {
            self.carry_out(output);
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Save(_) => unreachable!("saves were committed before"),
            Output::Dial { address, peer } => self.reach.mesh.dial(address, peer),
            Output::Close { peer, why } => {
                tracing::debug!(%peer, why, "closing");
                self.neighbours.remove(&peer);
                self.reach.mesh.close(peer);
            }
            Output::Send { peer, frame } => {
                let Some((_, neighbour)) = self.neighbours.get(&peer) else { return };
                match neighbour.line.frames.try_send(frame) {
                    // When it is closed, word of its end is on the way.
                    Ok(()) | Err(TrySendError::Closed(_)) => {}
                    Err(TrySendError::Full(_)) => {
                        tracing::warn!(%peer, "a neighbour does not read what it is told: hanging up");
                        self.neighbours.remove(&peer);
                        self.reach.mesh.close(peer);
                        self.own.push_back(Input::Disconnected { peer });
                    }
                }
            }
            Output::Admitted { peer, name } => {
                tracing::info!(terminal = %name, "neighbour");
                self.reach.mesh.admitted(peer);
                if let Some((_, neighbour)) = self.neighbours.get(&peer) {
                    neighbour.admitted.send_replace(true);
                }
            }
            Output::OpenUplink { addresses } => {
                self.uplinks += 1;
                let session = self.uplinks;
                let open = self.reach.uplink.open(session, addresses);
                self.uplink = Some(Uplink { session, line: None, _open: open });
            }
            Output::CloseUplink => self.uplink = None,
            Output::SendUp(frame) => {
                let Some(uplink) = &self.uplink else { return };
                let line = uplink.line.as_ref().map(|(line, _)| line);
                if line.is_some_and(|line| line.frames.try_send(frame).is_err()) {
                    self.uplink = None;
                    let why = "HQ does not read what it is told".to_owned();
                    self.own.push_back(Input::UplinkDown { why });
                }
            }
            Output::OpenFeeds => {
                let line = self.uplink.as_ref().and_then(|uplink| uplink.line.as_ref());
                if let Some((_, speaks)) = line {
                    speaks.send_replace(true);
                }
            }
            Output::Feeds(told) => self.reach.feeds.tell(told),
            Output::Fetch { from, chunk } => self.fetch(from, chunk),
            // A request is written as soon as it is made; an answer that is no longer needed is
            // verified and kept like any other.
            Output::Cancel { .. } => {}
            Output::Disk(job) => self.reach.jobs.put(Job::Of(job)),
            Output::Reject { from, why } => match from {
                Source::Hq => tracing::debug!(why, "HQ sent what it should not"),
                Source::Neighbour(peer) => {
                    tracing::debug!(%peer, why, "a neighbour sent what it should not");
                }
            },
            Output::Event(notice) => notices::log(notice),
        }
    }

    fn fetch(&mut self, from: Source, chunk: ChunkRef) {
        let line = match from {
            Source::Hq => {
                let uplink = self.uplink.as_ref();
                uplink.and_then(|uplink| uplink.line.as_ref()).map(|(line, _)| line)
            }
            Source::Neighbour(peer) => self.neighbours.get(&peer).map(|(_, n)| &n.line),
        };
        if line.is_none_or(|line| line.fetches.try_send(chunk).is_err()) {
            let why = FetchError::Lost;
            self.own.push_back(Input::NotFetched { from, chunk: chunk.id, why });
        }
    }

    fn now(&self) -> Instant {
        clock::since(self.started)
    }
}
