//! One terminal: routes what comes in to the machines that decide, and gathers what they want done.
//!
//! It owns whom to dial (`finder`), who is let in (`admission`), whether it is the gateway
//! (`gateway`), what it installs (`install`), which chunk is asked of whom (`swarm`), what it tells
//! of itself (`presence`), whom it cannot reach (`reach`) and what time it is (`time`). The program on a terminal and the simulator drive this same composite.
//! Frames are decoded and signatures checked here at the edge; the machines see verified statements
//! alone. Nothing that a neighbour or HQ sends can make it fail: it is rejected, by name.

mod addresses;
mod admission;
mod feeds;
mod io;
mod join;
mod membership;
mod mesh;
mod reach;
mod status;
mod time;
mod uplink;
mod why;

#[cfg(test)]
mod tests;

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use storemesh_keys::{
    Expiry, HqSigned, Name, PeerId, SecretKey, Timestamp, Trust, Verified, VerifyError,
};

use self::{
    admission::Neighbour,
    reach::Reach,
    uplink::Uplink,
    why::{NotReached, Refusals},
};
pub use self::{
    admission::{CERTIFICATE_GRACE, GREETING_TIMEOUT},
    io::{Event, FetchError, Hardware, Input, Output, Source},
    join::{Join, JoinInput, JoinOutput},
    membership::Membership,
    status::{
        ApartView, GatewayView, NeighbourRelease, NeighbourView, ReleaseView, Status, UplinkView,
    },
    time::floor,
    why::{Answer, Ask, Question, State},
};
use crate::{
    BadRow, Instant, Lease, Rows, Save,
    feeds::{Ended, Wanted},
    finder::{self, Finder},
    gateway::{self, Gateway},
    install::{self, Installer},
    pace::Paces,
    presence::{self, Presences, To},
    swarm::{self, Swarm},
    time::clock::{self, HqClock},
    wire::mesh::{Phase, Presence, ProductState},
};
pub use crate::{
    disk::{DiskAnswer, DiskError, DiskJob},
    finder::FoundBy,
    gateway::AUXILIARY_BYTES_AFTER,
    install::{Lacking, Limit, Room},
    time::clock::{TimeSource, TimeView},
};

const DISK_REFUSES: &str =
    "the disk does not take what was fetched: look after it; what is there already is kept";

/// A product, the version that runs, and a phase that lasts.
type Milestone = (Name, Option<Name>, Option<Phase>);

const LEASE: &str = "lease.1";
const WANTED: &str = "wanted.2";
/// Where older versions kept what HQ wanted; it comes again in HQ's feed.
const WANTED_BEFORE: &str = "wanted.1";
const NEIGHBOURS: &str = "neighbours.1";

/// Every table a terminal keeps.
pub const TABLES: &[&str] =
    &[membership::MEMBERSHIP, LEASE, WANTED, WANTED_BEFORE, NEIGHBOURS, time::TIME];

/// What the driver knows at start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This terminal's identity: it signs what HQ must hear from its own mouth.
    pub key: SecretKey,
    /// Random, this start's own.
    pub seed: u64,
    /// The machine's wall clock.
    pub wall: Timestamp,
    /// Neighbours' addresses from the configuration.
    pub neighbours: Vec<SocketAddr>,
    /// Whether the addresses that HQ tells are used; off only to try the other ways alone.
    pub hq_list: bool,
}

