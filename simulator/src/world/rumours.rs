//! The rules for what neighbours say to each other.
//!
//! - Nobody tells of a chunk that it has not verified.
//! - Nobody is asked for a chunk that it has not told of.
//! - A terminal of another store hears one hello on each connection and nothing else, is never
//!   admitted, and never asked for anything.
//! - Nobody tells of an older lease than it has told of.
//! - Nobody sends more than [`FRAMES_A_SECOND`]: words must not go in circles.
//! - What was asked for twice and came is cancelled at once where it has not come from.

use std::collections::BTreeSet;

use storemesh_keys::{HqSigned, PeerId};
use storemesh_protocol::{
    Lease,
    content::{ChunkId, ListId},
    terminal::Source,
    wire::{self, mesh::Frame},
};

use super::World;

/// To all neighbours together. Each of fifty may hear of chunks twenty times a second, and of how the
/// sender is twice; and as much again twice over, for one that has slept.
const FRAMES_A_SECOND: u32 = 3000;

impl World {
    /// Of a list of some release, the chunk at that place.
    fn chunk_at(&self, list: ListId, at: u32) -> Option<ChunkId> {
        let pieces = |r: &&super::Release| r.pieces == list;
        let content = |r: &&super::Release| r.content == list;
        if let Some(release) = self.releases.iter().find(pieces) {
            return release.head.manifest.get(at as usize).map(|chunk| chunk.id);
        }
        let release = self.releases.iter().find(content)?;
        release.manifest.chunks().get(at as usize).map(|chunk| chunk.id)
    }

    fn is_of_my_store(&self, t: usize, peer: &PeerId) -> bool {
        let store = self.hosts[t].store;
        self.hosts.iter().any(|host| host.peer == *peer && host.store == store)
    }

    /// A terminal is about to hear a neighbour.
    pub(super) fn hear_rumour(&mut self, t: usize, peer: PeerId, bytes: &[u8]) {
        let Ok(frame) = wire::decode::<Frame>(bytes) else { return };
        let program = self.hosts[t].program.as_mut().expect("it runs");
        let told = program.told.entry(peer).or_default();
        if let Some(have) = frame.have {
            told.insert(have.list, have.chunks.iter_set().collect());
        }
        if let Some(got) = frame.got {
            told.entry(got.list).or_default().extend(got.chunks);
        }
    }

    pub(super) fn watch_frame(&mut self, t: usize, peer: PeerId, bytes: &[u8]) {
        let second = self.now().as_secs();
        let program = self.hosts[t].program.as_mut().expect("it runs");
        if program.spoke.0 != second {
            program.spoke = (second, 0);
        }
        program.spoke.1 += 1;
        if program.spoke.1 > FRAMES_A_SECOND {
            self.break_rule(t, format!("sends {FRAMES_A_SECOND} frames in a second"));
        }
        let Ok(frame) = wire::decode::<Frame>(bytes) else {
            self.break_rule(t, "sends a frame that nobody can read".to_owned());
            return;
        };
        if !self.is_of_my_store(t, &peer) {
            let hello = Frame { hello: frame.hello.clone(), ..Frame::default() };
            if frame.hello.is_none() || frame != hello {
                self.break_rule(t, format!("tells another store's terminal {frame:?}"));
            }
            return;
        }
        if let Some(lease) = &frame.lease {
            self.watch_told_lease(t, lease);
        }
        let mut told = Vec::new();
        if let Some(have) = &frame.have {
            told.extend(have.chunks.iter_set().map(|at| (have.list, at)));
        }
        if let Some(got) = &frame.got {
            told.extend(got.chunks.iter().map(|at| (got.list, *at)));
        }
        let program = self.hosts[t].program.as_ref().expect("it runs");
        let has = |(list, at): &(ListId, u32)| {
            let chunk = self.chunk_at(*list, *at);
            chunk.is_some_and(|id| program.offers.values().any(|offer| offer.contains_key(&id)))
        };
        if let Some((list, at)) = told.iter().find(|place| !has(place)) {
            self.break_rule(t, format!("tells of chunk {at} of {list:?}, which it has not"));
        }
    }

    fn watch_told_lease(&mut self, t: usize, lease: &HqSigned<Lease>) {
        let lease = self.read_lease(lease);
        let program = self.hosts[t].program.as_mut().expect("it runs");
        if lease.part == 0 && lease.order() < program.told_lease {
            self.break_rule(t, format!("tells of {lease:?} after a newer one"));
        } else if lease.part == 0 {
            program.told_lease = lease.order();
        }
    }

    /// A chunk is being asked of a neighbour.
    pub(super) fn watch_question(&mut self, t: usize, peer: PeerId, chunk: &ChunkId) {
        if !self.is_of_my_store(t, &peer) {
            self.break_rule(t, format!("asks another store's terminal for {chunk:?}"));
        }
        let program = self.hosts[t].program.as_ref().expect("it runs");
        let told = |(list, places): (&ListId, &BTreeSet<u32>)| {
            places.iter().any(|at| self.chunk_at(*list, *at) == Some(*chunk))
        };
        if !program.told.get(&peer).is_some_and(|of| of.iter().any(told)) {
            let from = self.source(Source::Neighbour(peer));
            self.break_rule(t, format!("asks {from} for {chunk:?}, which it never told of"));
        }
    }

    pub(super) fn watch_admitted(&mut self, t: usize, peer: &PeerId) {
        if !self.is_of_my_store(t, peer) {
            self.break_rule(t, "admits a terminal of another store".to_owned());
        }
    }

    /// After a step: nobody is still asked for what has come.
    pub(super) fn watch_cancels(&mut self, t: usize) {
        let program = self.hosts[t].program.as_ref().expect("it runs");
        let came = |id: &ChunkId| program.offers.values().any(|offer| offer.contains_key(id));
        let mut asked =
            program.asked.iter().flat_map(|(from, of)| of.keys().map(|id| (*from, *id)));
        if let Some((from, chunk)) = asked.find(|(_, id)| came(id)) {
            let from = self.source(from);
            self.break_rule(t, format!("has {chunk:?} and lets {from} send it too"));
        }
    }
}
