//! What comes of what was asked for, and who is told of it.

use storemesh_keys::PeerId;

use super::{
    FAULT_REST, LIARS_MAX, LOST_REST, LOUD_LIST, Output, Swarm,
    neighbour::{Neighbour, Pressing},
    pipe_of,
};
use crate::{
    Instant,
    content::ChunkId,
    terminal::{FetchError, Source},
};

impl Swarm {
    pub(super) fn fetched(
        &mut self,
        now: Instant,
        from: Source,
        chunk: &ChunkId,
        bytes: u32,
        outputs: &mut Vec<Output>,
    ) {
        let mut counted = false;
        for index in 0..self.lists.len() {
            let list = &mut self.lists[index];
            let Some(at) = list.place_of(chunk) else { continue };
            let place = list.place(at);
            if let Some(pipe) = pipe_of(&mut self.neighbours, &mut self.hq, from) {
                pipe.arrived(now, &place);
            }
            if list.have.get(at) {
                continue;
            }
            if !std::mem::replace(&mut counted, true) {
                match from {
                    Source::Hq => list.bytes_from_hq += u64::from(bytes),
                    Source::Neighbour(_) => list.bytes_from_neighbours += u64::from(bytes),
                }
            }
            for other in list.got(at).into_iter().filter(|other| *other != from) {
                if let Some(pipe) = pipe_of(&mut self.neighbours, &mut self.hq, other) {
                    pipe.dropped(&place);
                }
                outputs.push(Output::Cancel { from: other, chunk: *chunk });
            }
            let complete = list.complete();
            if complete {
                outputs.push(Output::Complete(place.0));
            }
            self.announce(now, index, at, from);
        }
    }

    /// Tells one neighbour of a chunk that came from HQ, and all of any other.
    pub(super) fn announce(&mut self, now: Instant, index: usize, at: u32, from: Source) {
        let list = &mut self.lists[index];
        let place = list.place(at);
        if list.complete() {
            for since in list.quiet.values_mut() {
                *since = Instant(0);
            }
        }
        let quiet = from == Source::Hq && list.chunks.len() > LOUD_LIST && !list.complete();
        if quiet {
            let free = |n: &&mut Neighbour| {
                n.knows(&place.0) && !n.holds(&place.0, at) && !n.pipe.rests(now)
            };
            let next = self
                .neighbours
                .values_mut()
                .filter(free)
                .min_by_key(|n| (n.entrusted.len(), n.entrusted_last));
            if let Some(neighbour) = next {
                self.entrusted += 1;
                neighbour.entrusted_last = self.entrusted;
                neighbour.entrusted.insert(place);
                neighbour.tell(place, Pressing::Yes);
                list.quiet.insert(at, now);
                return;
            }
        }
        // What comes from the gateway others do not have: it was told to nobody else.
        let first = from == Source::Hq || self.gateway.map(Source::Neighbour) == Some(from);
        let pressing = if first { Pressing::Yes } else { Pressing::No };
        for neighbour in self.neighbours.values_mut() {
            neighbour.tell(place, pressing);
        }
    }

    pub(super) fn not_fetched(
        &mut self,
        now: Instant,
        from: Source,
        chunk: &ChunkId,
        why: FetchError,
        outputs: &mut Vec<Output>,
    ) {
        for list in &mut self.lists {
            let Some(at) = list.place_of(chunk) else { continue };
            let place = list.place(at);
            if let Some(pipe) = pipe_of(&mut self.neighbours, &mut self.hq, from) {
                pipe.dropped(&place);
            }
            if why == FetchError::Missing
                && let Source::Neighbour(peer) = from
                && let Some(neighbour) = self.neighbours.get_mut(&peer)
                && neighbour.marks(&place, false)
            {
                list.unheld(at);
            }
            list.not_coming(at, from);
        }
        let rest = match (why, from) {
            (FetchError::Missing, Source::Neighbour(_)) => return,
            (FetchError::Wrong, Source::Neighbour(peer)) => {
                let why = format!("sent wrong bytes for chunk {chunk}; it is not asked again");
                outputs.push(Output::Suspect { from, why });
                self.shun(now, peer, outputs);
                return;
            }
            (FetchError::Wrong | FetchError::Missing, Source::Hq) => {
                let why = format!("HQ did not deliver chunk {chunk}");
                outputs.push(Output::Suspect { from, why });
                FAULT_REST
            }
            (FetchError::Disk | FetchError::NoRoom, _) => FAULT_REST,
            (FetchError::Lost, _) => LOST_REST,
        };
        if let Some(pipe) = pipe_of(&mut self.neighbours, &mut self.hq, from) {
            pipe.rest(now + rest);
        }
    }

    /// A liar holds nothing, whatever it says, until this terminal starts anew.
    pub(super) fn shun(&mut self, now: Instant, peer: PeerId, outputs: &mut Vec<Output>) {
        if self.liars.len() >= LIARS_MAX {
            self.liars.pop_front();
        }
        self.liars.push_back((peer, now));
        let from = Source::Neighbour(peer);
        let owed = self.lost(now, peer).into_iter();
        outputs.extend(owed.map(|chunk| Output::Cancel { from, chunk }));
        self.neighbours.insert(peer, Neighbour::new());
    }
}
