//! The same entries give the same number, in whatever order they come.

use proptest::prelude::*;

use super::*;
use crate::{
    feeds::{Scope, Topic, samples::peer, storage::Memory},
    fixtures::name,
};

fn feed(n: usize) -> FeedId {
    let topic = Topic { name: name("stock"), scope: Scope::Store(name("s1")) };
    FeedId { author: Author::terminal(peer(n)), boot: Boot(n as u64), topic }
}

/// A terminal's read model, whose feed numbers are the authors'.
#[derive(Default)]
struct Model {
    storage: Memory,
}

fn of(number: FeedNo) -> FeedId {
    feed(number.number() as usize)
}

impl Model {
    fn apply(&mut self, author: usize, seq: u64, record: &Record) {
        let number = FeedNo::of(u32::try_from(author).unwrap());
        let entry = EntryId { feed: feed(author), seq };
        apply(&mut self.storage, &name("s1"), number, &entry, record, of);
    }

    fn count(&self, value: i64) -> Record {
        let count = count_now(&self.storage, &name("s1"), "milk".to_owned(), value, of);
        Record { count: Some(count), ..Record::default() }
    }

    fn on_hand(&self) -> Option<OnHand> {
        on_hand(&self.storage, &name("s1"), "milk")
    }

    fn quantity(&self) -> i64 {
        self.on_hand().expect("it moved").quantity
    }
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
    let (store, number) = (name("s1"), FeedNo::of(0));
    take_back(&mut here.storage, &store, number, 2, &moved(-5), of);
    assert_eq!(here.quantity(), 40);
    take_back(&mut here.storage, &store, FeedNo::of(1), 1, &count, of);
    assert_eq!(here.quantity(), -2);
}

#[test]
fn counts_in_a_ring_end() {
    let at = |n, seq| At { author: feed(n).author, boot: feed(n).boot, seq };
    let count = |base| Record {
        count: Some(Count { item: "milk".to_owned(), value: 1, base: Some(base), seen: vec![] }),
        ..Record::default()
    };
    let mut here = Model::default();
    here.apply(0, 1, &count(at(1, 1)));
    here.apply(1, 1, &count(at(0, 1)));
    here.apply(2, 1, &moved(-4));
    assert_eq!(here.quantity(), -4);
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
}

/// What one of three terminals does, and which others hear of it at once.
#[derive(Clone, Debug)]
enum Deed {
    Move(usize, i64),
    Count(usize, i64),
    /// The second hears of the first's next entry.
    Hear(usize, usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0_usize..3, -5_i64..5).prop_map(|(at, by)| Deed::Move(at, by)),
        (0_usize..3, 0_i64..50).prop_map(|(at, value)| Deed::Count(at, value)),
        (0_usize..3, 0_usize..3).prop_map(|(from, to)| Deed::Hear(from, to)),
    ]
}

proptest! {
    #[test]
    fn whoever_has_heard_the_same_has_the_same_on_hand(
        deeds in prop::collection::vec(deed(), 1..40),
    ) {
        let mut models: [Model; 3] = Default::default();
        let mut written: [Vec<Record>; 3] = Default::default();
        let mut heard = [[0_usize; 3]; 3];
        for deed in deeds {
            let record = match deed {
                Deed::Move(at, by) => Some((at, moved(by))),
                Deed::Count(at, value) => Some((at, models[at].count(value))),
                Deed::Hear(from, to) => {
                    let next = heard[to][from];
                    if from != to && next < written[from].len() {
                        models[to].apply(from, next as u64 + 1, &written[from][next]);
                        heard[to][from] += 1;
                    }
                    None
                }
            };
            if let Some((at, record)) = record {
                written[at].push(record.clone());
                models[at].apply(at, written[at].len() as u64, &record);
                heard[at][at] = written[at].len();
            }
        }
        for to in 0..3 {
            for from in 0..3 {
                let records = (1..).zip(&written[from]).skip(heard[to][from]);
                for (seq, record) in records {
                    models[to].apply(from, seq, record);
                }
            }
        }
        prop_assert_eq!(models[0].on_hand(), models[1].on_hand());
        prop_assert_eq!(models[0].on_hand(), models[2].on_hand());
    }
}
