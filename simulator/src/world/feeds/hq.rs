//! What drives HQ's feeds: the second thread of its program.

use std::collections::{BTreeMap, VecDeque};

use storemesh_protocol::{
    Instant,
    feeds::{
        Control,
        hq::{HqFeeds, Input, Output, TABLES},
    },
    hq::LinkId,
};

use super::shelf::{Changes, Shelf};
use crate::world::{
    Event, World,
    clock::Time,
    disk,
    hq::wall,
    net::Node,
    terminal::{BATCH_MAX, WAKE_UP, micros},
};

#[derive(Debug, Default)]
pub(in crate::world) struct HqSide {
    pub(in crate::world) shelf: Shelf,
    program: Option<Program>,
    /// For the rules: when each link was last told how far the feeds are.
    pub(super) told: BTreeMap<LinkId, Time>,
    /// It was restored: what it had said once it may have forgotten.
    pub(super) restored: bool,
    /// It was put back in this generation, and nobody has said so.
    pub(super) unsaid: Option<u64>,
}

#[derive(Debug)]
struct Program {
    feeds: HqFeeds,
    started: Time,
    inbox: VecDeque<Input>,
    wake_at: Option<Time>,
    pending: Option<(Changes, Vec<Output>)>,
}

impl World {
    pub(in crate::world) fn start_hq_feeds(&mut self) {
        let now = self.agenda.now();
        let mut batch = self.hq.feeds.shelf.batch(TABLES);
        let (signer, trust) = self.hq.signs();
        let (feeds, outputs) = HqFeeds::load(signer, trust, &mut batch);
        let changes = batch.done().expect("the database reads");
        self.hq.feeds.program = Some(Program {
            feeds,
            started: now,
            inbox: VecDeque::new(),
            wake_at: None,
            pending: None,
        });
        self.commit_hq_feeds(changes, outputs);
    }

    pub(in crate::world) fn kill_hq_feeds(&mut self) {
        let Some(program) = self.hq.feeds.program.take() else { return };
        if let Some((changes, _)) = program.pending
            && self.tills.hits(500)
        {
            self.shelve_hq(changes);
        }
    }

    /// HQ has something to say to the chain.
    pub(in crate::world) fn say(&mut self, ticket: u64, control: Control) {
        self.push_hq_feeds(Input::Append { ticket, control });
    }

    /// Somebody at HQ has seen to it that only one disk of a terminal is left.
    #[cfg(test)]
    pub(in crate::world) fn settle_clones(&mut self, t: usize) {
        let author = storemesh_protocol::feeds::Author::terminal(self.hosts[t].peer);
        self.push_hq_feeds(Input::Settle { ticket: 0, author });
    }

    pub(in crate::world) fn push_hq_feeds(&mut self, input: Input) {
        let Some(program) = &mut self.hq.feeds.program else { return };
        program.inbox.push_back(input);
        let at = self.agenda.now() + WAKE_UP;
        self.wake_hq_feeds(at);
    }

    fn wake_hq_feeds(&mut self, at: Time) {
        let boot = self.hq.boot;
        let Some(program) = &mut self.hq.feeds.program else { return };
        if program.pending.is_none() && program.wake_at.is_none_or(|before| at < before) {
            program.wake_at = Some(at);
            self.agenda.at(at, Event::RunHqFeeds { boot });
        }
    }

