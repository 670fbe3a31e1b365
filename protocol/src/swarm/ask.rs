//! Whom to ask for which chunk.

use super::{
    ASK_AROUND, END_GAME, END_GAME_AFTER, LOOK_AROUND, Output, SCAN_MAX, Swarm, list::List,
    neighbour::Neighbour,
};
use crate::{Instant, terminal::Source};

impl Swarm {
    pub(super) fn ask(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        for index in 0..self.lists.len() {
            if !self.lists[index].is_sought() {
                continue;
            }
            self.ask_hq(now, index, outputs);
            self.ask_neighbours(now, index, outputs);
            self.ask_twice(now, index, outputs);
        }
    }

    /// Until when the gateway waits for what its neighbours say of a list, and for those that it has just
    /// started to look for; none when it need not.
    pub(super) fn asks_hq_at(&self, list: &List, now: Instant) -> Option<Instant> {
        let waits = |n: &Neighbour| {
            if n.has_looked(&list.id) || n.no_room {
                None
            } else if n.looks(&list.id) {
                Some(list.since + LOOK_AROUND)
            } else {
                Some(list.since + ASK_AROUND)
            }
        };
        let come = (!self.away.is_empty()).then_some(self.started + ASK_AROUND);
        let all = self.neighbours.values().filter_map(waits).chain(come);
        all.filter(|due| *due > now).max()
    }

    pub(super) fn ask_hq(&mut self, now: Instant, index: usize, outputs: &mut Vec<Output>) {
        if self.asks_hq_at(&self.lists[index], now).is_some() {
            return;
        }
        let Some(hq) = &mut self.hq else { return };
        let list = &mut self.lists[index];
        while hq.has_room(now)
            && let Some(at) = list.first_unheld()
        {
            let chunk = list.chunk(at);
            hq.asked(now, list.place(at), chunk.stored);
            list.asked(at, Source::Hq, now);
            outputs.push(Output::Fetch { from: Source::Hq, chunk });
        }
        // What only neighbours hold that do not answer is not waited for.
        let answers = |n: &Neighbour, at| n.holds(&list.id, at) && !n.pipe.is_mute(now);
        let mute = |at: &u32| !self.neighbours.values().any(|n| answers(n, *at));
        let mut asked = Vec::new();
        if self.neighbours.values().any(|n| n.pipe.is_mute(now)) {
            for at in list.available().take(SCAN_MAX).filter(mute) {
                if !hq.has_room(now) {
                    break;
                }
                let chunk = list.chunk(at);
                hq.asked(now, list.place(at), chunk.stored);
                asked.push(at);
                outputs.push(Output::Fetch { from: Source::Hq, chunk });
            }
        }
        for at in asked {
            list.asked(at, Source::Hq, now);
        }
    }

    pub(super) fn ask_neighbours(&mut self, now: Instant, index: usize, outputs: &mut Vec<Output>) {
        let list = &mut self.lists[index];
        let mut free = self.neighbours.values().filter(|n| n.pipe.has_room(now)).count();
        if free == 0 {
            return;
        }
        let mut asked = Vec::new();
        for at in list.available().take(SCAN_MAX) {
            if free == 0 {
                break;
            }
            let chunk = list.chunk(at);
            let best = self
                .neighbours
                .iter_mut()
                .filter(|(_, n)| n.pipe.has_room(now) && n.holds(&list.id, at))
                .min_by_key(|(_, n)| n.pipe.wait(chunk.stored));
            let Some((peer, neighbour)) = best else { continue };
            neighbour.pipe.asked(now, list.place(at), chunk.stored);
            if !neighbour.pipe.has_room(now) {
                free -= 1;
            }
            asked.push((at, Source::Neighbour(*peer)));
            outputs.push(Output::Fetch { from: Source::Neighbour(*peer), chunk });
        }
        for (at, from) in asked {
            list.asked(at, from, now);
        }
    }

    /// The end game: a chunk that lets everybody wait is asked for a second time.
    pub(super) fn ask_twice(&mut self, now: Instant, index: usize, outputs: &mut Vec<Output>) {
        let list = &mut self.lists[index];
        let Some(flights) = list.end_game().filter(|flights| flights.len() <= END_GAME) else {
            return;
        };
        let mut asked = Vec::new();
        for (at, flight) in flights {
            let [first] = flight.from[..] else { continue };
            if now < flight.since + END_GAME_AFTER {
                continue;
            }
            let chunk = list.chunk(*at);
            let other = self
                .neighbours
                .iter_mut()
                .filter(|(peer, n)| {
                    Source::Neighbour(**peer) != first
                        && n.pipe.has_room(now)
                        && n.holds(&list.id, *at)
                })
                .min_by_key(|(_, n)| n.pipe.wait(chunk.stored));
            let Some((peer, neighbour)) = other else { continue };
            neighbour.pipe.asked(now, list.place(*at), chunk.stored);
            asked.push((*at, Source::Neighbour(*peer)));
            outputs.push(Output::Fetch { from: Source::Neighbour(*peer), chunk });
        }
        for (at, from) in asked {
            list.asked(at, from, now);
        }
    }
}
