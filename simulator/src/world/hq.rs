//! What drives the one HQ's composite: the same contract as the program's driver.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use storemesh_keys::{
    ChainId, HqSigner, InvitationCode, OnlineKey, SecretKey, Signed, Timestamp, Trust,
};
use storemesh_protocol::{
    Instant, Rows, Save,
    content::{ChunkId, ChunkRef},
    hq::{Hq, Input, LinkId, Order, Output},
    terminal::{Join, JoinInput, JoinOutput},
};

use super::{
    Event, World,
    clock::Time,
    disk,
    feeds::{HqSide, Shelf},
    link::Class,
    net::{ConnId, Node, Packet, What},
    orders::Wish,
    release::name,
    terminal::{BATCH_MAX, WAKE_UP, micros},
};

/// The chain's time when the world begins.
const BEGAN: Timestamp = Timestamp(1_800_000_000_000);
const SERVE: Duration = Duration::from_millis(2);

pub(super) fn wall(now: Time) -> Timestamp {
    BEGAN.plus(now)
}

#[derive(Debug)]
pub(super) struct HqHost {
    pub(super) key: SecretKey,
    chain: ChainId,
    signer: HqSigner,
    pub(super) powered: bool,
    pub(super) boot: u32,
    rows: Rows,
    pub(super) chunks: BTreeSet<ChunkId>,
    pub(super) program: Option<HqProgram>,
    pub(super) orders: BTreeMap<u64, Wish>,
    pub(super) tickets: u64,
    pub(super) feeds: HqSide,
    root: SecretKey,
    generation: u64,
    /// What an operator has put aside: rows and feeds.
    backup: Option<(Rows, Shelf)>,
}

#[derive(Debug)]
pub(super) struct HqProgram {
    hq: Hq,
    started: Time,
    inbox: VecDeque<Input>,
    running: bool,
    pending: Option<(Vec<Save>, Vec<Output>)>,
    links: BTreeSet<LinkId>,
    /// HQ serves chunks on these.
    fetching: BTreeSet<LinkId>,
}

impl HqHost {
    pub(super) fn new(root: SecretKey, key: SecretKey) -> Self {
        let chain = ChainId::of_root(root.public());
        Self {
            signer: signer(&root, &key, 1),
            generation: 1,
            root,
            backup: None,
            feeds: HqSide::default(),
            key,
            chain,
            powered: true,
            boot: 0,
            rows: Rows::default(),
            chunks: BTreeSet::new(),
            program: None,
            orders: BTreeMap::new(),
            tickets: 0,
        }
    }
}

/// The root vouches for the key in this generation.
fn signer(root: &SecretKey, key: &SecretKey, generation: u64) -> HqSigner {
    let chain = ChainId::of_root(root.public());
    let year = Duration::from_hours(365 * 24);
    let online = OnlineKey {
        chain,
        name: name("chain"),
        generation,
        key: key.public(),
        from: BEGAN,
        until: BEGAN.plus(year),
    };
    let trust = Trust { chain, generation_min: 0 };
    let signer = HqSigner::new(key.clone(), Signed::sign(root, &online), &trust);
    signer.expect("the root has just signed it")
}

impl HqHost {
    pub(super) fn signs(&self) -> (HqSigner, Trust) {
        (self.signer.clone(), Trust { chain: self.chain, generation_min: 0 })
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn chain(&self) -> ChainId {
        self.chain
    }
}

impl World {
    pub(super) fn start_hq(&mut self) {
        if self.hq.program.is_some() {
            return;
        }
        let now = self.agenda.now();
        let trust = Trust { chain: self.hq.chain, generation_min: 0 };
        let hq = Hq::load(self.hq.signer.clone(), trust, &self.hq.rows);
        self.hq.powered = true;
        self.hq.boot += 1;
        self.hq.program = Some(HqProgram {
            hq: hq.expect("HQ starts from what it saved"),
            started: now,
            inbox: VecDeque::new(),
            running: false,
            pending: None,
            links: BTreeSet::new(),
            fetching: BTreeSet::new(),
        });
        self.trace.step("hq", format!("{} starts", micros(now)));
        self.start_hq_feeds();
        self.paths_changed();
    }

    pub(super) fn kill_hq(&mut self) {
        let Some(program) = self.hq.program.take() else { return };
        self.hq.boot += 1;
        if let Some((saves, _)) = program.pending
            && self.chance.hits(500)
        {
            for save in &saves {
                self.hq.rows.apply(save);
            }
        }
        self.trace.step("hq", format!("{} is killed", micros(self.agenda.now())));
        self.kill_hq_feeds();
        self.drop_all(Node::Hq);
    }

