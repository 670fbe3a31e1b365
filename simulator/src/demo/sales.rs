//! Tills that sell while the releases come, also the one that is killed.
//!
//! A cashier does what a POS program must: a sale that was not answered is posted again under the same key
//! until it is. HQ's tail is read meanwhile; at the end every answered sale must stand in it once, behind
//! the one before it in its feed, and nothing else may.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;

use crate::live::{
    cashier::{Cashier, EntryName},
    chain::Chain,
    stop,
    tail::Tail,
    terminal::Terminal,
};

const TOPIC: &str = "sales";

/// More than any till sells, and little beside a release.
const SELL_EVERY: Duration = Duration::from_millis(200);

/// A terminal that was killed is back by then.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// From the last sale until HQ has all.
const AT_HQ_WITHIN: Duration = Duration::from_secs(30);

/// What was sold, and what HQ has of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    /// Answered with 201.
    pub(super) answered: usize,
    /// Posts that were not answered, or not yet: the same sale was posted again.
    pub(super) repeated: usize,
    /// Of the answered ones.
    pub(super) at_hq: usize,
    /// Entries that HQ told more than once.
    pub(super) twice: usize,
    /// Entries that HQ told before an earlier one of the same feed.
    pub(super) out_of_order: usize,
    /// Entries at HQ that no till was answered with.
    pub(super) unknown: usize,
}

/// Every till of a chain, selling until it is closed.
#[derive(Debug)]
pub(super) struct Tills {
    cashiers: Vec<JoinHandle<Result<Sold>>>,
    closing: Arc<AtomicBool>,
    tail: Tail,
}

#[derive(Debug, Default)]
struct Sold {
    names: Vec<EntryName>,
    repeated: usize,
}

impl Tills {
    pub(super) fn open(chain: &Chain) -> Result<Self> {
        let tail = Tail::follow(&chain.hq)?;
        let closing = Arc::new(AtomicBool::new(false));
        let cashiers = chain.terminals.iter().map(|terminal| {
            let (till, closing) = (terminal.again(), Arc::clone(&closing));
            thread::spawn(move || {
                sell(&till, &closing).with_context(|| format!("selling at {}", till.name()))
            })
        });
        Ok(Self { cashiers: cashiers.collect(), closing, tail })
    }

    /// Sells no more, and waits until HQ has what was sold, if that comes.
    pub(super) fn close(mut self) -> Result<Count> {
        self.closing.store(true, Relaxed);
        let mut all = Sold::default();
        for cashier in self.cashiers.drain(..) {
            let sold = cashier.join().map_err(|_| anyhow!("a cashier panicked"))??;
            all.names.extend(sold.names);
            all.repeated += sold.repeated;
        }
        let until = Instant::now() + AT_HQ_WITHIN;
        loop {
            let arrived: Vec<_> = self.tail.arrivals().into_iter().map(|(name, _)| name).collect();
            let count = Count { repeated: all.repeated, ..count(&all.names, &arrived) };
            if count.at_hq == count.answered || until <= Instant::now() {
                return Ok(count);
            }
            stop::pause(SELL_EVERY)?;
        }
    }
}

impl Drop for Tills {
    fn drop(&mut self) {
        self.closing.store(true, Relaxed);
    }
}

fn sell(till: &Terminal, closing: &AtomicBool) -> Result<Sold> {
    let mut sold = Sold::default();
    let mut cashier = None;
    while !closing.load(Relaxed) {
        let receipt = sold.names.len() + 1;
        let key = format!("{}-{receipt}", till.name());
        let body = serde_json::json!({ "receipt": receipt, "total": 12.90 }).to_string();
        let mut closed_at = None;
        loop {
            if let Some(name) = post(&mut cashier, till, &key, body.as_bytes())? {
                sold.names.push(name);
                break;
            }
            sold.repeated += 1;
            if closing.load(Relaxed)
                && closed_at.get_or_insert_with(Instant::now).elapsed() > ANSWERED_WITHIN
            {
                bail!("receipt {receipt} was never answered");
            }
            thread::sleep(SELL_EVERY);
        }
        thread::sleep(SELL_EVERY);
    }
    Ok(sold)
}

/// The entry, or nothing when the same is to be posted again.
fn post(
    cashier: &mut Option<Cashier>,
    till: &Terminal,
    key: &str,
    body: &[u8],
) -> Result<Option<EntryName>> {
    let answer = match cashier.take() {
        Some(cashier) => Ok(cashier),
        None => Cashier::at(till),
    };
    let answer = answer.and_then(|mut open| {
        let receipt = open.post(TOPIC, key, body, "disk")?;
        *cashier = Some(open);
        Ok(receipt)
    });
    match answer {
        // The terminal is down, or went down before it answered.
        Err(_) => Ok(None),
        // It has just started.
        Ok(receipt) if receipt.status == 503 => Ok(None),
        Ok(receipt) => receipt.name().map(Some),
    }
}

fn count(answered: &[EntryName], arrived: &[EntryName]) -> Count {
    let mut last: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let (mut twice, mut out_of_order) = (0, 0);
    for name in arrived {
        let EntryName { terminal, boot, topic, seq } = name;
        if !seen.insert(name) {
            twice += 1;
            continue;
        }
        let last = last.entry((terminal, boot, topic)).or_default();
        out_of_order += usize::from(seq < last);
        *last = *seq.max(last);
    }
    let sold: BTreeSet<_> = answered.iter().collect();
    Count {
        answered: sold.len(),
        repeated: 0,
        at_hq: sold.intersection(&seen).count(),
        twice,
        out_of_order,
        unknown: seen.difference(&sold).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(terminal: &str, seq: u64) -> EntryName {
        EntryName { terminal: terminal.into(), boot: "b".into(), topic: TOPIC.into(), seq }
    }

    #[test]
    fn what_is_at_hq_once_and_in_order_is_all_well() {
        let sold = [entry("t1", 1), entry("t1", 2), entry("t2", 1)];
        let arrived = [entry("t1", 1), entry("t2", 1), entry("t1", 2)];
        let good = Count { answered: 3, at_hq: 3, ..Count::default() };
        assert_eq!(count(&sold, &arrived), good);
    }

    #[test]
    fn each_kind_of_wrong_is_counted() {
        let sold = [entry("t1", 1), entry("t1", 2), entry("t1", 3)];
        let arrived = [entry("t1", 2), entry("t1", 1), entry("t1", 1), entry("t3", 1)];
        let bad =
            Count { answered: 3, repeated: 0, at_hq: 2, twice: 1, out_of_order: 1, unknown: 1 };
        assert_eq!(count(&sold, &arrived), bad);
    }
}
