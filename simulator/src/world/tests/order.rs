//! Stories of which terminal is the gateway when nothing is broken.

use storemesh_protocol::terminal::{Hardware, Input};

use super::*;

/// A better terminal is the gateway when it has been there for a minute; and some seconds.
const HANDED_OVER: Duration = Duration::from_secs(70);
const HOUR: Duration = Duration::from_hours(1);
const QUARTER: Duration = Duration::from_mins(15);

#[test]
fn a_wired_terminal_takes_over_from_a_wireless_gateway_and_stays() {
    for seed in 400..406 {
        let mut store = World::new(Plan { wireless: 3, ..Plan::store(3, seed) });
        store.run(30 * SECOND);
        let wired = store.add_terminal(0);
        store.start_terminal(wired);
        let took = store.run_to(HANDED_OVER, |w| w.gateway(0) == Some(wired));
        let steps = || store.last_steps(60).join("\n");
        assert!(took.is_some(), "seed {seed}: {:?}\n{}", store.broken(), steps());
        assert_eq!(store.grants(0).count(), 2, "seed {seed}");
        agrees_within(&mut store, 5 * SECOND);
        store.run(QUARTER);
        assert_eq!(store.grants(0).count(), 2, "seed {seed}: and it stays the gateway");
        agrees_within(&mut store, SECOND);
    }
}

#[test]
fn a_hand_over_in_the_middle_of_a_download_repeats_nothing() {
    for seed in 410..413 {
        let mut store = World::new(Plan { wireless: 4, ..Plan::store(5, seed) });
        // Most of a minute has passed when the release is published.
        store.run(50 * SECOND);
        store.publish(240, 0);
        agrees_within(&mut store, Duration::from_secs(40));
        let ratio = store.summary().wan_ratio;
        assert!(ratio < 1.1, "seed {seed}: {ratio}");
        let gateway = store.gateway(0).unwrap();
        assert!(!store.hosts[gateway].wireless, "seed {seed}: the wired one");
    }
}

#[test]
fn two_tablets_that_are_docked_in_turn_do_not_toss_the_lease() {
    for seed in 420..422 {
        let mut store = open(2, seed);
        let before = store.grants(0).count();
        for turn in 0..30 {
            for t in 0..2 {
                let wired = (t + turn) % 2 == 0;
                store.push(t, Input::Hardware(Hardware { wired, mains: true }));
            }
            store.run(Duration::from_mins(2));
        }
        // Each offers it at most every ten minutes.
        let hand_overs = store.grants(0).count() - before;
        assert!((1..=12).contains(&hand_overs), "seed {seed}: {hand_overs} in an hour");
        agrees_within(&mut store, SECOND);
    }
}

#[test]
fn a_store_at_peace_keeps_its_gateway() {
    let mut store = open(4, 425);
    let before = store.grants(0).count();
    store.run(HOUR);
    assert_eq!(store.grants(0).count(), before);
    agrees_within(&mut store, SECOND);
}
