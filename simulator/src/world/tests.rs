//! Stories of one shop.

use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn five_terminals_get_one_release_and_the_wan_carries_it_once() {
    let mut store = World::store(5, 1);
    store.run(Duration::from_secs(5));
    assert_eq!(store.disagreement(), None);
    store.publish(40, 0);
    let took =
        store.run_to(Duration::from_secs(60), |w| w.wanted.is_some() && w.disagreement().is_none());
    let summary = store.summary();
    eprintln!("{took:?} {summary:?}");
    assert!(took.is_some(), "{:?}", store.disagreement());
}

#[test]
fn after_any_storm_a_healed_store_agrees() {
    let from: u64 = std::env::var("SEED_FROM").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let to: u64 = std::env::var("SEED_TO").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    let show = std::env::var("SHOW").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    for seed in from..to {
        let n = 2 + usize::try_from(seed).unwrap() % 7;
        let mut store = World::store(n, seed);
        store.publish(24, 0);
        store.storm(60 * SECOND);
        if store.broken().is_none() {
            store.heal();
        }
        let took = store.run_to(400 * SECOND, |w| w.wanted.is_some() && w.disagreement().is_none());
        let s = store.summary();
        eprintln!(
            "seed {seed} n {n} took {took:?} events {} ratio {:.2} news {} {} {:?}",
            s.events,
            s.wan_ratio,
            s.news_fetches,
            s.broken
                .as_ref()
                .map(|b| format!("{:?} {} {:?}", b.at, b.rule, b.concerned))
                .unwrap_or_default(),
            store.disagreement().filter(|_| took.is_none())
        );
        if took.is_none() {
            for l in store.last_steps(show) {
                eprintln!("   {}", l.chars().take(330).collect::<String>());
            }
        }
    }
}
