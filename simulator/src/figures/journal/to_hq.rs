//! How soon a sale is at HQ.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use super::{PATIENCE, SPELL, WAN_MBIT, baskets, ms, open, part};
use crate::{
    figures::{Family, Outcome, Promise, Reading, Setup},
    live::{
        cashier::{Cashier, EntryName},
        stop,
        tail::Tail,
    },
};

pub(crate) const TO_HQ: Family = Family {
    figures: &[Promise {
        name: "journal_to_hq",
        unit: "s",
        target: "p99 from the answer to HQ's journal under 1 in a store of 20",
    }],
    measure: to_hq,
};

const TO_HQ_S_MAX: f64 = 1.0;
const LARGE_STORE: usize = 20;

fn to_hq(setup: &Setup<'_>) -> Result<Outcome> {
    let baskets = match baskets(&setup.folder, 20_000) {
        Ok(baskets) => baskets,
        Err(why) => return Ok(Outcome::NotMeasured(format!("needs scripts/sales: {why:#}"))),
    };
    let folder = tempfile::tempdir()?;
    let mut chain = open(setup, folder.path(), LARGE_STORE)?;
    let tail = Tail::follow(&chain.hq)?;
    // Each terminal a sale a second, not all at once.
    let answered = thread::scope(|scope| -> Result<Vec<(EntryName, Instant)>> {
        let tills: Vec<_> = chain
            .terminals
            .iter()
            .enumerate()
            .map(|(till, terminal)| {
                let baskets = &baskets;
                scope.spawn(move || -> Result<Vec<(EntryName, Instant)>> {
                    let mut random = ChaCha8Rng::seed_from_u64(till as u64);
                    let mut cashier = Cashier::at(terminal)?;
                    let end = Instant::now() + 2 * SPELL;
                    let mut answered = Vec::new();
                    for n in 0.. {
                        let pause = Duration::from_millis(u64::from(random.next_u32() % 2000));
                        if Instant::now() + pause > end {
                            break;
                        }
                        thread::sleep(pause);
                        let body = &baskets[(till * 1000 + n) % baskets.len()];
                        let name = cashier.sell("sales", &format!("k{n}"), body, "disk")?;
                        answered.push((name, Instant::now()));
                    }
                    Ok(answered)
                })
            })
            .collect();
        let mut all = Vec::new();
        for till in tills {
            all.extend(till.join().map_err(|_| anyhow!("a till panicked"))??);
        }
        Ok(all)
    })?;
    stop::until("all sales being at HQ", PATIENCE, || {
        Ok((tail.count() >= (answered.len() + LARGE_STORE) as u64).then_some(()))
    })?;
    let arrived: BTreeMap<EntryName, Instant> = tail.arrivals().into_iter().collect();
    chain.stop()?;
    let mut waits = Vec::new();
    for (name, at) in &answered {
        let there = arrived.get(name).with_context(|| format!("{name:?} is not at HQ"))?;
        waits.push(there.saturating_duration_since(*at));
    }
    let posted = answered.len() + LARGE_STORE;
    ensure!(arrived.len() == posted, "HQ has {} entries, and {posted} were posted", arrived.len());
    waits.sort_unstable();
    let p99 = part(&waits, 99).as_secs_f64();
    let how = format!(
        "{} sales of {LARGE_STORE} terminals, about one a second each, over {WAN_MBIT} Mbit/s; from the \
         answer 201 to the line in HQ's journal tail; median {:.0} ms, worst {:.0} ms",
        waits.len(),
        ms(part(&waits, 50)),
        ms(part(&waits, 100)),
    );
    Ok(Outcome::Measured(vec![Reading { value: p99, ok: p99 < TO_HQ_S_MAX, how }]))
}
