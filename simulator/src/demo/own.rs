//! What the demo publishes when it is given nothing: storemesh itself, in two versions.
//!
//! Version 2 is what a next version really is, the same programs compiled again with another version
//! string. It is built first, so that the target folder ends with the usual programs in it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::say;
use crate::live::{
    child::{self, Stderr},
    programs::{Programs, source_tree},
};

/// The version that the programs have anyway.
const VERSION_1: &str = env!("CARGO_PKG_VERSION");

/// To say its version a program needs no time at all; a busy machine does.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// A directory to publish, and what it is called.
#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) folder: PathBuf,
    pub(super) product: &'static str,
    pub(super) version: String,
}

/// The programs to run the demo with, and the releases made of version 1 and version 2.
pub(super) fn build(folder: &Path) -> Result<(Programs, Vec<Release>)> {
    let version_2 = next_patch(VERSION_1)?;
    say(format_args!("building the programs as version {version_2} and as {VERSION_1}"));
    let mut releases = Vec::new();
    let mut programs = None;
    for version in [version_2.as_str(), VERSION_1] {
        let rebuilt = (version != VERSION_1).then_some(version);
        let built = Programs::build(rebuilt, Stderr::Shown)?;
        let release = folder.join(format!("storemesh-{version}"));
        let own = lay_out(&built, &release)?;
        check_version(&own.node, version)?;
        releases.push(Release {
            folder: release,
            product: "storemesh",
            version: version.to_owned(),
        });
        programs = Some(own);
    }
    releases.reverse();
    Ok((programs.context("nothing was built")?, releases))
}

/// As a package would be: programs, a text, a link, and a folder for later.
fn lay_out(programs: &Programs, release: &Path) -> Result<Programs> {
    let making = || format!("making `{}`", release.display());
    let bin = release.join("bin");
    fs::create_dir_all(&bin).with_context(making)?;
    fs::create_dir(release.join("etc")).with_context(making)?;
    symlink("bin/storemesh", release.join("storemesh")).with_context(making)?;
    let manifest = source_tree()?.join("Cargo.toml");
    fs::copy(manifest, release.join("Cargo.toml")).with_context(making)?;
    let copy = |program: &Path, name| {
        let to = bin.join(name);
        fs::copy(program, &to).with_context(|| format!("copying `{}`", program.display()))?;
        without_line_numbers(&to);
        anyhow::Ok(to)
    };
    Ok(Programs {
        node: copy(&programs.node, "storemesh")?,
        hq: copy(&programs.hq, "storemesh-hq")?,
        ..programs.clone()
    })
}

/// As packages do, with the compiler's own tool; where that is missing a program is only larger.
fn without_line_numbers(program: &Path) {
    _ = Command::new("strip").arg("--strip-debug").arg(program).stderr(Stdio::null()).status();
}

/// That the rebuild was one.
fn check_version(program: &Path, version: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.arg("--version");
    let done = child::run(command, Stderr::Kept, SAID_WITHIN)?.well("asking for the version")?;
    if done.stdout.split_whitespace().last() != Some(version) {
        bail!("a program built as {version} says that it is `{}`", done.stdout.trim());
    }
    Ok(())
}

fn next_patch(version: &str) -> Result<String> {
    let (rest, patch) = version.rsplit_once('.').context("a version without a patch number")?;
    let patch: u32 = patch.parse().with_context(|| format!("the patch number of {version}"))?;
    Ok(format!("{rest}.{}", patch + 1))
}