    pub(in crate::world) fn run_hq_feeds(&mut self) {
        let now = self.agenda.now();
        let Some(mut program) = self.hq.feeds.program.take() else { return };
        // An earlier wake-up has done what this one was for.
        if program.pending.is_some() || program.wake_at.is_none_or(|at| now < at) {
            self.hq.feeds.program = Some(program);
            return;
        }
        program.wake_at = None;
        let local = program.local(now);
        let mut inputs = Vec::new();
        if program.feeds.deadline() <= local {
            inputs.push(Input::Tick);
        }
        let queued = program.inbox.len().min(BATCH_MAX);
        inputs.extend(program.inbox.drain(..queued));
        let said = self.brief_hq_feeds(&inputs);
        let mut batch = self.hq.feeds.shelf.batch(TABLES);
        let outputs = program.feeds.handle(local, wall(now), &mut batch, inputs);
        let changes = batch.done();
        let deadline = program.feeds.deadline();
        self.hq.feeds.program = Some(program);
        self.step_hq_feeds(said, &outputs);
        if deadline <= local {
            let rule = format!("its feeds ask for a tick at {deadline:?}, and it is {local:?}");
            self.break_hq_rule(rule);
        }
        for output in &outputs {
            self.watch_hq_feeds_output(output);
        }
        match changes {
            Ok(changes) => self.commit_hq_feeds(changes, outputs),
            Err(why) => self.break_hq_rule(format!("a row of its feeds does not read: {why}")),
        }
    }

    fn commit_hq_feeds(&mut self, changes: Changes, outputs: Vec<Output>) {
        if changes.is_empty() {
            self.carry_out_hq_feeds(outputs);
            return;
        }
        let boot = self.hq.boot;
        let program = self.hq.feeds.program.as_mut().expect("it has just run");
        program.pending = Some((changes, outputs));
        program.wake_at = None;
        self.agenda.after(disk::COMMIT, Event::HqFeedsCommitted { boot });
    }

    pub(in crate::world) fn hq_feeds_committed(&mut self) {
        let Some(program) = &mut self.hq.feeds.program else { return };
        let Some((changes, outputs)) = program.pending.take() else { return };
        self.shelve_hq(changes);
        self.carry_out_hq_feeds(outputs);
    }

    fn carry_out_hq_feeds(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { link, frame } => self.send_feeds(Node::Hq, link, frame),
                Output::Close { link, .. } => self.hq_hangs_up(link),
                Output::Tell(told) => self.push_hq(storemesh_protocol::hq::Input::Feeds(told)),
                Output::Appended { ticket, answer: Ok(_) } => self.said(ticket),
                Output::Appended { ticket, answer: Err(why) } => {
                    self.break_hq_rule(format!("its feeds refuse good order {ticket}: {why}"));
                }
                Output::Reject { .. } | Output::Event(_) => {}
            }
        }
        let now = self.agenda.now();
        let Some(program) = &self.hq.feeds.program else { return };
        let deadline = program.feeds.deadline();
        if !program.inbox.is_empty() {
            self.wake_hq_feeds(now + WAKE_UP);
        } else if deadline != Instant::NEVER {
            self.wake_hq_feeds(program.started + std::time::Duration::from_micros(deadline.0));
        }
    }

    fn brief_hq_feeds(&mut self, inputs: &[Input]) -> String {
        let mut said = format!("{} feeds", micros(self.agenda.now()));
        for input in inputs {
            said += " ";
            let part = match input {
                Input::Frame { link, bytes } => {
                    self.trace.bytes(bytes);
                    format!("on {link} {}", super::rules::parts(bytes))
                }
                Input::Up { link, peer, .. } => format!("up {link} {}", self.who(peer)),
                Input::Down { .. }
                | Input::Append { .. }
                | Input::End { .. }
                | Input::Settle { .. }
                | Input::Tick => format!("{input:?}"),
            };
            said.push_str(&part);
        }
        said
    }

    fn step_hq_feeds(&mut self, mut said: String, outputs: &[Output]) {
        for (at, output) in outputs.iter().enumerate() {
            said += if at == 0 { " -> " } else { ", " };
            let part = match output {
                Output::Send { link, frame } => {
                    self.trace.bytes(frame);
                    format!("on {link} {}", super::rules::parts(frame))
                }
                Output::Close { .. }
                | Output::Appended { .. }
                | Output::Tell(_)
                | Output::Reject { .. }
                | Output::Event(_) => format!("{output:?}"),
            };
            said.push_str(&part);
        }
        self.trace.step("hq", said);
    }
}

impl Program {
    fn local(&self, now: Time) -> Instant {
        let micros = now.saturating_sub(self.started).as_micros();
        Instant(u64::try_from(micros).expect("a run is short"))
    }
}
