//! What neighbours say they hold, and how they come and go.

use storemesh_keys::PeerId;

use super::{Looked, Output, Swarm, neighbour::Neighbour};
use crate::{
    Instant,
    content::{Bits, ChunkId, ListId},
    terminal::Source,
};

impl Swarm {
    pub(super) fn up(&mut self, peer: PeerId, outputs: &mut Vec<Output>) {
        self.neighbours.insert(peer, Neighbour::new());
        self.away.remove(&peer);
        for list in &self.lists {
            let (chunks, looked) = (list.loud(), Looked::Yes);
            outputs.push(Output::TellHave { peer, list: list.id, chunks, looked });
        }
    }

    /// Returns what it was asked for and has not delivered.
    pub(super) fn lost(&mut self, now: Instant, peer: PeerId) -> Vec<ChunkId> {
        let Some(mut neighbour) = self.neighbours.remove(&peer) else { return Vec::new() };
        let mut owed = Vec::new();
        for (list, at) in neighbour.pipe.give_up(now) {
            if let Some(list) = self.lists.iter_mut().find(|l| l.id == list) {
                list.not_coming(at, Source::Neighbour(peer));
                owed.push(list.chunk(at).id);
            }
        }
        for (id, bits) in neighbour.lists() {
            if let Some(list) = self.lists.iter_mut().find(|list| list.id == *id) {
                for at in bits.iter_set() {
                    list.unheld(at);
                }
            }
        }
        // It may have been the only one that was told of these.
        for (id, at) in &neighbour.entrusted {
            if let Some(list) = self.lists.iter_mut().find(|list| list.id == *id) {
                list.quiet.insert(*at, Instant(0));
            }
        }
        owed
    }

    pub(super) fn says(
        &mut self,
        peer: PeerId,
        id: ListId,
        chunks: Bits,
        looked: Looked,
        outputs: &mut Vec<Output>,
    ) {
        if self.shuns(&peer) {
            return;
        }
        let ours: Vec<ListId> = self.lists.iter().map(|list| list.id).collect();
        let ours = |id: &ListId| ours.contains(id);
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        let Some(list) = self.lists.iter_mut().find(|list| list.id == id) else {
            neighbour.says(id, chunks, looked, ours);
            return;
        };
        if chunks.len() as usize != list.chunks.len() {
            let why = format!("has {} chunks of a list of {}", chunks.len(), list.chunks.len());
            outputs.push(Output::Suspect { from: Source::Neighbour(peer), why });
            return;
        }
        let held: Vec<u32> = chunks.iter_set().collect();
        if let Some(before) = neighbour.says(id, chunks, looked, ours) {
            for at in before.iter_set() {
                list.unheld(at);
            }
        }
        if neighbour.knows(&id) {
            for at in held {
                list.held(at);
                neighbour.entrusted.remove(&(id, at));
            }
        }
    }

    pub(super) fn adds(
        &mut self,
        peer: PeerId,
        id: ListId,
        chunks: &[u32],
        outputs: &mut Vec<Output>,
    ) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        let Some(len) = neighbour.bits(&id).map(Bits::len) else { return };
        if let Some(at) = chunks.iter().find(|at| **at >= len) {
            let why = format!("has chunk {at} of a list of {len}");
            outputs.push(Output::Suspect { from: Source::Neighbour(peer), why });
            return;
        }
        let mut list = self.lists.iter_mut().find(|list| list.id == id);
        for at in chunks {
            if neighbour.marks(&(id, *at), true)
                && let Some(list) = &mut list
            {
                list.held(*at);
            }
        }
    }
}
