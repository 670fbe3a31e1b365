//! Logs on stderr.
//!
//! The rule: text where a person looks on (stderr is a terminal), else one JSON object a line, for
//! whatever collects them. `STOREMESH_LOG` says what is logged, in the filter language of
//! `tracing-subscriber`; without it, INFO and worse. A filter that cannot be read is refused at
//! start: logs that silently miss are worse than a program that does not start.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, Failure};

pub const FILTER_ENV: &str = "STOREMESH_LOG";
/// What our own code says; libraries speak of their insides at this level.
pub const DEFAULT: &str = "warn,storemesh=info,storemesh_hq=info,storemesh_sim=info";
/// Each chunk that HQ sends and that a terminal has verified is a line of its own, at DEBUG: what
/// crossed a line twice cannot be told from sums.
pub const CHUNKS: &str = "storemesh::chunks";

/// Starts logging for the whole process; to be called once, before anything logs.
pub fn start() -> anyhow::Result<()> {
    let wanted = std::env::var(FILTER_ENV).unwrap_or_else(|_| DEFAULT.to_owned());
    let filter = EnvFilter::try_new(&wanted)
        .with_context(|| Failure::new(Exit::Usage, format!("{FILTER_ENV}=`{wanted}`")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}
