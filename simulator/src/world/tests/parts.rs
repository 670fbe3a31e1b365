//! Stories of a store whose network is split, with HQ in reach of both parts.

use super::{grants::Grant, *};

/// The gateway is missed after 1.4 s and waited for for 5 s; then HQ is asked twice.
const GATEWAY_OF_A_PART: Duration = Duration::from_secs(10);
/// Neighbours that were lost are dialled again at least every 30 s.
const MET_AGAIN: Duration = Duration::from_secs(35);

/// Five terminals of one store: two are cut off from the gateway and its two neighbours.
struct Split {
    store: World,
    gateway: usize,
    cut_off: [usize; 2],
}

impl Split {
    fn new(seed: u64) -> Self {
        let mut store = open(5, seed);
        // Long enough for the gateway to have reported on all.
        store.run(5 * SECOND);
        let gateway = store.gateway(0).unwrap();
        let others: Vec<usize> = (0..5).filter(|t| *t != gateway).collect();
        let first = usize::try_from(seed % 4).unwrap();
        let cut_off = [others[first], others[(first + 1) % 4]];
        let mut split = Self { store, gateway, cut_off };
        split.cut();
        split
    }

    fn cut(&mut self) {
        let mask = self.cut_off.iter().map(|t| 1 << t).sum();
        self.store.fault(Fault::Split { store: 0, mask, wan_to_all: true });
    }

    fn heal(&mut self) {
        self.store.fault(Fault::Split { store: 0, mask: 0, wan_to_all: true });
    }

    /// Both that are cut off know the same gateway of their part.
    fn has_its_own(store: &World, cut_off: [usize; 2]) -> bool {
        let views = cut_off.map(|t| store.gateway_seen_by(t));
        views[0].is_some_and(|(_, part)| part != 0) && views[0] == views[1]
    }

    #[track_caller]
    fn gets_a_gateway_within(&mut self, most: Duration) -> Grant {
        let cut_off = self.cut_off;
        let took = self.store.run_to(most, |w| Self::has_its_own(w, cut_off));
        let steps = || self.store.last_steps(60).join("\n");
        assert!(took.is_some(), "{:?}\n{}", self.store.broken(), steps());
        *self.store.part_grants(0).last().expect("they were told of it")
    }
}

#[test]
fn a_part_without_the_gateway_gets_one_of_its_own_and_what_hq_newly_wants_but_no_chunks() {
    for seed in 300..306 {
        let mut split = Split::new(seed);
        split.gets_a_gateway_within(GATEWAY_OF_A_PART);
        split.store.publish(CHUNKS, 0);
        let cut_off = split.cut_off;
        let told = |w: &World| cut_off.iter().all(|t| w.wants(*t, "1.1"));
        let took = split.store.run_to(2 * SECOND, told);
        assert!(took.is_some(), "seed {seed}");
        split.store.run(Duration::from_mins(2));
        assert_eq!(split.store.part_grants(0).len(), 1, "seed {seed}: one lease for one split");
        assert_eq!(split.store.gateway(0), Some(split.gateway), "seed {seed}");
        split.heal();
        agrees_within(&mut split.store, MET_AGAIN + DOWNLOAD);
        let ratio = split.store.summary().wan_ratio;
        assert!((1.0..1.001).contains(&ratio), "seed {seed}: {ratio}");
    }
}

#[test]
fn a_part_that_stays_alone_for_ten_minutes_gets_a_release_by_itself() {
    for seed in 315..317 {
        let mut split = Split::new(seed);
        split.gets_a_gateway_within(GATEWAY_OF_A_PART);
        split.store.publish(CHUNKS, 0);
        split.store.run(Duration::from_mins(10).saturating_sub(2 * GATEWAY_OF_A_PART));
        let cut_off = split.cut_off;
        let runs = |w: &World| cut_off.iter().all(|t| w.runs_what_is_wanted(*t));
        assert!(!runs(&split.store), "seed {seed}: too early");
        let took = split.store.run_to(2 * GATEWAY_OF_A_PART + 2 * DOWNLOAD, runs);
        assert!(took.is_some(), "seed {seed}: {:?}", split.store.broken());
        split.heal();
        agrees_within(&mut split.store, MET_AGAIN);
        let ratio = split.store.summary().wan_ratio;
        assert!((2.0..2.001).contains(&ratio), "seed {seed}: a copy for each part: {ratio}");
    }
}

