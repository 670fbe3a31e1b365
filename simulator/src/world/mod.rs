//! A chain in virtual time: one HQ, stores, and the very composites that the programs run.
//!
//! One clock, one list of events, one seed that decides everything: the same seed tells the same
//! story, byte for byte. Links have rate, delay and loss, a LAN has announcements, connections take
//! round trips to stand and break, disks keep what was committed. Signatures are the real ones;
//! chunks are descriptors without bytes. After every step the rules of `watch` are checked, and a
//! run ends at the first one broken.
//!
//! What the world does is what `node` and `hq` do around their composites; it leaves every decision
//! to those.

mod calls;
mod clock;
mod disk;
mod faults;
mod feeds;
mod grants;
mod hq;
mod link;
mod net;
mod orders;
mod reach;
mod release;
mod rumours;
mod story;
mod telling;
mod terminal;
mod times;
mod trace;
mod watch;
mod work;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use storemesh_keys::{Name, PeerId};
use storemesh_protocol::content::{ChunkId, ReleaseId};

use self::{
    clock::Agenda,
    faults::Fault,
    feeds::{Books, Tills},
    grants::{Grant, GrantId},
    hq::HqHost,
    link::{Class, Lane},
    net::{Conn, ConnId, Handshake, Node, Packet, What},
    release::Release,
    terminal::Host,
    trace::Trace,
    work::Job,
};
pub use self::{
    clock::Time,
    faults::AGREED_WITHIN,
    story::{Plan, Summary},
};
use crate::chance::Chance;

#[derive(Debug)]
pub struct World {
    agenda: Agenda<Event>,
    chance: Chance,
    trace: Trace,
    stores: Vec<Store>,
    hosts: Vec<Host>,
    hq: HqHost,
    conns: BTreeMap<ConnId, Conn>,
    conns_made: ConnId,
    requests_made: u64,
    releases: Vec<Release>,
    /// What HQ was ever ordered to want.
    ordered: BTreeSet<ReleaseId>,
    /// The newest release that HQ confirmed to want.
    wanted: Option<usize>,
    /// Faults of an older storm are void.
    storm: u32,
    /// Every lease that HQ has sent.
    granted: BTreeMap<GrantId, Grant>,
    /// Chunks asked of HQ while the word that a neighbour has them was under way.
    news_fetches: u64,
    tills: Tills,
    books: Books,
    broken: Option<Broken>,
}

/// How often a program announces itself on its LAN.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(20);

/// A rule did not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    pub at: Time,
    pub rule: String,
    /// Whose last steps tell why.
    pub concerned: Vec<String>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fault that comes and goes by itself")]
#[derive(Debug)]
struct Store {
    name: Name,
    /// Stores of one number share a network.
    lan: usize,
    terminals: Vec<usize>,
    wan_up: bool,
    /// While the LAN is split: whether the part without the router has a way to HQ.
    wan_to_all: bool,
    wan_up_lane: Lane,
    wan_down_lane: Lane,
    wan_delay: Duration,
    lan_delay: Duration,
    /// Per mille.
    wan_loss: u32,
    lan_loss: u32,
    mdns: bool,
    /// Its wireless terminals reach only wired ones.
    isolated: bool,
    carried: Carried,
    /// What came whole from HQ, and how much of that came more than once.
    came: BTreeSet<ChunkId>,
    sent_again: u64,
    /// Bytes, and whole copies, that faults may cost on top (`watch`).
    allowed: u64,
    copies: u64,
}

/// What crossed a store's WAN link.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    chunks: u64,
    other_down: u64,
    up: u64,
}

