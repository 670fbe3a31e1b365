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

/// Two versions of a small directory, outside of where the demo works.
fn versions() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for (version, bytes) in [("v1", 3_000_000), ("v2", 3_100_000)] {
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

/// A demo in the middle of its first release.
fn under_way(folder: &TempDir, directory: &Path) -> Result<Child> {
    let directory = directory.to_str().context("a path in UTF-8")?;
    let mut child =
        demo(folder, &["--dir", directory, "--terminals", "2", "--wan-mbit", "1"]).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next().transpose()? {
        said.push(line);
        if said.last().is_some_and(|line| line.contains("starting it")) {
            // Somebody goes on listening.
            thread::spawn(move || lines.for_each(drop));
            assert!(processes_of(folder.path())?.len() >= 3, "HQ and two terminals");
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
        ["--dir", &first, "--next", &second, "--terminals", "3", "--wan-mbit", "50", "--json"];
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
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "something was left behind");
    assert_gone(folder.path())
}

#[test]
fn by_itself_it_publishes_the_programs_and_then_a_rebuild_of_them() -> Result<()> {
    let _alone = alone();
    let folder = tempfile::tempdir()?;
    let output = demo(&folder, &["--terminals", "2", "--wan-mbit", "100", "--json"]).output()?;
    assert!(output.status.success(), "{output:#?}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let [first, second] = report["phases"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        bail!("two phases in {report:#}");
    };
    assert_ne!(first["version"], second["version"]);
    assert!(second["moved_bytes"].as_u64() < first["moved_bytes"].as_u64(), "{report:#}");
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
    let mut child = under_way(&folder, &versions.path().join("v1"))?;
    child.kill()?;
    child.wait()?;
    assert_gone(folder.path())
}

#[test]
fn interrupted_it_leaves_no_process_and_no_folder() -> Result<()> {
    let _alone = alone();
    let (folder, versions) = (tempfile::tempdir()?, versions()?);
    let mut child = under_way(&folder, &versions.path().join("v1"))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("its process id")?;
    kill_process(pid, Signal::INT)?;
    assert_eq!(child.wait()?.code(), Some(1));
    assert_gone(folder.path())?;
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "something was left behind");
    Ok(())
}
