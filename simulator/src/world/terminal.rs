//! What drives one terminal's composite: the same contract as the program's driver.
//!
//! Inputs queue up; up to 256 are handled at one moment, a tick before them when it is due; their
//! saves are committed, which takes a moment and may be the moment the power goes; then the other
//! outputs are carried out in order. It decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use storemesh_keys::{Name, PeerId, SecretKey};
use storemesh_protocol::{
    Instant, Save,
    content::{ChunkId, ListId},
    feeds::terminal::RoomFor,
    terminal::{DiskAnswer, Hardware, Input, Output, Setup, Source, Terminal},
};

use super::{
    Event, World,
    clock::Time,
    disk::{self, Disk},
    feeds, hq,
    link::{Class, Lane},
    net::{ConnId, Node, Packet},
    times,
    work::{Job, Requests},
};

pub(super) const BATCH_MAX: usize = 256;
/// From an input's arrival to its turn: a thread that wakes up.
pub(super) const WAKE_UP: Duration = Duration::from_micros(50);

/// A computer in a store.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault that comes and goes by itself")]
#[derive(Debug)]
pub(super) struct Host {
    pub(super) key: SecretKey,
    pub(super) peer: PeerId,
    pub(super) name: Name,
    /// As the trace calls it.
    pub(super) label: String,
    pub(super) store: usize,
    pub(super) address: SocketAddr,
    pub(super) up: Lane,
    pub(super) down: Lane,
    /// How often its address changed.
    pub(super) moves: u8,
    /// Which side of a split LAN it is on.
    pub(super) part: u8,
    pub(super) wireless: bool,
    /// It hears, and nothing that it sends arrives anywhere.
    pub(super) unheard: bool,
    /// It alone is kept from HQ, by a firewall say.
    pub(super) hq_blocked: bool,
    /// Its own way to HQ is so much longer than its neighbours'.
    pub(super) hq_delay: Duration,
    /// Its program does not run for a moment: what happens to it meanwhile.
    pub(super) asleep: Option<Vec<Event>>,
    pub(super) powered: bool,
    pub(super) manners: Manners,
    pub(super) disk: Disk,
    pub(super) room: RoomFor,
    pub(super) boot: u32,
    pub(super) program: Option<Program>,
    pub(super) feeds: feeds::Side,
}

/// How it answers its neighbours' requests for chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    Honest,
    Liar,
    Mute,
}

#[derive(Debug)]
pub(super) struct Program {
    pub(super) terminal: Terminal,
    pub(super) started: Time,
    inbox: VecDeque<Input>,
    /// A wake-up is on the agenda for then.
    wake_at: Option<Time>,
    pending: Option<(Vec<Save>, Vec<Output>)>,
    pub(super) lines: BTreeMap<PeerId, ConnId>,
    /// Since when each neighbour's certificate is known to be good.
    pub(super) admitted: BTreeMap<PeerId, Time>,
    pub(super) uplink: Uplink,
    pub(super) calls: u64,
    pub(super) requests: BTreeMap<Source, Requests>,
    /// For the rules (`watch`): what the composite knows to be here and may tell of, since when.
    pub(super) offers: BTreeMap<ListId, BTreeMap<ChunkId, Time>>,
    pub(super) asked: BTreeMap<Source, BTreeMap<ChunkId, u32>>,
    /// For the rules (`rumours`): what each neighbour has told of its chunks.
    pub(super) told: BTreeMap<PeerId, BTreeMap<ListId, BTreeSet<u32>>>,
    /// For the rules (`rumours`): frames sent in this second.
    pub(super) spoke: (u64, u32),
    /// The newest lease for the whole store that it has told of.
    pub(super) told_lease: (u64, u64),
    pub(super) shunned: BTreeSet<PeerId>,
    /// For the rules (`grants`): when it last offered its lease to another.
    pub(super) offered: Option<Time>,
    /// It has been asked to end, and does once what that brings is done.
    pub(super) stopping: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uplink {
    None,
    /// Which call it is: an older one's failure says nothing.
    Calling(u64),
    Up(ConnId),
}

impl World {
    pub(super) fn start_terminal(&mut self, t: usize) {
        let now = self.agenda.now();
        let host = &mut self.hosts[t];
        if !host.powered || host.program.is_some() || host.feeds.is_destroyed() {
            return;
        }
        host.boot += 1;
        host.disk.closed(now);
        let seed = self.chance.number();
        let wall = times::own_clock(seed, hq::wall(now));
        let setup =
            Setup { key: host.key.clone(), seed, wall, neighbours: Vec::new(), hq_list: true };
        let loaded = Terminal::load(setup, &host.disk.rows, Instant(0));
        let (terminal, outputs) = loaded.expect("a terminal starts from what it saved");
        host.program = Some(Program {
            terminal,
            started: now,
            inbox: VecDeque::new(),
            wake_at: None,
            pending: None,
            lines: BTreeMap::new(),
            admitted: BTreeMap::new(),
            uplink: Uplink::None,
            calls: 0,
            requests: BTreeMap::new(),
            offers: BTreeMap::new(),
            asked: BTreeMap::new(),
            told: BTreeMap::new(),
            spoke: (0, 0),
            told_lease: (0, 0),
            shunned: BTreeSet::new(),
            offered: None,
            stopping: false,
        });
        let (label, boot) = (host.label.clone(), host.boot);
        let standing = host.disk.standing();
        let listen = vec![host.address];
        let hardware = Hardware { wired: !host.wireless, mains: true };
        self.trace
            .step(&label, format!("{} starts, boot {boot}, its clock at {wall}", micros(now)));
        self.start_feeds(t);
        self.commit_or_carry_out(t, outputs);
        self.push(t, Input::Listening(listen));
        self.push(t, Input::Hardware(hardware));
        for (release, manifest, current) in standing {
            self.push(t, Input::Disk(DiskAnswer::Standing { release, manifest, current }));
        }
        self.agenda.after(Duration::from_millis(20), Event::DiskDone { t, boot, job: Job::Ready });
        self.agenda.after(Duration::from_millis(30), Event::Announce { t, boot });
    }

