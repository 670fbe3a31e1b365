//! The thread that owns [`TerminalFeeds`] and its database.
//!
//! The rule: the inputs of a batch are handled and committed in one transaction, and its outputs go out
//! after that. A commit that fails ends the thread, and the process with it. Nobody is waited for: a
//! neighbour that does not read what it is given has its stream ended.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use storemesh_host::{clock, db::Db};
use storemesh_keys::PeerId;
use storemesh_protocol::{
    feeds::terminal::{
        Event as Notice, FromFeeds, Input, Output, PostError, Posted, RoomFor, Setup, TerminalFeeds,
    },
    terminal::Source,
};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
};

use super::{
    lanes::{Event, Heard, Lanes, Said, Sale},
    room::Room,
};

/// While something is refused the disk is looked at so often: a person who makes room sees it at once.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Driver {
    pub(super) setup: Setup,
    pub(super) db: Arc<Db>,
    pub(super) room: Room,
    pub(super) lanes: Lanes,
    /// What the rest of the terminal must know.
    pub(super) tell: mpsc::UnboundedSender<FromFeeds>,
    pub(super) started: std::time::Instant,
}

/// The driver at work.
struct Running {
    feeds: TerminalFeeds,
    db: Arc<Db>,
    room: Room,
    /// As the composite was told last.
    room_for: RoomFor,
    lanes: Lanes,
    tell: mpsc::UnboundedSender<FromFeeds>,
    started: std::time::Instant,
    streams: BTreeMap<Source, Stream>,
    /// Who waits for an answer, by ticket.
    callers: BTreeMap<u64, oneshot::Sender<Result<Posted, PostError>>>,
    tickets: u64,
    /// What carrying an output out showed at once.
    own: VecDeque<Input>,
}

/// The one stream to a side that counts. Dropped, it is ended.
struct Stream {
    session: u64,
    frames: mpsc::Sender<Vec<u8>>,
}

impl Driver {
    /// Starts the thread. The receiver hears how it ended; one that hears nothing means a bug made it
    /// panic.
    pub(super) fn start(self) -> anyhow::Result<oneshot::Receiver<anyhow::Result<()>>> {
        let (tell, ended) = oneshot::channel();
        let runtime = Handle::current();
        let run = move || {
            // Whoever waited may have been stopped first.
            _ = tell.send(self.run(&runtime));
        };
        thread::Builder::new()
            .name("feeds".to_owned())
            .spawn(run)
            .context("starting the thread that drives the feeds")?;
        Ok(ended)
    }

    fn run(self, runtime: &Handle) -> anyhow::Result<()> {
        let Self { setup, db, room, lanes, tell, started } = self;
        let now = clock::since(started);
        let loaded = db.batch(|storage| TerminalFeeds::load(setup, storage, now));
        let (feeds, first) = loaded.with_context(unwritten)?;
        let mut running = Running {
            feeds,
            db,
            room,
            room_for: RoomFor::All,
            lanes,
            tell,
            started,
            streams: BTreeMap::new(),
            callers: BTreeMap::new(),
            tickets: 0,
            own: VecDeque::new(),
        };
        running.carry_out_all(first);
        running.run(runtime)
    }
}

impl Running {
    fn run(mut self, runtime: &Handle) -> anyhow::Result<()> {
        loop {
            let patience = if self.own.is_empty() { self.patience() } else { Duration::ZERO };
            let Some(batch) = runtime.block_on(self.lanes.next(patience)) else { return Ok(()) };
            let mut inputs = Vec::with_capacity(batch.len() + 2);
            // Before a sale is taken.
            let room_for = self.room.look();
            if room_for != self.room_for {
                self.room_for = room_for;
                inputs.push(Input::Room(room_for));
            }
            inputs.extend(std::mem::take(&mut self.own));
            let mut stop = false;
            for event in batch {
                stop |= matches!(event, Event::Said(Said::Stop));
                self.take(event, &mut inputs);
            }
            let now = clock::since(self.started);
            if self.feeds.deadline() <= now {
                inputs.push(Input::Tick);
            }
            if !inputs.is_empty() {
                let handled = self.db.batch(|storage| self.feeds.handle(now, storage, inputs));
                self.carry_out_all(handled.with_context(unwritten)?);
            }
            if stop {
                return Ok(());
            }
        }
    }

    fn patience(&self) -> Duration {
        let due = self.feeds.deadline().since(clock::since(self.started));
        if self.room_for == RoomFor::All { due } else { due.min(LOOK_AGAIN) }
    }

