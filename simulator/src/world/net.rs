//! Connections between programs: they take a round trip or two to stand, carry frames and chunks in
//! order, and break.
//!
//! Packets pass the sender's lane, then the receiver's. While the path is cut they wait, as TCP and
//! QUIC would have them: a cut shorter than [`LIVENESS`] is a delay, a longer one breaks the
//! connection on both sides. A program that ends says so at once, a machine without power does not.

use std::time::Duration;

use storemesh_protocol::{content::ChunkRef, wire::mesh::SILENCE};

use super::{Event, World, clock::Time, link::Class};

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

#[derive(Debug)]
pub(super) struct Conn {
    /// The one that called stands first.
    pub(super) ends: [End; 2],
    cut_since: Option<Time>,
    held: Vec<(usize, Class, Packet)>,
    /// The last delivery to each end, of each class: nothing overtakes it.
    last: [[Time; 2]; 2],
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

    fn is_wan(&self) -> bool {
        self.ends.iter().any(|end| end.node == Node::Hq)
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.state == State::Closed)
    }
}

impl World {
    /// Both machines have power and packets get through.
    pub(super) fn path(&self, a: Node, b: Node) -> bool {
        match (a, b) {
            (Node::Terminal(a), Node::Terminal(b)) => {
                let (a, b) = (&self.hosts[a], &self.hosts[b]);
                a.powered && b.powered && a.store == b.store && a.part == b.part
            }
            (Node::Terminal(t), Node::Hq) | (Node::Hq, Node::Terminal(t)) => {
                let host = &self.hosts[t];
                let store = &self.stores[host.store];
                host.powered
                    && self.hq.powered
                    && store.wan_up
                    && (host.part == 0 || store.wan_to_all)
            }
            (Node::Hq, Node::Hq) => true,
        }
    }

    pub(super) fn delay(&self, a: Node, b: Node) -> Duration {
        match (a, b) {
            (Node::Terminal(a), Node::Terminal(_)) => self.stores[self.hosts[a].store].lan_delay,
            (Node::Terminal(t), Node::Hq) | (Node::Hq, Node::Terminal(t)) => {
                self.stores[self.hosts[t].store].wan_delay
            }
            (Node::Hq, Node::Hq) => Duration::ZERO,
        }
    }

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
            cut_since: None,
            held: Vec::new(),
            last: [[Time::ZERO; 2]; 2],
        };
        self.conns.insert(id, conn);
        let delay = self.delay(from, to);
        self.agenda.after(delay * 3, Event::LinkUp { conn: id, side: 0 });
        self.agenda.after(delay * 3 + delay / 2, Event::LinkUp { conn: id, side: 1 });
        Some(id)
    }

    /// The handshake is done at one end; false when it came to nothing.
    pub(super) fn link_up(&mut self, id: ConnId, side: usize) -> bool {
        let Some(conn) = self.conns.get(&id) else { return false };
        let path = self.path(conn.ends[0].node, conn.ends[1].node);
        let conn = self.conns.get_mut(&id).expect("just looked up");
        if conn.ends[side].state != State::Pending {
            return false;
        }
        if !path {
            conn.ends[side].state = State::Closed;
            self.path_changed(id);
            return false;
        }
        conn.ends[side].state = State::Open;
        true
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
        if conn.cut_since.is_some() {
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
        let event = Event::Arrive { conn: id, to: 1 - from, class, packet, end };
        self.agenda.at(passage.begin + delay + lost, event);
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
        if conn.cut_since.is_some() {
            conn.held.push((1 - to, class, packet));
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
        conn.held.retain(|(from, ..)| *from != side);
        let (a, b) = (conn.ends[side].node, conn.other(side));
        let last = conn.last[1 - side].iter().copied().max().unwrap_or_default();
        let cut = conn.cut_since.is_some();
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
        let (path, wan) = (self.path(a, b), conn.is_wan());
        let (now, delay) = (self.agenda.now(), self.delay(a, b));
        let conn = self.conns.get_mut(&id).expect("just looked up");
        if !path {
            if conn.cut_since.is_none() {
                conn.cut_since = Some(now);
                let liveness = if wan { LIVENESS_WAN } else { LIVENESS };
                self.agenda.after(liveness, Event::Silent { conn: id, since: now });
            }
            return;
        }
        if conn.is_over() {
            self.conns.remove(&id);
            return;
        }
        let healed = conn.cut_since.take().is_some();
        let held = std::mem::take(&mut conn.held);
        let closed = conn.ends.iter().position(|end| end.state == State::Closed);
        if let Some(closed) = closed {
            if healed {
                self.agenda.after(delay, Event::Gone { conn: id, side: 1 - closed });
            }
            return;
        }
        for (from, class, packet) in held {
            self.transmit(id, from, class, packet);
        }
    }

    /// Nothing came for too long; the ends that give up.
    pub(super) fn silent(&mut self, id: ConnId, since: Time) -> Vec<(usize, Node)> {
        let Some(conn) = self.conns.get_mut(&id) else { return Vec::new() };
        if conn.cut_since != Some(since) {
            return Vec::new();
        }
        let open =
            |(side, end): (usize, &End)| (end.state == State::Open).then_some((side, end.node));
        let gone = conn.ends.iter().enumerate().filter_map(open).collect();
        self.conns.remove(&id);
        gone
    }

    /// The other end hung up, and that came through.
    pub(super) fn gone(&mut self, id: ConnId, side: usize) -> Option<Node> {
        let conn = self.conns.get_mut(&id)?;
        if conn.cut_since.is_some() {
            return None;
        }
        let end = std::mem::replace(&mut conn.ends[side].state, State::Closed);
        let node = conn.ends[side].node;
        if conn.is_over() {
            self.conns.remove(&id);
        }
        (end == State::Open).then_some(node)
    }

    fn store_of(&self, a: Node, b: Node) -> usize {
        match (a, b) {
            (Node::Terminal(t), _) | (_, Node::Terminal(t)) => self.hosts[t].store,
            (Node::Hq, Node::Hq) => unreachable!("HQ does not call itself"),
        }
    }
}

fn size(packet: &Packet) -> u64 {
    let body = match packet {
        Packet::Frame(bytes) => bytes.len() as u64,
        Packet::Request { .. } | Packet::Reply { what: What::Missing | What::Reset, .. } => 40,
        Packet::Reply { what: What::Right(bytes) | What::Wrong(bytes), .. } => u64::from(*bytes),
    };
    body + HEADERS
}
