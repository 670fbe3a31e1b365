//! Storms: faults of all kinds, peace, and then everybody agrees in time.
//!
//! A seed that fails is printed with the command that tells its story again; it belongs into
//! `seeds.txt` together with what was wrong.

use super::*;

const STORM: Duration = Duration::from_mins(1);

#[track_caller]
fn stands(plan: Plan, storm: Duration) {
    let world = World::trial(plan, storm);
    if let Some(broken) = world.broken() {
        let steps = world.last_steps(60).join("\n");
        let storm = storm.as_secs();
        panic!("{steps}\n{broken:?}\nagain: storemesh-sim run {plan} --storm {storm}");
    }
}

#[test]
fn after_any_storm_a_healed_store_agrees() {
    for seed in 0..160 {
        stands(Plan::store(2 + usize::try_from(seed % 7).unwrap(), seed), STORM);
    }
}

#[test]
fn after_any_storm_a_store_of_two_agrees() {
    for seed in 10_000..10_080 {
        stands(Plan::store(2, seed), STORM);
    }
}

#[test]
fn after_any_storm_a_store_with_wireless_terminals_agrees() {
    for seed in 20_000..20_060 {
        let terminals = 3 + usize::try_from(seed % 4).unwrap();
        let wireless = 1 + usize::try_from(seed / 4 % 2).unwrap();
        stands(Plan { wireless, ..Plan::store(terminals, seed) }, STORM);
    }
}

#[test]
fn after_any_storm_of_sales_nothing_promised_is_lost_and_stock_is_one() {
    for seed in 40_000..40_100 {
        let terminals = 2 + usize::try_from(seed % 5).unwrap();
        stands(Plan { sales: 40, ..Plan::store(terminals, seed) }, STORM);
    }
}

#[test]
fn after_any_storm_of_sales_two_stores_on_one_network_keep_to_themselves() {
    for seed in 50_000..50_020 {
        stands(Plan { stores: 2, one_lan: true, sales: 40, ..Plan::store(2, seed) }, STORM);
    }
}

#[test]
fn after_any_storm_two_stores_on_one_network_agree_each_for_itself() {
    for seed in 30_000..30_020 {
        let terminals = 2 + usize::try_from(seed % 2).unwrap();
        stands(Plan { stores: 2, one_lan: true, ..Plan::store(terminals, seed) }, STORM);
    }
}