    fn take(&mut self, event: Event, inputs: &mut Vec<Input>) {
        match event {
            Event::Sale(Sale { post, answer }) => {
                self.tickets += 1;
                self.callers.insert(self.tickets, answer);
                inputs.push(Input::Post { ticket: self.tickets, post });
            }
            Event::Heard(Heard::Up { side, session, frames }) => {
                if self.streams.insert(side, Stream { session, frames }).is_some() {
                    inputs.push(Input::Down(side));
                }
                inputs.push(Input::Up(side));
            }
            Event::Heard(Heard::Frame { side, session, bytes }) => {
                if self.is_current(side, session) {
                    inputs.push(Input::Frame { from: side, bytes });
                }
            }
            Event::Heard(Heard::Down { side, session }) => {
                if self.is_current(side, session) {
                    self.streams.remove(&side);
                    inputs.push(Input::Down(side));
                }
            }
            Event::Said(Said::Told(told)) => inputs.push(Input::Told(told)),
            // Who asked may have gone in the meantime.
            Event::Said(Said::Look(reply)) => _ = reply.send(self.feeds.status()),
            Event::Said(Said::Stop) => {}
        }
    }

    fn is_current(&self, side: Source, session: u64) -> bool {
        self.streams.get(&side).is_some_and(|stream| stream.session == session)
    }

    fn carry_out_all(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.carry_out(output);
        }
        // A caller that hung up needs no answer.
        self.callers.retain(|_, caller| !caller.is_closed());
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { to, frame } => {
                let Some(stream) = self.streams.get(&to) else { return };
                match stream.frames.try_send(frame) {
                    // When it is closed, word of its end is on the way.
                    Ok(()) | Err(TrySendError::Closed(_)) => {}
                    Err(TrySendError::Full(_)) => {
                        tracing::warn!(side = %name(to), "what is given is not read: ending the stream");
                        self.end(to);
                    }
                }
            }
            Output::Close { side, why } => {
                tracing::debug!(side = %name(side), why, "ending a stream for feeds");
                self.end(side);
            }
            Output::Posted { ticket, answer } => {
                if let Some(caller) = self.callers.remove(&ticket) {
                    // It may have hung up.
                    _ = caller.send(answer);
                }
            }
            // The other driver ends with the process.
            Output::Tell(told) => _ = self.tell.send(told),
            Output::Reject { from, why } => {
                tracing::debug!(side = %name(from), why, "sent what it should not");
            }
            Output::Event(notice) => log(notice),
        }
    }

    fn end(&mut self, side: Source) {
        if self.streams.remove(&side).is_some() {
            self.own.push_back(Input::Down(side));
        }
    }
}

fn unwritten() -> anyhow::Error {
    anyhow!("the node cannot write its journal and stops: mend the disk and start it")
}

fn name(side: Source) -> String {
    match side {
        Source::Hq => "HQ".to_owned(),
        Source::Neighbour(peer) => peer.to_string(),
    }
}

fn log(notice: Notice) {
    match notice {
        Notice::Settings(settings) => {
            tracing::info!(
                copies = settings.journal_copies,
                retention_s = settings.journal_retention_s,
                "HQ's settings"
            );
        }
        Notice::Schema { version } => tracing::info!(version, "HQ's schema"),
        Notice::Forked(author) => {
            let terminal = author.peer();
            tracing::error!(%terminal, "wrote two entries with one number: nothing more of it counts");
        }
        Notice::Cloned { author, boots: [one, other] } => {
            let terminal: PeerId = author.peer();
            tracing::error!(
                %terminal, %one, %other,
                "a disk was cloned: two of this terminal's starts were alive at once; it is kept out \
                 until the head office has decided"
            );
        }
        Notice::CloneClaimed { author, boots: [one, other], by } => {
            let terminal: PeerId = author.peer();
            tracing::warn!(
                %terminal, %one, %other, %by,
                "a neighbour says that this terminal's disk was cloned: the head office is told"
            );
        }
        Notice::Room(RoomFor::Nothing) => {
            tracing::error!("the disk is full: sales are refused until there is room");
        }
        Notice::Room(RoomFor::OwnPosts) => tracing::warn!(
            "the disk is nearly full: this terminal's sales are taken, copies of others' are not; make room"
        ),
        Notice::Room(RoomFor::All) => {
            tracing::info!("there is room: sales are taken, and copies of others'");
        }
        Notice::Generation(generation) => {
            tracing::warn!(generation, "HQ was restored from a backup: all is offered to it again");
        }
    }
}
