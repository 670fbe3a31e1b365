//! `storemesh-sim run`: one seed's story in virtual time, and what came of it.
//!
//! A release, a storm of faults, peace. The same seed gives the same trace hash on every machine. A
//! broken rule is printed with the last steps of those concerned and the command that tells the same
//! story again.

use std::time::Duration;

use serde::Serialize;
use storemesh_host::{
    exit::{Exit, Failure},
    out,
};

use crate::world::{Plan, World};

/// How many steps are shown of those that a broken rule concerns.
const STEPS: usize = 80;

/// Runs a chain in virtual time: the same seed, the same story
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Decides everything that chance decides
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    stores: u8,
    /// In each store
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    terminals: u8,
    /// How long faults of all kinds go on; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    storm: u64,
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    seed: u64,
    ok: bool,
    trace: String,
    events: u64,
    virtual_s: f64,
    wan_ratio: f64,
    wan_other_bytes: u64,
    news_fetches: u64,
    broken: Option<String>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let (stores, terminals) = (usize::from(args.stores), usize::from(args.terminals));
    let plan = Plan { seed: args.seed, stores, terminals };
    let world = World::trial(plan, Duration::from_secs(args.storm));
    let summary = world.summary();
    let broken = summary.broken.as_ref();
    let broken = broken.map(|broken| format!("at {:?}: {}", broken.at, broken.rule));
    let report = Report {
        seed: args.seed,
        ok: broken.is_none(),
        trace: summary.trace,
        events: summary.events,
        virtual_s: summary.virtual_time.as_secs_f64(),
        wan_ratio: summary.wan_ratio,
        wan_other_bytes: summary.wan_other,
        news_fetches: summary.news_fetches,
        broken,
    };
    if args.json {
        out::json(&report)?;
    } else {
        out::line(format_args!("trace    {}", report.trace))?;
        out::line(format_args!("events   {}", report.events))?;
        out::line(format_args!("virtual  {:.1} s", report.virtual_s))?;
        out::line(format_args!("wan      {:.3} of one copy of all releases", report.wan_ratio))?;
    }
    let Some(broken) = report.broken else { return Ok(()) };
    if !args.json {
        for line in world.last_steps(STEPS) {
            out::line(line)?;
        }
        out::line(format_args!(
            "again: storemesh-sim run --seed {} --stores {stores} --terminals {terminals} --storm {}",
            args.seed, args.storm
        ))?;
    }
    Err(Failure::new(Exit::Failed, format!("seed {}: {broken}", args.seed)).into())
}
