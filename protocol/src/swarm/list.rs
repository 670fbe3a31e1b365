//! One list of chunks: what of it is here, what is on its way, and how many neighbours hold what.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::pipe::Place;
use crate::{
    Instant,
    content::{Bits, ChunkId, ChunkRef, ListId},
    terminal::Source,
};

#[derive(Debug)]
pub(super) struct List {
    pub(super) id: ListId,
    pub(super) chunks: Arc<[ChunkRef]>,
    places: BTreeMap<ChunkId, u32>,
    pub(super) have: Bits,
    /// The disk takes no more of it.
    pub(super) held_back: bool,
    /// When it was first sought.
    pub(super) since: Instant,
    /// How many neighbours hold each chunk.
    holders: Vec<u16>,
    /// Lacking, not asked for, and held by a neighbour: rarest first, then in this terminal's own
    /// order, so that terminals that lack the same ask for different chunks.
    available: BTreeSet<(u16, u64, u32)>,
    /// Lacking, not asked for, and held by nobody here: only HQ has it.
    unheld: BTreeSet<u32>,
    flights: BTreeMap<u32, Flight>,
    /// Chunks from HQ that only one neighbour has been told of, and since when.
    pub(super) quiet: BTreeMap<u32, Instant>,
    pub(super) bytes_have: u64,
    pub(super) bytes_from_hq: u64,
    pub(super) bytes_from_neighbours: u64,
    seed: u64,
}

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) from: Vec<Source>,
    pub(super) since: Instant,
}

impl List {
    pub(super) fn new(
        id: ListId,
        chunks: Arc<[ChunkRef]>,
        have: Bits,
        seed: u64,
        now: Instant,
    ) -> Self {
        let place = |(at, chunk): (usize, &ChunkRef)| {
            (chunk.id, u32::try_from(at).expect("a list has at most 131,072 chunks"))
        };
        let places = chunks.iter().enumerate().map(place).collect();
        let holders = vec![0; chunks.len()];
        let bytes_have = have.iter_set().map(|at| u64::from(chunks[at as usize].stored)).sum();
        let unheld = have.iter_missing().collect();
        Self {
            id,
            chunks,
            places,
            have,
            held_back: false,
            since: now,
            holders,
            available: BTreeSet::new(),
            unheld,
            flights: BTreeMap::new(),
            quiet: BTreeMap::new(),
            bytes_have,
            bytes_from_hq: 0,
            bytes_from_neighbours: 0,
            seed,
        }
    }

    pub(super) fn place_of(&self, chunk: &ChunkId) -> Option<u32> {
        self.places.get(chunk).copied()
    }

    pub(super) fn place(&self, at: u32) -> Place {
        (self.id, at)
    }

    pub(super) fn chunk(&self, at: u32) -> ChunkRef {
        self.chunks[at as usize]
    }

    pub(super) fn complete(&self) -> bool {
        self.have.is_full()
    }

    pub(super) fn is_sought(&self) -> bool {
        !self.complete() && !self.held_back
    }

    /// One more neighbour holds this chunk.
    pub(super) fn held(&mut self, at: u32) {
        self.recount(at, |n| n.saturating_add(1));
    }

    /// One neighbour fewer holds it.
    pub(super) fn unheld(&mut self, at: u32) {
        self.recount(at, |n| n.saturating_sub(1));
    }

    fn recount(&mut self, at: u32, change: impl Fn(u16) -> u16) {
        let was_idle = self.remove_idle(at);
        let count = &mut self.holders[at as usize];
        *count = change(*count);
        if was_idle {
            self.insert_idle(at);
        }
    }

    /// The rarest chunks first, those that were not asked for and a neighbour holds.
    pub(super) fn available(&self) -> impl Iterator<Item = u32> {
        self.available.iter().map(|(_, _, at)| *at)
    }

    /// The first chunk that only HQ has.
    pub(super) fn first_unheld(&self) -> Option<u32> {
        self.unheld.first().copied()
    }

    pub(super) fn only_hq(&self) -> u32 {
        u32::try_from(self.unheld.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn waits_for_hq(&self) -> bool {
        !self.unheld.is_empty()
    }

    pub(super) fn asked(&mut self, at: u32, from: Source, now: Instant) {
        self.remove_idle(at);
        let flight = self.flights.entry(at).or_insert(Flight { from: Vec::new(), since: now });
        flight.from.push(from);
        flight.since = now;
    }

    /// `from` will not deliver it; once nobody will, it is to be asked for again.
    pub(super) fn not_coming(&mut self, at: u32, from: Source) {
        let Some(flight) = self.flights.get_mut(&at) else { return };
        flight.from.retain(|source| *source != from);
        if flight.from.is_empty() {
            self.flights.remove(&at);
            self.insert_idle(at);
        }
    }

    /// It is here. Returns who else was asked for it.
    pub(super) fn got(&mut self, at: u32) -> Vec<Source> {
        if self.have.set(at) {
            self.bytes_have += u64::from(self.chunk(at).stored);
        }
        self.remove_idle(at);
        self.flights.remove(&at).map_or_else(Vec::new, |flight| flight.from)
    }

    /// The chunks that `from` was asked for.
    pub(super) fn asked_of(&self, from: Source) -> Vec<u32> {
        let asked = |(at, flight): (&u32, &Flight)| flight.from.contains(&from).then_some(*at);
        self.flights.iter().filter_map(asked).collect()
    }

    /// Every request that is out, chunk by chunk.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (ChunkId, Source)> {
        let out = |(at, flight): (&u32, &Flight)| {
            let chunk = self.chunk(*at).id;
            flight.from.iter().map(move |from| (chunk, *from)).collect::<Vec<_>>()
        };
        self.flights.iter().flat_map(out)
    }

    pub(super) fn awaits(&self, chunk: &ChunkId, from: Source) -> bool {
        let flight = self.place_of(chunk).and_then(|at| self.flights.get(&at));
        flight.is_some_and(|flight| flight.from.contains(&from))
    }

    /// What any neighbour may be told we have.
    pub(super) fn loud(&self) -> Bits {
        let mut bits = self.have.clone();
        for at in self.quiet.keys() {
            bits.clear(*at);
        }
        bits
    }

    /// What is left when all that is lacking has been asked for.
    pub(super) fn end_game(&self) -> Option<&BTreeMap<u32, Flight>> {
        let last = self.available.is_empty() && self.unheld.is_empty();
        (last && !self.flights.is_empty()).then_some(&self.flights)
    }

    fn remove_idle(&mut self, at: u32) -> bool {
        let key = (self.holders[at as usize], self.tie(at), at);
        self.unheld.remove(&at) || self.available.remove(&key)
    }

    fn insert_idle(&mut self, at: u32) {
        if self.have.get(at) {
            return;
        }
        match self.holders[at as usize] {
            0 => _ = self.unheld.insert(at),
            held => _ = self.available.insert((held, self.tie(at), at)),
        }
    }

    /// This terminal's own order among equally rare chunks (the mixing step of splitmix64).
    fn tie(&self, at: u32) -> u64 {
        let mut z = (self.seed ^ u64::from(at)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
