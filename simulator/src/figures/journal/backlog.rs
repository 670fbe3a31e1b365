//! Three days of sales made while HQ was away, and an order of HQ's on their way.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{PATIENCE, baskets, hold, open, publish};
use crate::{
    figures::{Family, Outcome, Promise, Reading, Setup},
    live::{
        cashier::{Cashier, EntryName},
        chain::Chain,
        status::Status,
        stop,
        tail::Tail,
    },
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

const BACKLOG_S_MAX: f64 = 300.0;
const CONTROL_S_MAX: f64 = 2.0;
const BACKLOG_STORE: usize = 5;
const BACKLOG_SALES: usize = 200_000;
const BACKLOG_PATIENCE: Duration = Duration::from_mins(15);
/// How often an order is given while the backlog goes.
const ORDER_EVERY: Duration = Duration::from_secs(10);

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

fn all_want(chain: &Chain, version: &str) -> Result<bool> {
    let wants = |status: &Status| {
        status.release("product").is_some_and(|release| release.wanted.as_deref() == Some(version))
    };
    Ok(chain.statuses()?.iter().all(wants))
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

#[expect(clippy::cast_precision_loss)]
fn millions(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
