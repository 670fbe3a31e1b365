//! The demo as a user starts it: what it promises, and that nothing is left of it however it ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Children notice the end of their stdin at once; a busy machine needs a while to run them.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Each demo builds the programs, some as another version: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A demo whose temporary folder is made in `folder`.
fn demo(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storemesh-sim"));
    command.arg("demo").args(args).env("TMPDIR", folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A line slow enough for either version to take some seconds.
const SLOW: &str = "10";

/// Two versions of a small directory, outside of where the demo works.
fn versions() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for (version, bytes) in [("v1", 3_000_000), ("v2", 6_000_000)] {
        fs::create_dir_all(folder.path().join(version).join("bin"))?;
        // Both begin alike, and neither is made shorter by compression.
        let mut program = vec![0; bytes];
        ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut program);
        fs::write(folder.path().join(version).join("bin/pos"), program)?;
    }
    Ok(folder)
}

/// The processes that were started with a path in that folder, as `/proc` shows them.
fn processes_of(folder: &Path) -> Result<Vec<String>> {
    let path = folder.to_str().context("a path in UTF-8")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // A process may end while we look.
        let Ok(line) = fs::read(entry?.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(path) {
            found.push(line);
        }
    }
    Ok(found)
}

fn assert_gone(folder: &Path) -> Result<()> {
    let since = Instant::now();
    loop {
        let left = processes_of(folder)?;
        if left.is_empty() {
            return Ok(());
        }
        if since.elapsed() > GONE_WITHIN {
            bail!("still there: {left:#?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A demo that has just said these words.
fn under_way(folder: &TempDir, versions: &TempDir, words: &str) -> Result<Child> {
    let path = |version| versions.path().join(version).display().to_string();
    let (first, second) = (path("v1"), path("v2"));
    let args = ["--dir", &first, "--next", &second, "--terminals", "2", "--wan-mbit", SLOW];
    let mut child = demo(folder, &args).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next().transpose()? {
        said.push(line);
        if said.last().is_some_and(|line| line.contains(words)) {
            // Somebody goes on listening.
            thread::spawn(move || lines.for_each(drop));
            assert!(processes_of(folder.path())?.len() >= 2, "HQ and a terminal");
            return Ok(child);
        }
    }
    bail!("the demo ended early: {said:#?}")
}

#[test]
fn with_directories_of_ones_own_it_says_in_json_that_all_is_well() -> Result<()> {
    let _alone = alone();
    let (folder, versions) = (tempfile::tempdir()?, versions()?);
    let path = |version| versions.path().join(version).display().to_string();
    let (first, second) = (path("v1"), path("v2"));
    let args =
        ["--dir", &first, "--next", &second, "--terminals", "3", "--wan-mbit", SLOW, "--json"];
    let output = demo(&folder, &args).output()?;
    assert!(output.status.success(), "{output:#?}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(report["terminals"], 3);
    assert_eq!(report["release_bytes"], 3_000_000);
    assert_eq!(report["phases"].as_array().map(Vec::len), Some(2));
    for phase in report["phases"].as_array().into_iter().flatten() {
        assert_eq!(phase["per_terminal"].as_array().map(Vec::len), Some(3), "{phase:#}");
    }

    // The first release is left alone; in the second the gateway was killed and replaced.
    assert_eq!(report["phases"][0]["failover"], Value::Null);
    let failover = &report["phases"][1]["failover"];
    assert_ne!(failover["killed"], failover["gateway"], "{report:#}");
    assert!(report["failover_s"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report:#}");
    assert_eq!(report["refetched_bytes"], 0, "{report:#}");
    let killed = report["phases"][1]["per_terminal"].as_array().into_iter().flatten();
    let killed = killed.filter(|row| row["killed"] == true).map(|row| &row["terminal"]);
    assert_eq!(killed.collect::<Vec<_>>(), [&failover["killed"]]);

    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "something was left behind");
    assert_gone(folder.path())
}

#[test]
fn by_itself_it_publishes_the_programs_and_then_a_rebuild_of_them() -> Result<()> {
    let _alone = alone();
    let folder = tempfile::tempdir()?;
    let output = demo(&folder, &["--terminals", "2", "--wan-mbit", SLOW, "--json"]).output()?;
    assert!(output.status.success(), "{output:#?}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let [first, second] = report["phases"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        bail!("two phases in {report:#}");
    };
    assert_ne!(first["version"], second["version"]);
    assert!(second["moved_bytes"].as_u64() < first["moved_bytes"].as_u64(), "{report:#}");
    // A rebuild may be so small that its middle is missed; then the report says so.
    assert_eq!(second["failover"].is_null(), second["no_failover"].is_string(), "{report:#}");
    Ok(())
}

#[test]
fn a_release_without_a_middle_is_spared_and_the_report_says_so() -> Result<()> {
    let _alone = alone();
    let (folder, versions) = (tempfile::tempdir()?, versions()?);
    let same = versions.path().join("v1").display().to_string();
    let args = ["--dir", &same, "--next", &same, "--terminals", "2", "--wan-mbit", "0", "--json"];
    let output = demo(&folder, &args).output()?;
    assert!(output.status.success(), "{output:#?}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&report["failover_s"], &report["refetched_bytes"]), (&Value::Null, &Value::Null));
    let why = report["phases"][1]["no_failover"].as_str().unwrap_or_default();
    assert!(why.contains("was not killed"), "{report:#}");
    Ok(())
}

#[test]
fn a_directory_that_is_not_there_is_one_line_and_exit_code_1() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = demo(&folder, &["--dir", "/nowhere/at/all", "--json"]).output()?;
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&report["ok"], &report["wan_ratio"]), (&Value::Bool(false), &Value::Null));
    assert!(report["reasons"][0].as_str().is_some_and(|reason| reason.contains("/nowhere/at/all")));
    Ok(())
}

#[test]
fn killed_it_leaves_no_process() -> Result<()> {
    let _alone = alone();
    let (folder, versions) = (tempfile::tempdir()?, versions()?);
    let mut child = under_way(&folder, &versions, "starting it")?;
    child.kill()?;
    child.wait()?;
    assert_gone(folder.path())
}

#[test]
fn interrupted_it_leaves_no_process_and_no_folder() -> Result<()> {
    let _alone = alone();
    let versions = versions()?;
    for moment in ["starting it", "the gateway, is killed", "is started again"] {
        let folder = tempfile::tempdir()?;
        let mut child = under_way(&folder, &versions, moment)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("its process id")?, Signal::INT)?;
        assert_eq!(child.wait()?.code(), Some(1), "{moment}");
        assert_gone(folder.path())?;
        assert_eq!(fs::read_dir(folder.path())?.count(), 0, "{moment}: something was left behind");
    }
    Ok(())
}
