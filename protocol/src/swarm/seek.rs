//! Which lists this terminal seeks or serves.

use std::sync::Arc;

use super::{Looked, Output, Swarm, list::List, pipe::Place};
use crate::{
    Instant,
    content::{Bits, ChunkRef, ListId, list_id},
    terminal::Source,
};

impl Swarm {
    /// Tells the neighbours that more of this list may be found here.
    pub(super) fn expect(&self, chunks: &[ChunkRef], outputs: &mut Vec<Output>) {
        let list = list_id(chunks);
        let len = u32::try_from(chunks.len()).expect("a list has at most 131,072 chunks");
        for peer in self.neighbours.keys().copied() {
            let (chunks, looked) = (Bits::new(len), Looked::NotYet);
            outputs.push(Output::TellHave { peer, list, chunks, looked });
        }
    }

    pub(super) fn seek(
        &mut self,
        now: Instant,
        chunks: Arc<[ChunkRef]>,
        have: Bits,
        outputs: &mut Vec<Output>,
    ) {
        let id = list_id(&chunks);
        self.drop_list(&id, outputs);
        let mut list = List::new(id, chunks, have, self.seed, now);
        for (peer, neighbour) in &mut self.neighbours {
            neighbour.count_into(&mut list);
            let (chunks, looked) = (list.have.clone(), Looked::Yes);
            outputs.push(Output::TellHave { peer: *peer, list: id, chunks, looked });
        }
        if list.complete() {
            outputs.push(Output::Complete(id));
        }
        self.lists.push(list);
    }

    pub(super) fn drop_list(&mut self, id: &ListId, outputs: &mut Vec<Output>) {
        if let Some(index) = self.lists.iter().position(|list| list.id == *id) {
            let list = self.lists.remove(index);
            for (chunk, from) in list.awaited() {
                // Another list may wait for the very same answer.
                if !self.lists.iter().any(|other| other.awaits(&chunk, from)) {
                    outputs.push(Output::Cancel { from, chunk });
                }
            }
        }
        for neighbour in self.neighbours.values_mut() {
            neighbour.drop_list(id);
        }
        if let Some(hq) = &mut self.hq {
            let owed: Vec<Place> = hq.places().filter(|(of, _)| of == id).copied().collect();
            for place in owed {
                hq.dropped(&place);
            }
        }
    }

    pub(super) fn hq_down(&mut self) {
        if self.hq.take().is_none() {
            return;
        }
        for list in &mut self.lists {
            let asked: Vec<u32> = list.asked_of(Source::Hq);
            for at in asked {
                list.not_coming(at, Source::Hq);
            }
            // No longer the gateway: what it holds anybody may ask for.
            for since in list.quiet.values_mut() {
                *since = Instant(0);
            }
        }
    }
}
