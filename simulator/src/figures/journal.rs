//! What the journal bears: sales taken, how soon they are answered and at HQ, and a backlog's way there.
//!
//! Sales are those of `scripts/sales`, simulated from real patterns; a busy chain's day is posted to one
//! store, so that there are enough. All programs share this machine's cores, so the rates are a floor.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use super::{Family, Outcome, Promise, Reading, Setup};
use crate::live::{
    cashier::{Cashier, EntryName},
    chain::Chain,
    programs::source_tree,
    relay::Wan,
    stop,
    tail::Tail,
};

pub(crate) const RATE: Family = Family {
    figures: &[
        Promise { name: "journal_rate", unit: "entries/s", target: "at least 5,000, 64 callers" },
        Promise { name: "journal_p99", unit: "ms", target: "under 20 at 500 entries/s" },
    ],
    measure: rate,
};

pub(crate) const TO_HQ: Family = Family {
    figures: &[Promise {
        name: "journal_to_hq",
        unit: "s",
        target: "p99 from the answer to HQ's journal under 1 in a store of 20",
    }],
    measure: to_hq,
};

pub(crate) const BACKLOG: Family = Family {
    figures: &[
        Promise {
            name: "journal_backlog",
            unit: "s",
            target: "200,000 sales are at HQ within 300 at 5 Mbit/s up",
        },
        Promise {
            name: "journal_backlog_control",
            unit: "s",
            target: "meanwhile an order of HQ takes under 2 to every terminal",
        },
    ],
    measure: backlog,
};

const RATE_MIN: f64 = 5_000.0;
const P99_MS_MAX: f64 = 20.0;
const TO_HQ_S_MAX: f64 = 1.0;
const BACKLOG_S_MAX: f64 = 300.0;
const CONTROL_S_MAX: f64 = 2.0;

const WAN_MBIT: f64 = 20.0;
const CALLERS: usize = 64;
const PACED_CALLERS: usize = 20;
const PACED_PER_S: u32 = 500;
/// Long enough for some thousand answers.
const SPELL: Duration = Duration::from_secs(10);
/// It comes for longer than both spells take.
const RELEASE_BYTES: usize = 96 * 1024 * 1024;
const LARGE_STORE: usize = 20;
const BACKLOG_STORE: usize = 5;
const BACKLOG_SALES: usize = 200_000;
const PATIENCE: Duration = Duration::from_mins(2);
const BACKLOG_PATIENCE: Duration = Duration::from_mins(15);
/// How often an order is given while the backlog goes.
const ORDER_EVERY: Duration = Duration::from_secs(10);

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

fn backlog(setup: &Setup<'_>) -> Result<Outcome> {
    let baskets = match baskets(&setup.folder, BACKLOG_SALES) {
        Ok(baskets) => baskets,
        Err(why) => return Ok(Outcome::NotMeasured(format!("needs scripts/sales: {why:#}"))),
    };
    let folder = tempfile::tempdir()?;
    let mut chain = open(setup, folder.path(), BACKLOG_STORE)?;
    publish(&chain, folder.path(), 1024)?;
    for version in 2..40 {
        hold(&chain, folder.path(), &version.to_string(), 1024)?;
    }
    // The schema is there: now HQ is away while three days of sales are made.
    chain.hq.stop()?;
    sell_all(&chain, &baskets)?;
    let up_before = chain.wan.up().bytes();
    chain.serve_again()?;
    chain.meet(PATIENCE)?;
    let begun = Instant::now();
    let tail = Tail::follow(&chain.hq)?;
    let all = (BACKLOG_SALES + BACKLOG_STORE) as u64;
    let mut orders = Vec::new();
    for version in 2..40 {
        if tail.count() >= all || begun.elapsed() > BACKLOG_PATIENCE {
            break;
        }
        let ordered = Instant::now();
        chain.hq.start_release("product", &version.to_string())?;
        stop::until("an order being on every terminal", PATIENCE, || {
            Ok(all_want(&chain, &version.to_string())?.then_some(()))
        })?;
        orders.push(ordered.elapsed());
        stop::pause(ORDER_EVERY)?;
    }
    stop::until("the backlog being at HQ", BACKLOG_PATIENCE, || {
        Ok((tail.count() >= all).then_some(()))
    })?;
    let arrivals = tail.arrivals();
    let (last, took) = (arrivals.last().context("an arrival")?.1, |at: Instant| at - begun);
    let took = took(last).as_secs_f64();
    let bytes = chain.wan.up().bytes() - up_before;
    chain.stop()?;
    in_order(&arrivals)?;
    let slowest = orders.iter().max().copied().unwrap_or_default().as_secs_f64();
    let how = format!(
        "{BACKLOG_SALES} sales, {:.0} MB of JSON, made on {BACKLOG_STORE} terminals while HQ was away; {:.0} \
         MB crossed the line of 5 Mbit/s up; each feed arrived in order, the oldest first",
        millions(baskets.iter().map(Vec::len).sum::<usize>() as u64),
        millions(bytes),
    );
    let control = format!("the slowest of {} releases started meanwhile", orders.len());
    Ok(Outcome::Measured(vec![
        Reading { value: took, ok: took <= BACKLOG_S_MAX, how },
        Reading { value: slowest, ok: slowest < CONTROL_S_MAX && !orders.is_empty(), how: control },
    ]))
}

