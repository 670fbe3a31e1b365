//! What one neighbour holds, what it has been told of us, and what it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    TELL_EVERY, TELL_EVERY_OF_ALL,
    list::List,
    pipe::{Kind, Pipe, Place},
};
use crate::{
    Instant,
    content::{Bits, ListId},
};

/// Lists remembered of one neighbour, known to us or not: two for each release it has or wants.
/// Past it, the one that was told longest ago and is not ours makes room.
const LISTS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Neighbour {
    has: BTreeMap<ListId, Held>,
    /// Counts what it told, so that the oldest is known.
    tellings: u64,
    /// It has none for a release, so it may never look for its chunks, nor say that it does not.
    pub(super) no_room: bool,
    pub(super) pipe: Pipe,
    /// Chunks it is to be told of, together, once some time has passed since it was told last.
    pending: BTreeSet<Place>,
    /// How pressing the most pressing of them is.
    pressing: Pressing,
    told_last: Option<Instant>,
    /// Chunks from HQ that only it was told of and does not have yet.
    pub(super) entrusted: BTreeSet<Place>,
    /// Rises with every chunk entrusted to anybody: who was trusted longest ago is next.
    pub(super) entrusted_last: u64,
}

/// What it said of one list.
#[derive(Debug)]
struct Held {
    bits: Bits,
    looked: Looked,
    told: u64,
}

/// Whether a terminal has looked through its own disk for a list's chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    Yes,
    /// More may come, without anybody's sending it.
    NotYet,
}

/// Whether somebody waits for word of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pressing {
    /// Others hold it and say so.
    No,
    /// Nobody else has been told of it, or not in time.
    Yes,
}

impl Neighbour {
    pub(super) fn new() -> Self {
        Self {
            has: BTreeMap::new(),
            tellings: 0,
            no_room: false,
            pipe: Pipe::new(Kind::Neighbour),
            pending: BTreeSet::new(),
            pressing: Pressing::No,
            told_last: None,
            entrusted: BTreeSet::new(),
            entrusted_last: 0,
        }
    }

    /// Whether it has said anything of this list: it seeks it, or has it.
    pub(super) fn knows(&self, list: &ListId) -> bool {
        self.has.contains_key(list)
    }

    /// Whether it has said all it holds of this list for now.
    pub(super) fn has_looked(&self, list: &ListId) -> bool {
        self.has.get(list).is_some_and(|held| held.looked == Looked::Yes)
    }

    /// Whether it is still looking on its own disk for what it holds of this list.
    pub(super) fn looks(&self, list: &ListId) -> bool {
        self.has.get(list).is_some_and(|held| held.looked == Looked::NotYet)
    }

    pub(super) fn holds(&self, list: &ListId, at: u32) -> bool {
        self.has.get(list).is_some_and(|held| held.bits.get(at))
    }

    pub(super) fn bits(&self, list: &ListId) -> Option<&Bits> {
        self.has.get(list).map(|held| &held.bits)
    }

    /// Replaces what it said of this list before; returns that. `ours` tells the lists that must
    /// not make room for it.
    pub(super) fn says(
        &mut self,
        list: ListId,
        bits: Bits,
        looked: Looked,
        ours: impl Fn(&ListId) -> bool,
    ) -> Option<Bits> {
        if self.has.len() >= LISTS_MAX && !self.has.contains_key(&list) {
            let others = self.has.iter().filter(|(id, _)| !ours(id));
            let oldest = others.min_by_key(|(_, held)| held.told).map(|(id, _)| *id);
            self.has.remove(&oldest?);
        }
        self.tellings += 1;
        let held = Held { bits, looked, told: self.tellings };
        self.has.insert(list, held).map(|before| before.bits)
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = (&ListId, &Bits)> {
        self.has.iter().map(|(id, held)| (id, &held.bits))
    }

    /// Marks one chunk; true when that is news.
    pub(super) fn marks(&mut self, place: &Place, held: bool) -> bool {
        self.entrusted.remove(place);
        let Some(Held { bits, .. }) = self.has.get_mut(&place.0) else { return false };
        if place.1 >= bits.len() || bits.get(place.1) == held {
            return false;
        }
        if held { bits.set(place.1) } else { bits.clear(place.1) }
    }

    pub(super) fn tell(&mut self, place: Place, pressing: Pressing) {
        if !self.holds(&place.0, place.1) {
            self.pending.insert(place);
            self.pressing = self.pressing.max(pressing);
        }
    }

    /// When it is told next; `neighbours` is how many there are in all.
    pub(super) fn tell_at(&self, neighbours: usize) -> Instant {
        if self.pending.is_empty() {
            return Instant::NEVER;
        }
        let Some(last) = self.told_last else { return Instant(0) };
        match self.pressing {
            Pressing::Yes => last + TELL_EVERY,
            Pressing::No => {
                let of_all = u32::try_from(neighbours).unwrap_or(u32::MAX);
                last + TELL_EVERY.max(TELL_EVERY_OF_ALL.saturating_mul(of_all))
            }
        }
    }

    /// What it is told now, if it is time: chunks it got elsewhere meanwhile are left out.
    pub(super) fn told(&mut self, now: Instant, neighbours: usize) -> BTreeMap<ListId, Vec<u32>> {
        let mut told = BTreeMap::<ListId, Vec<u32>>::new();
        if now < self.tell_at(neighbours) {
            return told;
        }
        self.pressing = Pressing::No;
        for (list, at) in std::mem::take(&mut self.pending) {
            if !self.holds(&list, at) {
                told.entry(list).or_default().push(at);
            }
        }
        if !told.is_empty() {
            self.told_last = Some(now);
        }
        told
    }

    /// A list is gone here: nothing of it is told any more.
    pub(super) fn drop_list(&mut self, list: &ListId) {
        self.pending.retain(|(of, _)| of != list);
        self.entrusted.retain(|(of, _)| of != list);
    }

    /// What it said of a list that we come to know only now must fit it.
    pub(super) fn count_into(&mut self, list: &mut List) {
        match self.has.get(&list.id) {
            Some(Held { bits, .. }) if bits.len() as usize == list.chunks.len() => {
                for at in bits.iter_set() {
                    list.held(at);
                }
            }
            Some(_) => _ = self.has.remove(&list.id),
            None => {}
        }
    }
}
