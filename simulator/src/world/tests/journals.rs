//! Stories of sales and stock: what a till was promised, and where it is.

use storemesh_protocol::feeds::{
    Author,
    terminal::{AckLevel, RoomFor},
};

use super::{feeds::Harm, *};

/// What a store at peace takes until everybody has everything.
const SETTLED: Duration = Duration::from_secs(10);
/// The longest pause between two dials, and some.
const REDIAL: Duration = Duration::from_secs(45);

/// A gateway that another should replace waits a minute for that to last; and what comes after it.
const HANDED_OVER: Duration = Duration::from_secs(75);

#[track_caller]
fn settles_within(world: &mut World, most: Duration) {
    let took = world.run_to(most, |world| world.feeds_disagreement().is_none());
    let steps = || world.last_steps(60).join("\n");
    assert!(took.is_some(), "{}\n{:?} {:?}", steps(), world.broken(), world.feeds_disagreement());
}

#[test]
fn a_sale_is_at_hq_and_its_till_hears_of_it() {
    let mut store = open(5, 1);
    let sale = store.sell_now(3, AckLevel::Hq);
    store.run(SECOND);
    assert_eq!(store.reached(sale), Some(AckLevel::Hq), "{}", store.last_steps(80).join("\n"));
    settles_within(&mut store, SETTLED);
}

#[test]
fn a_calm_store_of_twenty_hands_each_entry_on_about_once() {
    let mut store = open(20, 2);
    store.open_tills(Duration::from_mins(1), 30);
    store.run(Duration::from_mins(1));
    settles_within(&mut store, SETTLED);
    let overhead = store.feed_overhead(0);
    assert!((1.0..=1.2).contains(&overhead), "{overhead}");
}

#[test]
fn a_terminal_destroyed_right_after_a_sale_its_neighbour_has_loses_nothing() {
    for seed in 0..20 {
        let mut store = open(5, seed);
        let t = usize::try_from(seed % 5).unwrap();
        let sale = store.sell_now(t, AckLevel::Neighbour);
        let done = |world: &World| world.reached(sale).is_some();
        let took = store.run_to(5 * SECOND, done);
        assert!(took.is_some(), "seed {seed}");
        assert!(store.reached(sale) >= Some(AckLevel::Neighbour), "seed {seed}");
        store.harm(Harm::Destroy(t));
        assert_eq!(store.lost_of(t), 0, "seed {seed}");
        settles_within(&mut store, 30 * SECOND);
    }
}

#[test]
fn what_is_sold_while_hq_is_away_comes_to_it_later() {
    let mut store = open(4, 3);
    store.fault(Fault::Wan { store: 0, up: false });
    store.open_tills(Duration::from_secs(30), 60);
    store.run(Duration::from_secs(40));
    store.fault(Fault::Wan { store: 0, up: true });
    settles_within(&mut store, 60 * SECOND);
}

#[test]
fn an_hq_restored_from_a_backup_gets_back_from_the_stores_what_it_had_acknowledged() {
    for seed in 0..10 {
        let mut store = open(4, seed);
        store.open_tills(Duration::from_secs(40), 40);
        store.run(10 * SECOND);
        store.harm(Harm::BackupHq);
        store.run(15 * SECOND);
        store.harm(Harm::RestoreHq);
        store.run(5 * SECOND);
        store.start_hq();
        store.run(10 * SECOND);
        settles_within(&mut store, 30 * SECOND);
        assert_eq!(store.excused(), 0, "seed {seed}");
    }
}

/// HQ is put back as it was put aside, serves on without a word, and knows it as soon as somebody has called.
#[track_caller]
fn is_behind_with_the_first_call(store: &mut World) {
    store.put_back_hq_without_a_word();
    store.run(5 * SECOND);
    store.start_hq();
    let called = |world: &World| (0..world.hosts.len()).any(|t| world.is_on_the_line(t));
    assert!(!store.hq_is_behind());
    assert!(store.run_to(REDIAL, called).is_some(), "{:?}", store.broken());
    let took = store.run_to(SECOND, World::hq_is_behind);
    assert!(took.is_some(), "{:?}\n{}", store.broken(), store.last_steps(60).join("\n"));
    store.kill_hq();
    store.start_hq();
    store.run(5 * SECOND);
    assert!(store.hq_is_behind(), "it says so until somebody does");
}

/// Until HQ has all again, and says no more that it has not.
#[track_caller]
fn is_well_once_somebody_has_said_so(store: &mut World) {
    store.say_restored();
    store.start_hq();
    store.run(REDIAL);
    settles_within(store, 30 * SECOND);
    assert_eq!((store.hq_is_behind(), store.excused()), (false, 0));
}

