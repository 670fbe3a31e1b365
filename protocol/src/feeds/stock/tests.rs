//! What is on hand, and which count is the last.

mod costs;
mod orders;

use super::{record::QUANTITY_MAX, *};
use crate::{
    feeds::{Boot, FeedId, Scope, Topic, samples::peer, storage::Memory},
    fixtures::name,
};

fn feed(n: usize) -> FeedId {
    let topic = Topic { name: name("stock"), scope: Scope::Store(name("s1")) };
    // Beyond a number they are starts of one terminal.
    FeedId { author: Author::terminal(peer(n.min(150))), boot: Boot(n as u64), topic }
}

/// A terminal's read model.
#[derive(Default)]
struct Model {
    storage: Memory,
    /// HQ has ended these authors, with the last of their entries that counts.
    ends: BTreeMap<Author, u64>,
}

impl Model {
    fn apply(&mut self, author: usize, seq: u64, record: &Record) {
        let entry = EntryId { feed: feed(author), seq };
        let ends = self.ends.clone();
        apply(&mut self.storage, &name("s1"), &entry, record, &|at| is_ended(&ends, at));
    }

    /// As the one whose feed is the hundredth would post it; it is no entry yet.
    fn count(&self, value: i64) -> Record {
        let [count] = <[Count; 1]>::try_from(self.parts(value, at(100, 1), SEEN_MAX)).unwrap();
        counted(count)
    }

    fn parts(&self, value: i64, next: At, most: usize) -> Vec<Count> {
        count_now(&self.storage, &name("s1"), ("milk", value), next, most).unwrap()
    }

    /// HQ ends the author after `last`, having written down `gone` behind that.
    fn end(&mut self, author: usize, last: u64, gone: &[(u64, Record)]) {
        self.ends.insert(feed(author).author, last);
        let ends = self.ends.clone();
        let (store, mut back) = (name("s1"), TakenBack::default());
        for (seq, record) in gone {
            back.entry(&mut self.storage, &store, at(author, *seq), record);
        }
        back.settle(&mut self.storage, &store, &|at| is_ended(&ends, at));
        wake(&mut self.storage, feed(author).author, &|_, at| is_ended(&ends, at));
    }

    fn on_hand(&self) -> Option<OnHand> {
        on_hand(&self.storage, &name("s1"), "milk")
    }

    fn quantity(&self) -> i64 {
        self.on_hand().expect("it moved").quantity
    }
}

fn is_ended(ends: &BTreeMap<Author, u64>, at: &At) -> bool {
    ends.get(&at.author).is_some_and(|last| *last < at.seq)
}

fn at(author: usize, seq: u64) -> At {
    let FeedId { author, boot, .. } = feed(author);
    At { author, boot, seq }
}

fn counted(count: Count) -> Record {
    Record { count: Some(count), ..Record::default() }
}

fn lists(value: i64, base: Option<At>, seen: Vec<At>) -> Record {
    counted(Count { item: "milk".to_owned(), value, base, seen, part: false })
}

fn moved(by: i64) -> Record {
    let movement = |by| Movement { item: "milk".to_owned(), quantity: by };
    Record { movements: vec![movement(by)], count: None }
}

#[test]
fn on_hand_is_the_last_count_and_what_it_had_not_seen() {
    let mut here = Model::default();
    assert_eq!(here.on_hand(), None);
    here.apply(0, 1, &moved(-2));
    here.apply(1, 1, &moved(-3));
    assert_eq!(here.quantity(), -5);
    let count = here.count(40);
    here.apply(0, 2, &count);
    assert_eq!(here.quantity(), 40);
    here.apply(1, 2, &moved(-1));
    assert_eq!(here.quantity(), 39);
    assert_eq!(here.on_hand().unwrap().count, Some(40));
}

#[test]
fn a_movement_that_a_count_had_not_seen_counts_however_late_it_comes() {
    let (mut there, mut here) = (Model::default(), Model::default());
    // Sold elsewhere while the network was cut.
    here.apply(1, 1, &moved(-3));
    let count = there.count(40);
    there.apply(0, 1, &count);
    here.apply(0, 1, &count);
    there.apply(1, 1, &moved(-3));
    assert_eq!((there.quantity(), here.quantity()), (37, 37));
}

#[test]
fn of_two_counts_that_had_not_seen_each_other_the_higher_entry_is_the_last() {
    let (mut one, mut other) = (Model::default(), Model::default());
    let (first, second) = (one.count(10), other.count(20));
    one.apply(0, 1, &first);
    one.apply(1, 1, &second);
    other.apply(1, 1, &second);
    other.apply(0, 1, &first);
    assert_eq!(one.on_hand(), other.on_hand());
    let last = if feed(0).author > feed(1).author { 10 } else { 20 };
    assert_eq!(one.quantity(), last);
    // Who counts now has seen both.
    let third = one.count(15);
    other.apply(2, 1, &third);
    assert_eq!(other.quantity(), 15);
}