#[test]
fn when_the_gateway_of_a_part_dies_the_other_takes_over() {
    for seed in 320..330 {
        let mut split = Split::new(seed);
        let first = split.gets_a_gateway_within(GATEWAY_OF_A_PART);
        let dead = split.cut_off.into_iter().find(|t| split.store.hosts[*t].peer == first.holder);
        let dead = dead.expect("one of the two");
        split.store.fault(Fault::CutPower(dead));
        let left = split.cut_off.into_iter().find(|t| *t != dead).unwrap();
        let own = (split.store.hosts[left].peer, true);
        let took = split.store.run_to(2 * GATEWAY_OF_A_PART, |w| {
            w.gateway_seen_by(left).map(|(peer, part)| (peer, part != 0)) == Some(own)
        });
        assert!(took.is_some(), "seed {seed}: {:?}", split.store.broken());
        split.store.fault(Fault::Start(dead));
        split.heal();
        agrees_within(&mut split.store, MET_AGAIN);
    }
}

#[test]
fn an_hq_that_is_restarted_while_a_store_is_split_grants_its_part_anew() {
    for seed in 330..340 {
        let mut split = Split::new(seed);
        let first = split.gets_a_gateway_within(GATEWAY_OF_A_PART);
        split.store.kill_hq();
        split.store.run(SECOND);
        split.store.start_hq();
        split.store.run(2 * SECOND);
        // The gateway must report first; then whoever asks next is granted it.
        let second = split.gets_a_gateway_within(3 * GATEWAY_OF_A_PART);
        assert!(second.since > first.since, "seed {seed}");
        split.heal();
        agrees_within(&mut split.store, MET_AGAIN);
    }
}

#[test]
fn a_network_that_is_split_again_and_again_ends_with_one_gateway() {
    for seed in 340..350 {
        let mut split = Split::new(seed);
        for _ in 0..10 {
            let apart = split.store.chance.between(SECOND, 20 * SECOND);
            split.store.run(apart);
            split.heal();
            let whole = split.store.chance.between(SECOND / 10, 5 * SECOND);
            split.store.run(whole);
            split.cut();
        }
        split.heal();
        agrees_within(&mut split.store, MET_AGAIN);
    }
}

#[test]
fn parts_that_meet_by_way_of_others_are_one_for_hq() {
    let mut told = 0;
    for seed in 370..400 {
        // One wired terminal between two wireless ones that never see each other.
        let mut store = World::new(Plan { wireless: 2, ..Plan::store(3, seed) });
        store.fault(Fault::Isolate { store: 0, isolated: true });
        store.run(10 * SECOND);
        let gateway = store.gateway(0).unwrap();
        if !store.hosts[gateway].wireless {
            continue;
        }
        told += 1;
        let other = (1..3).find(|t| *t != gateway).unwrap();
        store.fault(Fault::Split { store: 0, mask: 1 << other, wan_to_all: true });
        let own = |w: &World| w.gateway_seen_by(other).is_some_and(|(_, part)| part != 0);
        // The wired one had said that it sees the gateway: HQ is asked again after 15 s.
        let took = store.run_to(2 * GATEWAY_OF_A_PART, own);
        assert!(took.is_some(), "seed {seed}: {:?}", store.broken());
        store.fault(Fault::Split { store: 0, mask: 0, wan_to_all: true });
        // Once the wired one has met it, both gateways report that one.
        let ended = |w: &World| w.unmet(0).is_none() && !w.is_on_the_line(other);
        let took = store.run_to(15 * SECOND, ended);
        assert!(took.is_some(), "seed {seed}: {:?} {:?}", store.broken(), store.unmet(0));
    }
    assert!(told > 0, "no seed tells what this is about");
}

#[test]
fn wireless_terminals_that_are_kept_apart_are_no_part_of_their_own() {
    let mut wireless_gateways = 0;
    for seed in 330..338 {
        let mut store = World::new(Plan { wireless: 3, ..Plan::store(5, seed) });
        store.fault(Fault::Isolate { store: 0, isolated: true });
        // A better gateway is offered the lease after a minute.
        store.run(Duration::from_secs(50));
        let gateway = store.gateway(0).unwrap();
        wireless_gateways += u32::from(store.hosts[gateway].wireless);
        store.run(Duration::from_mins(2));
        assert!(store.broken().is_none(), "seed {seed}: {:?}", store.broken());
        assert!(store.part_grants(0).is_empty(), "seed {seed}: {:?}", store.part_grants(0));
        agrees_within(&mut store, SECOND);
    }
    assert!(wireless_gateways > 0, "no seed tells what this is about");
}
