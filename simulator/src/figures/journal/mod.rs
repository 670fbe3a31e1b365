//! What the journal bears: sales taken, how soon they are answered and at HQ, and a backlog's way there.
//!
//! Sales are those of `scripts/sales`, simulated from real patterns; a busy chain's day is posted to one
//! store, so that there are enough. All programs share this machine's cores, so the rates are a floor. One
//! file measures one family; what they share is here.

mod backlog;
mod rate;
mod to_hq;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

pub(crate) use self::{backlog::BACKLOG, rate::RATE, to_hq::TO_HQ};
use super::Setup;
use crate::live::{cashier::Cashier, chain::Chain, programs::source_tree, relay::Wan, stop};

const WAN_MBIT: f64 = 20.0;
/// Long enough for some thousand answers.
const SPELL: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_mins(2);

fn open(setup: &Setup<'_>, folder: &Path, terminals: usize) -> Result<Chain> {
    let mut chain = Chain::open(setup.programs, folder, Wan::mbit(WAN_MBIT), terminals)?;
    chain.join()?;
    chain.start()?;
    chain.meet(PATIENCE)?;
    // Terminals take sales once they know HQ's schema; each has one at HQ from here on.
    for terminal in &chain.terminals {
        stop::until("a terminal taking sales", PATIENCE, || {
            let receipt = Cashier::at(terminal)?.post("sales", "first", b"{}", "hq")?;
            Ok((receipt.status == 201).then_some(()))
        })?;
    }
    Ok(chain)
}

fn publish(chain: &Chain, folder: &Path, bytes: usize) -> Result<()> {
    hold(chain, folder, "1", bytes)?;
    chain.hq.start_release("product", "1")
}

fn hold(chain: &Chain, folder: &Path, version: &str, bytes: usize) -> Result<()> {
    let directory = folder.join(format!("release-{version}"));
    fs::create_dir(&directory)?;
    let mut content = vec![0; bytes];
    ChaCha8Rng::seed_from_u64(8 + version.len() as u64).fill_bytes(&mut content);
    fs::write(directory.join("program"), content)?;
    fs::write(directory.join("version"), version)?;
    chain.hq.publish_held(&directory, "product", version)?;
    Ok(())
}

/// So many sales of the data set, as the JSON that is posted.
fn baskets(folder: &Path, count: usize) -> Result<Vec<Vec<u8>>> {
    let out: PathBuf = folder.join(format!("sales-{count}.ndjson"));
    if !out.exists() {
        let script = source_tree()?.join("scripts/sales");
        let done = Command::new("python3")
            .arg(&script)
            .args(["--days", "3", "--all-stores", "--baskets", &count.to_string(), "--out"])
            .arg(&out)
            .output()
            .context("running scripts/sales")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let text = fs::read_to_string(&out).context("reading the sales")?;
    let mut baskets = Vec::with_capacity(count);
    for line in text.lines() {
        let mut basket: serde_json::Value = serde_json::from_str(line)?;
        // The movements are another topic's.
        basket.as_object_mut().context("a basket")?.remove("stock");
        baskets.push(serde_json::to_vec(&basket)?);
    }
    ensure!(baskets.len() == count, "{} baskets, not {count}", baskets.len());
    Ok(baskets)
}

/// The value that so many per cent are not above.
fn part(sorted: &[Duration], per_cent: usize) -> Duration {
    let at = (sorted.len() * per_cent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
