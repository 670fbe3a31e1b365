//! One terminal: `storemesh` with its folder, its commands, and the daemon while it runs.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::{
    child::{self, Daemon, Done, Stderr},
    programs::Programs,
    status::{Peer, Status},
};

/// Any short command: enrolment crosses the line to HQ, and says by itself when HQ does not answer.
const DONE_WITHIN: Duration = Duration::from_mins(1);

/// The API answers from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// On any free ports of the loopback interface, without mDNS: this machine may stand in a network where
/// others play shop too.
pub const ANY_PORTS: [&str; 7] =
    ["--listen", "127.0.0.1", "--mesh-port", "0", "--api-port", "0", "--no-mdns"];

/// A terminal on this machine.
#[derive(Debug)]
pub struct Terminal {
    programs: Programs,
    name: String,
    folder: PathBuf,
    daemon: Option<Daemon>,
}

impl Terminal {
    /// In an existing folder, which may be shared: its data and its log are named after it.
    pub fn new(programs: &Programs, folder: &Path, name: &str) -> Self {
        Self {
            programs: programs.clone(),
            name: name.to_owned(),
            folder: folder.to_owned(),
            daemon: None,
        }
    }

    /// The same, its program run by that command, `env` say.
    #[must_use]
    pub fn run_by(self, before: &[&str]) -> Self {
        Self { programs: self.programs.run_by(before), ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// One of its short commands, whatever comes of it.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Done> {
        let mut command = self.command();
        command.args(args);
        child::run(command, Stderr::Kept, DONE_WITHIN)
    }

    /// Enrols with a code, whatever comes of it.
    pub fn try_join(&self, code: &str) -> Result<Done> {
        self.run(["join", code, "--name", &self.name])
    }

    pub fn join(&self, code: &str) -> Result<()> {
        self.try_join(code)?.well(&format!("joining {}", self.name))?;
        Ok(())
    }

    /// Starts it with [`ANY_PORTS`].
    pub fn start(&mut self) -> Result<()> {
        self.start_with(ANY_PORTS)
    }

    pub fn start_with<A: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = A>) -> Result<()> {
        let mut command = self.command();
        command.arg("run").args(args);
        self.daemon = Some(Daemon::start("storemesh", command, &self.log())?);
        Ok(())
    }

    /// Whether it was started, and neither stopped nor killed by us since.
    pub fn is_running(&self) -> bool {
        self.daemon.is_some()
    }

    /// The same terminal as another value that does not run, to be started elsewhere.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(&self.programs, &self.folder, &self.name)
    }

    pub fn daemon(&mut self) -> Option<&mut Daemon> {
        self.daemon.as_mut()
    }

    /// Politely; nothing when it does not run.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon
            .take()
            .map_or(Ok(()), Daemon::stop)
            .with_context(|| format!("stopping {}", self.name))
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    pub fn status(&self) -> Result<Status> {
        self.ask("/v1/status")
    }

    pub fn peers(&self) -> Result<Vec<Peer>> {
        self.ask("/v1/peers")
    }

    /// The folder that the product runs from, whether or not it is there.
    pub fn current(&self, product: &str) -> PathBuf {
        self.data().join("releases").join(product).join("current")
    }

    /// The name of the release directory that runs, as the switch on disk says.
    pub fn running_folder(&self, product: &str) -> Option<String> {
        let target = fs::read_link(self.current(product)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// The program with its data folder, for what has no wrapper here.
    pub fn command(&self) -> Command {
        let mut command = self.programs.command(&self.programs.node);
        command.arg("--data").arg(self.data()).arg("--json");
        command
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let body = http_get(&self.data().join("api.sock"), path)
            .with_context(|| format!("asking {} for {path}", self.name))?;
        serde_json::from_slice(&body)
            .with_context(|| format!("reading {path} of {}: {}", self.name, body.escape_ascii()))
    }
}

/// One question over a unix socket. HTTP 1.0 has neither chunks nor a connection to keep, so the
/// answer is what stands after the first empty line.
fn http_get(socket: &Path, path: &str) -> Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let first_line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if first_line.split(|byte| *byte == b' ').nth(1) != Some(b"200") {
        bail!("the answer is {}", first_line.escape_ascii());
    }
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let head = head.context("an answer without an end of its head")?;
    Ok(answer.split_off(head + 4))
}