    pub(super) fn backup_hq(&mut self) {
        self.hq.backup = Some((self.hq.rows.clone(), self.hq.feeds.shelf.clone()));
    }

    /// HQ, which is switched off now, is as it was when it was put aside; whether it was ever.
    pub(super) fn put_back_hq(&mut self) -> bool {
        let Some((rows, left)) = self.hq.backup.clone() else { return false };
        self.kill_hq();
        (self.hq.rows, self.hq.feeds.shelf) = (rows, left);
        // What was ordered since is forgotten.
        self.wanted = None;
        true
    }

    /// An operator says so, and HQ will speak in the next generation.
    pub(super) fn say_restored(&mut self) {
        self.kill_hq();
        self.hq.generation += 1;
        self.hq.signer = signer(&self.hq.root, &self.hq.key, self.hq.generation);
    }

    /// With a real code, the real exchange, and no network in between.
    pub(super) fn join(&mut self, t: usize) {
        let wall = wall(self.agenda.now());
        let secret = SecretKey::from_seed(self.chance.bytes());
        let (store, valid) =
            (self.stores[self.hosts[t].store].name.clone(), Duration::from_hours(1));
        let invite = Order::Invite { store, invitation: secret.public(), valid };
        self.hq_now(Input::Order { ticket: 0, order: invite });
        let host = &self.hosts[t];
        let code = InvitationCode::new(vec!["hq:7400".to_owned()], self.hq.chain, secret);
        let code = code.expect("one good address");
        let mut join = Join::new(host.peer, host.name.clone(), code, wall);
        let link = LinkId::MAX - t as u64;
        let mut to_hq = vec![Input::Connected { link, peer: host.peer }];
        let mut to_join = vec![JoinInput::UplinkUp { hq: self.hq.key.public() }];
        while !to_hq.is_empty() || !to_join.is_empty() {
            for input in std::mem::take(&mut to_hq) {
                for output in self.hq_now(input) {
                    if let Output::Send { frame, .. } = output {
                        to_join.push(JoinInput::UplinkFrame(frame));
                    }
                }
            }
            for input in std::mem::take(&mut to_join) {
                for output in join.handle(input) {
                    match output {
                        JoinOutput::SendUp(bytes) => to_hq.push(Input::Frame { link, bytes }),
                        JoinOutput::Joined(kept) => self.hosts[t].disk.rows.apply(&kept.save()),
                        JoinOutput::Refused(why) | JoinOutput::NotHq(why) => {
                            panic!("a terminal with a good code cannot join: {why}")
                        }
                    }
                }
            }
        }
        self.hq_now(Input::Disconnected { link });
    }

    /// Handled and committed at once: for what is set up before the story.
    pub(super) fn hq_now(&mut self, input: Input) -> Vec<Output> {
        let now = self.agenda.now();
        let program = self.hq.program.as_mut().expect("HQ runs while a store is set up");
        let outputs = program.hq.handle(program.local(now), wall(now), input);
        for output in &outputs {
            if let Output::Save(save) = output {
                self.hq.rows.apply(save);
            }
        }
        outputs
    }

    // The loop.

    pub(super) fn push_hq(&mut self, input: Input) {
        let boot = self.hq.boot;
        let Some(program) = &mut self.hq.program else { return };
        program.inbox.push_back(input);
        if program.pending.is_none() && !std::mem::replace(&mut program.running, true) {
            self.agenda.after(WAKE_UP, Event::RunHq { boot });
        }
    }

    pub(super) fn is_hq_boot(&self, boot: u32) -> bool {
        self.hq.boot == boot
    }

    pub(super) fn run_hq(&mut self) {
        let now = self.agenda.now();
        let Some(program) = &mut self.hq.program else { return };
        if program.pending.is_some() {
            return;
        }
        program.running = false;
        let local = program.local(now);
        let mut batch = Vec::new();
        if program.hq.deadline() <= local {
            batch.push(Input::Tick);
        }
        let queued = program.inbox.len().min(BATCH_MAX);
        batch.extend(program.inbox.drain(..queued));
        let mut saves = Vec::new();
        let mut rest = Vec::new();
        for input in batch {
            let said = self.brief_hq_input(&input);
            let program = self.hq.program.as_mut().expect("it runs");
            let outputs = program.hq.handle(local, wall(now), input);
            let deadline = program.hq.deadline();
            self.step_hq(said, &outputs);
            if deadline <= local {
                self.break_hq_rule(format!("asks for a tick at {deadline:?}, it is {local:?}"));
            }
            for output in outputs {
                if let Output::Save(save) = output {
                    saves.push(save);
                } else {
                    rest.push(output);
                }
            }
        }
        if saves.is_empty() {
            self.hq_carry_out_all(rest);
        } else {
            let boot = self.hq.boot;
            self.hq.program.as_mut().expect("it runs").pending = Some((saves, rest));
            self.agenda.after(disk::COMMIT, Event::HqCommitted { boot });
        }
    }

