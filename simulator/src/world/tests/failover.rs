//! Stories of a gateway that goes: how long until another speaks to HQ.

use storemesh_protocol::terminal::Input;

use super::*;

/// A neighbour is missed, the first in the order calls, and HQ asks the holder: 1.4 s, 1 s and a
/// few round trips.
const TAKE_OVER: Duration = Duration::from_secs(3);
/// A line to HQ that says nothing is given up after 5 s; then the others are told and call.
const TAKE_OVER_FROM_DARK: Duration = Duration::from_secs(7);

/// How long until another than `first` has fetched something from HQ.
fn taken_over(store: &mut World, first: usize) -> Option<Duration> {
    let before = carried(store);
    store.run_to(30 * SECOND, |w| w.gateway(0) != Some(first) && carried(w) > before)
}

/// A store of five, in the middle of a download, and its gateway.
fn busy(seed: u64) -> (World, usize) {
    let mut store = open(5, seed);
    store.publish(CHUNKS, 0);
    store.run(DOWNLOAD / 3);
    let first = store.gateway(0).expect("somebody speaks to HQ");
    (store, first)
}

#[test]
fn a_gateway_without_power_is_missed_and_replaced_within_three_seconds() {
    for seed in 100..110 {
        let (mut store, first) = busy(seed);
        store.fault(Fault::CutPower(first));
        let took = taken_over(&mut store, first);
        assert!(took.is_some_and(|took| took < TAKE_OVER), "seed {seed}: {took:?}");
        agrees_within(&mut store, 30 * SECOND);
    }
}

#[test]
fn a_gateway_that_does_not_run_for_five_seconds_is_replaced_and_then_follows() {
    for seed in 110..120 {
        let (mut store, first) = busy(seed);
        store.fault(Fault::Freeze(first));
        let took = taken_over(&mut store, first);
        assert!(took.is_some_and(|took| took < TAKE_OVER), "seed {seed}: {took:?}");
        store.run((5 * SECOND).saturating_sub(took.unwrap()));
        let second = store.gateway(0);
        store.fault(Fault::Thaw(first));
        agrees_within(&mut store, 15 * SECOND);
        assert_eq!(store.gateway(0), second, "seed {seed}: it does not take the lease back");
    }
}

#[test]
fn a_terminal_that_does_not_run_for_five_seconds_loses_nothing_it_had() {
    // That it fetches nothing twice is checked at every step.
    let (mut store, gateway) = busy(120);
    let other = (0..5).find(|t| *t != gateway).unwrap();
    store.fault(Fault::Freeze(other));
    store.run(5 * SECOND);
    store.fault(Fault::Thaw(other));
    agrees_within(&mut store, 2 * DOWNLOAD);
    assert_eq!(store.gateway(0), Some(gateway));
    let ratio = store.summary().wan_ratio;
    assert!(ratio < 1.001, "{ratio}");
}

#[test]
fn a_gateway_that_hears_and_is_not_heard_is_replaced_within_three_seconds() {
    for seed in 130..140 {
        let (mut store, first) = busy(seed);
        store.fault(Fault::Unheard { t: first, unheard: true });
        let took = taken_over(&mut store, first);
        assert!(took.is_some_and(|took| took < TAKE_OVER), "seed {seed}: {took:?}");
        store.run(5 * SECOND);
        store.fault(Fault::Unheard { t: first, unheard: false });
        agrees_within(&mut store, 45 * SECOND);
    }
}

#[test]
fn a_gateway_that_alone_loses_hq_says_so_and_another_takes_over() {
    for seed in 140..150 {
        let (mut store, first) = busy(seed);
        store.fault(Fault::BlockHq { t: first, blocked: true });
        let took = taken_over(&mut store, first);
        let in_time = took.is_some_and(|took| took < TAKE_OVER_FROM_DARK);
        assert!(in_time, "seed {seed}: {took:?}");
        // It is served by its neighbours like any other.
        agrees_within(&mut store, 2 * DOWNLOAD);
    }
}

#[test]
fn a_gateway_that_is_about_to_stop_is_replaced_within_a_second() {
    for seed in 150..160 {
        let (mut store, first) = busy(seed);
        // It has said good-bye and is not gone yet.
        store.push(first, Input::Stopping);
        let took = taken_over(&mut store, first);
        assert!(took.is_some_and(|took| took < SECOND), "seed {seed}: {took:?}");
        store.fault(Fault::Stop(first));
        agrees_within(&mut store, 2 * DOWNLOAD);
    }
}

#[test]
fn of_two_terminals_each_does_alone() {
    for seed in 160..170 {
        let mut store = open(2, seed);
        store.publish(CHUNKS, 0);
        store.run(DOWNLOAD / 3);
        let first = store.gateway(0).unwrap();
        store.fault(Fault::CutPower(first));
        let took = taken_over(&mut store, first);
        assert!(took.is_some_and(|took| took < TAKE_OVER), "seed {seed}: {took:?}");
        agrees_within(&mut store, 2 * DOWNLOAD);
        let before = carried(&store);
        store.fault(Fault::Start(first));
        agrees_within(&mut store, 15 * SECOND);
        assert_eq!(carried(&store), before, "seed {seed}: it gets all from its neighbour");
    }
}