#[derive(Debug)]
enum Event {
    Run { t: usize, boot: u32 },
    Committed { t: usize, boot: u32 },
    DiskDone { t: usize, boot: u32, job: Job },
    Announce { t: usize, boot: u32 },
    Heard { t: usize, boot: u32, of: usize },
    Knock { t: usize, boot: u32, address: SocketAddr, peer: Option<PeerId> },
    DialFailed { t: usize, boot: u32, address: SocketAddr, peer: Option<PeerId> },
    CallHq { t: usize, boot: u32, call: u64 },
    CallFailed { t: usize, boot: u32, call: u64 },
    LinkUp { conn: ConnId, side: usize },
    Arrive { conn: ConnId, to: usize, class: Class, packet: Packet, end: Time },
    Deliver { conn: ConnId, to: usize, packet: Packet },
    Silent { conn: ConnId, side: usize, since: Time },
    Gone { conn: ConnId, side: usize },
    Serve { conn: ConnId, side: usize, id: u64, what: What },
    RunHq { boot: u32 },
    HqCommitted { boot: u32 },
    RunFeeds { t: usize, boot: u32 },
    FeedsCommitted { t: usize, boot: u32 },
    ReopenFeeds { conn: ConnId },
    RunHqFeeds { boot: u32 },
    HqFeedsCommitted { boot: u32 },
    Sell { t: usize, pace: Duration },
    PostAgain { post: usize, boot: u32, forged: bool },
    Unanswered { post: usize },
    Order { ticket: u64 },
    Fault { storm: u32, fault: Fault },
}

impl Event {
    /// Which start of which terminal it is for; nobody else's hears of it.
    fn program(&self) -> Option<(usize, u32)> {
        match self {
            Self::Run { t, boot }
            | Self::Committed { t, boot }
            | Self::DiskDone { t, boot, .. }
            | Self::Announce { t, boot }
            | Self::Heard { t, boot, .. }
            | Self::Knock { t, boot, .. }
            | Self::DialFailed { t, boot, .. }
            | Self::CallHq { t, boot, .. }
            | Self::CallFailed { t, boot, .. }
            | Self::RunFeeds { t, boot }
            | Self::FeedsCommitted { t, boot } => Some((*t, *boot)),
            Self::LinkUp { .. }
            | Self::Arrive { .. }
            | Self::Deliver { .. }
            | Self::Silent { .. }
            | Self::Gone { .. }
            | Self::Serve { .. }
            | Self::RunHq { .. }
            | Self::HqCommitted { .. }
            | Self::ReopenFeeds { .. }
            | Self::RunHqFeeds { .. }
            | Self::HqFeedsCommitted { .. }
            | Self::Sell { .. }
            | Self::PostAgain { .. }
            | Self::Unanswered { .. }
            | Self::Order { .. }
            | Self::Fault { .. } => None,
        }
    }
}

