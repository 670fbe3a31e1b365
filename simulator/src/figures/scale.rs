//! What a large store costs: 64 MiB through a WAN of 20 Mbit/s to 50 terminals, beside 20.
//!
//! The WAN takes nearly all of the time, so a store of 50 takes longer only by what its terminals say
//! to each other. All of them run on this machine, which is slower than 50 terminals would be.
//!
//! The kernel keeps one table of hardware addresses for all namespaces, and loses packets when it is
//! full: 50 terminals that know each other need 2,500 entries, usual are 1,024.

use std::{fs, path::Path};

use anyhow::Context as _;

use super::{
    Family, Outcome, Promise, Reading, Setup,
    harness::{Comparison, OURS, Runs, median},
};

const RATIO_MAX: f64 = 1.1;
const FEW: u32 = 20;
const MANY: u32 = 50;

const TABLE: &str = "/proc/sys/net/ipv4/neigh/default/gc_thresh3";
/// Every terminal knows every other and the router; HQ and the router add a few.
const TABLE_MIN: u32 = MANY * (MANY + 2);

pub(crate) const FIFTY: Family = Family {
    figures: &[Promise {
        name: "w1_n50_over_n20",
        unit: "x",
        target: "50 terminals take at most 1.1 times as long as 20",
    }],
    measure,
};

fn measure(setup: &Setup<'_>) -> anyhow::Result<Outcome> {
    let table = fs::read_to_string(Path::new(TABLE)).with_context(|| format!("reading {TABLE}"))?;
    let table: u32 = table.trim().parse().with_context(|| format!("`{table}` in {TABLE}"))?;
    if table < TABLE_MIN {
        return Ok(Outcome::NotMeasured(format!(
            "the kernel remembers {table} hardware addresses and {MANY} terminals on one machine \
             need {TABLE_MIN}: sysctl -w net.ipv4.neigh.default.gc_thresh3=8192"
        )));
    }
    let few = Comparison { workload: "W1", terminals: FEW, peers: &[] };
    let many = Comparison { workload: "W1", terminals: MANY, peers: &[] };
    let (few_s, many_s) = match (few.run(setup)?, many.run(setup)?) {
        (Ok(few), Ok(many)) => (last(&few, FEW)?, last(&many, MANY)?),
        (Err(why), _) | (_, Err(why)) => return Ok(Outcome::NotMeasured(why)),
    };
    let value = many_s / few_s;
    let how = format!(
        "{MANY} terminals {many_s:.2} s, {FEW} terminals {few_s:.2} s; {}",
        many.command(setup.repeat)
    );
    Ok(Outcome::Measured(vec![Reading { value, ok: value <= RATIO_MAX, how }]))
}

/// Seconds to the last terminal, of the middle run; every run must have brought the file to all.
fn last(runs: &Runs, terminals: u32) -> anyhow::Result<f64> {
    let runs = runs.get(OURS).map_or(&[][..], Vec::as_slice);
    let seconds = runs.iter().map(|run| {
        let why = run.error.as_deref().unwrap_or("too slow");
        let done = run.last_s.filter(|_| run.ok);
        done.with_context(|| format!("a run with {terminals} terminals failed: {why}"))
    });
    median(seconds.collect::<anyhow::Result<_>>()?).context("the harness did not run us")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_run_among_good_ones_is_no_figure() {
        let good = r#"{"tool": "storemesh", "ok": true, "last_s": 29.0}"#;
        let bad = r#"{"tool": "storemesh", "ok": false, "error": "t33 did not join"}"#;
        let runs = |lines: &[&str]| {
            let runs = lines.iter().map(|line| serde_json::from_str(line).unwrap());
            Runs::from([(OURS.to_owned(), runs.collect())])
        };
        assert!((last(&runs(&[good]), 50).unwrap() - 29.0).abs() < f64::EPSILON);
        let error = last(&runs(&[good, bad]), 50).unwrap_err().to_string();
        assert_eq!(error, "a run with 50 terminals failed: t33 did not join");
        assert!(last(&runs(&[]), 50).is_err());
    }
}
