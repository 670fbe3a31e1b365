//! Starting programs: short commands ([`run`]) and daemons ([`Daemon`]).
//!
//! A daemon is started with `--end-with-stdin` and we hold its stdin, so whatever ends us ends it.
//! It says on stdout, in one line of JSON, when it is ready; its stderr goes to a log file.
//! A daemon that ends before that is reported with the last thing it said.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{stop, tie};

/// A program on a busy machine with a new data folder; a second is usual.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// From the end of stdin to the end of the program. It has transactions to commit, nothing to wait for.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What a short command left behind.
#[derive(Debug)]
pub struct Done {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// What it said in its one line, without the `error: `; empty when it said nothing.
    pub fn error(&self) -> &str {
        let mut lines = self.stderr.lines().rev();
        lines.find_map(|line| line.strip_prefix("error: ")).unwrap_or_default()
    }

    /// Fails, with what the command said, unless it ended well.
    pub fn well(self, what: &str) -> Result<Self> {
        if self.code == Some(0) {
            return Ok(self);
        }
        let said = match self.error() {
            "" => self.stderr.lines().last().unwrap_or("it said nothing"),
            error => error,
        };
        match self.code {
            Some(code) => bail!("{what} failed with exit code {code}: {said}"),
            None => bail!("{what} was ended by a signal: {said}"),
        }
    }

    /// What `--json` printed.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.stdout).with_context(|| format!("reading {:?}", self.stdout))
    }
}

/// Whether a command's stderr is kept for its caller or shown to the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    Kept,
    Shown,
}

/// Runs a command to its end.
pub fn run(command: Command, stderr: Stderr, patience: Duration) -> Result<Done> {
    let name = command.get_program().display().to_string();
    let mut command = tie::tied(command);
    command.stdout(Stdio::piped()).stderr(match stderr {
        Stderr::Kept => Stdio::piped(),
        Stderr::Shown => Stdio::inherit(),
    });
    let child = command.spawn().with_context(|| format!("starting `{name}`"))?;
    let mut child = Killed(child);
    let (stdout, stderr) = (gathered(child.0.stdout.take()), gathered(child.0.stderr.take()));
    let status = stop::until(&format!("the end of `{name}`"), patience, || {
        child.0.try_wait().with_context(|| format!("waiting for `{name}`"))
    })?;
    let text = |gathering: JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&gathering.join().unwrap_or_default()).into_owned()
    };
    Ok(Done { code: status.code(), stdout: text(stdout), stderr: text(stderr) })
}

/// A program that runs until we stop it, drop it, or end ourselves.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Killed,
    stdin: Option<ChildStdin>,
    ready: Value,
}

impl Daemon {
    /// Starts it and waits until it is ready. Its log file is appended to, as restarts tell one story.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening `{}`", log.display()))?;
        let said_before = log_file.metadata().map_or(0, |metadata| metadata.len());
        // A group of its own: Ctrl-C is ours to answer.
        let child = command
            .arg("--end-with-stdin")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("starting `{}`", command.get_program().display()))?;
        let mut child = Killed(child);
        let stdin = child.0.stdin.take();
        let lines = first_line(&mut child.0);
        let line = stop::until(&format!("{name} being ready"), READY_WITHIN, || {
            if let Ok(line) = lines.try_recv() {
                return Ok(Some(line));
            }
            match child.0.try_wait().with_context(|| format!("waiting for {name}"))? {
                Some(status) => bail!("{name} ended ({status}): {}", last_line(log, said_before)),
                None => Ok(None),
            }
        })?;
        let ready = serde_json::from_str(&line)
            .with_context(|| format!("reading what {name} said when it was ready: {line:?}"))?;
        Ok(Self { name: name.to_owned(), child, stdin, ready })
    }

    /// A port that it named when it was ready.
    pub fn port(&self, field: &str) -> Result<u16> {
        let port = self.ready.get(field).and_then(Value::as_u64);
        port.and_then(|port| u16::try_from(port).ok())
            .with_context(|| format!("no port `{field}` in {}", self.ready))
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Asks it to end, without waiting.
    pub fn close(&mut self) {
        drop(self.stdin.take());
    }

    /// Asks it to end and waits until it has. It is an error when it does not end well, and when it
    /// takes so long that it is killed.
    pub fn stop(mut self) -> Result<()> {
        self.close();
        // Not `stop::until`: this is what a run that was asked to end still does.
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = self.child.0.try_wait().context("waiting for a program's end")? {
                if !status.success() {
                    bail!("{} ended with {status}", self.name);
                }
                return Ok(());
            }
            if waited > END_WITHIN {
                bail!("{} did not end within {} s of its stdin", self.name, END_WITHIN.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
            waited += Duration::from_millis(10);
        }
    }

    /// As a power cut would.
    pub fn kill(self) {
        drop(self.child);
    }

    /// Its exit status when it has ended by itself.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.0.try_wait().with_context(|| format!("looking after {}", self.name))
    }
}

/// A child that does not outlive its handle.
#[derive(Debug)]
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // With its stdin a watcher ends its whole group; give it the moment that takes.
        if self.0.stdin.take().is_some() {
            for _ in 0..100 {
                if self.0.try_wait().is_ok_and(|status| status.is_some()) {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        // Both fail only when it has ended already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn gathered(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error is all there is.
            _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// The first line of its stdout, when it comes. What follows is read and forgotten, so that the
/// program never waits for us.
fn first_line(child: &mut Child) -> Receiver<String> {
    let (lines, first) = channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // After the first line nobody listens.
                _ = lines.send(line);
            }
        });
    }
    first
}

/// The last line of a log after its first `from` bytes, where a program that failed says why.
fn last_line(log: &Path, from: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text =
        String::from_utf8_lossy(text.get(usize::try_from(from).unwrap_or(0)..).unwrap_or(&[]));
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon as far as we can tell: a shell, which takes `--end-with-stdin` for its own name.
    fn shell(script: &str, folder: &tempfile::TempDir) -> Result<Daemon> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Daemon::start("the shop", command, &folder.path().join("log"))
    }

    #[test]
    fn a_daemon_says_its_ports_when_it_is_ready_and_ends_with_its_stdin() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"echo '{"ready":true,"port":7400}'; echo more; cat"#;
        let daemon = shell(script, &folder).unwrap();
        assert_eq!(daemon.port("port").unwrap(), 7400);
        assert!(daemon.port("other").is_err());
        daemon.stop().unwrap();
        let daemon = shell("echo '{}'; cat; exit 7", &folder).unwrap();
        let error = daemon.stop().unwrap_err().to_string();
        assert_eq!(error, "the shop ended with exit status: 7");
    }

    #[test]
    fn a_daemon_that_ends_before_it_is_ready_is_reported_in_its_own_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let error = shell("echo once >&2; exit 1", &folder).unwrap_err().to_string();
        assert_eq!(error, "the shop ended (exit status: 1): once");
        let error = shell("exit 1", &folder).unwrap_err().to_string();
        assert_eq!(error, "the shop ended (exit status: 1): it said nothing");
    }

    #[test]
    fn a_short_command_is_reported_by_its_error_line() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo '{\"level\":\"INFO\"}' >&2; echo 'error: no shop' >&2; exit 4"]);
        let done = run(command, Stderr::Kept, Duration::from_secs(10)).unwrap();
        assert_eq!((done.code, done.error()), (Some(4), "no shop"));
        let error = done.well("opening").unwrap_err().to_string();
        assert_eq!(error, "opening failed with exit code 4: no shop");
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = run(command, Stderr::Kept, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().starts_with("the end of `sleep` did not happen"), "{error}");
    }
}
