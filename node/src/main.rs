//! The program `storemesh`: the node on a terminal, and its commands.
//!
//! `run` drives the composite `storemesh_protocol::terminal::Terminal` ([`driver`]), with the store's
//! other terminals on one side ([`mesh`]), HQ on the other ([`uplink`]), the disk below ([`disk`],
//! [`work`]) and programs of this machine above ([`api`]).

mod cli;
mod config;

mod join;
mod membership;
mod own_room;
mod run;

mod driver;
mod feeds;

mod mesh;
mod uplink;

mod counters;
mod fetch;

mod disk;
mod hardware;
mod work;

mod api;
mod recent;
mod views;
mod words;

mod client;
mod doctor;
mod journal;
mod ops;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use storemesh_host::exit::main_with;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    main_with(|| cli.run())
}
