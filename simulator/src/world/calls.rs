//! How a terminal's program finds others and holds connections with them and with HQ.
//!
//! As the program does it: one connection with each neighbour counts, of two the one that the lower
//! PeerId dialled; one uplink; announcements on the LAN, which may be switched off or get lost.

use std::{net::SocketAddr, time::Duration};

use storemesh_keys::PeerId;
use storemesh_protocol::{
    terminal::{FetchError, FoundBy, Input, Source},
    wire::mesh::goes_first,
};

use super::{
    Event, World,
    link::Class,
    net::{self, ConnId, Node, Packet},
    terminal::Uplink,
};

impl World {
    pub(super) fn dial(&mut self, t: usize, address: SocketAddr, peer: Option<PeerId>) {
        let (boot, delay) = (self.hosts[t].boot, self.stores[self.hosts[t].store].lan_delay);
        self.agenda.after(delay, Event::Knock { t, boot, address, peer });
    }

    pub(super) fn knock(&mut self, t: usize, address: SocketAddr, peer: Option<PeerId>) {
        let (boot, from) = (self.hosts[t].boot, Node::Terminal(t));
        let to = self.hosts.iter().position(|host| host.address == address);
        let right = to.filter(|to| peer.is_none_or(|peer| self.hosts[*to].peer == peer));
        let answered = right.and_then(|to| self.answer_call(from, Node::Terminal(to)));
        if answered.is_none() {
            let awake = |to: usize| self.hosts[to].asleep.is_none();
            let there = to.is_some_and(|to| awake(to) && self.path(from, Node::Terminal(to)));
            let wait = if there { Duration::from_millis(1) } else { net::CALL_TIMEOUT };
            self.agenda.after(wait, Event::DialFailed { t, boot, address, peer });
        }
    }

    /// A connection with a neighbour stands. Of two the one that the lower PeerId dialled stays;
    /// of two that the same one dialled, the older.
    pub(super) fn neighbour_up(&mut self, t: usize, id: ConnId, side: usize) {
        let Node::Terminal(other) = self.conns[&id].other(side) else { return };
        let (me, peer) = (self.hosts[t].peer, self.hosts[other].peer);
        let address = self.hosts[other].address;
        let program = self.hosts[t].program.as_mut().expect("it answered");
        if let Some(before) = program.lines.get(&peer).copied() {
            let dialler = |conn: ConnId| {
                let conn = self.conns.get(&conn)?;
                let Node::Terminal(first) = conn.ends[0].node else { return None };
                Some(self.hosts[first].peer)
            };
            let (old, new) = (dialler(before), dialler(id));
            if old == new || old == Some(goes_first(me, peer)) {
                self.hang_up(id, side);
                return;
            }
            self.hang_up_from(Node::Terminal(t), before);
            self.neighbour_down(t, before);
        }
        let program = self.hosts[t].program.as_mut().expect("it answered");
        program.lines.insert(peer, id);
        self.push(t, Input::Connected { peer, address });
    }

    pub(super) fn neighbour_down(&mut self, t: usize, id: ConnId) {
        let Some(program) = &mut self.hosts[t].program else { return };
        let Some((peer, _)) = program.lines.iter().find(|(_, conn)| **conn == id) else { return };
        let peer = *peer;
        program.lines.remove(&peer);
        program.admitted.remove(&peer);
        self.feeds_down(Node::Terminal(t), id);
        // Which is heard of first is chance.
        let streams_first = self.chance.hits(500);
        if streams_first {
            self.lose_requests(t, Source::Neighbour(peer));
        }
        self.push(t, Input::Disconnected { peer });
        if !streams_first {
            self.lose_requests(t, Source::Neighbour(peer));
        }
    }

    pub(super) fn close(&mut self, t: usize, peer: PeerId) {
        let program = self.hosts[t].program.as_mut().expect("it runs");
        program.admitted.remove(&peer);
        let Some(conn) = program.lines.remove(&peer) else { return };
        program.requests.remove(&Source::Neighbour(peer));
        program.asked.remove(&Source::Neighbour(peer));
        self.feeds_down(Node::Terminal(t), conn);
        self.hang_up_from(Node::Terminal(t), conn);
    }

    pub(super) fn open_uplink(&mut self, t: usize) {
        let boot = self.hosts[t].boot;
        let delay = self.stores[self.hosts[t].store].wan_delay;
        let program = self.hosts[t].program.as_mut().expect("it runs");
        if program.uplink == Uplink::None {
            program.calls += 1;
            program.uplink = Uplink::Calling(program.calls);
            self.agenda.after(delay, Event::CallHq { t, boot, call: program.calls });
        }
    }

    pub(super) fn call_hq(&mut self, t: usize, call: u64) {
        let boot = self.hosts[t].boot;
        if self.answer_call(Node::Terminal(t), Node::Hq).is_none() {
            self.agenda.after(net::CALL_TIMEOUT, Event::CallFailed { t, boot, call });
        }
    }

    pub(super) fn dial_failed(&mut self, t: usize, address: SocketAddr, peer: Option<PeerId>) {
        self.push(t, Input::DialFailed { address, peer });
    }

