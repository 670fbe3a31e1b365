//! What drives a terminal's feeds: the second thread of its program.
//!
//! As the other composite's driver: up to 256 inputs at one moment, one commit, and then the outputs. It
//! starts and ends with the program, and the two talk through their inboxes.

use std::collections::{BTreeMap, VecDeque};

use storemesh_protocol::{
    Instant,
    feeds::{
        Boot, CertificateHash,
        terminal::{Input, Output, RoomFor, Setup, TABLES, TerminalFeeds},
    },
    terminal::{self, Membership, Source},
};

use super::{
    hostile::Hostile,
    shelf::{Changes, Shelf},
};
use crate::world::{
    Event, World,
    clock::Time,
    disk,
    net::{ConnId, Node},
    terminal::{BATCH_MAX, WAKE_UP, micros},
};

/// A host's feeds: its database, and what runs on it.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "what has befallen it, each by itself")]
pub(in crate::world) struct Side {
    pub(in crate::world) shelf: Shelf,
    pub(in crate::world) program: Option<Program>,
    /// What an operator has put aside of it.
    pub(super) backup: Option<Shelf>,
    pub(in crate::world) hostile: bool,
    /// A hostile one that writes two entries with one number.
    pub(in crate::world) forks: bool,
    /// It was put back, lied, or was copied: what it told its till may be forgotten.
    pub(super) hurt: bool,
    /// It is gone for good.
    pub(super) destroyed: bool,
    /// Entry bytes that came, and those of them that it lacked.
    pub(super) received: u64,
    pub(super) lacked: u64,
}

#[derive(Debug)]
pub(in crate::world) struct Program {
    pub(super) mind: Mind,
    started: Time,
    inbox: VecDeque<Input>,
    wake_at: Option<Time>,
    pending: Option<(Changes, Vec<Output>)>,
    pub(super) sides: BTreeMap<Source, ConnId>,
    /// For the rules: when each side was last told how far the feeds are.
    pub(super) told: BTreeMap<Source, Time>,
}

/// Who decides what is said.
#[derive(Debug)]
pub(super) enum Mind {
    Honest(Box<TerminalFeeds>),
    Hostile(Box<Hostile>),
}

impl World {
    /// With the program, of which it is a part.
    pub(in crate::world) fn start_feeds(&mut self, t: usize) {
        let now = self.agenda.now();
        let boot = Boot(self.tills.number());
        let host = &mut self.hosts[t];
        let membership = Membership::load(&host.disk.rows).expect("it reads").expect("it joined");
        let trust = membership.trust();
        let certificate = membership.certificate.signed().clone();
        let setup = Setup { key: host.key.clone(), boot, certificate, trust };
        let mut batch = host.feeds.shelf.batch(TABLES);
        let (mind, outputs) = if host.feeds.hostile {
            let store = self.stores[host.store].name.clone();
            let hash = CertificateHash::of(membership.certificate.payload());
            (
                Mind::Hostile(Box::new(Hostile::new(setup, store, hash, host.feeds.forks))),
                Vec::new(),
            )
        } else {
            let (feeds, outputs) = TerminalFeeds::load(setup, &mut batch, Instant(0));
            (Mind::Honest(Box::new(feeds)), outputs)
        };
        let changes = batch.done().expect("the database reads");
        host.feeds.program = Some(Program {
            mind,
            started: now,
            inbox: VecDeque::new(),
            wake_at: None,
            pending: None,
            sides: BTreeMap::new(),
            told: BTreeMap::new(),
        });
        let room = host.room;
        self.commit_feeds(t, changes, outputs);
        if room < RoomFor::All {
            self.push_feeds(t, Input::Room(room));
        }
    }

    /// The program is gone; what was being committed is there, or is not.
    pub(in crate::world) fn kill_feeds(&mut self, t: usize) {
        let Some(program) = self.hosts[t].feeds.program.take() else { return };
        if let Some((changes, _)) = program.pending
            && self.tills.hits(500)
        {
            self.shelve(t, changes);
        }
    }

    pub(in crate::world) fn push_feeds(&mut self, t: usize, input: Input) {
        let Some(program) = &mut self.hosts[t].feeds.program else { return };
        program.inbox.push_back(input);
        let at = self.agenda.now() + WAKE_UP;
        self.wake_feeds(t, at);
    }

    fn wake_feeds(&mut self, t: usize, at: Time) {
        let boot = self.hosts[t].boot;
        let Some(program) = &mut self.hosts[t].feeds.program else { return };
        if program.pending.is_none() && program.wake_at.is_none_or(|before| at < before) {
            program.wake_at = Some(at);
            self.agenda.at(at, Event::RunFeeds { t, boot });
        }
    }

