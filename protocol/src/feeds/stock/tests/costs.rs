//! What counts cost, and how many there may be; and a disk that fails in their middle.

use std::{cell::Cell, ops::ControlFlow};

use super::*;
use crate::{
    BadRow,
    feeds::{stock::counts::CHAIN_MAX, storage::Each},
};

/// Storage that counts how many rows are read, and fails after so many.
struct Watched<'a> {
    storage: &'a mut Memory,
    read: Cell<usize>,
    most: usize,
}

impl Watched<'_> {
    /// Whether one more is read.
    fn reads(&self) -> bool {
        self.read.set(self.read.get() + 1);
        self.read.get() <= self.most
    }
}

impl Read for Watched<'_> {
    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
        self.reads().then(|| self.storage.get(table, key)).flatten()
    }

    fn scan(&self, table: &'static str, from: &[u8], to: &[u8], each: &mut Each<'_>) {
        self.storage.scan(table, from, to, &mut |key, value| {
            if self.reads() { each(key, value) } else { ControlFlow::Break(()) }
        });
    }

    fn fail(&self, why: BadRow) {
        self.storage.fail(why);
    }
}

impl Storage for Watched<'_> {
    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]) {
        self.storage.put(table, key, value);
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) {
        self.storage.delete(table, key);
    }
}

impl Model {
    fn watched(&mut self, most: usize) -> Watched<'_> {
        Watched { storage: &mut self.storage, read: Cell::new(0), most }
    }

    /// How many rows that entry has read.
    fn cost(&mut self, author: usize, seq: u64, record: &Record) -> usize {
        let mut watched = self.watched(usize::MAX);
        let entry = EntryId { feed: feed(author), seq };
        apply(&mut watched, &name("s1"), &entry, record, &|_| false);
        watched.read.get()
    }
}

#[test]
fn a_movement_reads_as_little_after_a_hundred_counts_as_after_one() {
    let mut here = Model::default();
    let mut costs = Vec::new();
    for round in 1..=100 {
        here.apply(1, round, &moved(-1));
        let count = here.count(20);
        here.apply(0, round, &count);
        costs.push(here.cost(2, round, &moved(-1)));
    }
    assert_eq!(here.quantity(), 19);
    assert!(costs.iter().all(|rows| *rows < 10), "{costs:?}");
}

#[test]
fn a_disk_that_fails_at_any_row_fails_the_batch_and_nothing_else() {
    let begun = || {
        let mut here = Model::default();
        for round in 1..=3 {
            here.apply(1, round, &moved(-1));
            let count = here.count(20);
            here.apply(0, round, &count);
        }
        let count = here.count(20);
        (here, count)
    };
    let (mut here, count) = begun();
    for most in 0..here.cost(0, 4, &count) {
        let (mut here, count) = begun();
        let (store, entry) = (name("s1"), EntryId { feed: feed(0), seq: 4 });
        apply(&mut here.watched(most), &store, &entry, &count, &|_| false);
        let (mut here, count) = begun();
        let (mut disk, mut back) = (here.watched(most), TakenBack::default());
        back.entry(&mut disk, &store, at(0, 3), &count);
        back.settle(&mut disk, &store, &|_| false);
    }
}

#[test]
fn a_count_reads_no_more_counts_than_the_one_it_replaces() {
    let mut here = Model::default();
    for round in 1..=50 {
        let count = here.count(20);
        here.apply(0, round, &count);
    }
    let count = here.count(30);
    assert!(here.cost(0, 51, &count) < 30);
    assert_eq!(here.quantity(), 30);
}

#[test]
fn an_item_that_moved_in_more_starts_than_an_entry_lists_is_counted_in_parts() {
    const STARTS: usize = 2 * SEEN_MAX + 10;
    let mut here = Model::default();
    let count = here.count(i64::try_from(STARTS).unwrap());
    here.apply(0, 1, &count);
    for start in 200..200 + STARTS {
        here.apply(start, 1, &moved(-1));
    }
    let mut there = Model { storage: here.storage.clone(), ..Model::default() };
    let counts = here.parts(40, at(100, 1), SEEN_MAX);
    assert_eq!(counts.len(), 3);
    for (seq, count) in (1..).zip(counts) {
        assert_eq!(
            there.quantity(),
            0,
            "a part is no count, and the one before it is still the last"
        );
        let record = counted(count);
        record.check().unwrap();
        assert!(crate::wire::encode(&record).len() < 60 * 1024);
        there.apply(100, seq, &record);
    }
    assert_eq!(there.quantity(), 40);
    let news = there.parts(41, at(100, 4), SEEN_MAX);
    assert_eq!(news.iter().map(|count| count.seen.len()).sum::<usize>(), 0, "all was seen");
}

#[test]
fn a_chain_of_counts_that_grew_long_begins_anew() {
    let mut here = Model::default();
    let mut begun = 0;
    for round in 1..=2 * CHAIN_MAX + 1 {
        here.apply(1, round, &moved(-1));
        let count = here.count(i64::try_from(round).unwrap());
        begun += u64::from(count.count.as_ref().unwrap().base.is_none());
        here.apply(0, round, &count);
        assert_eq!(here.quantity(), i64::try_from(round).unwrap());
    }
    assert_eq!(begun, 3);
}

#[test]
fn a_chain_that_is_longer_than_any_may_be_ends_where_it_should_have() {
    let mut here = Model::default();
    let mut base = None;
    for seq in 1..=CHAIN_MAX + 50 {
        here.apply(0, seq, &lists(i64::try_from(seq).unwrap(), base, vec![]));
        base = Some(at(0, seq));
    }
    assert_eq!(here.quantity(), i64::try_from(CHAIN_MAX).unwrap());
    let count = here.count(5);
    here.apply(1, 1, &count);
    assert_eq!(here.quantity(), 5);
}

#[test]
fn a_count_reads_what_the_last_one_had_not_seen_however_much_that_one_had() {
    let mut here = Model::default();
    for seq in 1..=2_000 {
        here.apply(1, seq, &moved(-1));
    }
    let count = here.count(20);
    here.apply(0, 1, &count);
    here.apply(1, 2_001, &moved(-1));
    let count = here.count(19);
    assert!(here.cost(0, 2, &count) < 30);
    here.apply(1, 2_002, &moved(-1));
    assert_eq!(here.quantity(), 18);
}
