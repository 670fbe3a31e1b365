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
    /// Of each store's terminals, the last so many are wireless
    #[arg(long, default_value_t = 0)]
    wireless: u8,
    /// All stores are on one network
    #[arg(long)]
    one_lan: bool,
    /// What each till posts in a minute: sales, stock movements and counts
    #[arg(long, default_value_t = 0)]
    sales: u32,
    /// How long faults of all kinds go on; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    storm: u64,
    /// How many steps are shown of those that a broken rule concerns
    #[arg(long, default_value_t = 80)]
    steps: usize,
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

impl Args {
    fn plan(&self) -> Plan {
        Plan {
            seed: self.seed,
            stores: usize::from(self.stores),
            terminals: usize::from(self.terminals),
            wireless: usize::from(self.wireless),
            one_lan: self.one_lan,
            sales: self.sales,
        }
    }
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let plan = args.plan();
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
        for line in world.last_steps(args.steps) {
            out::line(line)?;
        }
        out::line(format_args!("again: storemesh-sim run {plan} --storm {}", args.storm))?;
    }
    Err(Failure::new(Exit::Failed, format!("seed {}: {broken}", args.seed)).into())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    #[test]
    fn seeds_that_once_failed_stand() {
        let text = include_str!("../seeds.txt");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let command = Args::augment_args(clap::Command::new("run")).no_binary_name(true);
            let matches = command.get_matches_from(line.split_whitespace());
            let args = Args::from_arg_matches(&matches).unwrap();
            let world = World::trial(args.plan(), Duration::from_secs(args.storm));
            assert!(world.broken().is_none(), "{line}: {:?}", world.broken());
        }
    }
}