    pub(in crate::world) fn run_feeds(&mut self, t: usize) {
        let now = self.agenda.now();
        let Some(mut program) = self.hosts[t].feeds.program.take() else { return };
        // An earlier wake-up has done what this one was for.
        if program.pending.is_some() || program.wake_at.is_none_or(|at| now < at) {
            self.hosts[t].feeds.program = Some(program);
            return;
        }
        program.wake_at = None;
        let local = program.local(now);
        let mut inputs = Vec::new();
        if program.deadline() <= local {
            inputs.push(Input::Tick);
        }
        let queued = program.inbox.len().min(BATCH_MAX);
        inputs.extend(program.inbox.drain(..queued));
        for input in &inputs {
            self.before_feeds_input(t, input);
        }
        let said = self.brief_feeds(t, &inputs);
        let mut batch = self.hosts[t].feeds.shelf.batch(TABLES);
        let outputs = match &mut program.mind {
            Mind::Honest(feeds) => feeds.handle(local, &mut batch, inputs),
            Mind::Hostile(hostile) => hostile.handle(local, inputs, &mut self.tills),
        };
        let changes = batch.done();
        let deadline = program.deadline();
        self.hosts[t].feeds.program = Some(program);
        self.step_feeds(t, said, &outputs);
        if deadline <= local {
            let rule = format!("its feeds ask for a tick at {deadline:?}, and it is {local:?}");
            self.break_rule(t, rule);
        }
        for output in &outputs {
            self.watch_feeds_output(t, output);
        }
        match changes {
            Ok(changes) => self.commit_feeds(t, changes, outputs),
            Err(why) => self.break_rule(t, format!("a row of its feeds does not read: {why}")),
        }
    }

    fn commit_feeds(&mut self, t: usize, changes: Changes, outputs: Vec<Output>) {
        if changes.is_empty() {
            self.carry_out_feeds(t, outputs);
            return;
        }
        let boot = self.hosts[t].boot;
        let program = self.hosts[t].feeds.program.as_mut().expect("it has just run");
        program.pending = Some((changes, outputs));
        program.wake_at = None;
        self.agenda.after(disk::COMMIT, Event::FeedsCommitted { t, boot });
    }

    pub(in crate::world) fn feeds_committed(&mut self, t: usize) {
        let Some(program) = &mut self.hosts[t].feeds.program else { return };
        let Some((changes, outputs)) = program.pending.take() else { return };
        self.shelve(t, changes);
        self.carry_out_feeds(t, outputs);
    }

    fn carry_out_feeds(&mut self, t: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, frame } => {
                    if let Some(conn) = self.feeds_side(t, to) {
                        self.send_feeds(Node::Terminal(t), conn, frame);
                    }
                }
                Output::Close { side, .. } => {
                    if let Some(conn) = self.feeds_side(t, side) {
                        self.cut_feeds(Node::Terminal(t), conn);
                    }
                }
                Output::Posted { ticket, answer } => self.answer_till(t, ticket, answer),
                Output::Tell(told) => self.push(t, terminal::Input::Feeds(told)),
                Output::Reject { .. } | Output::Event(_) => {}
            }
        }
        let now = self.agenda.now();
        let Some(program) = &self.hosts[t].feeds.program else { return };
        let deadline = program.deadline();
        if !program.inbox.is_empty() {
            self.wake_feeds(t, now + WAKE_UP);
        } else if deadline != Instant::NEVER {
            let at = program.started + std::time::Duration::from_micros(deadline.0);
            self.wake_feeds(t, at);
        }
    }

    fn feeds_side(&self, t: usize, to: Source) -> Option<ConnId> {
        self.hosts[t].feeds.program.as_ref()?.sides.get(&to).copied()
    }

    fn brief_feeds(&mut self, t: usize, inputs: &[Input]) -> String {
        let mut said = format!("{} #{} feeds", micros(self.agenda.now()), self.hosts[t].boot);
        for input in inputs {
            said += " ";
            let part = match input {
                Input::Frame { from, bytes } => {
                    self.trace.bytes(bytes);
                    format!("from {} {}", self.source(*from), super::rules::parts(bytes))
                }
                Input::Post { ticket, .. } => format!("post {ticket}"),
                Input::Up(side) => format!("up {}", self.source(*side)),
                Input::Down(side) => format!("down {}", self.source(*side)),
                Input::Told(_) | Input::Room(_) | Input::Tick => format!("{input:?}"),
            };
            said.push_str(&part);
        }
        said
    }

    fn step_feeds(&mut self, t: usize, mut said: String, outputs: &[Output]) {
        for (at, output) in outputs.iter().enumerate() {
            said += if at == 0 { " -> " } else { ", " };
            let part = match output {
                Output::Send { to, frame } => {
                    self.trace.bytes(frame);
                    format!("to {} {}", self.source(*to), super::rules::parts(frame))
                }
                Output::Posted { ticket, answer } => match answer {
                    Ok(posted) => format!("{ticket} is {:?} {}", posted.reached, posted.id.seq),
                    Err(why) => format!("{ticket}: {why}"),
                },
                Output::Close { side, why } => format!("close {}: {why}", self.source(*side)),
                Output::Reject { from, why } => format!("reject {}: {why}", self.source(*from)),
                Output::Tell(_) | Output::Event(_) => format!("{output:?}"),
            };
            said.push_str(&part);
        }
        let label = self.hosts[t].label.clone();
        self.trace.step(&label, said);
    }
}

impl Side {
    pub(in crate::world) fn is_destroyed(&self) -> bool {
        self.destroyed
    }
}

impl Program {
    pub(super) fn deadline(&self) -> Instant {
        match &self.mind {
            Mind::Honest(feeds) => feeds.deadline(),
            Mind::Hostile(hostile) => hostile.deadline(),
        }
    }

    fn local(&self, now: Time) -> Instant {
        let micros = now.saturating_sub(self.started).as_micros();
        Instant(u64::try_from(micros).expect("a run is short"))
    }
}
