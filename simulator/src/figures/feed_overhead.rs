//! How much of what terminals hear of feeds they had already.
//!
//! A calm store of twenty in virtual time, the very same protocol code: its tills sell and move stock for a
//! minute, and the entries' bytes that each terminal received are held against those it lacked. It needs no
//! programs and says the same on every machine.

use std::time::Duration;

use super::{Family, Outcome, Promise, Reading, Setup};
use crate::world::World;

pub(crate) const FEED_OVERHEAD: Family = Family {
    figures: &[Promise {
        name: "feed_overhead",
        unit: "x",
        target: "at most 1.2 times the entry bytes that 20 terminals lacked",
    }],
    measure,
};

const OVERHEAD_MAX: f64 = 1.2;
const TERMINALS: usize = 20;
const SEEDS: u64 = 5;
/// A store has met and chosen its gateway long before.
const OPENING: Duration = Duration::from_secs(30);
const SELLING: Duration = Duration::from_mins(1);
/// Posts of a till in a minute.
const POSTS: u32 = 30;

fn measure(_: &Setup<'_>) -> anyhow::Result<Outcome> {
    let mut worst: f64 = 0.0;
    for seed in 0..SEEDS {
        let mut store = World::store(TERMINALS, seed);
        store.run(OPENING);
        store.open_tills(SELLING, POSTS);
        store.run(2 * SELLING);
        anyhow::ensure!(store.feeds_disagreement().is_none(), "seed {seed} does not settle");
        worst = worst.max(store.feed_overhead(0));
    }
    anyhow::ensure!(worst >= 1.0, "nobody received anything");
    let how = format!("the worst of {SEEDS} simulated stores of {TERMINALS}, in virtual time");
    Ok(Outcome::Measured(vec![Reading { value: worst, ok: worst <= OVERHEAD_MAX, how }]))
}