    /// The path was cut during the handshake.
    pub(super) fn call_came_to_nothing(&mut self, t: usize, called: Node) {
        match called {
            Node::Hq => self.call_failed(t, None),
            Node::Terminal(other) => {
                let (peer, address) = (self.hosts[other].peer, self.hosts[other].address);
                self.dial_failed(t, address, Some(peer));
            }
        }
    }

    pub(super) fn terminal_hears(&mut self, t: usize, conn: ConnId, from: Node, packet: Packet) {
        let source = match from {
            Node::Hq => Source::Hq,
            Node::Terminal(other) => Source::Neighbour(self.hosts[other].peer),
        };
        // Of a connection that was given up, or is not heard of yet, nothing counts.
        if self.line_to(t, source) != Some(conn) {
            return;
        }
        match (packet, source) {
            (Packet::Frame(bytes), Source::Hq) => self.push(t, Input::UplinkFrame(bytes)),
            (Packet::Frame(bytes), Source::Neighbour(peer)) => {
                self.push(t, Input::Frame { peer, bytes });
            }
            (Packet::Request { id, chunk }, _) => self.serve(t, conn, id, chunk),
            (Packet::Reply { id, what }, _) => self.answered(t, source, id, what),
            (Packet::OpenFeeds | Packet::Feeds(_) | Packet::CloseFeeds, _) => {}
        }
    }

    pub(super) fn call_failed(&mut self, t: usize, call: Option<u64>) {
        let Some(program) = &mut self.hosts[t].program else { return };
        let Uplink::Calling(current) = program.uplink else { return };
        if call.is_none_or(|call| call == current) {
            program.uplink = Uplink::None;
            self.push(t, Input::UplinkDown { why: "HQ does not answer".to_owned() });
        }
    }

    pub(super) fn uplink_up(&mut self, t: usize, id: ConnId) {
        let hq = self.hq.key.public();
        let program = self.hosts[t].program.as_mut().expect("it called");
        if !matches!(program.uplink, Uplink::Calling(_)) {
            // It changed its mind meanwhile.
            self.hang_up(id, 0);
            return;
        }
        program.uplink = Uplink::Up(id);
        self.push(t, Input::UplinkUp { hq });
    }

    pub(super) fn uplink_down(&mut self, t: usize, id: ConnId) {
        let Some(program) = &mut self.hosts[t].program else { return };
        if program.uplink != Uplink::Up(id) {
            return;
        }
        program.uplink = Uplink::None;
        self.allow_for_uplink(t);
        self.feeds_down(Node::Terminal(t), id);
        self.lose_requests(t, Source::Hq);
        self.push(t, Input::UplinkDown { why: "the connection ended".to_owned() });
    }

    pub(super) fn close_uplink(&mut self, t: usize) {
        self.allow_for_uplink(t);
        let program = self.hosts[t].program.as_mut().expect("it runs");
        let before = std::mem::replace(&mut program.uplink, Uplink::None);
        if let Uplink::Up(conn) = before {
            program.requests.remove(&Source::Hq);
            program.asked.remove(&Source::Hq);
            self.feeds_down(Node::Terminal(t), conn);
            self.hang_up_from(Node::Terminal(t), conn);
        }
    }

    pub(super) fn send_from(&mut self, node: Node, id: ConnId, class: Class, packet: Packet) {
        let Some(side) = self.side_of(node, id) else { return };
        self.send(id, side, class, packet);
    }

    pub(super) fn hang_up_from(&mut self, node: Node, id: ConnId) {
        if let Some(side) = self.side_of(node, id) {
            self.hang_up(id, side);
        }
    }

    pub(super) fn side_of(&self, node: Node, id: ConnId) -> Option<usize> {
        self.conns.get(&id)?.ends.iter().position(|end| end.node == node)
    }

    // Announcements on the LAN.

    /// Everybody in reach hears it, and answers.
    pub(super) fn announce(&mut self, t: usize) {
        let store = &self.stores[self.hosts[t].store];
        let (mdns, loss) = (store.mdns, store.lan_loss);
        for other in 0..self.hosts.len() {
            let heard = self.reaches(Node::Terminal(t), Node::Terminal(other));
            if other == t || !mdns || !heard || self.hosts[other].program.is_none() {
                continue;
            }
            let answers = self.reaches(Node::Terminal(other), Node::Terminal(t));
            for (hearer, of) in [(other, t), (t, other)] {
                if (hearer == other || answers) && !self.chance.hits(loss) {
                    let wait =
                        self.chance.between(Duration::from_millis(1), Duration::from_millis(120));
                    let boot = self.hosts[hearer].boot;
                    self.agenda.after(wait, Event::Heard { t: hearer, boot, of });
                }
            }
        }
    }

    pub(super) fn heard(&mut self, t: usize, of: usize) {
        let (peer, address) = (self.hosts[of].peer, self.hosts[of].address);
        self.push(t, Input::Discovered { peer, address, by: FoundBy::Mdns });
    }

    /// Ends a source's requests: its stream is gone.
    fn lose_requests(&mut self, t: usize, from: Source) {
        let Some(program) = &mut self.hosts[t].program else { return };
        let Some(requests) = program.requests.remove(&from) else { return };
        for chunk in requests.all() {
            self.push(t, Input::NotFetched { from, chunk, why: FetchError::Lost });
        }
    }
}
