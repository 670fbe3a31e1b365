//! Who reaches whom: power, the LAN and its parts, client isolation, the way to HQ.
//!
//! A packet's way is judged in its own direction: a terminal with half a broken cable hears and is
//! not heard, and a program that is stopped for a moment says nothing while its machine still takes
//! in what comes. A connection is made only where packets go both ways.

#![expect(clippy::wildcard_enum_match_arm, reason = "asks some events whose they are")]

use std::{net::SocketAddr, time::Duration};

use storemesh_protocol::terminal::Input;

use super::{
    Event, World,
    net::{ConnId, Node},
};

/// How often a host may be given another address before the first comes again.
const MOVES: u8 = 100;

impl World {
    /// Packets of `from` get to the machine of `to`.
    pub(super) fn reaches(&self, from: Node, to: Node) -> bool {
        if let Node::Terminal(t) = from
            && (self.hosts[t].unheard || self.hosts[t].asleep.is_some())
        {
            return false;
        }
        match (from, to) {
            (Node::Terminal(a), Node::Terminal(b)) => {
                let (a, b) = (&self.hosts[a], &self.hosts[b]);
                let isolated = a.wireless && b.wireless && self.stores[a.store].isolated;
                let same_lan = self.stores[a.store].lan == self.stores[b.store].lan;
                a.powered && b.powered && same_lan && a.part == b.part && !isolated
            }
            (Node::Terminal(t), Node::Hq) | (Node::Hq, Node::Terminal(t)) => {
                let host = &self.hosts[t];
                let store = &self.stores[host.store];
                let routed = host.part == 0 || store.wan_to_all;
                host.powered && self.hq.powered && store.wan_up && routed && !host.hq_blocked
            }
            (Node::Hq, Node::Hq) => true,
        }
    }

    /// A connection can be made and stand.
    pub(super) fn path(&self, a: Node, b: Node) -> bool {
        self.reaches(a, b) && self.reaches(b, a)
    }

    pub(super) fn delay(&self, a: Node, b: Node) -> Duration {
        match (a, b) {
            (Node::Terminal(a), Node::Terminal(_)) => self.stores[self.hosts[a].store].lan_delay,
            (Node::Terminal(t), Node::Hq) | (Node::Hq, Node::Terminal(t)) => {
                self.stores[self.hosts[t].store].wan_delay + self.hosts[t].hq_delay
            }
            (Node::Hq, Node::Hq) => Duration::ZERO,
        }
    }

    /// Where the `place`th terminal of a store listens after so many moves.
    pub(super) fn address(store: usize, place: usize, moves: u8) -> SocketAddr {
        let store = u8::try_from(store).expect("few stores");
        let place = u8::try_from(place + 1).expect("a small store");
        SocketAddr::from(([10, moves, store, place], 7410))
    }

    /// The router gives a terminal another address: what stood with the old one dies silently.
    pub(super) fn move_terminal(&mut self, t: usize) {
        self.allow_for_uplink(t);
        self.allow_another_copy(self.hosts[t].store);
        let host = &mut self.hosts[t];
        host.moves = (host.moves + 1) % MOVES;
        let (store, moves) = (host.store, host.moves);
        let place = self.stores[store].terminals.iter().position(|of| *of == t);
        let address = Self::address(store, place.expect("it is of that store"), moves);
        self.hosts[t].address = address;
        self.orphan_all(Node::Terminal(t));
        self.push(t, Input::Listening(vec![address]));
        self.announce(t);
    }

    /// The program stops running, as under a debugger: its machine still takes in what comes.
    pub(super) fn freeze(&mut self, t: usize) {
        if self.hosts[t].program.is_some() && self.hosts[t].asleep.is_none() {
            self.allow_for_uplink(t);
            self.allow_another_copy(self.hosts[t].store);
            self.hosts[t].asleep = Some(Vec::new());
            self.paths_changed();
        }
    }

    /// It goes on with all that came meanwhile, in order.
    pub(super) fn thaw(&mut self, t: usize) {
        let Some(missed) = self.hosts[t].asleep.take() else { return };
        let now = self.agenda.now();
        for event in missed {
            self.agenda.at(now, event);
        }
        for conn in self.conns.values_mut() {
            for side in 0..2 {
                if conn.ends[side].node == Node::Terminal(t) {
                    conn.hears_since[side] = now;
                }
            }
        }
        self.paths_changed();
    }

    /// Whose program it is that must first wake up to notice this.
    pub(super) fn sleeper(&self, event: &Event) -> Option<usize> {
        let end = |conn: &ConnId, side: usize| match self.conns.get(conn)?.ends[side].node {
            Node::Terminal(t) => Some(t),
            Node::Hq => None,
        };
        let t = match event {
            Event::LinkUp { conn, side }
            | Event::Silent { conn, side, .. }
            | Event::Gone { conn, side }
            | Event::Serve { conn, side, .. }
            | Event::Deliver { conn, to: side, .. } => end(conn, *side),
            Event::ReopenFeeds { conn } => end(conn, 0),
            other => other.program().map(|(t, _)| t),
        };
        t.filter(|t| self.hosts[*t].asleep.is_some())
    }
}
