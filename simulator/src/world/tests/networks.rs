//! Stories of networks that are not kind.

use super::*;

/// Threats, 18: of the time in which the WAN is up, at least so much is used.
const GOODPUT_PER_CENT: u64 = 70;
/// Threats, 20: a terminal with another address is back by then.
const BACK: Duration = Duration::from_secs(15);

#[test]
fn wireless_terminals_that_cannot_see_each_other_get_all_through_the_wired_ones() {
    for seed in 200..210 {
        let mut store = World::new(Plan { wireless: 3, ..Plan::store(5, seed) });
        store.fault(Fault::Isolate { store: 0, isolated: true });
        store.run(2 * FIRST_START);
        store.publish(CHUNKS, 0);
        agrees_within(&mut store, 2 * DOWNLOAD);
        let ratio = store.summary().wan_ratio;
        assert!((1.0..1.001).contains(&ratio), "seed {seed}: {ratio}");
    }
}

#[test]
fn a_terminal_with_another_address_is_back_within_fifteen_seconds() {
    for (seed, multicast) in (210..230).zip([true, false].into_iter().cycle()) {
        let mut store = open(5, seed);
        store.fault(Fault::Mdns { store: 0, on: multicast });
        store.publish(CHUNKS, 0);
        store.run(DOWNLOAD / 3);
        let moved = store.chance.below(5);
        store.fault(Fault::Move(moved));
        agrees_within(&mut store, BACK.max(2 * DOWNLOAD));
        // Its old address leads nowhere: the others dial the new one.
        store.fault(Fault::Kill((moved + 1) % 5));
        store.run(SECOND);
        store.fault(Fault::Start((moved + 1) % 5));
        agrees_within(&mut store, BACK);
    }
}

/// What HQ could have sent in that time.
fn capacity(store: &World, up: Duration) -> u64 {
    store.stores[0].wan_down_lane.rate * u64::try_from(up.as_millis()).unwrap() / 1000
}

#[test]
fn of_a_wan_that_is_up_half_a_minute_at_a_time_seven_tenths_are_used() {
    for (seed, terminals) in [(230, 5), (231, 2), (232, 3)] {
        let mut store = open(terminals, seed);
        // 150 MiB: a minute's worth and some more.
        store.publish(600, 0);
        let mut up = Duration::ZERO;
        for _ in 0..4 {
            let span = 30 * SECOND;
            up += store.run_to(span, all_agree).unwrap_or(span);
            if all_agree(&store) {
                break;
            }
            store.fault(Fault::Wan { store: 0, up: false });
            store.run(span);
            store.fault(Fault::Wan { store: 0, up: true });
        }
        agrees_within(&mut store, SECOND);
        let used = carried(&store) * 100 / capacity(&store, up);
        assert!(used >= GOODPUT_PER_CENT, "seed {seed}: {used} % of {up:?}");
        assert_eq!(store.stores[0].sent_again, 0, "seed {seed}: whole chunks came twice");
    }
}

#[test]
fn an_hq_that_is_restarted_again_and_again_delays_a_release_and_does_not_repeat_it() {
    for seed in 240..250 {
        let mut store = open(5, seed);
        store.publish(CHUNKS, 0);
        for _ in 0..20 {
            store.run(SECOND);
            store.kill_hq();
            store.run(SECOND / 2);
            store.start_hq();
        }
        agrees_within(&mut store, 30 * SECOND);
        assert_eq!(store.stores[0].sent_again, 0, "seed {seed}: whole chunks came twice");
    }
}

#[test]
fn a_lan_split_in_two_with_hq_on_both_sides_knows_one_gateway_when_it_is_one_again() {
    for seed in 250..260 {
        let mut store = open(5, seed);
        store.fault(Fault::Split { store: 0, mask: 0b00110, wan_to_all: true });
        store.run(5 * SECOND);
        store.publish(CHUNKS, 0);
        store.run(30 * SECOND);
        store.fault(Fault::Split { store: 0, mask: 0, wan_to_all: true });
        agrees_within(&mut store, 30 * SECOND);
        let ratio = store.summary().wan_ratio;
        assert!(ratio < 2.001, "seed {seed}: at most a copy for each part: {ratio}");
    }
}

#[test]
fn without_announcements_and_hq_terminals_find_those_they_remember() {
    for seed in 260..270 {
        let mut store = open(5, seed);
        store.fault(Fault::Mdns { store: 0, on: false });
        store.fault(Fault::Wan { store: 0, up: false });
        for t in 0..5 {
            store.fault(Fault::CutPower(t));
        }
        store.run(SECOND);
        for t in 0..5 {
            store.fault(Fault::Start(t));
        }
        let met = |w: &World| w.unmet(0).is_none();
        let took = store.run_to(10 * SECOND, met);
        assert!(took.is_some(), "seed {seed}: {:?}", store.unmet(0));
    }
}

#[test]
fn two_stores_on_one_network_say_hello_and_no_more() {
    // Who says what is checked at every step.
    for seed in 270..275 {
        let mut chain = World::new(Plan { stores: 2, one_lan: true, ..Plan::store(3, seed) });
        chain.publish(CHUNKS, 0);
        agrees_within(&mut chain, FIRST_START + 2 * DOWNLOAD);
        let before = chain.conns_made;
        chain.run(Duration::from_mins(2));
        agrees_within(&mut chain, SECOND);
        // Of each of 9 pairs both hear both announcements, and may call then.
        let most = 9 * 2 * 2 * 2 * 60 / ANNOUNCE_EVERY.as_secs();
        let calls = chain.conns_made - before;
        assert!(calls <= most, "seed {seed}: {calls} calls in 2 min");
        let ratio = chain.summary().wan_ratio;
        assert!((1.0..1.001).contains(&ratio), "seed {seed}: {ratio}");
    }
}
