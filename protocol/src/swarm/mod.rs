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

mod arrive;
mod ask;
mod due;
mod hear;
mod list;
mod neighbour;
mod pipe;
mod seek;
#[cfg(test)]
mod tests;
mod why;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use storemesh_keys::PeerId;

use self::{
    list::List,
    neighbour::Neighbour,
    pipe::{Kind, Pipe},
};
pub(crate) use self::{
    neighbour::Looked,
    why::{Lacking, Trouble},
};
use crate::{
    Instant,
    content::{Bits, ChunkId, ChunkRef, ListId},
    terminal::{FetchError, Source},
};

/// A neighbour is told of new chunks at most this often, all that came meanwhile at once.
pub(crate) const TELL_EVERY: Duration = Duration::from_millis(50);
/// And of chunks that came from a neighbour other than the gateway once in so long for each neighbour
/// there is: they are to be had elsewhere, and of 50 terminals each would say it to each, for every
/// chunk. So a terminal says it 100 times a second in all, however large its store.
pub(crate) const TELL_EVERY_OF_ALL: Duration = Duration::from_millis(10);
/// For so long only one neighbour knows of a chunk that came from HQ.
pub(crate) const QUIET: Duration = Duration::from_secs(2);
/// Of a list as short as this everybody is told at once: a manifest, mostly.
const LOUD_LIST: usize = 4;
/// The gateway waits this long for its neighbours to speak of a list before it asks HQ; when it has just
/// started, for the store's other terminals to come: HQ may be reached before they are, and they have what a
/// gateway that was switched off gave them.
pub(crate) const ASK_AROUND: Duration = Duration::from_secs(3);
/// And this long for those that have said that they are looking: copying a large release into place
/// takes minutes on a slow disk. What they find need not cross the WAN.
pub(crate) const LOOK_AROUND: Duration = Duration::from_mins(3);
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
    /// Whether what is wanted finds no room on the neighbour's disk.
    NoRoom {
        peer: PeerId,
        no_room: bool,
    },
    /// Everything `peer` has of a list, or has found of it so far.
    Have {
        peer: PeerId,
        list: ListId,
        chunks: Bits,
        looked: Looked,
    },
    /// What it has since.
    Got {
        peer: PeerId,
        list: ListId,
        chunks: Vec<u32>,
    },
    /// This list will be sought: the disk is being looked through for it.
    Expect {
        chunks: Arc<[ChunkRef]>,
    },
    /// Get what is missing, and let the neighbours have what is there.
    Seek {
        chunks: Arc<[ChunkRef]>,
        have: Bits,
    },
    /// Served, and not sought until it is said again: the disk takes no more.
    Hold(ListId),
    /// Neither sought nor served any longer.
    Drop(ListId),
    /// Who the gateway is, as far as it is known.
    Gateway(Option<PeerId>),
    /// This terminal is the gateway, and HQ is on the line.
    HqUp {
        /// Terminals of the store that are not connected.
        away: BTreeSet<PeerId>,
    },
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
        looked: Looked,
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
    started: Instant,
    /// In the order in which they were sought.
    lists: Vec<List>,
    neighbours: BTreeMap<PeerId, Neighbour>,
    gateway: Option<PeerId>,
    hq: Option<Pipe>,
    /// Who was not here when HQ was reached, and has not come since.
    away: BTreeSet<PeerId>,
    /// The last ones, the oldest first.
    liars: VecDeque<(PeerId, Instant)>,
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
    pub(crate) fn new(seed: u64, now: Instant) -> Self {
        Self {
            seed,
            started: now,
            lists: Vec::new(),
            neighbours: BTreeMap::new(),
            gateway: None,
            hq: None,
            away: BTreeSet::new(),
            liars: VecDeque::new(),
            entrusted: 0,
        }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::NeighbourUp(peer) => self.up(peer, &mut outputs),
            // Its requests ended with the connection.
            Input::NeighbourLost(peer) => _ = self.lost(now, peer),
            Input::NoRoom { peer, no_room } => {
                if let Some(neighbour) = self.neighbours.get_mut(&peer) {
                    neighbour.no_room = no_room;
                }
            }
            Input::Have { peer, list, chunks, looked } => {
                self.says(peer, list, chunks, looked, &mut outputs);
            }
            Input::Got { peer, list, chunks } => self.adds(peer, list, &chunks, &mut outputs),
            Input::Expect { chunks } => self.expect(&chunks, &mut outputs),
            Input::Seek { chunks, have } => self.seek(now, chunks, have, &mut outputs),
            Input::Hold(list) => self.hold(&list, &mut outputs),
            Input::Drop(list) => self.drop_list(&list, &mut outputs),
            Input::Gateway(peer) => self.gateway = peer,
            Input::HqUp { away } => {
                self.hq = Some(Pipe::new(Kind::Hq));
                self.away = away;
            }
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
        let seeking = self.lists.iter().any(List::is_sought);
        for neighbour in self.neighbours.values() {
            at = at.min(neighbour.tell_at(self.neighbours.len())).min(neighbour.pipe.stalls_at());
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
            if !list.is_sought() {
                continue;
            }
            if self.hq.is_some() && list.waits_for_hq() {
                at = at.min(self.asks_hq_at(list, now).unwrap_or(at));
            }
            if let Some(flights) = list.end_game().filter(|flights| flights.len() <= END_GAME) {
                let due = |flight: &list::Flight| flight.since + END_GAME_AFTER;
                let single = flights.values().filter(|f| f.from.len() == 1).map(due);
                at = single.filter(|due| *due > now).fold(at, Instant::min);
            }
        }
        at
    }

    /// What HQ's chunks come with, in bytes per second.
    pub(crate) fn hq_rate(&self) -> Option<u64> {
        self.hq.as_ref().and_then(Pipe::rate)
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

    /// Whether it sent wrong bytes, and is asked for nothing any more.
    pub(crate) fn shuns(&self, peer: &PeerId) -> bool {
        self.liars.iter().any(|(liar, _)| liar == peer)
    }

    fn list(&self, id: &ListId) -> Option<&List> {
        self.lists.iter().find(|list| list.id == *id)
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
