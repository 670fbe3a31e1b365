//! The command line.
//!
//! Every command takes `--data` and `--json`. `run` is the daemon; `status`, `peers`, `why`, `gc`,
//! `journal` and `stock` are clients of its local API; `join` is done before it runs, and `doctor` at any time.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};
use storemesh_host::{logs, out};
use storemesh_keys::Name;

use crate::{config, doctor, join, journal, ops, run, watch};

/// A build may be given another version than the package's, so that two builds of one source tree
/// can be told apart.
pub(crate) const VERSION: &str = match option_env!("STOREMESH_BUILD_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The node that runs on every terminal of a store.
#[derive(Debug, Parser)]
#[command(name = "storemesh", version = VERSION)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The terminal's data folder
    #[arg(
        long,
        global = true,
        env = "STOREMESH_DATA",
        default_value = "/var/lib/storemesh",
        value_name = "FOLDER"
    )]
    pub(crate) data: PathBuf,
    /// Results as JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join a store with an invitation code from HQ
    Join(JoinFlags),
    /// Run the node
    Run(RunFlags),
    /// How this terminal is: its gateway, its releases and how far they are
    Status {
        /// Show a live page of the store until `q` is pressed
        #[arg(long)]
        watch: bool,
    },
    /// Why something is not as it should be, in one line each
    ///
    /// Without a question: everything that is not as it should be, or one line that says that all
    /// is well. Ends with 0 whenever the node could answer, whatever the answer.
    #[command(subcommand_value_name = "QUESTION", subcommand_help_heading = "Questions")]
    Why {
        #[command(subcommand)]
        question: Option<WhyQuestion>,
    },
    /// Check this machine: network, clock, disk, ports, the way to HQ; each with its fix
    ///
    /// Works whether the node runs or not, and changes nothing. Ends with 1 when a check fails.
    Doctor,
    /// The store's other terminals, as this one sees them
    Peers,
    /// Delete chunks and releases that nobody needs; the node does so by itself when it is done
    Gc {
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
    /// Post events such as sales, and see how they stand
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// What is on hand of an item in the store
    Stock {
        /// The item's id, as movements and counts name it
        item: String,
    },
    /// Check the configuration file, or print an example
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Args)]
pub(crate) struct JoinFlags {
    /// The code, as `storemesh-hq store invite` printed it
    pub(crate) code: String,
    /// What people call this terminal [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct RunFlags {
    /// Listen for neighbours on this address; may be given again [default: all]
    #[arg(long, env = "STOREMESH_LISTEN", value_delimiter = ',', value_name = "IP")]
    pub(crate) listen: Vec<IpAddr>,
    /// The TCP port for neighbours; 0 takes any free one [default: 7410]
    #[arg(long, env = "STOREMESH_MESH_PORT", value_name = "PORT")]
    pub(crate) mesh_port: Option<u16>,
    /// The local API's TCP port on loopback; 0 takes any free one [default: 7411]
    #[arg(long, env = "STOREMESH_API_PORT", value_name = "PORT")]
    pub(crate) api_port: Option<u16>,
    /// Do not find neighbours by multicast DNS
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// Do not find neighbours by the addresses that HQ knows
    #[arg(long)]
    pub(crate) no_hq_list: bool,
    /// A neighbour's address, for networks where nothing else finds it; may be given again
    #[arg(
        long = "neighbour",
        env = "STOREMESH_NEIGHBOURS",
        value_delimiter = ',',
        value_name = "IP:PORT"
    )]
    pub(crate) neighbours: Vec<SocketAddr>,
    /// How many bytes releases and chunks may take in the data folder; 0 for no limit [default: 0]
    #[arg(long, env = "STOREMESH_DISK_QUOTA_BYTES", value_name = "BYTES")]
    pub(crate) disk_quota_bytes: Option<u64>,
    /// How many bytes of the disk downloads leave free, for sales and the system [default: 256 MiB]
    #[arg(long, env = "STOREMESH_DISK_RESERVE_BYTES", value_name = "BYTES")]
    pub(crate) disk_reserve_bytes: Option<u64>,
    /// End when stdin does
    #[arg(long)]
    pub(crate) end_with_stdin: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum WhyQuestion {
    /// Why a release runs on this terminal, or does not yet
    Release {
        /// The product, such as `pos` [default: every product]
        product: Option<Name>,
    },
    /// Why there is a gateway, or none, or one that does not reach HQ
    Gateway,
    /// Why another terminal of the store is used, or not
    #[command(alias = "neighbor")]
    Neighbour {
        /// Its name or PeerId, or the beginning of one [default: every terminal]
        terminal: Option<Name>,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration file is good
    Check,
    /// Print a commented example
    Example,
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let common = &self.common;
        match self.command {
            Command::Join(flags) => join::run(common, flags),
            Command::Run(flags) => {
                logs::start()?;
                run::run(common, flags)
            }
            Command::Status { watch: false } => ops::status(common),
            Command::Status { watch: true } => watch::run(common),
            Command::Why { question } => ops::why(common, question),
            Command::Doctor => doctor::run(common),
            Command::Peers => ops::peers(common),
            Command::Gc { dry_run } => ops::gc(common, dry_run),
            Command::Journal(command) => journal::run(common, command),
            Command::Stock { item } => journal::stock(common, &item),
            Command::Config(ConfigCommand::Check) => check_config(common),
            Command::Config(ConfigCommand::Example) => out::line(config::EXAMPLE.trim_end()),
        }
    }
}

fn check_config(common: &Common) -> anyhow::Result<()> {
    config::load(&common.data)?;
    storemesh_host::config::say_good(&config::path(&common.data), common.json)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
