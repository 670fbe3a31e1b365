//! Which lists this terminal seeks or serves.

use std::sync::Arc;

use super::{Looked, Output, Swarm, list::List};
use crate::{
    Instant,
    content::{Bits, ChunkId, ChunkRef, ListId, list_id},
    terminal::Source,
};

impl Swarm {
    /// Tells the neighbours that more of this list may be found here than they know of.
    pub(super) fn expect(&self, chunks: &[ChunkRef], outputs: &mut Vec<Output>) {
        let list = list_id(chunks);
        let len = u32::try_from(chunks.len()).expect("a list has at most 131,072 chunks");
        let found = self.list(&list).map_or_else(|| Bits::new(len), List::loud);
        for peer in self.neighbours.keys().copied() {
            let (chunks, looked) = (found.clone(), Looked::NotYet);
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

    /// What is on its way is not waited for; what is here stays.
    pub(super) fn hold(&mut self, id: &ListId, outputs: &mut Vec<Output>) {
        let Some(index) = self.lists.iter().position(|list| list.id == *id) else { return };
        self.cancel(index, outputs);
        let list = &mut self.lists[index];
        list.held_back = true;
        let awaited: Vec<(ChunkId, Source)> = list.awaited().collect();
        for (chunk, from) in awaited {
            let at = list.place_of(&chunk).expect("it was asked for by its place");
            list.not_coming(at, from);
        }
        self.owed_no_more(id);
    }

    pub(super) fn drop_list(&mut self, id: &ListId, outputs: &mut Vec<Output>) {
        if let Some(index) = self.lists.iter().position(|list| list.id == *id) {
            self.cancel(index, outputs);
            self.lists.remove(index);
        }
        for neighbour in self.neighbours.values_mut() {
            neighbour.drop_list(id);
        }
        self.owed_no_more(id);
    }

    /// Nobody need send what was asked for of this list.
    fn cancel(&self, index: usize, outputs: &mut Vec<Output>) {
        let list = &self.lists[index];
        for (chunk, from) in list.awaited() {
            // Another list may wait for the very same answer.
            let mut others = self.lists.iter().filter(|other| other.id != list.id);
            if !others.any(|other| other.awaits(&chunk, from)) {
                outputs.push(Output::Cancel { from, chunk });
            }
        }
    }

    fn owed_no_more(&mut self, id: &ListId) {
        let pipes = self.neighbours.values_mut().map(|neighbour| &mut neighbour.pipe);
        for pipe in pipes.chain(&mut self.hq) {
            pipe.drop_list(id);
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
