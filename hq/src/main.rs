//! The program `storemesh-hq`: the head office service and its commands.
//!
//! `serve` is the service: it drives the composites `storemesh_protocol::hq::Hq` ([`driver`]) and
//! `storemesh_protocol::feeds::hq::HqFeeds` ([`feeds`]), with terminals on one side ([`uplink`]) and
//! operators on the other ([`admin`]). Every other command but `init` and `restored` is a client of
//! that service ([`ops`], [`publish`]).

mod cli;
mod config;

mod init;
mod own_key;
mod restored;
mod serve;

mod driver;
mod feeds;

mod db;

mod chunks;

mod uplink;

mod admin;
mod advertise;

mod chain;
mod journal;
mod ops;
mod publish;
mod schema;
mod tables;
mod utc;

use std::process::ExitCode;

use clap::Parser as _;
use storemesh_host::exit::main_with;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    main_with(|| cli.run())
}
