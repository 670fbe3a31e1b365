//! The commands of `storemesh-sim`: each has its arguments and its code in a module of its own.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};
use storemesh_host::exit;

use crate::{demo, figures, live::tie, power_cuts, run};

/// Runs and rehearses a storemesh chain on this machine
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Figures(figures::Args),
    PowerCuts(power_cuts::Args),
    /// Runs a command that ends when stdin does
    #[command(name = tie::COMMAND, hide = true)]
    Tied {
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
}

/// The whole program.
pub fn main() -> ExitCode {
    match Line::parse().command {
        Command::Demo(args) => exit::main_with(|| demo::run(&args)),
        Command::Run(args) => exit::main_with(|| run::run(&args)),
        Command::Figures(args) => exit::main_with(|| figures::run(&args)),
        Command::PowerCuts(args) => exit::main_with(|| power_cuts::run(&args)),
        Command::Tied { command } => tie::watch(&command),
    }
}
