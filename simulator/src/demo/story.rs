//! The demo from its first line to its last: build, start, join, release 1, release 2, check.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    Args, check,
    measure::Phase,
    own::{self, Release},
    phase::{self, Gateway},
    report::Report,
    sales::{Count, Tills},
    say,
};
use crate::live::{alarms, chain::Chain, child::Stderr, programs::Programs, relay::Wan, stop};

/// Five terminals find each other within a second; fifty on two cores take their time.
const MET_WITHIN: Duration = Duration::from_mins(2);

/// A terminal that comes back is told by the first neighbour it finds.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// A terminal reports what it runs at once, through the gateway.
const REPORTED_WITHIN: Duration = Duration::from_secs(30);

/// What there is to report so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) phases: Vec<Phase>,
    pub(super) sales: Option<Count>,
    /// What was not as promised.
    pub(super) reasons: Vec<String>,
}

/// Whatever stops the story is one more reason in the report.
pub(super) fn tell(args: &Args, folder: &Path) -> Report {
    let terminals = usize::from(args.terminals);
    let mut told = Told::default();
    if let Err(error) = tell_to_the_end(args, folder, terminals, &mut told) {
        told.reasons.push(format!("{error:#}"));
    }
    Report::new(terminals, args.wan_mbit, told)
}

fn tell_to_the_end(args: &Args, folder: &Path, terminals: usize, told: &mut Told) -> Result<()> {
    let (programs, releases) = match &args.dir {
        None => own::build(folder)?,
        Some(dir) => {
            let releases = given(dir, args.next.as_deref())?;
            say("building the programs");
            (Programs::build(None, Stderr::Shown)?, releases)
        }
    };

    say(format_args!(
        "starting HQ and {terminals} terminals behind a line of {}",
        if args.wan_mbit > 0.0 { format!("{} Mbit/s", args.wan_mbit) } else { "any rate".into() },
    ));
    let live = folder.join("chain");
    fs::create_dir(&live).context("making the chain's folder")?;
    let programs = programs.log_chunks();
    let mut chain = Chain::open(&programs, &live, Wan::mbit(args.wan_mbit), terminals)?;
    chain.join()?;
    chain.start()?;
    chain.meet(MET_WITHIN)?;
    say("every till sells from here on");
    let tills = Tills::open(&chain)?;

    for (number, release) in releases.iter().enumerate() {
        // The first release shows how it is meant to go. One terminal has nobody to take over from it.
        let gateway = if number > 0 && terminals > 1 { Gateway::Killed } else { Gateway::Spared };
        let phase = phase::carry_out(&mut chain, release, args.wan_mbit, gateway)?;
        told.reasons.extend(check::phase(&chain, release, &phase)?);
        told.phases.push(phase);
    }
    let sales = tills.close()?;
    told.reasons.extend(check::sales(&sales));
    told.sales = Some(sales);
    // One that was killed may still have to hear who the gateway is; if it does not, the check says so.
    _ = chain.meet(SETTLED_WITHIN);
    stop::check()?;
    told.reasons.extend(check::gateways(&chain.statuses()?, &chain.hq.fleet()?));
    if let Some(last) = releases.last() {
        told.reasons.extend(reported(&chain, last)?);
    }
    // What is said while stopping counts too.
    chain.stop()?;
    told.reasons.extend(alarms::of_chain(&chain)?);
    Ok(())
}

/// Directories of the caller's own.
fn given(dir: &Path, next: Option<&Path>) -> Result<Vec<Release>> {
    let dirs = [(dir, "1")].into_iter().chain(next.map(|next| (next, "2")));
    dirs.map(|(dir, version)| {
        let folder = absolute(dir)?;
        Ok(Release { folder, product: "demo", version: version.to_owned() })
    })
    .collect()
}

fn absolute(dir: &Path) -> Result<PathBuf> {
    dir.canonicalize().with_context(|| format!("looking for the directory `{}`", dir.display()))
}

/// What HQ's fleet still lacks once every terminal had time to report.
fn reported(chain: &Chain, release: &Release) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let looked = stop::until("every terminal's report to HQ", REPORTED_WITHIN, || {
        broken = check::fleet(&chain.hq.fleet()?, chain.terminals.len(), release);
        Ok(broken.is_empty().then_some(()))
    });
    // Too late is what `broken` says already; a signal or a failed command is something else.
    match looked {
        Err(error) if broken.is_empty() => Err(error),
        _ => Ok(broken),
    }
}
