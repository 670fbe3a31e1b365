//! Which chunk is asked of whom.
//!
//! A terminal asks its neighbours for the rarest chunks first, each chunk of one of them, and only
//! as much of each as it delivers in a moment ([`pipe`]). The gateway asks HQ for what nobody in the
//! store holds, and entrusts each chunk that HQ sends to one neighbour, in turn; the others hear of
//! it from that one and get it there. So a chunk leaves the gateway about once and the work of
//! spreading it falls on all alike. A chunk that has not spread within [`QUIET`] everybody is told
//! of, so a slow neighbour delays nobody; so are the last ones.
//!
//! What may go wrong: a neighbour that lies is never asked again, one that is slow loses its turn,
//! and the last few chunks are asked for twice. Chunks are verified before this machine hears of
//! them, so all that a liar can cost is time. [`Input`] and [`Output`] are the whole of it; who may
//! speak at all is decided elsewhere.

mod list;
mod neighbour;
mod pipe;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use storemesh_keys::PeerId;

use self::{
    list::List,
    neighbour::Neighbour,
    pipe::{Kind, Pipe, Place},
};
use crate::{
    Instant,
    content::{Bits, ChunkId, ChunkRef, ListId, list_id},
    terminal::{FetchError, Source},
};

/// A neighbour is told of new chunks at most this often, all that came meanwhile at once.
pub(crate) const TELL_EVERY: Duration = Duration::from_millis(50);
/// For so long only one neighbour knows of a chunk that came from HQ.
pub(crate) const QUIET: Duration = Duration::from_secs(2);
/// Of a list as short as this everybody is told at once: a manifest, mostly.
const LOUD_LIST: usize = 4;
/// The gateway waits this long for its neighbours to say what they hold of a list before it asks
/// HQ: copying an earlier release into place takes a terminal seconds.
pub(crate) const ASK_AROUND: Duration = Duration::from_secs(3);
/// With so few chunks left, one that does not come within [`END_GAME_AFTER`] is asked for twice.
const END_GAME: usize = 4;
const END_GAME_AFTER: Duration = Duration::from_millis(700);
/// How long a source rests whose stream broke while its connection stands.
const LOST_REST: Duration = Duration::from_secs(1);
/// How long HQ rests after a wrong answer, and everybody after our own disk failed.
const FAULT_REST: Duration = Duration::from_secs(10);
/// How many of the rarest chunks are looked through for one that a free neighbour holds.
const SCAN_MAX: usize = 512;
/// Liars remembered, the last ones.
const LIARS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(crate) enum Input {
    NeighbourUp(PeerId),
    NeighbourLost(PeerId),
    /// Everything `peer` has of a list.
    Have {
        peer: PeerId,
        list: ListId,
        chunks: Bits,
    },
    /// What it has since.
    Got {
        peer: PeerId,
        list: ListId,
        chunks: Vec<u32>,
    },
    /// Get what is missing, and let the neighbours have what is there.
    Seek {
        chunks: Arc<[ChunkRef]>,
        have: Bits,
    },
    /// Neither sought nor served any longer.
    Drop(ListId),
    /// This terminal is the gateway, and HQ is on the line.
    HqUp,
    HqDown,
    Fetched {
        from: Source,
        chunk: ChunkId,
        bytes: u32,
    },
    NotFetched {
        from: Source,
        chunk: ChunkId,
        why: FetchError,
    },
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    Fetch {
        from: Source,
        chunk: ChunkRef,
    },
    Cancel {
        from: Source,
        chunk: ChunkId,
    },
    TellHave {
        peer: PeerId,
        list: ListId,
        chunks: Bits,
    },
    TellGot {
        peer: PeerId,
        list: ListId,
        chunks: Vec<u32>,
    },
    Complete(ListId),
    /// It sent what it should not have.
    Suspect {
        from: Source,
        why: String,
    },
}

#[derive(Debug)]
pub(crate) struct Swarm {
    seed: u64,
    /// In the order in which they were sought.
    lists: Vec<List>,
    neighbours: BTreeMap<PeerId, Neighbour>,
    hq: Option<Pipe>,
    liars: BTreeSet<PeerId>,
    entrusted: u64,
}

/// How far a list is, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) chunks_have: u32,
    pub(crate) bytes_have: u64,
    pub(crate) bytes_from_hq: u64,
    pub(crate) bytes_from_neighbours: u64,
}