impl World {
    /// Lets everything happen that is due until then, or until a rule is broken.
    pub fn run_until(&mut self, until: Time) {
        while self.broken.is_none()
            && let Some(event) = self.agenda.next(until)
        {
            if let Some((t, boot)) = event.program()
                && self.hosts[t].boot != boot
            {
                continue;
            }
            if let Some(t) = self.sleeper(&event)
                && let Some(missed) = &mut self.hosts[t].asleep
            {
                missed.push(event);
                continue;
            }
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Run { t, .. } => self.run_terminal(t),
            Event::Committed { t, .. } => self.committed(t),
            Event::DiskDone { t, job, .. } => self.disk_done(t, job),
            Event::Announce { t, boot } => {
                self.announce(t);
                self.agenda.after(ANNOUNCE_EVERY, Event::Announce { t, boot });
            }
            Event::Heard { t, of, .. } => self.heard(t, of),
            Event::Knock { t, address, peer, .. } => self.knock(t, address, peer),
            Event::DialFailed { t, address, peer, .. } => self.dial_failed(t, address, peer),
            Event::CallHq { t, call, .. } => self.call_hq(t, call),
            Event::CallFailed { t, call, .. } => self.call_failed(t, Some(call)),
            Event::LinkUp { conn, side } => self.on_link_up(conn, side),
            Event::Arrive { conn, to, class, packet, end } => {
                self.arrive(conn, to, class, packet, end);
            }
            Event::Deliver { conn, to, packet } => self.on_delivery(conn, to, packet),
            Event::Silent { conn, side, since } => {
                if let Some(node) = self.silent(conn, side, since) {
                    self.on_conn_down(conn, node);
                }
            }
            Event::Gone { conn, side } => {
                if let Some(node) = self.gone(conn, side) {
                    self.on_conn_down(conn, node);
                }
            }
            Event::Serve { conn, side, id, what } => {
                self.send(conn, side, Class::Bulk, Packet::Reply { id, what });
            }
            Event::RunHq { boot } if self.is_hq_boot(boot) => self.run_hq(),
            Event::HqCommitted { boot } if self.is_hq_boot(boot) => self.hq_committed(),
            Event::RunFeeds { t, .. } => self.run_feeds(t),
            Event::FeedsCommitted { t, .. } => self.feeds_committed(t),
            Event::ReopenFeeds { conn } => self.reopen_feeds(conn),
            Event::RunHqFeeds { boot } if self.is_hq_boot(boot) => self.run_hq_feeds(),
            Event::HqFeedsCommitted { boot } if self.is_hq_boot(boot) => self.hq_feeds_committed(),
            Event::Sell { t, pace } => self.sell(t, pace),
            Event::PostAgain { post, boot, forged } => self.post_again(post, boot, forged),
            Event::Unanswered { post } => self.unanswered(post),
            Event::Order { ticket } => self.order(ticket),
            Event::Fault { storm, fault } if storm == self.storm => self.fault(fault),
            // Of an earlier start, or an earlier storm.
            Event::RunHq { .. }
            | Event::HqCommitted { .. }
            | Event::RunHqFeeds { .. }
            | Event::HqFeedsCommitted { .. }
            | Event::Fault { .. } => {}
        }
    }

    fn on_link_up(&mut self, conn: ConnId, side: usize) {
        let Some(Handshake { node, other, stands }) = self.link_up(conn, side) else { return };
        match node {
            Node::Terminal(t) if stands && other == Node::Hq => self.uplink_up(t, conn),
            Node::Terminal(t) if stands => self.neighbour_up(t, conn, side),
            Node::Terminal(t) if side == 0 => self.call_came_to_nothing(t, other),
            Node::Hq if stands => self.hq_link_up(conn),
            Node::Terminal(_) | Node::Hq => {}
        }
    }

    fn on_delivery(&mut self, conn: ConnId, to: usize, packet: Packet) {
        let Some(found) = self.conns.get(&conn).filter(|conn| conn.is_open(to)) else { return };
        if matches!(packet, Packet::OpenFeeds | Packet::Feeds(_) | Packet::CloseFeeds) {
            self.feeds_hear(conn, to, packet);
            return;
        }
        match found.ends[to].node {
            Node::Hq => self.hq_hears(conn, packet),
            Node::Terminal(t) => self.terminal_hears(t, conn, found.other(to), packet),
        }
    }

    fn on_conn_down(&mut self, conn: ConnId, node: Node) {
        match node {
            Node::Hq => self.hq_link_down(conn),
            Node::Terminal(t) => {
                self.uplink_down(t, conn);
                self.neighbour_down(t, conn);
            }
        }
    }
}

impl Store {
    fn loss(&self, wan: bool) -> u32 {
        if wan { self.wan_loss } else { self.lan_loss }
    }

    fn count(&mut self, down: bool, bytes: u64, packet: &Packet) {
        let chunk = matches!(packet, Packet::Reply { what: What::Right(_), .. });
        let counter = match (down, chunk) {
            (true, true) => &mut self.carried.chunks,
            (true, false) => &mut self.carried.other_down,
            (false, _) => &mut self.carried.up,
        };
        *counter += bytes;
    }
}