fn open(setup: &Setup<'_>, folder: &Path, terminals: usize) -> Result<Chain> {
    let mut chain = Chain::open(setup.programs, folder, Wan::mbit(WAN_MBIT), terminals)?;
    chain.join()?;
    chain.start()?;
    chain.meet(PATIENCE)?;
    // Terminals take sales once they know HQ's schema; each has one at HQ from here on.
    for terminal in &chain.terminals {
        stop::until("a terminal taking sales", PATIENCE, || {
            let receipt = Cashier::at(terminal)?.post("sales", "first", b"{}", "hq")?;
            Ok((receipt.status == 201).then_some(()))
        })?;
    }
    Ok(chain)
}

fn publish(chain: &Chain, folder: &Path, bytes: usize) -> Result<()> {
    hold(chain, folder, "1", bytes)?;
    chain.hq.start_release("product", "1")
}

fn hold(chain: &Chain, folder: &Path, version: &str, bytes: usize) -> Result<()> {
    let directory = folder.join(format!("release-{version}"));
    fs::create_dir(&directory)?;
    let mut content = vec![0; bytes];
    ChaCha8Rng::seed_from_u64(8 + version.len() as u64).fill_bytes(&mut content);
    fs::write(directory.join("program"), content)?;
    fs::write(directory.join("version"), version)?;
    chain.hq.publish_held(&directory, "product", version)?;
    Ok(())
}

fn all_run(chain: &Chain, version: &str) -> Result<bool> {
    Ok(chain.statuses()?.iter().all(|status| status.runs("product", version)))
}

fn all_want(chain: &Chain, version: &str) -> Result<bool> {
    let wants = |status: &crate::live::status::Status| {
        status.release("product").is_some_and(|release| release.wanted.as_deref() == Some(version))
    };
    Ok(chain.statuses()?.iter().all(wants))
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

/// Every basket once, at the terminals in turn.
fn sell_all(chain: &Chain, baskets: &[Vec<u8>]) -> Result<()> {
    const AT_EACH: usize = 8;
    thread::scope(|scope| {
        let tills = chain.terminals.iter().enumerate();
        let callers: Vec<_> = tills
            .flat_map(|(till, terminal)| (0..AT_EACH).map(move |caller| (till, caller, terminal)))
            .map(|(till, caller, terminal)| {
                scope.spawn(move || -> Result<()> {
                    let mut cashier = Cashier::at(terminal)?;
                    let mine = baskets.iter().enumerate().skip(till * AT_EACH + caller);
                    for (number, body) in mine.step_by(BACKLOG_STORE * AT_EACH) {
                        cashier.sell("sales", &format!("basket-{number}"), body, "disk")?;
                    }
                    Ok(())
                })
            })
            .collect();
        for caller in callers {
            caller.join().map_err(|_| anyhow!("a caller panicked"))??;
        }
        Ok(())
    })
}

/// Each feed's entries came one after the other.
fn in_order(arrivals: &[(EntryName, Instant)]) -> Result<()> {
    let mut last: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for (name, _) in arrivals {
        let feed = (name.terminal.as_str(), name.boot.as_str(), name.topic.as_str());
        let before = last.insert(feed, name.seq).unwrap_or_default();
        ensure!(name.seq == before + 1, "{name:?} came after entry {before}");
    }
    Ok(())
}

/// So many sales of the data set, as the JSON that is posted.
fn baskets(folder: &Path, count: usize) -> Result<Vec<Vec<u8>>> {
    let out: PathBuf = folder.join(format!("sales-{count}.ndjson"));
    if !out.exists() {
        let script = source_tree()?.join("scripts/sales");
        let done = Command::new("python3")
            .arg(&script)
            .args(["--days", "3", "--all-stores", "--baskets", &count.to_string(), "--out"])
            .arg(&out)
            .output()
            .context("running scripts/sales")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let text = fs::read_to_string(&out).context("reading the sales")?;
    let mut baskets = Vec::with_capacity(count);
    for line in text.lines() {
        let mut basket: serde_json::Value = serde_json::from_str(line)?;
        // The movements are another topic's.
        basket.as_object_mut().context("a basket")?.remove("stock");
        baskets.push(serde_json::to_vec(&basket)?);
    }
    ensure!(baskets.len() == count, "{} baskets, not {count}", baskets.len());
    Ok(baskets)
}

/// The value that so many per cent are not above.
fn part(sorted: &[Duration], per_cent: usize) -> Duration {
    let at = (sorted.len() * per_cent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss)]
fn millions(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
