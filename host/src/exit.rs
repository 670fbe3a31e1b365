//! How a program ends: its exit code and the one line that says why.
//!
//! The rule: a failure is one line on stderr, `error: ...`, outermost context first, and its code
//! says what kind of failure it was. Code deep inside returns an ordinary [`anyhow::Error`]; where
//! the kind matters it puts a [`Failure`] into the chain, and any context may be laid around it.
//! An error without one counts as [`Exit::Failed`]. Nothing here prints results; see
//! [`crate::out`].

use std::{io::Write as _, process::ExitCode};

use crate::http::ClientError;

/// The codes a script may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// It was tried and did not work.
    Failed = 1,
    /// The command line makes no sense; clap ends with the same code.
    Usage = 2,
    /// The service is not running or cannot be reached.
    Unreachable = 3,
    /// HQ understood, and said no.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }
}

/// Runs a program's body and turns what it returns into the process's end.
pub fn main_with(run: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    let Err(error) = run() else { return Exit::Ok.into() };
    // Whoever should read it may have gone.
    _ = writeln!(std::io::stderr(), "error: {}", line_of(&error));
    exit_of(&error).into()
}

/// The exit code that `error` asks for.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    // A failure that was laid around an error as context is not a link of its chain.
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if let Some(ClientError::Unreachable(_)) = cause.downcast_ref::<ClientError>() {
            return Exit::Unreachable;
        }
    }
    Exit::Failed
}

/// The whole chain on one line, joined with `: `.
pub fn line_of(error: &anyhow::Error) -> String {
    let line = format!("{error:#}");
    line.split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_failure_keeps_its_code_under_any_context() {
        let failure: anyhow::Result<()> = Err(Failure::refused("the code is used up").into());
        let error = failure.context("joining").expect_err("it failed");
        assert_eq!(exit_of(&error), Exit::Refused);
        assert_eq!(line_of(&error), "joining: the code is used up");
    }

    #[test]
    fn a_failure_used_as_context_keeps_its_code() {
        let io: anyhow::Result<()> = Err(std::io::Error::other("gone").into());
        let error = io.context(Failure::unreachable("no service")).expect_err("it failed");
        assert_eq!(exit_of(&error), Exit::Unreachable);
        assert_eq!(line_of(&error), "no service: gone");
    }

    #[test]
    fn an_error_that_says_nothing_of_codes_is_a_plain_failure_on_one_line() {
        let error = anyhow::anyhow!("first\n  second");
        assert_eq!(exit_of(&error), Exit::Failed);
        assert_eq!(line_of(&error), "first second");
    }
}
