//! Connections between programs: they take a round trip or two to stand, carry frames and chunks in
//! order, and break.
//!
//! Packets pass the sender's lane, then the receiver's. While the way is cut in their direction they
//! wait, as TCP and QUIC would have them: a cut shorter than [`LIVENESS`] is a delay; whoever hears
//! nothing for longer gives the connection up. A program that ends says so at once, a machine without
//! power does not.

use std::time::Duration;

use storemesh_protocol::{content::ChunkRef, wire::mesh::SILENCE};

use super::{
    Event, World,
    clock::Time,
    feeds::Stream,
    link::{CLASSES, Class},
};

pub(super) type ConnId = u64;

/// When a connection is given up from which nothing comes any more: the programs' own limits, which
/// on the LAN are shorter than QUIC's to HQ.
pub(super) const LIVENESS: Duration = SILENCE;
pub(super) const LIVENESS_WAN: Duration = Duration::from_secs(5);
/// When a program gives up a call that nobody answers.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// A lost packet is noticed and sent again after that and a round trip.
const RETRANSMIT: Duration = Duration::from_millis(30);
/// Headers and acknowledgements of something small.
pub(super) const HEADERS: u64 = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Terminal(usize),
    Hq,
}

#[derive(Clone, Debug)]
pub(super) enum Packet {
    Frame(Vec<u8>),
    Request { id: u64, chunk: ChunkRef },
    Reply { id: u64, what: What },
    OpenFeeds,
    Feeds(Vec<u8>),
    CloseFeeds,
}

/// What a reply brings; bytes are not there, only whether they would hash to the right name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Right(u32),
    Wrong(u32),
    Missing,
    /// The stream was reset: no certificate, no chunks.
    Reset,
}

/// Sent by that end, and waiting for the link.
type Held = (usize, Class, Packet);

#[derive(Debug)]
pub(super) struct Conn {
    /// The one that called stands first.
    pub(super) ends: [End; 2],
    /// Since when each end hears nothing.
    cut_since: [Option<Time>; 2],
    /// Since when each end hears everything again.
    pub(super) hears_since: [Time; 2],
    /// Nothing gets through any more, whatever heals: one end is elsewhere, or gave up unheard.
    dead: bool,
    /// What was on its way when the link was cut; it goes first again, as it was sent first.
    turned_back: Vec<Held>,
    held: Vec<Held>,
    /// The last delivery to each end, of each class: nothing overtakes it.
    last: [[Time; CLASSES]; 2],
    /// The last arrival at each end's port, likewise: what waits for one that was lost waits behind it.
    arrives: [[Time; CLASSES]; 2],
    pub(super) feeds: [Stream; 2],
}

/// How one end's handshake ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handshake {
    pub(super) node: Node,
    pub(super) other: Node,
    pub(super) stands: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) node: Node,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Open,
    Closed,
}

impl Conn {
    pub(super) fn other(&self, side: usize) -> Node {
        self.ends[1 - side].node
    }

    pub(super) fn is_open(&self, side: usize) -> bool {
        self.ends[side].state == State::Open
    }

    pub(super) fn hears(&self, side: usize) -> bool {
        self.cut_since[side].is_none()
    }

    fn is_wan(&self) -> bool {
        self.ends.iter().any(|end| end.node == Node::Hq)
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.state == State::Closed)
    }
}

impl World {
    /// A call reached `to`; true when somebody is there and the connection is being made.
    pub(super) fn answer_call(&mut self, from: Node, to: Node) -> Option<ConnId> {
        let there = match to {
            Node::Terminal(t) => self.hosts[t].program.is_some(),
            Node::Hq => self.hq.program.is_some(),
        };
        if !there || !self.path(from, to) {
            return None;
        }
        self.conns_made += 1;
        let id = self.conns_made;
        let end = |node| End { node, state: State::Pending };
        let conn = Conn {
            ends: [end(from), end(to)],
            cut_since: [None; 2],
            hears_since: [self.agenda.now(); 2],
            dead: false,
            turned_back: Vec::new(),
            held: Vec::new(),
            last: [[Time::ZERO; CLASSES]; 2],
            arrives: [[Time::ZERO; CLASSES]; 2],
            feeds: <[Stream; 2]>::default(),
        };
        self.conns.insert(id, conn);
        let delay = self.delay(from, to);
        self.agenda.after(delay * 3, Event::LinkUp { conn: id, side: 0 });
        self.agenda.after(delay * 3 + delay / 2, Event::LinkUp { conn: id, side: 1 });
        Some(id)
    }