impl Swarm {
    /// `seed` differs from terminal to terminal, so that they do not all ask for the same.
    pub(crate) fn new(seed: u64) -> Self {
        let (lists, neighbours) = (Vec::new(), BTreeMap::new());
        Self { seed, lists, neighbours, hq: None, liars: BTreeSet::new(), entrusted: 0 }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::NeighbourUp(peer) => self.up(peer, &mut outputs),
            Input::NeighbourLost(peer) => self.lost(now, peer),
            Input::Have { peer, list, chunks } => self.says(peer, list, chunks, &mut outputs),
            Input::Got { peer, list, chunks } => self.adds(peer, list, &chunks, &mut outputs),
            Input::Seek { chunks, have } => self.seek(now, chunks, have, &mut outputs),
            Input::Drop(list) => self.drop_list(&list, &mut outputs),
            Input::HqUp => self.hq = Some(Pipe::new(Kind::Hq)),
            Input::HqDown => self.hq_down(),
            Input::Fetched { from, chunk, bytes } => {
                self.fetched(now, from, &chunk, bytes, &mut outputs);
            }
            Input::NotFetched { from, chunk, why } => {
                self.not_fetched(now, from, &chunk, why, &mut outputs);
            }
            Input::Tick => {}
        }
        self.give_up_on_the_stalled(now, &mut outputs);
        self.break_the_quiet(now);
        self.ask(now, &mut outputs);
        self.tell(now, &mut outputs);
        outputs
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        let mut at = Instant::NEVER;
        let seeking = self.lists.iter().any(|list| !list.complete());
        for neighbour in self.neighbours.values() {
            at = at.min(neighbour.tell_at()).min(neighbour.pipe.stalls_at());
            if seeking && let Some(until) = neighbour.pipe.rest_until(now) {
                at = at.min(until);
            }
        }
        if let Some(hq) = &self.hq {
            at = at.min(hq.stalls_at());
            if seeking && let Some(until) = hq.rest_until(now) {
                at = at.min(until);
            }
        }
        for list in &self.lists {
            if let Some(since) = list.quiet.values().min() {
                at = at.min(*since + QUIET);
            }
            if list.complete() {
                continue;
            }
            if self.hq.is_some() && list.waits_for_hq() && now < list.since + ASK_AROUND {
                at = at.min(list.since + ASK_AROUND);
            }
            if let Some(flights) = list.end_game().filter(|flights| flights.len() <= END_GAME) {
                let due = |flight: &list::Flight| flight.since + END_GAME_AFTER;
                let single = flights.values().filter(|f| f.from.len() == 1).map(due);
                at = single.filter(|due| *due > now).fold(at, Instant::min);
            }
        }
        at
    }

    /// How far a list is that is sought or served.
    pub(crate) fn progress(&self, list: &ListId) -> Option<Progress> {
        let list = self.list(list)?;
        Some(Progress {
            chunks_have: list.have.count(),
            bytes_have: list.bytes_have,
            bytes_from_hq: list.bytes_from_hq,
            bytes_from_neighbours: list.bytes_from_neighbours,
        })
    }

    fn list(&self, id: &ListId) -> Option<&List> {
        self.lists.iter().find(|list| list.id == *id)
    }

    // What neighbours say.

    fn up(&mut self, peer: PeerId, outputs: &mut Vec<Output>) {
        self.neighbours.insert(peer, Neighbour::new());
        for list in &self.lists {
            outputs.push(Output::TellHave { peer, list: list.id, chunks: list.loud() });
        }
    }

    fn lost(&mut self, now: Instant, peer: PeerId) {
        let Some(mut neighbour) = self.neighbours.remove(&peer) else { return };
        for (list, at) in neighbour.pipe.give_up(now) {
            if let Some(list) = self.lists.iter_mut().find(|l| l.id == list) {
                list.not_coming(at, Source::Neighbour(peer));
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
    }

    fn says(&mut self, peer: PeerId, id: ListId, chunks: Bits, outputs: &mut Vec<Output>) {
        if self.liars.contains(&peer) {
            return;
        }
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        let Some(list) = self.lists.iter_mut().find(|list| list.id == id) else {
            neighbour.says(id, chunks);
            return;
        };
        if chunks.len() as usize != list.chunks.len() {
            let why = format!("has {} chunks of a list of {}", chunks.len(), list.chunks.len());
            outputs.push(Output::Suspect { from: Source::Neighbour(peer), why });
            return;
        }
        let held: Vec<u32> = chunks.iter_set().collect();
        if let Some(before) = neighbour.says(id, chunks) {
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

    fn adds(&mut self, peer: PeerId, id: ListId, chunks: &[u32], outputs: &mut Vec<Output>) {
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

    // What this terminal seeks.

    fn seek(
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
            outputs.push(Output::TellHave { peer: *peer, list: id, chunks: list.have.clone() });
        }
        if list.complete() {
            outputs.push(Output::Complete(id));
        }
        self.lists.push(list);
    }

    fn drop_list(&mut self, id: &ListId, outputs: &mut Vec<Output>) {
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

    fn hq_down(&mut self) {
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

    // What arrives.

    fn fetched(
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
    fn announce(&mut self, now: Instant, index: usize, at: u32, from: Source) {
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
                neighbour.tell(place);
                list.quiet.insert(at, now);
                return;
            }
        }
        for neighbour in self.neighbours.values_mut() {
            neighbour.tell(place);
        }
    }

    fn not_fetched(
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
                self.shun(now, peer);
                return;
            }
            (FetchError::Wrong | FetchError::Missing, Source::Hq) => {
                let why = format!("HQ did not deliver chunk {chunk}");
                outputs.push(Output::Suspect { from, why });
                FAULT_REST
            }
            (FetchError::Disk, _) => FAULT_REST,
            (FetchError::Lost, _) => LOST_REST,
        };
        if let Some(pipe) = pipe_of(&mut self.neighbours, &mut self.hq, from) {
            pipe.rest(now + rest);
        }
    }

    /// A liar holds nothing, whatever it says, until this terminal starts anew.
    fn shun(&mut self, now: Instant, peer: PeerId) {
        if self.liars.len() >= LIARS_MAX {
            self.liars.pop_first();
        }
        self.liars.insert(peer);
        self.lost(now, peer);
        self.neighbours.insert(peer, Neighbour::new());
    }

    // What is due.

    fn give_up_on_the_stalled(&mut self, now: Instant, outputs: &mut Vec<Output>) {
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
    fn break_the_quiet(&mut self, now: Instant) {
        for list in &mut self.lists {
            let due = |since: &Instant| *since + QUIET <= now || *since == Instant(0);
            let (id, quiet) = (list.id, &mut list.quiet);
            let loud: Vec<u32> =
                quiet.iter().filter(|(_, since)| due(since)).map(|(at, _)| *at).collect();
            for at in loud {
                quiet.remove(&at);
                for neighbour in self.neighbours.values_mut() {
                    neighbour.entrusted.remove(&(id, at));
                    neighbour.tell((id, at));
                }
            }
        }
    }

    fn tell(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        for (peer, neighbour) in &mut self.neighbours {
            for (list, chunks) in neighbour.told(now) {
                outputs.push(Output::TellGot { peer: *peer, list, chunks });
            }
        }
    }

    // Whom to ask.

    fn ask(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        for index in 0..self.lists.len() {
            if self.lists[index].complete() {
                continue;
            }
            self.ask_hq(now, index, outputs);
            self.ask_neighbours(now, index, outputs);
            self.ask_twice(now, index, outputs);
        }
    }

    fn ask_hq(&mut self, now: Instant, index: usize, outputs: &mut Vec<Output>) {
        let Some(hq) = &mut self.hq else { return };
        let list = &mut self.lists[index];
        let heard = self.neighbours.values().all(|n| n.knows(&list.id));
        if !heard && now < list.since + ASK_AROUND {
            return;
        }
        while hq.has_room(now)
            && let Some(at) = list.first_unheld()
        {
            let chunk = list.chunk(at);
            hq.asked(now, list.place(at), chunk.stored);
            list.asked(at, Source::Hq, now);
            outputs.push(Output::Fetch { from: Source::Hq, chunk });
        }
        // What only neighbours hold that do not answer is not waited for.
        let answers = |n: &Neighbour, at| n.holds(&list.id, at) && !n.pipe.rests(now);
        let lost = |at: &u32| !self.neighbours.values().any(|n| answers(n, *at));
        let mut asked = Vec::new();
        if self.neighbours.values().any(|n| n.pipe.rests(now)) {
            for at in list.available().take(SCAN_MAX).filter(lost) {
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

    fn ask_neighbours(&mut self, now: Instant, index: usize, outputs: &mut Vec<Output>) {
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
    fn ask_twice(&mut self, now: Instant, index: usize, outputs: &mut Vec<Output>) {
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

fn pipe_of<'a>(
    neighbours: &'a mut BTreeMap<PeerId, Neighbour>,
    hq: &'a mut Option<Pipe>,
    source: Source,
) -> Option<&'a mut Pipe> {
    match source {
        Source::Hq => hq.as_mut(),
        Source::Neighbour(peer) => neighbours.get_mut(&peer).map(|n| &mut n.pipe),
    }
}
