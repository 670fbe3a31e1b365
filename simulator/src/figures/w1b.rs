//! What a byte costs: 512 MiB unshaped to 5 terminals, beside the fastest other tool that encrypts.
//!
//! Without a WAN that slows it, the run keeps every core busy, so the seconds are those of our own
//! work: encrypting, hashing, copying, writing. Both tools run on this machine, one after the other.

use super::{
    Family, Outcome, Promise, Reading, Setup,
    harness::{Comparison, OURS, median},
};

const FASTER_MIN: f64 = 1.3;
const PEER: &str = "syncthing-gw";

pub(crate) const FIVE: Family = Family {
    figures: &[Promise {
        name: "w1b_n5",
        unit: "x",
        target: "1.3 times as fast as Syncthing, in one run",
    }],
    measure,
};

fn measure(setup: &Setup<'_>) -> anyhow::Result<Outcome> {
    let comparison = Comparison { workload: "W1b", terminals: 5, peers: &[PEER] };
    let runs = match comparison.run(setup)? {
        Ok(runs) => runs,
        Err(why) => return Ok(Outcome::NotMeasured(why)),
    };
    let of = |tool: &str| runs.get(tool).map_or(&[][..], Vec::as_slice);
    let seconds = |tool: &str| {
        median(of(tool).iter().filter(|run| run.ok).filter_map(|run| run.last_s).collect())
    };
    for run in of(OURS) {
        let why = run.error.as_deref().unwrap_or("too slow");
        anyhow::ensure!(run.ok, "our own run failed: {why}");
    }
    let Some(ours) = seconds(OURS) else { anyhow::bail!("the harness did not run us") };
    let Some(theirs) = seconds(PEER) else {
        let why = of(PEER).iter().find_map(|run| run.error.clone());
        let why = why.unwrap_or_else(|| "it failed".to_owned());
        return Ok(Outcome::NotMeasured(format!("nothing to compare with: {PEER}: {why}")));
    };
    let rss = median(of(OURS).iter().map(|run| run.rss_mib).collect()).unwrap_or_default();
    let value = theirs / ours;
    let how = format!(
        "{}; storemesh {ours:.2} s, {PEER} {theirs:.2} s; our largest terminal {rss:.1} MiB",
        comparison.command(setup.repeat)
    );
    Ok(Outcome::Measured(vec![Reading { value, ok: value >= FASTER_MIN, how }]))
}
