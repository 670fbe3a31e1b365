//! The commands of iproute2, as far as a [`Lan`](super::Lan) needs them. No word of ours has a space
//! in it, so a command is written as one text.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What an interface carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    pub received: u64,
    pub sent: u64,
}

/// `ip WORDS`
pub(super) fn ip(words: &str) -> Result<()> {
    run("ip", words).map(drop)
}

/// `bridge WORDS`
pub(super) fn bridge(words: &str) -> Result<()> {
    run("bridge", words).map(drop)
}

/// `tc WORDS`
pub(super) fn tc(words: &str) -> Result<()> {
    run("tc", words).map(drop)
}

/// The counters of an interface.
pub(super) fn carried(namespace: &str, interface: &str) -> Result<Carried> {
    #[derive(Deserialize)]
    struct Interface {
        stats64: Stats,
    }
    #[derive(Deserialize)]
    struct Stats {
        rx: Way,
        tx: Way,
    }
    #[derive(Deserialize)]
    struct Way {
        bytes: u64,
    }
    let text = run("ip", &format!("-n {namespace} -s -j link show dev {interface}"))?;
    let interfaces: Vec<Interface> =
        serde_json::from_str(&text).with_context(|| format!("reading {text:?}"))?;
    let Some(Interface { stats64 }) = interfaces.into_iter().next() else {
        bail!("no interface `{interface}` in the namespace `{namespace}`")
    };
    Ok(Carried { received: stats64.rx.bytes, sent: stats64.tx.bytes })
}

fn run(program: &str, words: &str) -> Result<String> {
    let output = Command::new(program)
        .args(words.split(' '))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting `{program}` (Debian: iproute2)"))?;
    if !output.status.success() {
        bail!("`{program} {words}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
