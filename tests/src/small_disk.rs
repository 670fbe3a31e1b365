//! A disk of some MiB of our own, that a test can fill: in a mount namespace that ends with the test.
//!
//! The test runs itself again inside. Programs that it starts there see the disk, nobody else does.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

const INSIDE: &str = "STOREMESH_TEST_SMALL_DISK";

/// Where the small disk is, when this is the inner run; else none, after that run ended well.
pub fn small_disk(test: &str, mib: u32) -> Result<Option<PathBuf>> {
    if let Some(folder) = env::var_os(INSIDE) {
        return Ok(Some(folder.into()));
    }
    let folder = tempfile::tempdir()?;
    let mount = format!("mount -t tmpfs -o size={mib}m none \"$0\" && exec \"$@\"");
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", &mount])
        .arg(folder.path())
        .arg(env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, folder.path())
        .output()
        .context("starting `unshare`")?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{test} on a disk of {mib} MiB: {said}");
    Ok(None)
}

/// Takes all that is free on the disk but so many bytes; the file that does it is to be removed.
pub fn fill(folder: &Path, leave: u64) -> Result<PathBuf> {
    let ballast = folder.join("ballast");
    let found = rustix::fs::statvfs(folder)?;
    let free = (found.f_bavail * found.f_frsize).saturating_sub(leave);
    fs::write(&ballast, vec![1; usize::try_from(free)?])?;
    Ok(ballast)
}
