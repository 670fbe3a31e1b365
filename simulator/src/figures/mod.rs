//! Measures what the project promises and writes it down.
//!
//! A figure is a name, a number and a target; `storemesh-sim figures [NAME..]` measures those named
//! (or all) and merges them by name into one JSON file, so that a long campaign can be run in parts.
//! What cannot be measured here, because the side-by-side harness or the right to make namespaces is
//! missing, is written down as not measured and never as a success. A figure that misses its target
//! is recorded as it is, and makes the exit code 1.
//!
//! One file measures one family: it exports a [`Family`] and is listed in [`FAMILIES`]. It leaves
//! the programs to [`crate::live`] and the file's form to [`report`].

mod w1;
mod w1b;

mod scale;

mod memory;

mod failover;
mod kill_resume;

mod join;

mod feed_overhead;
mod journal;
mod power_cuts;

mod harness;
mod report;

use std::path::PathBuf;

use anyhow::Context as _;
use storemesh_host::{exit::Failure, out};

use self::report::{Entry, Report};
use crate::live::{
    programs::{Programs, source_tree},
    stop, tie,
};

const FAMILIES: &[&Family] = &[
    &w1::FIVE,
    &w1::TWENTY,
    &w1b::FIVE,
    &scale::FIFTY,
    &memory::MEMORY,
    &join::MDNS,
    &join::HQ_LIST,
    &failover::KILL,
    &failover::DROP,
    &failover::REFETCHED,
    &kill_resume::KILL_RESUME,
    &journal::RATE,
    &journal::TO_HQ,
    &journal::BACKLOG,
    &feed_overhead::FEED_OVERHEAD,
    &power_cuts::POWER_CUTS,
];

/// In the source tree.
const OUT: &str = "target/figures.json";

/// Figures that come out of one measurement.
pub(crate) struct Family {
    pub(crate) figures: &'static [Promise],
    /// Answers every one of `figures`, or says why it could not measure any.
    pub(crate) measure: fn(&Setup<'_>) -> anyhow::Result<Outcome>,
}

pub(crate) struct Promise {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// For people: what must hold.
    pub(crate) target: &'static str,
}

pub(crate) enum Outcome {
    /// One for each promise, in their order.
    Measured(Vec<Reading>),
    /// What this machine lacks.
    NotMeasured(String),
}

pub(crate) struct Reading {
    pub(crate) value: f64,
    pub(crate) ok: bool,
    /// What was run, and what else came out of it.
    pub(crate) how: String,
}

/// What every measurement is given.
pub(crate) struct Setup<'a> {
    pub(crate) programs: &'a Programs,
    /// That of the results.
    pub(crate) folder: PathBuf,
    pub(crate) repeat: u32,
}

/// Measures what the project promises and merges it into one file
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The figures to measure; those of one measurement come together. All when none is named
    names: Vec<String>,
    /// Show the names and targets, and measure nothing
    #[arg(long)]
    list: bool,
    /// How often a comparison with other tools is run; the median counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// The file that the results are merged into [default: target/figures.json of the source tree]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Fails when a figure that was measured misses its target, after all are measured.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let chosen = choose(&args.names)?;
    if args.list {
        for promise in chosen.iter().flat_map(|family| family.figures) {
            out::line(format_args!("{:<18} {}", promise.name, promise.target))?;
        }
        return Ok(());
    }

    stop::listen()?;
    tie::enable()?;
    let mut report = match &args.out {
        Some(path) => Report::open(path)?,
        None => Report::open(&source_tree()?.join(OUT))?,
    };
    let setup = Setup {
        programs: Programs::built()?,
        folder: report.folder().to_owned(),
        repeat: args.repeat,
    };
    let mut missed = Vec::new();
    for family in chosen {
        let names = || family.figures.iter().map(|promise| promise.name);
        let outcome = (family.measure)(&setup)
            .with_context(|| format!("measuring {}", names().collect::<Vec<_>>().join(", ")))?;
        for (index, promise) in family.figures.iter().enumerate() {
            let entry = Entry::new(promise, &outcome, index);
            out::line(&entry)?;
            report.put(&entry);
            if entry.ok == Some(false) {
                missed.push(promise.name);
            }
        }
        // After each family: an hour of measurements must not be lost to the last of them.
        report.save()?;
    }
    anyhow::ensure!(missed.is_empty(), "missed their targets: {}", missed.join(", "));
    Ok(())
}

fn choose(names: &[String]) -> anyhow::Result<Vec<&'static Family>> {
    let known = || FAMILIES.iter().flat_map(|family| family.figures).map(|promise| promise.name);
    if let Some(unknown) = names.iter().find(|name| known().all(|known| known != name.as_str())) {
        let known = known().collect::<Vec<_>>().join(", ");
        let message = format!("there is no figure `{unknown}`; there are {known}");
        return Err(Failure::usage(message).into());
    }
    let wanted = |family: &Family| {
        names.is_empty()
            || family.figures.iter().any(|promise| names.iter().any(|name| name == promise.name))
    };
    Ok(FAMILIES.iter().copied().filter(|family| wanted(family)).collect())
}
