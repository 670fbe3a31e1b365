//! The one clock and the one list of what is to happen.
//!
//! Of two things due at the same moment the one that was put down first happens first, so a seed
//! tells the same story on every machine.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

/// Since the world began.
pub type Time = Duration;

#[derive(Debug)]
pub(super) struct Agenda<E> {
    now: Time,
    put: u64,
    happened: u64,
    heap: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> Agenda<E> {
    pub(super) fn new() -> Self {
        Self { now: Time::ZERO, put: 0, happened: 0, heap: BinaryHeap::new() }
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn happened(&self) -> u64 {
        self.happened
    }

    /// What should have happened already happens at once.
    pub(super) fn at(&mut self, at: Time, event: E) {
        let (at, number) = (at.max(self.now), self.put);
        self.put += 1;
        self.heap.push(Reverse(Entry { at, number, event }));
    }

    pub(super) fn after(&mut self, span: Duration, event: E) {
        self.at(self.now + span, event);
    }

    /// The next thing that is due by `until`; when there is none, it is `until`.
    pub(super) fn next(&mut self, until: Time) -> Option<E> {
        if self.heap.peek().is_none_or(|Reverse(entry)| entry.at > until) {
            self.now = self.now.max(until);
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.at;
        self.happened += 1;
        Some(entry.event)
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Entry<E> {}
