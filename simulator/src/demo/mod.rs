//! `storemesh-sim demo`: the main job, shown and checked on this machine in a minute or two.
//!
//! It builds the programs, starts one HQ and a store of terminals behind a shaped line, joins them,
//! publishes a real directory and then its next version, kills the gateway in the middle of that one,
//! sells at every till meanwhile, and ends with a table. Nothing is taken on trust: [`check`] compares
//! every terminal's files with what was published and HQ's journal with what the tills were answered, and
//! whatever is not as promised makes the exit code 1. All it makes lies in one temporary folder.
//!
//! The story stands in [`story`]; what a phase measures in [`phase`]; what it prints in [`report`].

mod check;
mod failover;
mod measure;
mod own;
mod phase;
mod progress;
mod report;
mod sales;
mod story;
mod text;

use std::{
    io::{Write, stderr},
    path::PathBuf,
};

use anyhow::{Context, Result};
use storemesh_host::{
    exit::{Exit, Failure},
    out,
};

use crate::live::{stop, tie};

/// Publishes two versions to a store of real programs on this machine, kills its gateway in the middle
/// of the second while its tills sell, and checks what arrives
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How many terminals the store has, 1 to 50
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=50))]
    pub terminals: u8,

    /// The line from HQ to the store in Mbit/s, a quarter of it back; 0 is as fast as it goes
    #[arg(long, value_name = "X", default_value_t = 20.0, value_parser = rate)]
    pub wan_mbit: f64,

    /// A directory of your own to publish [default: the two programs, as built here]
    #[arg(long, value_name = "V1")]
    pub dir: Option<PathBuf>,

    /// The next version of that directory, in whose middle the gateway is killed [default for the
    /// programs: a rebuild as another version]
    #[arg(long, value_name = "V2", requires = "dir")]
    pub next: Option<PathBuf>,

    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,

    /// Leave the folder with data and logs behind and say where it is
    #[arg(long)]
    pub keep: bool,
}

/// Fails when anything was not as promised, after having said what.
pub fn run(args: &Args) -> Result<()> {
    stop::listen()?;
    tie::enable()?;
    let folder = tempfile::Builder::new()
        .prefix("storemesh-demo-")
        .tempdir()
        .context("making a folder for the demo")?;

    let mut report = story::tell(args, folder.path());
    if args.keep {
        let kept = folder.keep();
        say(format_args!("everything is left in {}", kept.display()));
        report.folder = Some(kept);
    } else {
        folder.close().context("removing the demo's folder")?;
    }

    if args.json {
        out::json(&report)?;
    } else {
        out::line(&report)?;
    }
    match report.reasons.as_slice() {
        [] => Ok(()),
        [only] => Err(Failure::new(Exit::Failed, format!("the demo failed: {only}")).into()),
        [first, rest @ ..] => {
            let more = format!("the demo failed: {first} (and {} more, see above)", rest.len());
            Err(Failure::new(Exit::Failed, more).into())
        }
    }
}

/// One line for the person who watches. That nobody reads it is no reason to stop.
fn say(line: impl std::fmt::Display) {
    _ = writeln!(stderr(), "{line}");
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number of Mbit/s, 0 to 10000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from([&["demo"], line].concat()).map(|line| line.args)
    }

    #[test]
    fn five_terminals_behind_20_mbit_are_the_default() {
        let args = parsed(&[]).unwrap();
        assert_eq!((args.terminals, args.wan_mbit), (5, 20.0));
        assert!(args.dir.is_none() && args.next.is_none() && !args.json && !args.keep);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            &["--terminals", "0"][..],
            &["--terminals", "51"],
            &["--wan-mbit=-1"],
            &["--wan-mbit", "NaN"],
            &["--next", "there"],
        ] {
            assert!(parsed(line).is_err(), "{line:?}");
        }
        assert!(parsed(&["--dir", "here", "--next", "there", "--wan-mbit", "0"]).is_ok());
    }
}