    pub(super) fn hq_committed(&mut self) {
        let Some(program) = &mut self.hq.program else { return };
        let Some((saves, rest)) = program.pending.take() else { return };
        for save in &saves {
            self.hq.rows.apply(save);
        }
        self.hq_carry_out_all(rest);
    }

    fn hq_carry_out_all(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            let program = self.hq.program.as_mut().expect("it has just handled something");
            match output {
                Output::Save(_) => unreachable!("saves were committed before"),
                Output::Send { link, frame } => {
                    self.watch_hq_frame(&frame);
                    self.send_from(Node::Hq, link, Class::Control, Packet::Frame(frame));
                }
                Output::Close { link, .. } => self.hq_hangs_up(link),
                Output::Fetching { link, may: true } => {
                    if program.links.contains(&link) {
                        program.fetching.insert(link);
                    }
                }
                Output::Fetching { link, may: false } => _ = program.fetching.remove(&link),
                Output::Answer { ticket, answer } => self.told(ticket, answer),
                Output::Admitted { link, .. } => self.feeds_admitted(Node::Hq, link),
                Output::Gateway { .. } | Output::Enrolled { .. } => {}
            }
        }
        let fetching = self.hq.program.as_ref().map(|program| program.fetching.clone());
        for link in fetching.into_iter().flatten() {
            self.watch_serving(link);
        }
        let boot = self.hq.boot;
        let Some(program) = &mut self.hq.program else { return };
        if !program.inbox.is_empty() {
            if !std::mem::replace(&mut program.running, true) {
                self.agenda.after(WAKE_UP, Event::RunHq { boot });
            }
            return;
        }
        let deadline = program.hq.deadline();
        if deadline != Instant::NEVER {
            let left = deadline.since(program.local(self.agenda.now()));
            self.agenda.after(left, Event::RunHq { boot });
        }
    }

    // Links.

    pub(super) fn hq_link_up(&mut self, link: ConnId) {
        let Node::Terminal(t) = self.conns[&link].ends[0].node else { return };
        let Some(program) = &mut self.hq.program else { return };
        program.links.insert(link);
        self.push_hq(Input::Connected { link, peer: self.hosts[t].peer });
    }

    pub(super) fn hq_hangs_up(&mut self, link: LinkId) {
        self.hang_up_from(Node::Hq, link);
        self.hq_link_down(link);
    }

    pub(super) fn hq_link_down(&mut self, link: ConnId) {
        let Some(program) = &mut self.hq.program else { return };
        program.fetching.remove(&link);
        if program.links.remove(&link) {
            self.feeds_down(Node::Hq, link);
            self.push_hq(Input::Disconnected { link });
        }
    }

    pub(super) fn hq_hears(&mut self, link: ConnId, packet: Packet) {
        match packet {
            Packet::Frame(bytes) => {
                let Some(program) = &self.hq.program else { return };
                if program.links.contains(&link) {
                    self.push_hq(Input::Frame { link, bytes });
                }
            }
            Packet::Request { id, chunk } => self.hq_serves(link, id, chunk),
            Packet::Reply { .. } | Packet::OpenFeeds | Packet::Feeds(_) | Packet::CloseFeeds => {}
        }
    }

    fn hq_serves(&mut self, link: ConnId, id: u64, chunk: ChunkRef) {
        let Some(program) = &self.hq.program else { return };
        let what = if !program.fetching.contains(&link) {
            What::Reset
        } else if self.hq.chunks.contains(&chunk.id) {
            What::Right(chunk.stored)
        } else {
            What::Missing
        };
        self.agenda.after(SERVE, Event::Serve { conn: link, side: 1, id, what });
    }
}

impl HqProgram {
    fn local(&self, now: Time) -> Instant {
        Instant(
            u64::try_from(now.saturating_sub(self.started).as_micros()).expect("a run is short"),
        )
    }
}
