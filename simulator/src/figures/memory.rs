//! What a terminal takes of a machine's memory, while a release arrives and afterwards.
//!
//! A store of five gets 2 GiB that do not compress, in one huge file and many small ones, over a
//! line without a rate, so that everything inside runs as full as it can. Busy is the most that any
//! terminal ever had resident up to its end (`VmHWM`), the gateway's included. Idle is the same for
//! a store that starts again with that release standing and has nothing to do.
//!
//! It takes about 25 GB of disk in the temporary folder for some minutes.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use super::{Family, Outcome, Promise, Reading, Setup};
use crate::live::{chain::Chain, relay::Wan, stop, terminal::Terminal};

const BUSY_MIB_MAX: f64 = 150.0;
const IDLE_MIB_MAX: f64 = 64.0;

pub(crate) const MEMORY: Family = Family {
    figures: &[
        Promise {
            name: "rss_busy",
            unit: "MiB",
            target: "at most 150 MiB, also for a 2 GiB release",
        },
        Promise {
            name: "rss_idle",
            unit: "MiB",
            target: "at most 64 MiB, also with a 2 GiB release",
        },
    ],
    measure,
};

const TERMINALS: usize = 5;
const MIB: usize = 1024 * 1024;
const HUGE_MIB: usize = 1024;
const SMALL_FILES: usize = 256;
const SMALL_MIB: usize = 4;

const MEET_WITHIN: Duration = Duration::from_mins(1);
/// Disks of the slow kind included.
const ARRIVE_WITHIN: Duration = Duration::from_mins(30);
/// What is periodic has come around several times by then.
const IDLE_FOR: Duration = Duration::from_secs(30);

fn measure(setup: &Setup<'_>) -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let release = folder.path().join("release");
    write_release(&release).context("writing the release")?;

    let mut chain = Chain::open(setup.programs, folder.path(), Wan::default(), TERMINALS)?;
    chain.join()?;
    chain.start()?;
    chain.meet(MEET_WITHIN)?;
    chain.hq.publish_held(&release, "product", "1")?;

    let started = Instant::now();
    chain.hq.start_release("product", "1")?;
    stop::until("the release's arrival at every terminal", ARRIVE_WITHIN, || {
        Ok(chain.statuses()?.iter().all(|status| status.runs("product", "1")).then_some(()))
    })?;
    let seconds = started.elapsed().as_secs();
    let busy = peaks(&mut chain.terminals)?;

    for terminal in &mut chain.terminals {
        terminal.stop()?;
        terminal.start()?;
    }
    chain.meet(MEET_WITHIN)?;
    stop::pause(IDLE_FOR)?;
    let idle = peaks(&mut chain.terminals)?;
    chain.stop()?;

    Ok(Outcome::Measured(vec![
        reading(
            &busy,
            BUSY_MIB_MAX,
            &format!(
                "VmHWM while 2 GiB arrived at {TERMINALS} terminals over loopback in {seconds} s"
            ),
        ),
        reading(
            &idle,
            IDLE_MIB_MAX,
            &format!("VmHWM {} s after a start with those 2 GiB standing", IDLE_FOR.as_secs()),
        ),
    ]))
}

fn reading(peaks: &[f64], max: f64, what: &str) -> Reading {
    let value = peaks.iter().copied().fold(0.0, f64::max);
    let all = peaks.iter().map(|it| format!("{it:.0}")).collect::<Vec<_>>().join(", ");
    Reading { value, ok: value <= max, how: format!("{what}; the largest of {all} MiB") }
}

/// The most that each process had resident since it started.
fn peaks(terminals: &mut [Terminal]) -> anyhow::Result<Vec<f64>> {
    let pids = terminals.iter_mut().filter_map(|terminal| Some(terminal.daemon()?.pid()));
    pids.map(peak_mib).collect()
}

fn peak_mib(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading `{path}`"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u32 = kib.with_context(|| format!("no VmHWM in `{path}`"))?.parse()?;
    Ok(f64::from(kib) / 1024.0)
}

fn write_release(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir(folder)?;
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut block = vec![0; MIB];
    let mut write = |name: &str, mib: usize| -> anyhow::Result<()> {
        let mut file = File::create(folder.join(name))?;
        for _ in 0..mib {
            random.fill_bytes(&mut block);
            file.write_all(&block)?;
        }
        Ok(())
    };
    write("huge", HUGE_MIB)?;
    for number in 0..SMALL_FILES {
        write(&format!("small-{number:03}"), SMALL_MIB)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_a_living_process_is_read() {
        let own = peak_mib(std::process::id()).unwrap();
        assert!((0.5..10_000.0).contains(&own), "{own} MiB");
        assert!(peak_mib(u32::MAX).is_err());
    }
}
