//! `storemesh-sim power-cuts`: real databases on disks whose power is cut.
//!
//! What was acknowledged must be there after every cut, also after one that came while the program was
//! recovering from another. [`disk`] is the disk, [`life`] one seed's story and the rule, [`campaign`] many of
//! them; [`sales`] is what is tried: a terminal's feeds, HQ ([`office`]) on the line, and what must be found
//! ([`book`]). A short campaign is a test, the long one's results are kept under `docs/results`.

mod disk;
mod tally;

mod life;

mod office;

mod book;

mod sales;

mod campaign;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use serde::Serialize;
use storemesh_host::{
    exit::{Exit, Failure},
    out,
};

pub use self::life::Sabotage;
use self::{
    campaign::{Broken, Outcome, Plan},
    life::{CUTS, DOUBLE_CUTS},
    sales::Sales,
    tally::Tally,
};
use crate::live::programs::source_tree;

/// What the project promises to withstand: threats 15.
pub(crate) const ALL_CUTS: u64 = 10_000;
pub(crate) const ALL_DOUBLE: u64 = 2_000;

const PROGRESS: &str = "power-cuts.json";

/// Cuts the power of real databases, also while they recover, and looks for what is lost
#[derive(Debug, clap::Args)]
pub struct Args {
    /// At least so many power cuts, 10 for each seed
    #[arg(long, default_value_t = ALL_CUTS)]
    cuts: u64,
    /// Of them at least so many during a recovery, 2 for each seed
    #[arg(long, default_value_t = ALL_DOUBLE)]
    double: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Break something on purpose, to see that it is found
    #[arg(long, value_enum, default_value_t)]
    sabotage: Sabotage,
    /// An interrupted campaign goes on from here [default: target/power-cuts.json of the source tree]
    #[arg(long, value_name = "FILE")]
    progress: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    seeds: [u64; 2],
    #[serde(flatten)]
    tally: Tally,
    broken: &'a [Broken],
}

/// Enough lives for so many cuts, from that seed on.
fn plan(from: u64, cuts: u64, double: u64, sabotage: Sabotage) -> Plan {
    Plan { from, lives: cuts.div_ceil(CUTS).max(double.div_ceil(DOUBLE_CUTS)), sabotage }
}

/// The long campaign; what it has done so far lies in `folder`.
pub(crate) fn all(folder: &Path) -> anyhow::Result<Outcome> {
    let plan = plan(0, ALL_CUTS, ALL_DOUBLE, Sabotage::None);
    campaign::run::<Sales>(plan, Some(&folder.join(PROGRESS)))
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let plan = plan(args.from, args.cuts, args.double, args.sabotage);
    let progress = match &args.progress {
        Some(path) => path.clone(),
        None => source_tree()?.join("target").join(PROGRESS),
    };
    let outcome = campaign::run::<Sales>(plan, Some(&progress))?;
    let Outcome { tally, broken } = &outcome;
    if args.json {
        let seeds = [plan.from, plan.from.saturating_add(plan.lives)];
        out::json(&Report { ok: broken.is_empty(), seeds, tally: *tally, broken })?;
    } else {
        say(plan, &outcome)?;
    }
    let Some(first) = broken.first() else { return Ok(()) };
    let message =
        format!("{} seeds broke the rule; seed {}: {}", broken.len(), first.seed, first.rule);
    Err(Failure::new(Exit::Failed, message).into())
}

fn say(plan: Plan, outcome: &Outcome) -> anyhow::Result<()> {
    let Tally { lives, cuts, kills, moments, during, pieces, .. } = outcome.tally;
    let tally = outcome.tally;
    let last = plan.from.saturating_add(plan.lives).saturating_sub(1);
    out::line(format_args!(
        "seeds         {} to {last}, {lives} of them without a fault",
        plan.from
    ))?;
    out::line(format_args!("power cuts    {cuts}, and {kills} kills"))?;
    out::line(format_args!(
        "  while       recovering {}, opening {}, working {}, closing {}, being made {}",
        moments.recovering, moments.opening, moments.working, moments.closing, moments.first
    ))?;
    out::line(format_args!(
        "  during      a write {}, a new length {}, a sync {}",
        during.write, during.set_length, during.sync
    ))?;
    out::line(format_args!(
        "  not synced  pieces of sectors: kept {}, torn {}, lost {}",
        pieces.kept, pieces.torn, pieces.lost
    ))?;
    out::line(format_args!(
        "acknowledged  {}, and {} of them dropped when HQ had them",
        tally.acknowledged, tally.dropped
    ))?;
    out::line(format_args!(
        "in flight     batches: whole {}, gone {}",
        tally.in_flight_whole, tally.in_flight_gone
    ))?;
    for Broken { seed, rule } in &outcome.broken {
        out::line(format_args!("seed {seed}: {rule}"))?;
        let sabotage = plan.sabotage.to_possible_value();
        let sabotage = sabotage.map_or_else(String::new, |value| value.get_name().to_owned());
        out::line(format_args!(
            "again: storemesh-sim power-cuts --from {seed} --cuts 1 --double 0 --sabotage {sabotage}"
        ))?;
    }
    Ok(())
}