    /// The handshake is done at one end; none when that end hung up meanwhile.
    pub(super) fn link_up(&mut self, id: ConnId, side: usize) -> Option<Handshake> {
        let conn = self.conns.get(&id)?;
        if conn.ends[side].state != State::Pending {
            return None;
        }
        let (node, other) = (conn.ends[side].node, conn.other(side));
        let there = !conn.dead && conn.ends[1 - side].state != State::Closed;
        let stands = there && self.path(node, other);
        let conn = self.conns.get_mut(&id).expect("just looked up");
        conn.ends[side].state = if stands { State::Open } else { State::Closed };
        if conn.is_over() {
            self.conns.remove(&id);
        } else if !stands {
            self.path_changed(id);
        }
        Some(Handshake { node, other, stands })
    }

    pub(super) fn send(&mut self, id: ConnId, from: usize, class: Class, packet: Packet) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.is_open(from) {
            return;
        }
        if conn.is_wan() {
            let (a, b) = (conn.ends[from].node, conn.other(from));
            let store = self.store_of(a, b);
            self.stores[store].count(a == Node::Hq, size(&packet), &packet);
            self.watch_budget(store);
        }
        self.transmit(id, from, class, packet);
    }

    /// Also what waited for a cut link: it counts once.
    fn transmit(&mut self, id: ConnId, from: usize, class: Class, packet: Packet) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.hears(1 - from) {
            conn.held.push((from, class, packet));
            return;
        }
        let (a, b, wan) = (conn.ends[from].node, conn.other(from), conn.is_wan());
        let bytes = size(&packet);
        let now = self.agenda.now();
        let store = self.store_of(a, b);
        let lane = match (a, wan) {
            (Node::Terminal(_), true) => &mut self.stores[store].wan_up_lane,
            (Node::Terminal(t), false) => &mut self.hosts[t].up,
            (Node::Hq, _) => &mut self.stores[store].wan_down_lane,
        };
        let passage = lane.pass(now, class, bytes);
        let per_mille = self.stores[store].loss(wan);
        let delay = self.delay(a, b);
        let mut lost = Duration::ZERO;
        while self.chance.hits(per_mille) {
            lost += RETRANSMIT + delay * 2;
        }
        let end = passage.end + delay + lost;
        let conn = self.conns.get_mut(&id).expect("looked up above");
        let arrives = &mut conn.arrives[1 - from][class as usize];
        *arrives = (passage.begin + delay + lost).max(*arrives);
        let at = *arrives;
        self.agenda.at(at, Event::Arrive { conn: id, to: 1 - from, class, packet, end });
    }

    /// The first byte is at the receiver's port.
    pub(super) fn arrive(
        &mut self,
        id: ConnId,
        to: usize,
        class: Class,
        packet: Packet,
        end: Time,
    ) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.hears(to) {
            conn.turned_back.push((1 - to, class, packet));
            return;
        }
        let Node::Terminal(t) = conn.ends[to].node else {
            self.deliver_at(id, to, class, packet, end);
            return;
        };
        let now = self.agenda.now();
        let through = self.hosts[t].down.pass(now, class, size(&packet)).end;
        self.deliver_at(id, to, class, packet, through.max(end));
    }

    fn deliver_at(&mut self, id: ConnId, to: usize, class: Class, packet: Packet, at: Time) {
        let conn = self.conns.get_mut(&id).expect("looked up by the caller");
        let last = &mut conn.last[to][class as usize];
        *last = at.max(*last);
        self.agenda.at(*last, Event::Deliver { conn: id, to, packet });
    }

    /// One end hangs up; the other hears of it after what was sent before.
    pub(super) fn hang_up(&mut self, id: ConnId, side: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.ends[side].state = State::Closed;
        conn.turned_back.retain(|(from, ..)| *from != side);
        conn.held.retain(|(from, ..)| *from != side);
        let (a, b) = (conn.ends[side].node, conn.other(side));
        let last = conn.last[1 - side].iter().copied().max().unwrap_or_default();
        let cut = !conn.hears(1 - side);
        if conn.is_over() {
            self.conns.remove(&id);
        } else if !cut {
            let at = last.max(self.agenda.now() + self.delay(a, b));
            self.agenda.at(at, Event::Gone { conn: id, side: 1 - side });
        }
    }

    /// A program ended with all its connections; a machine without power tells nobody.
    pub(super) fn drop_all(&mut self, node: Node) {
        let of = |(id, conn): (&ConnId, &Conn)| {
            let side = conn.ends.iter().position(|end| end.node == node)?;
            (conn.ends[side].state != State::Closed).then_some((*id, side))
        };
        let ended: Vec<_> = self.conns.iter().filter_map(of).collect();
        for (id, side) in ended {
            self.hang_up(id, side);
        }
    }

    /// Looks at every connection again after links, power or programs have changed.
    pub(super) fn paths_changed(&mut self) {
        let all: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in all {
            self.path_changed(id);
        }
    }

    fn path_changed(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        let (a, b) = (conn.ends[0].node, conn.ends[1].node);
        let carries = [!conn.dead && self.reaches(b, a), !conn.dead && self.reaches(a, b)];
        let (now, delay) = (self.agenda.now(), self.delay(a, b));
        for (side, carries) in carries.into_iter().enumerate() {
            if !carries {
                self.goes_deaf(id, side);
                continue;
            }
            let conn = self.conns.get_mut(&id).expect("not removed meanwhile");
            let healed = conn.cut_since[side].take().is_some();
            if healed {
                conn.hears_since[side] = now;
            }
            let to_it = |(from, ..): &mut Held| *from != side;
            let mut held: Vec<Held> = conn.turned_back.extract_if(.., to_it).collect();
            held.extend(conn.held.extract_if(.., to_it));
            if conn.ends.iter().all(|end| end.state != State::Closed) {
                for (from, class, packet) in held {
                    self.transmit(id, from, class, packet);
                }
            } else if healed && conn.ends[1 - side].state == State::Closed {
                self.agenda.after(delay, Event::Gone { conn: id, side });
            }
        }
    }

    /// From now on nothing reaches this end.
    fn goes_deaf(&mut self, id: ConnId, side: usize) {
        let now = self.agenda.now();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.cut_since[side].is_none() {
            conn.cut_since[side] = Some(now);
            let liveness = if conn.is_wan() { LIVENESS_WAN } else { LIVENESS };
            self.agenda.after(liveness, Event::Silent { conn: id, side, since: now });
        }
    }

    /// Every connection of a terminal whose address is gone: they die, and nobody is told.
    pub(super) fn orphan_all(&mut self, node: Node) {
        for conn in self.conns.values_mut() {
            conn.dead |= conn.ends.iter().any(|end| end.node == node);
        }
        self.paths_changed();
    }

    /// Nothing came to this end for too long: it gives up. TCP says so to the other end, QUIC does
    /// not; that one will hear nothing more either.
    pub(super) fn silent(&mut self, id: ConnId, side: usize, since: Time) -> Option<Node> {
        let conn = self.conns.get_mut(&id)?;
        if conn.cut_since[side] != Some(since) || !conn.is_open(side) {
            return None;
        }
        let node = conn.ends[side].node;
        if conn.is_wan() {
            conn.dead = true;
            conn.ends[side].state = State::Closed;
            if conn.is_over() {
                self.conns.remove(&id);
            } else {
                self.goes_deaf(id, 1 - side);
            }
        } else {
            self.hang_up(id, side);
        }
        Some(node)
    }

    /// The other end hung up, and that came through.
    pub(super) fn gone(&mut self, id: ConnId, side: usize) -> Option<Node> {
        let conn = self.conns.get_mut(&id)?;
        if !conn.hears(side) || !conn.is_open(side) {
            return None;
        }
        conn.ends[side].state = State::Closed;
        let node = conn.ends[side].node;
        if conn.is_over() {
            self.conns.remove(&id);
        }
        Some(node)
    }

    /// By whose store's links it goes: two stores may share a LAN, then the caller's.
    fn store_of(&self, a: Node, b: Node) -> usize {
        match (a, b) {
            (Node::Terminal(t), _) | (_, Node::Terminal(t)) => self.hosts[t].store,
            (Node::Hq, Node::Hq) => unreachable!("HQ does not call itself"),
        }
    }
}

fn size(packet: &Packet) -> u64 {
    let body = match packet {
        Packet::Frame(bytes) | Packet::Feeds(bytes) => bytes.len() as u64,
        Packet::OpenFeeds | Packet::CloseFeeds => 1,
        Packet::Request { .. } | Packet::Reply { what: What::Missing | What::Reset, .. } => 40,
        Packet::Reply { what: What::Right(bytes) | What::Wrong(bytes), .. } => u64::from(*bytes),
    };
    body + HEADERS
}
