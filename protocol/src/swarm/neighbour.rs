//! What one neighbour holds, what it has been told of us, and what it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    TELL_EVERY,
    list::List,
    pipe::{Kind, Pipe, Place},
};
use crate::{
    Instant,
    content::{Bits, ListId},
};

/// Lists remembered of one neighbour, known to us or not. Two for each release it has or wants.
const LISTS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Neighbour {
    has: BTreeMap<ListId, Bits>,
    pub(super) pipe: Pipe,
    /// Chunks it is to be told of, together, once [`TELL_EVERY`] has passed since the last time.
    pending: BTreeSet<Place>,
    tell_from: Instant,
    /// Chunks from HQ that only it was told of and does not have yet.
    pub(super) entrusted: BTreeSet<Place>,
    /// Rises with every chunk entrusted to anybody: who was trusted longest ago is next.
    pub(super) entrusted_last: u64,
}

impl Neighbour {
    pub(super) fn new() -> Self {
        Self {
            has: BTreeMap::new(),
            pipe: Pipe::new(Kind::Neighbour),
            pending: BTreeSet::new(),
            tell_from: Instant(0),
            entrusted: BTreeSet::new(),
            entrusted_last: 0,
        }
    }

    /// Whether it has said anything of this list: it seeks it, or has it.
    pub(super) fn knows(&self, list: &ListId) -> bool {
        self.has.contains_key(list)
    }

    pub(super) fn holds(&self, list: &ListId, at: u32) -> bool {
        self.has.get(list).is_some_and(|bits| bits.get(at))
    }

    pub(super) fn bits(&self, list: &ListId) -> Option<&Bits> {
        self.has.get(list)
    }

    /// Replaces what it said of this list before; returns that. A list too many is not remembered.
    pub(super) fn says(&mut self, list: ListId, bits: Bits) -> Option<Bits> {
        if self.has.len() >= LISTS_MAX && !self.has.contains_key(&list) {
            return None;
        }
        self.has.insert(list, bits)
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = (&ListId, &Bits)> {
        self.has.iter()
    }

    /// Marks one chunk; true when that is news.
    pub(super) fn marks(&mut self, place: &Place, held: bool) -> bool {
        self.entrusted.remove(place);
        let Some(bits) = self.has.get_mut(&place.0) else { return false };
        if place.1 >= bits.len() || bits.get(place.1) == held {
            return false;
        }
        if held { bits.set(place.1) } else { bits.clear(place.1) }
    }

    pub(super) fn tell(&mut self, place: Place) {
        if !self.holds(&place.0, place.1) {
            self.pending.insert(place);
        }
    }

    pub(super) fn tell_at(&self) -> Instant {
        if self.pending.is_empty() { Instant::NEVER } else { self.tell_from }
    }

    /// What it is told now, if it is time: chunks it got elsewhere meanwhile are left out.
    pub(super) fn told(&mut self, now: Instant) -> BTreeMap<ListId, Vec<u32>> {
        let mut told = BTreeMap::<ListId, Vec<u32>>::new();
        if now < self.tell_from {
            return told;
        }
        for (list, at) in std::mem::take(&mut self.pending) {
            if !self.holds(&list, at) {
                told.entry(list).or_default().push(at);
            }
        }
        if !told.is_empty() {
            self.tell_from = now + TELL_EVERY;
        }
        told
    }

    /// A list is gone here: nothing of it is told or awaited any more.
    pub(super) fn drop_list(&mut self, list: &ListId) {
        self.pending.retain(|(of, _)| of != list);
        self.entrusted.retain(|(of, _)| of != list);
        let owed: Vec<_> = self.pipe.places().filter(|(of, _)| of == list).copied().collect();
        for place in owed {
            self.pipe.dropped(&place);
        }
    }

    /// What it said of a list that we come to know only now must fit it.
    pub(super) fn count_into(&mut self, list: &mut List) {
        match self.has.get(&list.id) {
            Some(bits) if bits.len() as usize == list.chunks.len() => {
                for at in bits.iter_set() {
                    list.held(at);
                }
            }
            Some(_) => _ = self.has.remove(&list.id),
            None => {}
        }
    }
}