    /// The program is gone at once, with all it did not commit.
    pub(super) fn kill_terminal(&mut self, t: usize) {
        self.allow_for_leaving(t);
        if self.hosts[t].asleep.take().is_some() {
            self.paths_changed();
        }
        let now = self.agenda.now();
        let host = &mut self.hosts[t];
        let Some(program) = host.program.take() else { return };
        host.boot += 1;
        host.disk.closed(now);
        // The commit that was under way is on disk whole, or not at all.
        if let Some((saves, _)) = program.pending
            && self.chance.hits(500)
        {
            for save in &saves {
                host.disk.rows.apply(save);
            }
        }
        self.trace.step(&host.label, format!("{} is killed", micros(now)));
        self.kill_feeds(t);
        self.drop_all(Node::Terminal(t));
    }

    /// As an operator stops it: it may say good-bye.
    pub(super) fn stop_terminal(&mut self, t: usize) {
        if let Some(program) = &mut self.hosts[t].program {
            program.stopping = true;
            self.push(t, Input::Stopping);
        }
    }

    pub(super) fn cut_power(&mut self, t: usize) {
        self.hosts[t].powered = false;
        self.paths_changed();
        self.kill_terminal(t);
        self.hosts[t].disk.power_cut(&mut self.chance);
    }

    pub(super) fn push(&mut self, t: usize, input: Input) {
        let Some(program) = &mut self.hosts[t].program else { return };
        program.inbox.push_back(input);
        let at = self.agenda.now() + WAKE_UP;
        self.wake(t, at);
    }

    fn wake(&mut self, t: usize, at: Time) {
        let boot = self.hosts[t].boot;
        let Some(program) = &mut self.hosts[t].program else { return };
        if program.pending.is_none() && program.wake_at.is_none_or(|before| at < before) {
            program.wake_at = Some(at);
            self.agenda.at(at, Event::Run { t, boot });
        }
    }

    /// One turn of the driver's loop.
    pub(super) fn run_terminal(&mut self, t: usize) {
        let now = self.agenda.now();
        let Some(program) = &mut self.hosts[t].program else { return };
        if program.pending.is_some() {
            return;
        }
        program.wake_at = None;
        let local = program.local(now);
        let mut batch = Vec::new();
        if program.terminal.deadline(local) <= local {
            batch.push(Input::Tick);
        }
        let queued = program.inbox.len().min(BATCH_MAX);
        batch.extend(program.inbox.drain(..queued));
        let mut all = Vec::new();
        for input in batch {
            let said = self.brief_input(t, &input);
            self.before_input(t, &input);
            let program_now = self.hosts[t].program.as_mut().expect("it runs");
            let outputs = program_now.terminal.handle(local, input);
            let deadline = program_now.terminal.deadline(local);
            self.step(t, said, &outputs);
            if deadline <= local {
                self.break_rule(t, format!("asks for a tick at {deadline:?}, and it is {local:?}"));
            }
            for output in &outputs {
                self.watch_output(t, output);
            }
            self.watch_cancels(t);
            self.watch_time(t);
            all.extend(outputs);
        }
        self.commit_or_carry_out(t, all);
    }

