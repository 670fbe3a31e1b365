//! When a service is asked to stop.
//!
//! Ctrl-C, SIGTERM, and, where the program was started with `--end-with-stdin`, the end of stdin
//! all mean the same: finish what is on its way to disk and go. A second Ctrl-C does
//! nothing more; whoever cannot wait may `kill -9`, which the data on disk survives.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::stdin_guard;

/// Returns what asked for the stop, for the log.
pub async fn wanted(end_with_stdin: bool) -> anyhow::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let stdin = async {
        if end_with_stdin {
            stdin_guard::ended().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => Ok("SIGINT"),
        _ = terminate.recv() => Ok("SIGTERM"),
        () = stdin => Ok("end of stdin"),
    }
}
