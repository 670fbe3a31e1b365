//! Short commands that end when we do, even by `kill -9`.
//!
//! The daemons watch their own stdin (`--end-with-stdin`). `cargo build` and the programs' short
//! commands do not, so a small watcher is put before them: this very program, run as its hidden
//! command [`COMMAND`]. It leads a process group with the command in it and ends the whole group
//! when its stdin does, compilers included.
//!
//! Only a program that has that command can do so: [`enable`] is the demo's. Elsewhere commands run
//! as they are and end by themselves.

use std::{
    env,
    ffi::OsString,
    io::{Read, Write, stderr, stdin},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::OnceLock,
    thread,
};

use anyhow::{Context, Result};
use rustix::process::{Signal, getpgrp, kill_process_group};

/// The hidden command of `storemesh-sim` that is the watcher.
pub const COMMAND: &str = "tied";

/// As shells report a command that they could not start.
const NOT_STARTED: u8 = 127;

static WATCHER: OnceLock<PathBuf> = OnceLock::new();

/// From here on [`tied`] puts the watcher before commands.
pub fn enable() -> Result<()> {
    let watcher = env::current_exe().context("asking for the path of this program")?;
    WATCHER.get_or_init(|| watcher);
    Ok(())
}

/// The command behind the watcher, its stdin an open pipe; as it is, without stdin, where there is no
/// watcher.
pub fn tied(command: Command) -> Command {
    let Some(watcher) = WATCHER.get() else {
        let mut command = command;
        command.stdin(Stdio::null());
        return command;
    };
    let mut tied = Command::new(watcher);
    tied.arg(COMMAND).arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    // A group of its own: what ends it must not end us, and Ctrl-C is ours to answer.
    tied.process_group(0).stdin(Stdio::piped());
    tied
}

/// The watcher itself: runs the command and ends as it does, or when stdin ends.
pub fn watch(command: &[OsString]) -> ExitCode {
    let Some((program, args)) = command.split_first() else { return ExitCode::from(NOT_STARTED) };
    thread::spawn(|| {
        // Nothing is ever written to us; that reading ends means that nobody holds the other end.
        _ = stdin().read_to_end(&mut Vec::new());
        _ = kill_process_group(getpgrp(), Signal::KILL);
    });
    match Command::new(program).args(args).stdin(Stdio::null()).status() {
        // Only a signal leaves no code, and then the command was not done.
        Ok(status) => status.code().map_or(ExitCode::FAILURE, |code| {
            u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
        }),
        Err(error) => {
            // Whoever would have read it may be gone; the code says it too.
            _ = writeln!(stderr(), "error: starting `{}`: {error}", program.display());
            ExitCode::from(NOT_STARTED)
        }
    }
}
