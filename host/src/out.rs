//! Results on stdout.
//!
//! The rule: stdout carries what the command was asked for and nothing else, each line whole and
//! flushed, so that a script that reads it sees a result as soon as it exists. A reader that went
//! away is an error like any other. Failures go to stderr by [`crate::exit`], logs by
//! [`crate::logs`].

use std::io::{ErrorKind, Write as _};

use anyhow::Context as _;
use serde::Serialize;

pub fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // Whoever reads has seen enough: `| head`.
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("writing to stdout"),
    }
}

/// One JSON value on one line.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value).context("writing a result as JSON")?)
}
