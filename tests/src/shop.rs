//! A small chain with one store, in a temporary folder.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use storemesh_sim::live::{
    alarms,
    chain::Chain,
    lan::Lan,
    programs::Programs,
    relay::{Relay, Wan},
    status::{Published, ReleaseStatus},
    stop,
    terminal::Terminal,
    tree,
};
use tempfile::TempDir;

/// What tests publish.
pub const PRODUCT: &str = "pos";

/// On a busy machine; a second is usual.
pub const MET_WITHIN: Duration = Duration::from_secs(30);

/// Any release of a test over any line of a test.
pub const ARRIVED_WITHIN: Duration = Duration::from_mins(1);

/// Dropping it stops the programs and fails the test if one of them did not end well, panicked or
/// logged an error. Fields are dropped in this order: the programs before their folder.
#[derive(Debug)]
pub struct Shop<L = Relay> {
    pub chain: Chain<L>,
    folder: TempDir,
}

/// Each party on a machine of its own; the test must [`require`](crate::require) `netns`.
pub type LanShop = Shop<Lan>;

impl<L> Drop for Shop<L> {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let ended = self.chain.stop();
        let alarms = alarms::of_chain(&self.chain);
        // Either may be due to the other.
        assert!(
            ended.is_ok() && alarms.as_ref().is_ok_and(Vec::is_empty),
            "at the end of the test: {ended:?} {alarms:#?}"
        );
    }
}

impl Shop<Relay> {
    /// HQ serves, terminals have not joined.
    pub fn open(terminals: usize) -> Result<Self> {
        Self::open_behind(Wan::default(), terminals)
    }

    pub fn open_behind(wan: Wan, terminals: usize) -> Result<Self> {
        let folder = temporary()?;
        let chain = Chain::open(Programs::built()?, folder.path(), wan, terminals)?;
        Ok(Self { chain, folder })
    }

    /// All terminals have joined and are connected.
    pub fn running(terminals: usize) -> Result<Self> {
        Self::running_behind(Wan::default(), terminals)
    }

    pub fn running_behind(wan: Wan, terminals: usize) -> Result<Self> {
        let mut shop = Self::open_behind(wan, terminals)?;
        shop.chain.join()?;
        shop.chain.start()?;
        shop.chain.meet(MET_WITHIN)?;
        Ok(shop)
    }
}

impl Shop<Lan> {
    /// HQ serves, terminals have not joined.
    pub fn open_on_lan(wan: Wan, terminals: usize) -> Result<Self> {
        let folder = temporary()?;
        let chain = Chain::open_on_lan(Programs::built()?, folder.path(), wan, terminals)?;
        Ok(Self { chain, folder })
    }

    /// All terminals have joined and are connected.
    pub fn running_on_lan(wan: Wan, terminals: usize) -> Result<Self> {
        let mut shop = Self::open_on_lan(wan, terminals)?;
        shop.chain.join()?;
        shop.chain.start()?;
        shop.chain.meet(MET_WITHIN)?;
        Ok(shop)
    }

    pub fn lan(&self) -> &Lan {
        &self.chain.wan
    }
}

impl<L> Shop<L> {
    /// A place for the test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A directory with a program of that many incompressible bytes, and a text.
    pub fn directory(&self, name: &str, seed: u64, bytes: usize) -> Result<PathBuf> {
        let directory = self.path(name);
        fs::create_dir_all(directory.join("bin")).context("making a directory to publish")?;
        fs::write(directory.join("bin/pos"), noise(seed, bytes)).context("writing a program")?;
        fs::write(directory.join("README"), format!("version {seed}\n"))
            .context("writing a text")?;
        Ok(directory)
    }

    /// Publishes and starts it at once.
    pub fn publish(&self, directory: &Path, version: &str) -> Result<Published> {
        let done = self.chain.hq.publish(directory, PRODUCT, version, &[])?;
        done.well("publishing")?.json()
    }

    /// Until every terminal runs the release and holds its files as they were published.
    pub fn arrived(&self, directory: &Path, published: &Published) -> Result<Vec<ReleaseStatus>> {
        self.chain
            .terminals
            .iter()
            .map(|terminal| arrived(terminal, directory, published))
            .collect()
    }
}

fn temporary() -> Result<TempDir> {
    let mut folder = tempfile::Builder::new();
    folder.prefix("storemesh-test-").tempdir().context("making a folder for the test")
}

/// Until the terminal runs the release and holds its files as they were published.
pub fn arrived(
    terminal: &Terminal,
    directory: &Path,
    published: &Published,
) -> Result<ReleaseStatus> {
    let what = format!("{} running {}", terminal.name(), published.version);
    let release = stop::until(&what, ARRIVED_WITHIN, || {
        let status = terminal.status()?;
        let release = status.release(&published.product).cloned();
        Ok(release.filter(|release| release.running.as_ref() == Some(&published.version)))
    })?;
    anyhow::ensure!(
        terminal.running_folder(&published.product) == Some(published.folder()),
        "{} says it runs {}, its disk says {:?}",
        terminal.name(),
        published.folder(),
        terminal.running_folder(&published.product),
    );
    let difference = tree::difference(directory, &terminal.current(&published.product))?;
    anyhow::ensure!(difference.is_none(), "{}: {difference:?}", terminal.name());
    Ok(release)
}

/// Bytes that no compression makes shorter, the same for the same seed (xorshift).
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    // The odd constant keeps small seeds apart and zero out.
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}