/// HQ is put aside in the middle of that, and put back after it.
#[track_caller]
fn is_noticed(tills: usize, meanwhile: impl Fn(&mut World)) {
    for seed in 0..10 {
        let mut store = open(tills, seed);
        meanwhile(&mut store);
        is_behind_with_the_first_call(&mut store);
        store.run(10 * SECOND);
        is_well_once_somebody_has_said_so(&mut store);
    }
}

#[test]
fn an_hq_that_was_put_back_without_a_word_knows_it_with_the_first_terminal_that_calls() {
    is_noticed(4, |store| {
        store.open_tills(Duration::from_mins(2), 40);
        store.run(10 * SECOND);
        store.harm(Harm::BackupHq);
        store.run(15 * SECOND);
    });
}

#[test]
fn it_knows_it_too_when_every_till_was_switched_off_since_and_nobody_sells() {
    is_noticed(3, |store| {
        sell(store, 1, 1);
        store.harm(Harm::BackupHq);
        sell(store, 1, 20);
        (0..3).for_each(|t| store.stop_terminal(t));
        store.run(SECOND);
        (0..3).for_each(|t| store.start_terminal(t));
    });
}

#[test]
fn it_knows_it_too_when_nothing_but_an_order_is_lost() {
    is_noticed(3, |store| {
        store.harm(Harm::BackupHq);
        store.publish(CHUNKS, 0);
        store.run(2 * DOWNLOAD);
    });
}

#[test]
fn what_a_lying_gateway_claims_of_hqs_own_word_raises_no_alarm() {
    for seed in 0..5 {
        let mut store = open(1, seed);
        store.turn_hostile(0, false);
        // It is cut off for its nonsense, and calls again.
        let calls = (0..60).filter(|_| {
            store.run(SECOND);
            store.is_on_the_line(0)
        });
        let calls = calls.count();
        assert!(calls > 10, "seed {seed}: {calls}");
        assert_eq!(store.broken().map(|broken| &broken.rule), None, "seed {seed}");
        assert!(!store.hq_is_behind());
    }
}

/// Sales of a terminal that HQ has, and after a while tells of.
fn sell(store: &mut World, t: usize, sales: usize) {
    let sales: Vec<usize> = (0..sales).map(|_| store.sell_now(t, AckLevel::Hq)).collect();
    store.run(2 * SECOND);
    assert!(sales.iter().all(|sale| store.reached(*sale) == Some(AckLevel::Hq)));
}

#[test]
fn what_a_restored_hq_went_on_behind_comes_back_with_the_terminal_that_wrote_it() {
    for seed in 0..10 {
        let mut store = open(2, seed);
        let (author, other) = (0, 1);
        sell(&mut store, author, 1);
        store.harm(Harm::BackupHq);
        store.stop_terminal(other);
        store.run(5 * SECOND);
        // More than are pushed to who comes back: of what it has missed, it asks for what HQ has not got.
        for _ in 0..3 {
            sell(&mut store, author, 90);
        }
        store.start_terminal(other);
        store.run(REDIAL);
        store.fault(Fault::Wan { store: 0, up: false });
        store.sell_now(author, AckLevel::Neighbour);
        store.run(10 * SECOND);
        assert!((1..10).contains(&store.journal_of(other)), "seed {seed}");
        store.stop_terminal(author);
        store.run(SECOND);

        store.harm(Harm::RestoreHq);
        store.start_hq();
        store.fault(Fault::Wan { store: 0, up: true });
        store.run(REDIAL);
        assert!(store.missing_at_hq() > 0, "seed {seed}: {}", store.journal_of(other));
        store.open_tills(10 * SECOND, 20);
        store.run(15 * SECOND);
        store.start_terminal(author);
        store.run(REDIAL);
        settles_within(&mut store, 30 * SECOND);
        assert_eq!((store.missing_at_hq(), store.excused()), (0, 0), "seed {seed}");
    }
}

#[test]
fn a_terminal_whose_disk_is_put_back_goes_on_and_the_store_has_what_it_forgot() {
    for seed in 0..10 {
        let mut store = open(4, seed);
        store.open_tills(Duration::from_secs(40), 40);
        store.run(10 * SECOND);
        store.harm(Harm::Backup(2));
        store.run(10 * SECOND);
        store.harm(Harm::Restore(2));
        store.fault(Fault::Start(2));
        store.run(20 * SECOND);
        settles_within(&mut store, 30 * SECOND);
    }
}

#[test]
fn a_box_that_lies_in_its_feeds_costs_nobody_an_entry() {
    for seed in 0..20 {
        let mut store = World::store(5, seed);
        let t = usize::try_from(seed % 5).unwrap();
        store.turn_hostile(t, seed % 2 == 1);
        store.run(FIRST_START);
        store.open_tills(Duration::from_secs(40), 40);
        store.run(40 * SECOND);
        settles_within(&mut store, 60 * SECOND);
    }
}

