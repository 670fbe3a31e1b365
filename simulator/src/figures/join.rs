//! How soon a terminal that is switched on has its first chunk from a neighbour.
//!
//! A store whose terminals all have a release takes in one newcomer after another, each with an
//! empty folder and each on a machine of its own in the LAN. The terminals find each other one way
//! only, the other one is switched off at all of them, and the slowest newcomer counts. The clock
//! is ours: it starts before `storemesh run` and stops when the newcomer's status tells of the
//! chunk, so it counts some milliseconds too many.

use std::{
    fs,
    time::{Duration, Instant},
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use super::{Family, Outcome, Promise, Reading};
use crate::live::{hq::Hq, lan::Lan, programs::Programs, relay::Wan, stop, terminal::Terminal};

pub(crate) const MDNS: Family = Family {
    figures: &[Promise { name: "join_mdns", unit: "s", target: TARGET }],
    measure: |setup| measure(setup.programs, &Way { found_by: "mdns", other_off: "--no-hq-list" }),
};

pub(crate) const HQ_LIST: Family = Family {
    figures: &[Promise { name: "join_hq_list", unit: "s", target: TARGET }],
    measure: |setup| measure(setup.programs, &Way { found_by: "hq", other_off: "--no-mdns" }),
};

/// How terminals find each other.
struct Way {
    /// As `storemesh peers` calls it.
    found_by: &'static str,
    other_off: &'static str,
}

const TARGET: &str = "at most 3 s from `storemesh run` to the first chunk from a neighbour";
const JOIN_S_MAX: f64 = 3.0;

/// The neighbour found us first, and then in the same way.
const DIALLED_US: &str = "dialled us";

const STANDING: [&str; 3] = ["t1", "t2", "t3"];
const NEWCOMERS: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// Some dozens of chunks, so that the first one is far from the last.
const RELEASE_BYTES: usize = 16 * 1024 * 1024;
/// Far beyond the target: a figure that is missed is still a figure.
const PATIENCE: Duration = Duration::from_mins(1);

fn measure(programs: &Programs, way: &Way) -> anyhow::Result<Outcome> {
    if let Some(missing) = Lan::missing() {
        return Ok(Outcome::NotMeasured(format!("needs {missing}")));
    }
    let folder = tempfile::tempdir()?;
    let lan = Lan::lay(&[&STANDING[..], &NEWCOMERS].concat(), Wan::default())?;

    let mut hq = Hq::new(&lan.hq_programs(programs), folder.path());
    hq.init("figures")?;
    hq.serve([] as [&str; 0])?;
    hq.add_store("shop")?;
    let release = folder.path().join("release");
    fs::create_dir(&release)?;
    let mut bytes = vec![0; RELEASE_BYTES];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut bytes);
    fs::write(release.join("program"), bytes)?;
    hq.publish(&release, "product", "1", &[])?.well("publishing")?;

    let joined = |name: &str| -> anyhow::Result<Terminal> {
        let terminal = Terminal::new(&lan.programs(programs, name), folder.path(), name);
        terminal.join(&hq.invite("shop")?)?;
        Ok(terminal)
    };
    let mut standing = STANDING.map(joined).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    for terminal in &mut standing {
        terminal.start_with([way.other_off])?;
    }
    for terminal in &standing {
        let name = terminal.name();
        stop::until(&format!("{name} having the release"), PATIENCE, || {
            let status = terminal.status()?;
            let met = status.neighbours + 1 == STANDING.len();
            Ok((met && status.runs("product", "1")).then_some(()))
        })?;
    }

    let mut seconds = Vec::new();
    for name in NEWCOMERS {
        let mut newcomer = joined(name)?;
        let started = Instant::now();
        newcomer.start_with([way.other_off])?;
        stop::until(&format!("a chunk from a neighbour at {name}"), PATIENCE, || {
            Ok(newcomer.status()?.first_neighbour_chunk_ms)
        })?;
        seconds.push(started.elapsed().as_secs_f64());
        for peer in newcomer.peers()? {
            let by = peer.found_by.unwrap_or_default();
            let as_meant = by == way.found_by || by == DIALLED_US;
            anyhow::ensure!(as_meant, "{name} knows a neighbour by {by}, not by {}", way.found_by);
        }
        // The next one finds the same store.
        newcomer.stop()?;
    }

    let slowest = seconds.iter().copied().fold(0.0, f64::max);
    let all = seconds.iter().map(|it| format!("{it:.2}")).collect::<Vec<_>>().join(", ");
    let how = format!(
        "the slowest of {} newcomers to a store of {} with a release, every terminal with \
         {}, each in its own network namespace: {all} s",
        NEWCOMERS.len(),
        STANDING.len(),
        way.other_off,
    );
    Ok(Outcome::Measured(vec![Reading { value: slowest, ok: slowest <= JOIN_S_MAX, how }]))
}
