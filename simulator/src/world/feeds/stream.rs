//! The stream for feeds of each connection: a session that begins and ends.
//!
//! Between neighbours the one that called opens it, once it has let the other in; to HQ the gateway does.
//! Each side takes it up when it has let the other in itself, and what came before waits for that. Whoever
//! cuts it ends it for both; the one that opened it opens it again after [`REOPEN`].

use std::time::Duration;

use storemesh_protocol::{
    feeds::{hq, terminal},
    terminal::Source,
};

use crate::world::{
    Event, World,
    link::Class,
    net::{ConnId, Node, Packet},
};

/// As the programs do.
const REOPEN: Duration = Duration::from_secs(5);

/// The stream as one end of its connection has it.
#[derive(Debug, Default)]
pub(in crate::world) struct Stream {
    admitted: bool,
    opened: bool,
    up: bool,
    /// Came before this end took it up.
    held: Vec<Vec<u8>>,
}

impl World {
    /// This end has let the other in.
    pub(in crate::world) fn feeds_admitted(&mut self, node: Node, id: ConnId) {
        let Some(side) = self.side_of(node, id) else { return };
        let conn = self.conns.get_mut(&id).expect("it has a side");
        conn.feeds[side].admitted = true;
        let to_hq = conn.ends.iter().any(|end| end.node == Node::Hq);
        if side == 0 && !to_hq {
            self.open_feeds(node, id);
        } else {
            self.take_up(id, side);
        }
    }

    pub(in crate::world) fn open_feeds(&mut self, node: Node, id: ConnId) {
        let Some(side) = self.side_of(node, id) else { return };
        let stream = &mut self.conns.get_mut(&id).expect("it has a side").feeds[side];
        stream.admitted = true;
        if !std::mem::replace(&mut stream.opened, true) {
            self.send(id, side, Class::Feeds, Packet::OpenFeeds);
        }
        self.take_up(id, side);
    }

    fn take_up(&mut self, id: ConnId, side: usize) {
        let conn = self.conns.get_mut(&id).expect("looked up by the caller");
        let (node, other) = (conn.ends[side].node, conn.other(side));
        let stream = &mut conn.feeds[side];
        if !stream.admitted || !stream.opened || stream.up {
            return;
        }
        stream.up = true;
        let held = std::mem::take(&mut stream.held);
        match node {
            Node::Terminal(t) => {
                let from = self.source_of(other);
                if let Some(program) = &mut self.hosts[t].feeds.program {
                    program.sides.insert(from, id);
                    program.told.remove(&from);
                }
                self.push_feeds(t, terminal::Input::Up(from));
            }
            Node::Hq => {
                let Node::Terminal(t) = other else { return };
                let host = &self.hosts[t];
                let (peer, store) = (host.peer, self.stores[host.store].name.clone());
                self.push_hq_feeds(hq::Input::Up { link: id, peer, store });
            }
        }
        for bytes in held {
            self.feeds_frame(id, side, bytes);
        }
    }

    /// Something came on the stream.
    pub(in crate::world) fn feeds_hear(&mut self, id: ConnId, side: usize, packet: Packet) {
        let stream = &mut self.conns.get_mut(&id).expect("it was delivered on").feeds[side];
        match packet {
            Packet::OpenFeeds => {
                stream.opened = true;
                self.take_up(id, side);
            }
            Packet::Feeds(bytes) if stream.up => self.feeds_frame(id, side, bytes),
            Packet::Feeds(bytes) if stream.opened => stream.held.push(bytes),
            Packet::CloseFeeds => {
                self.end_stream(id, side);
                let node = self.conns[&id].ends[side].node;
                self.feeds_down(node, id);
            }
            Packet::Feeds(_) | Packet::Frame(_) | Packet::Request { .. } | Packet::Reply { .. } => {
            }
        }
    }

    fn feeds_frame(&mut self, id: ConnId, side: usize, bytes: Vec<u8>) {
        let conn = &self.conns[&id];
        let (node, other) = (conn.ends[side].node, conn.other(side));
        match node {
            Node::Terminal(t) => {
                let from = self.source_of(other);
                self.push_feeds(t, terminal::Input::Frame { from, bytes });
            }
            Node::Hq => self.push_hq_feeds(hq::Input::Frame { link: id, bytes }),
        }
    }

    /// The connection, or the stream alone, is gone for this end.
    pub(in crate::world) fn feeds_down(&mut self, node: Node, id: ConnId) {
        match node {
            Node::Terminal(t) => {
                let Some(program) = &mut self.hosts[t].feeds.program else { return };
                let Some((from, _)) = program.sides.iter().find(|(_, of)| **of == id) else {
                    return;
                };
                let from = *from;
                program.sides.remove(&from);
                self.push_feeds(t, terminal::Input::Down(from));
            }
            Node::Hq => self.push_hq_feeds(hq::Input::Down { link: id }),
        }
    }

    /// A composite cuts the stream.
    pub(super) fn cut_feeds(&mut self, node: Node, id: ConnId) {
        let Some(side) = self.side_of(node, id) else { return };
        self.end_stream(id, side);
        self.send(id, side, Class::Feeds, Packet::CloseFeeds);
        self.feeds_down(node, id);
    }

    fn end_stream(&mut self, id: ConnId, side: usize) {
        let stream = &mut self.conns.get_mut(&id).expect("looked up by the caller").feeds[side];
        (stream.opened, stream.up) = (false, false);
        stream.held.clear();
        if side == 0 {
            self.agenda.after(REOPEN, Event::ReopenFeeds { conn: id });
        }
    }

    /// If the connection still stands.
    pub(in crate::world) fn reopen_feeds(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        if conn.is_open(0) {
            self.open_feeds(conn.ends[0].node, id);
        }
    }

    /// A frame on its way: whether there is a stream for it.
    pub(super) fn send_feeds(&mut self, node: Node, id: ConnId, bytes: Vec<u8>) {
        let Some(side) = self.side_of(node, id) else { return };
        if self.conns[&id].feeds[side].up {
            self.send(id, side, Class::Feeds, Packet::Feeds(bytes));
        }
    }

    fn source_of(&self, node: Node) -> Source {
        match node {
            Node::Hq => Source::Hq,
            Node::Terminal(t) => Source::Neighbour(self.hosts[t].peer),
        }
    }
}
