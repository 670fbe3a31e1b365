//! What is done when its time has come.

use super::{Output, QUIET, Swarm, neighbour::Pressing};
use crate::{Instant, terminal::Source};

impl Swarm {
    pub(super) fn give_up_on_the_stalled(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let mut stalled = Vec::new();
        for (peer, neighbour) in &mut self.neighbours {
            if neighbour.pipe.stalls_at() <= now {
                stalled.push((Source::Neighbour(*peer), neighbour.pipe.give_up(now)));
            }
        }
        if let Some(hq) = &mut self.hq
            && hq.stalls_at() <= now
        {
            stalled.push((Source::Hq, hq.give_up(now)));
        }
        for (from, places) in stalled {
            let why = format!("{} chunks did not come in time; it rests", places.len());
            outputs.push(Output::Suspect { from, why });
            for (id, at) in places {
                let Some(list) = self.lists.iter_mut().find(|list| list.id == id) else { continue };
                list.not_coming(at, from);
                outputs.push(Output::Cancel { from, chunk: list.chunk(at).id });
            }
        }
    }

    /// Tells everybody of chunks that one neighbour should have spread by now.
    pub(super) fn break_the_quiet(&mut self, now: Instant) {
        for list in &mut self.lists {
            let due = |since: &Instant| *since + QUIET <= now || *since == Instant(0);
            let (id, quiet) = (list.id, &mut list.quiet);
            let loud: Vec<u32> =
                quiet.iter().filter(|(_, since)| due(since)).map(|(at, _)| *at).collect();
            for at in loud {
                quiet.remove(&at);
                for neighbour in self.neighbours.values_mut() {
                    neighbour.entrusted.remove(&(id, at));
                    neighbour.tell((id, at), Pressing::Yes);
                }
            }
        }
    }

    pub(super) fn tell(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let neighbours = self.neighbours.len();
        for (peer, neighbour) in &mut self.neighbours {
            for (list, chunks) in neighbour.told(now, neighbours) {
                outputs.push(Output::TellGot { peer: *peer, list, chunks });
            }
        }
    }
}
