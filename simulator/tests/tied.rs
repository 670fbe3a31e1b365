//! The watcher before short commands: they end when whoever started them does.

use std::{
    error::Error,
    io::Read,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[test]
fn a_tied_command_ends_with_stdin_and_takes_its_own_children_along() -> Result<(), Box<dyn Error>> {
    // The pipe's other end stays open for as long as any of them lives.
    let mut watcher = Command::new(env!("CARGO_BIN_EXE_storemesh-sim"))
        .args(["tied", "--", "sh", "-c", "sleep 60 & echo started; wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mut stdout = watcher.stdout.take().ok_or("no stdout")?;
    stdout.read_exact(&mut [0; 8])?;

    let asked = Instant::now();
    drop(watcher.stdin.take());
    stdout.read_to_end(&mut Vec::new())?;
    assert!(!watcher.wait()?.success());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    Ok(())
}

#[test]
fn a_tied_command_that_ends_by_itself_passes_its_code_on() -> Result<(), Box<dyn Error>> {
    let mut watcher = Command::new(env!("CARGO_BIN_EXE_storemesh-sim"))
        .args(["tied", "--", "sh", "-c", "exit 4"])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let stdin = watcher.stdin.take();
    assert_eq!(watcher.wait()?.code(), Some(4));
    drop(stdin);
    Ok(())
}
