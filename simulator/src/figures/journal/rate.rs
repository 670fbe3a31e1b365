//! Sales at one till: as fast as it takes them, and how soon each is answered at a steady rate.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{SPELL, WAN_MBIT, baskets, ms, open, part, publish};
use crate::{
    figures::{Family, Outcome, Promise, Reading, Setup},
    live::{cashier::Cashier, chain::Chain},
};

pub(crate) const RATE: Family = Family {
    figures: &[
        Promise { name: "journal_rate", unit: "entries/s", target: "at least 5,000, 64 callers" },
        Promise { name: "journal_p99", unit: "ms", target: "under 20 at 500 entries/s" },
    ],
    measure: rate,
};

const RATE_MIN: f64 = 5_000.0;
const P99_MS_MAX: f64 = 20.0;
const CALLERS: usize = 64;
const PACED_CALLERS: usize = 20;
const PACED_PER_S: u32 = 500;
/// It comes for longer than both spells take.
const RELEASE_BYTES: usize = 96 * 1024 * 1024;

fn rate(setup: &Setup<'_>) -> Result<Outcome> {
    let baskets = match baskets(&setup.folder, 20_000) {
        Ok(baskets) => baskets,
        Err(why) => return Ok(Outcome::NotMeasured(format!("needs scripts/sales: {why:#}"))),
    };
    let folder = tempfile::tempdir()?;
    let mut chain = open(setup, folder.path(), 3)?;
    publish(&chain, folder.path(), RELEASE_BYTES)?;

    let (sold, took) = as_fast_as_possible(&chain, &baskets)?;
    #[expect(clippy::cast_precision_loss)]
    let per_s = sold as f64 / took.as_secs_f64();
    let mut answers = paced(&chain, &baskets)?;
    let downloading = !all_run(&chain, "1")?;
    chain.stop()?;

    answers.sort_unstable();
    let (p50, p99) = (part(&answers, 50), part(&answers, 99));
    let how = format!(
        "{CALLERS} callers on the socket of one of 3 terminals for {} s, each sale {} bytes of JSON on \
         average, synced, copied to 2 neighbours and sent to HQ over {WAN_MBIT} Mbit/s, a release of 96 \
         MiB downloading{}",
        SPELL.as_secs(),
        baskets.iter().map(Vec::len).sum::<usize>() / baskets.len(),
        if downloading { "" } else { " (it ended before the measurement did)" },
    );
    let paced =
        format!("the same store right after, {PACED_PER_S} entries/s; median {:.2} ms", ms(p50));
    Ok(Outcome::Measured(vec![
        Reading { value: per_s, ok: per_s >= RATE_MIN && downloading, how },
        Reading { value: ms(p99), ok: ms(p99) < P99_MS_MAX && downloading, how: paced },
    ]))
}

fn all_run(chain: &Chain, version: &str) -> Result<bool> {
    Ok(chain.statuses()?.iter().all(|status| status.runs("product", version)))
}

/// Every caller posts as soon as it is answered, for a [`SPELL`].
fn as_fast_as_possible(chain: &Chain, baskets: &[Vec<u8>]) -> Result<(u64, Duration)> {
    let terminal = &chain.terminals[0];
    let ready = Barrier::new(CALLERS + 1);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let ready = &ready;
                scope.spawn(move || -> Result<u64> {
                    let cashier = Cashier::at(terminal);
                    ready.wait();
                    let (mut cashier, end) = (cashier?, Instant::now() + SPELL);
                    let mut sold = 0;
                    while Instant::now() < end {
                        let body = &baskets[(caller * 300 + sold) % baskets.len()];
                        cashier.sell("sales", &format!("fast-{caller}-{sold}"), body, "disk")?;
                        sold += 1;
                    }
                    Ok(sold as u64)
                })
            })
            .collect();
        ready.wait();
        let begun = Instant::now();
        let mut sold = 0;
        for caller in callers {
            sold += caller.join().map_err(|_| anyhow!("a caller panicked"))??;
        }
        Ok((sold, begun.elapsed()))
    })
}

/// Posts at a steady rate; how long each took to be answered, from when it was due.
fn paced(chain: &Chain, baskets: &[Vec<u8>]) -> Result<Vec<Duration>> {
    let terminal = &chain.terminals[0];
    let callers = u32::try_from(PACED_CALLERS)?;
    let every = Duration::from_secs(1) * callers / PACED_PER_S;
    thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|caller| {
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut cashier = Cashier::at(terminal)?;
                    let begun = Instant::now() + every * caller / callers;
                    let mut took = Vec::new();
                    for n in 0_u32.. {
                        let due = begun + every * n;
                        if due > begun + SPELL {
                            break;
                        }
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        let body = &baskets[(caller * 700 + n) as usize % baskets.len()];
                        cashier.sell("sales", &format!("paced-{caller}-{n}"), body, "disk")?;
                        took.push(due.elapsed());
                    }
                    Ok(took)
                })
            })
            .collect();
        let mut all = Vec::new();
        for caller in callers {
            all.extend(caller.join().map_err(|_| anyhow!("a caller panicked"))??);
        }
        Ok(all)
    })
}