#[test]
fn a_cloned_disk_is_found_out_and_when_one_is_left_all_it_wrote_is_at_hq() {
    for seed in 0..5 {
        let mut store = open(5, seed);
        store.open_tills(10 * SECOND, 40);
        store.run(10 * SECOND);
        let clone = store.clone_terminal(2);
        store.open_tills(2 * REDIAL, 20);
        let author = Author::terminal(store.hosts[2].peer);
        // As long as one of them holds all connections the other is alone: each is lost in turn.
        store.fault(Fault::Move(2));
        store.run(REDIAL);
        // Without HQ: the copy, alone, would ask it for a lease in the other's name.
        store.fault(Fault::Split { store: 0, mask: 1 << 5, wan_to_all: false });
        let found = store.run_to(REDIAL, |world| world.books.cloned.contains(&author));
        assert!(
            found.is_some(),
            "seed {seed}: {:?} {}",
            store.broken(),
            store.last_steps(99).join("\n")
        );
        store.run(5 * SECOND);
        store.fault(Fault::Split { store: 0, mask: 0, wan_to_all: true });
        store.harm(Harm::Destroy(clone));
        store.settle_clones(2);
        settles_within(&mut store, 2 * REDIAL);
    }
}

#[test]
fn after_a_month_without_hq_all_comes_to_it_and_what_is_old_is_dropped_then() {
    let day = Duration::from_hours(24);
    let mut store = open(3, 4);
    store.kill_hq();
    for _ in 0..30 {
        store.open_tills(20 * SECOND, 12);
        store.run(30 * SECOND);
        // A shop is closed at night, and the tills are off.
        (0..3).for_each(|t| store.stop_terminal(t));
        store.run(day.saturating_sub(30 * SECOND));
        (0..3).for_each(|t| store.start_terminal(t));
    }
    store.start_hq();
    settles_within(&mut store, 90 * SECOND);
    let kept: usize = (0..3).map(|t| store.journal_of(t)).sum();
    assert!(kept > 100, "{kept} sales are kept after HQ has them");
    (0..3).for_each(|t| store.stop_terminal(t));
    store.run(15 * day);
    (0..3).for_each(|t| store.start_terminal(t));
    store.run(Duration::from_mins(11));
    assert_eq!(store.broken().map(|broken| &broken.rule), None);
    assert_eq!((0..3).map(|t| store.journal_of(t)).sum::<usize>(), 0);
    settles_within(&mut store, SETTLED);
}

#[test]
fn what_hq_has_is_kept_for_the_retention_all_the_same() {
    let mut store = open(3, 6);
    store.open_tills(20 * SECOND, 30);
    store.run(30 * SECOND);
    let kept: Vec<usize> = (0..3).map(|t| store.journal_of(t)).collect();
    // It is looked for what is old every 10 minutes.
    store.run(Duration::from_mins(21));
    assert_eq!(store.broken().map(|broken| &broken.rule), None);
    assert_eq!((0..3).map(|t| store.journal_of(t)).collect::<Vec<_>>(), kept);
}

#[test]
fn a_full_disk_refuses_what_is_new_and_keeps_what_there_is() {
    let mut store = open(3, 5);
    let before = store.sell_now(1, AckLevel::Disk);
    store.run(SECOND);
    store.fault(Fault::Disk { t: 1, room: RoomFor::Nothing });
    let while_full = store.sell_now(1, AckLevel::Disk);
    store.run(30 * SECOND);
    assert_eq!(store.reached(while_full), None);
    assert!(store.reached(before).is_some());
    store.fault(Fault::Disk { t: 1, room: RoomFor::All });
    store.run(10 * SECOND);
    assert!(store.reached(while_full).is_some());
    settles_within(&mut store, SETTLED);
}

#[test]
fn a_gateway_without_room_for_what_others_sell_hands_over_and_hq_gets_it_all() {
    for seed in 0..5 {
        let mut store = open(4, seed);
        let full = store.gateway(0).unwrap();
        store.fault(Fault::Disk { t: full, room: RoomFor::OwnPosts });
        store.run(SECOND);
        let sales: Vec<usize> = (0..4).map(|t| store.sell_now(t, AckLevel::Disk)).collect();
        let are_at_hq = |store: &World| sales.iter().all(|sale| store.is_at_hq(*sale));
        let took = store.run_to(HANDED_OVER, are_at_hq);
        assert!(took.is_some(), "seed {seed}: {:?}", store.feeds_disagreement());
        assert_ne!(store.gateway(0), Some(full), "seed {seed}");
        let others = |store: &World| store.entries_by_others(full);
        let kept = others(&store);
        store.open_tills(20 * SECOND, 30);
        store.run(30 * SECOND);
        assert_eq!(others(&store), kept, "seed {seed}: it takes none of theirs");
        store.fault(Fault::Disk { t: full, room: RoomFor::All });
        settles_within(&mut store, 60 * SECOND);
    }
}
