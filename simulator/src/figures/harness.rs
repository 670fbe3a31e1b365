//! The side-by-side harness: other tools and ours on one topology, one JSON line a run.
//!
//! It is no part of this project. `STOREMESH_BENCH` names its folder; where there is none, the
//! figures that need it are not measured.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::Setup;
use crate::live::{programs::source_tree, stop};

/// The variable that names the harness's folder.
const FOLDER: &str = "STOREMESH_BENCH";
/// Where it is otherwise, from the source tree.
const BESIDE_US: &str = "../shared/bench";

/// A person who asks us to end is answered within this time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Our own name there, as `bench/adapter.py` gives it.
pub(crate) const OURS: &str = "storemesh";

/// One tool's run; the harness prints more than this.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Run {
    pub(crate) tool: String,
    pub(crate) ok: bool,
    /// Why it could not start or broke; a tool that was too slow has none.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// Absent when the tool never started, because it is not installed.
    #[serde(default)]
    pub(crate) prep_s: Option<f64>,
    #[serde(default)]
    pub(crate) last_s: Option<f64>,
    #[serde(default)]
    pub(crate) wan_ratio: f64,
    #[serde(default)]
    pub(crate) lan_ratio: f64,
    #[serde(default)]
    pub(crate) rss_mib: f64,
}

/// By tool, in the order they were run.
pub(crate) type Runs = BTreeMap<String, Vec<Run>>;

/// What to compare.
pub(crate) struct Comparison {
    pub(crate) workload: &'static str,
    pub(crate) terminals: u32,
    pub(crate) peers: &'static [&'static str],
}

impl Comparison {
    /// Every run by tool, or the reason why there is no harness.
    pub(crate) fn run(&self, setup: &Setup<'_>) -> anyhow::Result<Result<Runs, String>> {
        let source = source_tree()?;
        let harness = env::var_os(FOLDER).map_or_else(|| source.join(BESIDE_US), PathBuf::from);
        if !harness.join("run").is_file() {
            return Ok(Err(format!("no harness in `{}` ({FOLDER} names it)", harness.display())));
        }
        let mut command = Command::new(harness.join("run"));
        command
            .arg("--adapter")
            .arg(source.join("bench/adapter.py"))
            .args(["--tool", &self.tools()])
            .args(["--workload", self.workload])
            .args(["--n", &self.terminals.to_string()])
            .args(["--repeat", &setup.repeat.to_string()])
            .arg("--out")
            .arg(setup.folder.join("bench.jsonl"))
            .env("STOREMESH_BIN", &setup.programs.node)
            // The harness's folder is not ours to write into.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child =
            command.spawn().with_context(|| format!("starting `{}/run`", harness.display()))?;
        let mut child = Interrupted(child);
        let lines = lines(&mut child.0);

        let mut runs = Runs::new();
        loop {
            stop::check()?;
            let line = match lines.recv_timeout(LOOK_EVERY) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let run: Run = serde_json::from_str(&line)
                .with_context(|| format!("the harness printed `{line}`, which is not a run"))?;
            tracing::info!(tool = run.tool, last_s = run.last_s, error = run.error, "measured");
            runs.entry(run.tool.clone()).or_default().push(run);
        }
        let status = child.0.wait().context("waiting for the harness")?;
        anyhow::ensure!(status.success(), "the harness ended with {status}");
        Ok(Ok(runs))
    }

    /// The command to repeat it by hand.
    pub(crate) fn command(&self, repeat: u32) -> String {
        let (tools, workload, n) = (self.tools(), self.workload, self.terminals);
        format!(
            "run --adapter bench/adapter.py --tool {tools} --workload {workload} --n {n} --repeat {repeat}"
        )
    }

    fn tools(&self) -> String {
        let tools = [&[OURS], self.peers].concat();
        tools.join(",")
    }
}

/// The middle one; of an even number the worse of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A harness that outlives a failure of ours would go on measuring for nobody. Asked to end, it
/// removes its namespaces.
struct Interrupted(Child);

impl Drop for Interrupted {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            _ = kill_process(Pid::from_child(&self.0), Signal::INT);
            _ = self.0.wait();
        }
    }
}

fn lines(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    let stdout = child.stdout.take().expect("it is piped");
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more once a measurement has failed.
            _ = sender.send(line);
        }
    });
    receiver
}
