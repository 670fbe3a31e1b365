//! The command line.
//!
//! Every command takes `--data` and `--json`. Names are checked here, so that a misspelt one ends
//! with the exit code of usage before anything is asked of anybody.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use storemesh_host::{logs, out};
use storemesh_keys::Name;
use storemesh_protocol::feeds::hq::Cursor;

use crate::{chain, config, init, journal, ops, publish, restored, schema, serve};

/// A build may be given another version than the package's, so that two builds of one source tree
/// can be told apart.
pub(crate) const VERSION: &str = match option_env!("STOREMESH_BUILD_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The head office service of a storemesh chain.
#[derive(Debug, Parser)]
#[command(name = "storemesh-hq", version = VERSION)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// HQ's data folder
    #[arg(
        long,
        global = true,
        env = "STOREMESH_HQ_DATA",
        default_value = "/var/lib/storemesh-hq",
        value_name = "FOLDER"
    )]
    pub(crate) data: PathBuf,
    /// Results as JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a chain: its root key and HQ's own key
    Init(InitFlags),
    /// Run HQ
    Serve(ServeFlags),
    /// Stores, and codes that let terminals into them
    #[command(subcommand)]
    Store(StoreCommand),
    /// Releases: publish them, and say which are wanted
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// How every terminal is
    Fleet,
    /// What stores have sold, moved and counted
    #[command(subcommand)]
    Journal(JournalCommand),
    /// What stores have of an item
    Stock {
        /// Its id, as tills post it
        item: String,
        /// This store's alone
        #[arg(long, value_name = "S")]
        store: Option<Name>,
    },
    /// Which topics terminals may write
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// What holds for the whole chain
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// One terminal
    #[command(subcommand)]
    Terminal(TerminalCommand),
    /// Terminals whose disk was cloned
    #[command(subcommand)]
    Clone(CloneCommand),
    /// Say that this folder was restored from a backup, before HQ serves again
    Restored(RestoredFlags),
    /// Check the configuration file, or print an example
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Args)]
pub(crate) struct InitFlags {
    /// What people call the chain
    #[arg(long, value_name = "NAME")]
    pub(crate) chain: Name,
    /// Where the chain root's key goes, encrypted; outside the data folder [default: NAME.root.age]
    #[arg(long, value_name = "FILE")]
    pub(crate) root_key: Option<PathBuf>,
    // Not a doc comment: the name of the variable would need backticks there.
    #[arg(
        long,
        value_name = "FILE",
        help = "Its passphrase is this file's first line; else STOREMESH_ROOT_PASSPHRASE, else asked"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoredFlags {
    /// The chain root's key
    #[arg(long, value_name = "FILE")]
    pub(crate) root_key: PathBuf,
    // Not a doc comment, as above.
    #[arg(
        long,
        value_name = "FILE",
        help = "Its passphrase is this file's first line; else STOREMESH_ROOT_PASSPHRASE, else asked"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Print entries as lines of JSON, in the order in which they came
    Export(ExportFlags),
    /// How far each terminal's journals are held, and what is wrong with them
    Status {
        /// This store's alone
        #[arg(long, value_name = "S")]
        store: Option<Name>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExportFlags {
    /// Go on behind this entry: a `cursor` of an earlier export [default: the beginning]
    #[arg(long, value_name = "CURSOR")]
    pub(crate) since: Option<Cursor>,
    /// This store's alone
    #[arg(long, value_name = "S")]
    pub(crate) store: Option<Name>,
    /// This topic's alone
    #[arg(long, value_name = "T")]
    pub(crate) topic: Option<Name>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Then wait for more, and print it as it comes
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// Print the one that holds, as a file
    Show,
    /// Make a file's topics the ones that hold
    Publish {
        /// As `schema example` prints one
        file: PathBuf,
    },
    /// Print a commented example
    Example,
}

#[derive(Debug, Subcommand)]
enum SettingsCommand {
    /// Print them
    Show,
    /// Change them: journal.copies=2 journal.retention=14d
    Set {
        /// What changes; `settings show` names all
        #[arg(required = true, value_name = "NAME=VALUE")]
        changes: Vec<chain::Change>,
    },
}

#[derive(Debug, Subcommand)]
enum TerminalCommand {
    /// Nothing that it writes after what HQ holds now is to count, on any machine
    End {
        /// Its name, its id, or the beginning of one
        terminal: String,
        /// On this topic alone
        #[arg(long, value_name = "T")]
        topic: Option<Name>,
    },
    /// All that were ended, and on which topics
    Ends,
}

#[derive(Debug, Subcommand)]
enum CloneCommand {
    /// All that were seen
    List,
    /// One of the disks is gone: let the terminal into its store again
    Settle {
        /// Its name, its id, or the beginning of one
        terminal: String,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct ServeFlags {
    /// Listen for terminals on this address; may be given again [default: all]
    #[arg(long, env = "STOREMESH_HQ_LISTEN", value_delimiter = ',', value_name = "IP")]
    pub(crate) listen: Vec<IpAddr>,
    /// The UDP port for terminals; 0 takes any free one [default: 7400]
    #[arg(long, env = "STOREMESH_HQ_PORT")]
    pub(crate) port: Option<u16>,
    /// The admin API's TCP port on loopback; 0 takes any free one [default: 7401]
    #[arg(long, env = "STOREMESH_HQ_ADMIN_PORT", value_name = "PORT")]
    pub(crate) admin_port: Option<u16>,
    /// Where codes tell terminals to call; may be given again [default: this machine's addresses]
    #[arg(long, env = "STOREMESH_HQ_ADVERTISE", value_delimiter = ',', value_name = "HOST:PORT")]
    pub(crate) advertise: Vec<String>,
    /// End when stdin does
    #[arg(long)]
    pub(crate) end_with_stdin: bool,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Add a store
    Add {
        /// Its name: letters, digits, `.`, `_` and `-`
        store: Name,
    },
    /// All stores
    List,
    /// Print a code that lets one terminal into a store
    Invite {
        /// The store's name
        store: Name,
        /// How long the code can be used: 90m, 12h or 7d [default: 7d]
        #[arg(long, value_name = "TIME", value_parser = span)]
        valid: Option<Duration>,
    },
}

#[derive(Debug, Subcommand)]
enum ReleaseCommand {
    /// Upload a folder as a release, and make it the wanted one
    Publish(PublishFlags),
    /// Make a release that was uploaded the wanted one
    Start {
        /// As it was published
        product: Name,
        /// As it was published
        version: Name,
    },
    /// All releases
    List,
}

#[derive(Debug, Args)]
pub(crate) struct PublishFlags {
    /// The folder
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Of which product it is a version; terminals link it as `releases/PRODUCT/current`
    #[arg(long)]
    pub(crate) product: Name,
    /// Its version
    // By hand: clap's own `--version` stands on the program alone.
    #[arg(long)]
    pub(crate) version: Name,
    /// Upload only; `release start` makes it wanted
    #[arg(long)]
    pub(crate) hold: bool,
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
            Command::Init(flags) => init::run(common, &flags),
            Command::Serve(flags) => {
                logs::start()?;
                serve::run(common, flags)
            }
            Command::Store(StoreCommand::Add { store }) => ops::add_store(common, &store),
            Command::Store(StoreCommand::List) => ops::list_stores(common),
            Command::Store(StoreCommand::Invite { store, valid }) => {
                ops::invite(common, &store, valid)
            }
            Command::Release(ReleaseCommand::Publish(flags)) => publish::run(common, flags),
            Command::Release(ReleaseCommand::Start { product, version }) => {
                ops::start_release(common, &product, &version)
            }
            Command::Release(ReleaseCommand::List) => ops::list_releases(common),
            Command::Fleet => ops::fleet(common),
            Command::Journal(JournalCommand::Export(flags)) => journal::export(common, &flags),
            Command::Journal(JournalCommand::Status { store }) => {
                journal::status(common, store.as_ref())
            }
            Command::Stock { item, store } => journal::stock(common, &item, store.as_ref()),
            Command::Schema(SchemaCommand::Show) => chain::show_schema(common),
            Command::Schema(SchemaCommand::Publish { file }) => {
                chain::publish_schema(common, &file)
            }
            Command::Schema(SchemaCommand::Example) => out::line(schema::EXAMPLE.trim_end()),
            Command::Settings(SettingsCommand::Show) => chain::show_settings(common),
            Command::Settings(SettingsCommand::Set { changes }) => chain::set(common, &changes),
            Command::Terminal(TerminalCommand::End { terminal, topic }) => {
                chain::end(common, &terminal, topic.as_ref())
            }
            Command::Terminal(TerminalCommand::Ends) => chain::list_ends(common),
            Command::Clone(CloneCommand::List) => chain::list_clones(common),
            Command::Clone(CloneCommand::Settle { terminal }) => chain::settle(common, &terminal),
            Command::Restored(flags) => restored::run(common, &flags),
            Command::Config(ConfigCommand::Check) => check_config(common),
            Command::Config(ConfigCommand::Example) => out::line(config::EXAMPLE.trim_end()),
        }
    }
}

fn check_config(common: &Common) -> anyhow::Result<()> {
    config::load(&common.data)?;
    storemesh_host::config::say_good(&config::path(&common.data), common.json)
}

/// `90m`, `12h`, `7d`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    const SECONDS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let wrong = || format!("`{text}` is no time: write 90m, 12h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let (_, seconds) = SECONDS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(*seconds).filter(|&all| all > 0).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn data_and_json_may_stand_anywhere_and_a_release_has_a_version() {
        let args = "storemesh-hq release publish dir --product p --version 1.2 --data d --json";
        let cli = Cli::try_parse_from(args.split(' ')).unwrap();
        assert!(cli.common.json);
        assert_eq!(cli.common.data, PathBuf::from("d"));
        let Command::Release(ReleaseCommand::Publish(flags)) = cli.command else { panic!() };
        assert_eq!(flags.version.as_ref(), "1.2");
    }

    #[test]
    fn a_name_that_is_none_is_a_matter_of_usage() {
        let error = Cli::try_parse_from(["storemesh-hq", "store", "add", "a/b"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(span("90m").unwrap(), Duration::from_mins(90));
        assert_eq!(span("7d").unwrap(), Duration::from_hours(7 * 24));
        for wrong in ["", "7", "d", "-1d", "0h", "7 d", "1.5h", "7w", "99999999999999999999d", "7é"]
        {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