#[test]
fn a_count_waits_for_the_one_it_follows() {
    let (mut there, mut here) = (Model::default(), Model::default());
    there.apply(0, 1, &moved(-2));
    let first = there.count(10);
    there.apply(1, 1, &first);
    let second = there.count(9);
    here.apply(2, 1, &second);
    here.apply(0, 1, &moved(-2));
    assert_eq!(here.quantity(), -2, "its base is not here");
    here.apply(1, 1, &first);
    assert_eq!(here.quantity(), 9);
}

#[test]
fn what_is_taken_back_is_as_if_it_had_never_been() {
    let mut here = Model::default();
    here.apply(0, 1, &moved(-2));
    let count = here.count(40);
    here.apply(1, 1, &count);
    here.apply(0, 2, &moved(-5));
    here.end(0, 1, &[(2, moved(-5))]);
    assert_eq!(here.quantity(), 40);
    here.end(1, 0, &[(1, count)]);
    assert_eq!(here.quantity(), -2);
}

#[test]
fn counts_in_a_ring_end() {
    let mut here = Model::default();
    here.apply(0, 1, &lists(1, Some(at(1, 1)), vec![]));
    here.apply(1, 1, &lists(1, Some(at(0, 1)), vec![]));
    here.apply(2, 1, &moved(-4));
    assert_eq!(here.quantity(), -4);
}

#[test]
fn a_count_waits_for_all_that_it_has_seen() {
    let (mut there, mut here) = (Model::default(), Model::default());
    there.apply(0, 1, &moved(-2));
    there.apply(1, 1, &moved(-3));
    let count = there.count(40);
    here.apply(2, 1, &count);
    here.apply(0, 1, &moved(-2));
    assert_eq!(here.quantity(), -2, "a sale that it has seen is not here");
    here.apply(1, 1, &moved(-3));
    assert_eq!(here.quantity(), 40);
}

#[test]
fn a_count_that_lists_what_nobody_wrote_hides_nothing_that_comes() {
    for beyond in [2, 1_000_000, u64::MAX] {
        let mut here = Model::default();
        here.apply(0, 1, &moved(-2));
        here.apply(1, 1, &lists(40, None, vec![at(0, beyond)]));
        here.apply(1, 2, &lists(50, None, vec![at(0, 1), at(3, beyond)]));
        here.apply(1, 3, &lists(60, None, vec![at(1, beyond.max(4))]));
        assert_eq!(here.quantity(), -2, "{beyond}: none of them stands");
        // Who counts then builds on none of them.
        let count = here.count(30);
        here.apply(2, 1, &count);
        assert_eq!(here.quantity(), 30);
        let twice = Record { movements: vec![moved(-1).movements[0].clone(); 2], count: None };
        here.apply(0, if beyond == 2 { 3 } else { 2 }, &twice);
        assert_eq!(here.quantity(), 28);
    }
}

#[test]
fn what_will_not_come_any_more_is_not_waited_for() {
    let (mut there, mut here) = (Model::default(), Model::default());
    there.apply(0, 1, &moved(-2));
    there.apply(0, 2, &moved(-3));
    let count = there.count(40);
    there.apply(1, 1, &count);
    there.end(0, 1, &[(2, moved(-3))]);
    here.apply(0, 1, &moved(-2));
    here.apply(1, 1, &count);
    assert_eq!(here.quantity(), -2);
    here.end(0, 1, &[]);
    assert_eq!((there.quantity(), here.quantity()), (40, 40));
    let mut late = Model::default();
    late.end(0, 1, &[]);
    late.apply(1, 1, &count);
    late.apply(0, 1, &moved(-2));
    assert_eq!(late.quantity(), 40);
}

#[test]
fn a_record_is_movements_or_a_count_within_limits() {
    assert_eq!(Record::default().check(), Err(RecordError::Empty));
    let mut record = moved(1);
    record.movements = vec![record.movements[0].clone(); MOVEMENTS_MAX + 1];
    assert_eq!(record.check(), Err(RecordError::TooMany(MOVEMENTS_MAX + 1)));
    let mut record = moved(QUANTITY_MAX + 1);
    assert_eq!(record.check(), Err(RecordError::Quantity));
    record = moved(1);
    record.movements[0].item = "x".repeat(ITEM_MAX + 1);
    assert_eq!(record.check(), Err(RecordError::Item(ITEM_MAX + 1)));
    assert!(Record::decode(b"\xff").is_err());
    let twice = lists(1, None, vec![at(1, 1), at(1, 2)]);
    assert_eq!(twice.check(), Err(RecordError::Order));
}