/// Why a terminal cannot start from its data folder.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    #[error("this terminal has not joined a store: run `storemesh join CODE`")]
    NotJoined,
    #[error(
        "the data folder belongs to terminal {found}, but the identity key is {me}'s: each \
         terminal needs its own folder, join this one anew in an empty one"
    )]
    AnotherTerminal { found: PeerId, me: PeerId },
    #[error("what HQ said once does not verify any more: {0}")]
    Untrusted(#[from] VerifyError),
    #[error(transparent)]
    Row(#[from] BadRow),
}

#[derive(Debug)]
pub struct Terminal {
    me: PeerId,
    key: SecretKey,
    hardware: Hardware,
    membership: Membership,
    trust: Trust,
    clock: HqClock,
    hq_list: bool,
    started: Instant,
    first_neighbour_chunk: Option<Instant>,
    listen: Vec<SocketAddr>,
    neighbours: BTreeMap<PeerId, Neighbour>,
    /// Of the store's terminals, whether they are here or not.
    names: BTreeMap<PeerId, Name>,
    uplink: Uplink,
    hq_not_reached: Option<NotReached>,
    refusals: Refusals,
    finder: Finder,
    gateway: Gateway,
    installer: Installer,
    swarm: Swarm,
    presences: Presences,
    /// Neighbours' addresses.
    moves: Paces<Vec<SocketAddr>>,
    /// What all neighbours were told last of how the releases are.
    milestones: Vec<Milestone>,
    reach: Reach,
    /// Whom the feeds keep out.
    kept_out: BTreeSet<PeerId>,
    /// On what HQ has ended this terminal.
    ended: Ended,
    /// The feeds have none for what others write.
    no_room_for_feeds: bool,
    told: feeds::Told,
}

impl Terminal {
    /// Goes on from what was saved; the outputs are to be carried out like any others.
    ///
    /// # Errors
    /// Says what the person at the terminal should do.
    pub fn load(setup: Setup, rows: &Rows, now: Instant) -> Result<(Self, Vec<Output>), LoadError> {
        let membership = Membership::load(rows)?.ok_or(LoadError::NotJoined)?;
        let (found, me) = (membership.certificate.peer, setup.key.peer_id());
        if found != me {
            return Err(LoadError::AnotherTerminal { found, me });
        }
        let trust = membership.trust();
        let known = |signed: &HqSigned<Lease>| signed.verify(&trust, setup.wall, Expiry::Ignored);
        let lease = rows.one::<HqSigned<Lease>>(LEASE, b"")?.map(|l| known(&l)).transpose()?;
        let mut wanted = Vec::new();
        for row in rows.read::<Wanted>(WANTED) {
            wanted.push(row?.1);
        }
        let orders = wanted.iter().map(|wanted| wanted.at);
        let signed = orders.chain(lease.as_ref().map(|lease| lease.at));
        let signed = signed.chain([membership.certificate.from]);
        let mut terminal = Self {
            me,
            key: setup.key,
            hardware: Hardware::default(),
            clock: time::load(setup.wall, rows, signed, now)?,
            trust,
            hq_list: setup.hq_list,
            started: now,
            first_neighbour_chunk: None,
            listen: Vec::new(),
            neighbours: BTreeMap::new(),
            names: BTreeMap::new(),
            uplink: Uplink::Down,
            hq_not_reached: None,
            refusals: Refusals::default(),
            finder: Finder::new(me),
            gateway: Gateway::new(me, lease, now),
            installer: Installer::new(wanted.into_iter()),
            swarm: Swarm::new(setup.seed, now),
            presences: Presences::new(),
            moves: Paces::default(),
            milestones: Vec::new(),
            reach: Reach::new(me),
            kept_out: BTreeSet::new(),
            ended: Ended::default(),
            no_room_for_feeds: false,
            told: feeds::Told::default(),
            membership,
        };
        let mut outputs = Vec::new();
        for row in rows.read::<admission::Remembered>(NEIGHBOURS) {
            let (_, known) = row?;
            if let Some(name) = known.name {
                terminal.names.insert(known.peer, name);
            }
            // The newest found is tried first, and the first remembered is the best.
            for address in known.listen.into_iter().rev() {
                let by = FoundBy::Remembered;
                terminal.find(
                    now,
                    finder::Input::Found { peer: known.peer, address, by },
                    &mut outputs,
                );
            }
        }
        for address in setup.neighbours {
            terminal.find(now, finder::Input::Configured(address), &mut outputs);
        }
        terminal.tell_feeds(now, &mut outputs);
        Ok((terminal, outputs))
    }

    /// Takes one input and returns what must now be done, in that order, saves before the rest.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.route(now, input, &mut outputs);
        let presence = self.presences.handle(now, presence::Input::Tick);
        self.tell_presence(presence, &mut outputs);
        self.tell_feeds(now, &mut outputs);
        outputs
    }

    /// When [`Input::Tick`] is due; later than the `now` of the last input handled.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Instant {
        let greetings = self.neighbours.values().map(Neighbour::deadline);
        [
            self.finder.deadline(),
            self.gateway.deadline(),
            self.installer.deadline(),
            self.swarm.deadline(now),
            self.presences.deadline(),
            self.clock.deadline(),
            self.reach.deadline(),
            self.moves.deadline(),
        ]
        .into_iter()
        .chain(greetings)
        .fold(Instant::NEVER, Instant::min)
    }

    fn route(&mut self, now: Instant, input: Input, outputs: &mut Vec<Output>) {
        match input {
            Input::Listening(addresses) => self.listening(now, addresses, outputs),
            Input::Hardware(hardware) => {
                self.hardware = hardware;
                self.gateway(now, gateway::Input::Hardware(hardware), outputs);
            }
            Input::Discovered { peer, address, by } => {
                self.find(now, finder::Input::Found { peer, address, by }, outputs);
            }
            Input::DialFailed { address, peer } => {
                self.find(now, finder::Input::DialFailed { peer, address }, outputs);
            }
            Input::Connected { peer, address } => self.connected(now, peer, address, outputs),
            Input::Disconnected { peer } => self.disconnected(now, peer, outputs),
            Input::Frame { peer, bytes } => self.frame(now, peer, &bytes, outputs),
            Input::UplinkUp { hq } => self.uplink_up(now, hq, outputs),
            Input::UplinkFrame(bytes) => self.uplink_frame(now, &bytes, outputs),
            Input::UplinkDown { why } => self.uplink_down(now, why, outputs),
            Input::Disk(answer) => self.install(now, install::Input::Disk(answer), outputs),
            Input::Fetched { from, chunk, bytes } => {
                if matches!(from, Source::Neighbour(_)) {
                    self.first_neighbour_chunk.get_or_insert(now);
                }
                self.swarm(now, swarm::Input::Fetched { from, chunk, bytes }, outputs);
                if let (Source::Hq, Some(rate)) = (from, self.swarm.hq_rate()) {
                    self.gateway(now, gateway::Input::Rate(rate), outputs);
                }
                self.changed(now, outputs);
            }
            Input::NotFetched { from, chunk, why } => {
                self.swarm(now, swarm::Input::NotFetched { from, chunk, why }, outputs);
                let refused = match why {
                    FetchError::Disk => DiskError::Failed(DISK_REFUSES.to_owned()),
                    FetchError::NoRoom => DiskError::NoRoom,
                    FetchError::Missing | FetchError::Wrong | FetchError::Lost => return,
                };
                self.install(now, install::Input::DiskRefuses(refused), outputs);
            }
            Input::Answered { peer, address } => {
                self.find(now, finder::Input::Answered { peer, address }, outputs);
            }
            Input::Feeds(told) => self.hear_feeds(now, told, outputs),
            Input::Stopping => self.gateway(now, gateway::Input::Stopping, outputs),
            Input::Tick => {
                self.find(now, finder::Input::Tick, outputs);
                self.gateway(now, gateway::Input::Tick, outputs);
                self.install(now, install::Input::Tick, outputs);
                self.swarm(now, swarm::Input::Tick, outputs);
                self.end_late_greetings(now, outputs);
                self.hear_late_listens(now, outputs);
                self.reach(now, reach::Input::Tick, outputs);
                self.time(now, clock::Input::Tick, outputs);
            }
        }
    }

    // Each machine's outputs, mapped.

    fn find(&mut self, now: Instant, input: finder::Input, outputs: &mut Vec<Output>) {
        for output in self.finder.handle(now, input) {
            let finder::Output::Dial { peer, address } = output;
            outputs.push(Output::Dial { peer, address });
        }
    }

    fn gateway(&mut self, now: Instant, input: gateway::Input, outputs: &mut Vec<Output>) {
        for output in self.gateway.handle(now, input) {
            match output {
                gateway::Output::OpenUplink => {
                    self.uplink = Uplink::Opening;
                    let addresses = self.membership.hq.clone();
                    outputs.push(Output::OpenUplink { addresses });
                }
                gateway::Output::CloseUplink => {
                    self.uplink = Uplink::Down;
                    outputs.push(Output::CloseUplink);
                }
                gateway::Output::Ask => outputs.push(uplink::ask_lease()),
                gateway::Output::Spread(lease) => {
                    if lease.part == 0 {
                        outputs.push(Output::Save(Save::put(LEASE, b"", lease.signed())));
                    }
                    self.time(now, clock::Input::Signed(lease.at), outputs);
                    self.spread_lease(&lease, outputs);
                    outputs.push(Output::Event(Event::Gateway {
                        peer: lease.holder,
                        name: self.name_of(&lease.holder),
                        epoch: lease.epoch,
                        me: lease.holder == self.me,
                    }));
                }
                gateway::Output::Serve => {
                    let away = self.names.keys().filter(|peer| !self.is_admitted(peer));
                    let away = away.copied().filter(|peer| *peer != self.me).collect();
                    self.swarm(now, swarm::Input::HqUp { away }, outputs);
                }
                gateway::Output::Rest => self.swarm(now, swarm::Input::HqDown, outputs),
                gateway::Output::TellDark => self.spread_dark(outputs),
                gateway::Output::TellBright => self.spread_bright(outputs),
                gateway::Output::GiveBack(to) => outputs.push(uplink::give_back(to)),
                gateway::Output::Offer(peer) => outputs.push(mesh::offer(peer)),
                gateway::Output::TellCandidate(candidate) => {
                    self.spread_candidate(candidate, outputs);
                }
                gateway::Output::AskUnseen(asked) => self.spread_ask_unseen(asked, outputs),
                gateway::Output::AskPart { challenge, words } => {
                    outputs.push(uplink::ask_part(challenge, &words));
                }
            }
        }
        let near = |lease: &&Verified<Lease>| self.is_admitted(&lease.holder);
        let to = match (self.gateway.speaks_by(), self.gateway.gateway().filter(near)) {
            (Some(mine), _) => To::Hq { epoch: mine.epoch },
            (None, Some(theirs)) => To::Neighbour(theirs.holder),
            (None, None) => To::Nobody,
        };
        let presence = self.presences.handle(now, presence::Input::Gateway(to));
        self.tell_presence(presence, outputs);
        let gateway = self.gateway.gateway().map(|lease| lease.holder);
        self.swarm(now, swarm::Input::Gateway(gateway), outputs);
        self.reach(now, reach::Input::Gateway(gateway), outputs);
        self.time(now, clock::Input::Speaks(self.gateway.speaks()), outputs);
    }

    fn reach(&mut self, now: Instant, input: reach::Input, outputs: &mut Vec<Output>) {
        if let Some(reach::Output::Tell(terminals)) = self.reach.handle(now, input) {
            self.spread_sees(&terminals, outputs);
        }
    }

    fn install(&mut self, now: Instant, input: install::Input, outputs: &mut Vec<Output>) {
        for output in self.installer.handle(now, input) {
            match output {
                install::Output::Disk(job) => outputs.push(Output::Disk(job)),
                install::Output::Expect { chunks } => {
                    self.swarm(now, swarm::Input::Expect { chunks }, outputs);
                }
                install::Output::Seek { chunks, have } => {
                    self.swarm(now, swarm::Input::Seek { chunks, have }, outputs);
                }
                install::Output::Hold(list) => {
                    self.swarm(now, swarm::Input::Hold(list), outputs);
                }
                install::Output::Drop(list) => {
                    self.swarm(now, swarm::Input::Drop(list), outputs);
                }
                install::Output::Event(event) => outputs.push(Output::Event(event)),
            }
        }
        self.tell_room(now, outputs);
        self.changed(now, outputs);
    }

    fn swarm(&mut self, now: Instant, input: swarm::Input, outputs: &mut Vec<Output>) {
        for output in self.swarm.handle(now, input) {
            match output {
                swarm::Output::Fetch { from, chunk } => outputs.push(Output::Fetch { from, chunk }),
                swarm::Output::Cancel { from, chunk } => {
                    outputs.push(Output::Cancel { from, chunk });
                }
                swarm::Output::TellHave { peer, list, chunks, looked } => {
                    outputs.push(mesh::tell_have(peer, list, chunks, looked));
                }
                swarm::Output::TellGot { peer, list, chunks } => {
                    outputs.extend(mesh::tell_got(peer, list, chunks));
                }
                swarm::Output::Complete(list) => {
                    self.install(now, install::Input::Complete(list), outputs);
                }
                swarm::Output::Suspect { from, why } => {
                    if let Source::Neighbour(peer) = from {
                        let (name, why) = (self.name_of(&peer), why.clone());
                        outputs.push(Output::Event(Event::Shunned { peer, name, why }));
                    }
                    outputs.push(Output::Reject { from, why });
                }
            }
        }
    }

    fn changed(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let output = self.presences.handle(now, presence::Input::Changed);
        self.tell_presence(output, outputs);
    }

    fn tell_presence(&mut self, output: Option<presence::Output>, outputs: &mut Vec<Output>) {
        match output {
            Some(presence::Output::Tell(peer)) => {
                let presence = self.presence();
                outputs.push(mesh::tell_presence(peer, presence.clone()));
                self.tell_milestones(&presence, Some(peer), outputs);
            }
            Some(presence::Output::Report(neighbours)) => {
                let presence = self.presence();
                self.report(presence.clone(), neighbours, outputs);
                self.tell_milestones(&presence, None, outputs);
            }
            None => {}
        }
    }

    /// The gateway hears every step; the others only what a person at their page would miss.
    fn tell_milestones(
        &mut self,
        presence: &Presence,
        gateway: Option<PeerId>,
        outputs: &mut Vec<Output>,
    ) {
        let milestone = |state: &ProductState| {
            let stands = matches!(state.phase, Phase::Running | Phase::NoRoom | Phase::Failed);
            (state.product.clone(), state.running.clone(), stands.then_some(state.phase))
        };
        let milestones: Vec<_> = presence.products.iter().map(milestone).collect();
        if self.milestones != milestones {
            self.milestones = milestones;
            let others = self.admitted().filter(|peer| Some(*peer) != gateway);
            outputs.extend(others.map(|peer| mesh::tell_presence(peer, presence.clone())));
        }
    }
}