    fn commit_or_carry_out(&mut self, t: usize, outputs: Vec<Output>) {
        let mut saves = Vec::new();
        let mut rest = Vec::new();
        for output in outputs {
            if let Output::Save(save) = output {
                saves.push(save);
            } else {
                rest.push(output);
            }
        }
        if saves.is_empty() {
            self.carry_out_all(t, rest);
            return;
        }
        let boot = self.hosts[t].boot;
        let program = self.hosts[t].program.as_mut().expect("it has just handled something");
        program.pending = Some((saves, rest));
        program.wake_at = None;
        self.agenda.after(disk::COMMIT, Event::Committed { t, boot });
    }

    pub(super) fn committed(&mut self, t: usize) {
        let host = &mut self.hosts[t];
        let Some(program) = &mut host.program else { return };
        let Some((saves, rest)) = program.pending.take() else { return };
        for save in &saves {
            host.disk.rows.apply(save);
        }
        self.carry_out_all(t, rest);
    }

    fn carry_out_all(&mut self, t: usize, outputs: Vec<Output>) {
        for output in outputs {
            self.carry_out(t, output);
        }
        let now = self.agenda.now();
        let Some(program) = &self.hosts[t].program else { return };
        if program.stopping && program.inbox.is_empty() {
            self.kill_terminal(t);
            return;
        }
        let at = if program.inbox.is_empty() {
            let deadline = program.terminal.deadline(program.local(now));
            if deadline == Instant::NEVER {
                return;
            }
            program.started + Duration::from_micros(deadline.0)
        } else {
            now + WAKE_UP
        };
        self.wake(t, at);
    }

    fn carry_out(&mut self, t: usize, output: Output) {
        match output {
            Output::Save(_) => unreachable!("saves were committed before"),
            Output::Dial { address, peer } => self.dial(t, address, peer),
            Output::Close { peer, .. } => self.close(t, peer),
            Output::Send { peer, frame } => {
                let program = self.hosts[t].program.as_ref().expect("it runs");
                if let Some(conn) = program.lines.get(&peer).copied() {
                    self.send_from(Node::Terminal(t), conn, Class::Control, Packet::Frame(frame));
                }
            }
            Output::Admitted { peer, .. } => {
                let now = self.agenda.now();
                let program = self.hosts[t].program.as_mut().expect("it runs");
                if let Some(conn) = program.lines.get(&peer).copied() {
                    program.admitted.insert(peer, now);
                    self.feeds_admitted(Node::Terminal(t), conn);
                }
            }
            Output::OpenUplink { .. } => self.open_uplink(t),
            Output::CloseUplink => self.close_uplink(t),
            Output::SendUp(frame) => {
                let program = self.hosts[t].program.as_ref().expect("it runs");
                if let Uplink::Up(conn) = program.uplink {
                    self.send_from(Node::Terminal(t), conn, Class::Control, Packet::Frame(frame));
                }
            }
            Output::Fetch { from, chunk } => self.fetch(t, from, chunk),
            Output::Cancel { from, chunk } => self.cancel(t, from, chunk),
            Output::Disk(job) => self.disk_job(t, job),
            Output::OpenFeeds => {
                let program = self.hosts[t].program.as_ref().expect("it runs");
                if let Uplink::Up(conn) = program.uplink {
                    self.open_feeds(Node::Terminal(t), conn);
                }
            }
            Output::Feeds(told) => {
                self.push_feeds(t, storemesh_protocol::feeds::terminal::Input::Told(told));
            }
            Output::Reject { .. } | Output::Event(_) => {}
        }
    }
}

impl Program {
    pub(super) fn local(&self, now: Time) -> Instant {
        Instant(
            u64::try_from(now.saturating_sub(self.started).as_micros()).expect("a run is short"),
        )
    }
}

pub(super) fn micros(at: Time) -> String {
    format!("{:>11}", at.as_micros())
}
