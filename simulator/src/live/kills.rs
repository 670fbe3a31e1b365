//! A terminal is killed again and again while a release comes to it: what did that cost?
//!
//! Each time it is `kill -9` at a random moment, and what the dead terminal's disk holds is read from
//! its files ([`Pieces`]), not from what it had said. The next life must do three things, and the bytes
//! of which it does not are *fetched twice*:
//!
//! - count all of that as its own before it fetches (`bytes_local` of its status);
//! - fetch nothing but what the disk then gains (`bytes_from_hq` and `bytes_from_neighbours` against
//!   the chunks that are there at the end of the life and were not at its beginning);
//! - keep what was there.
//!
//! A chunk that was on its way at the moment of a kill had not been verified; it is fetched again, and
//! not counted here. The last life is the exact one: it ends with the release running, not with a kill.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use super::{
    chain::Chain,
    lan::Lan,
    pieces::{Held, Pieces},
    status::{Published, ReleaseStatus},
    stop,
};

/// A kill comes up to this long after the progress that it waits for, so that it may also hit a life
/// that has just begun, when the progress was there before.
const HESITATION_MS_MAX: u64 = 100;

/// From one kill to the next: a start, finding the neighbours, and some chunks.
const PROGRESS_WITHIN: Duration = Duration::from_mins(1);

/// What came of it.
#[derive(Debug, Default)]
pub struct Told {
    /// How far the disk was at each kill.
    pub held: Vec<u64>,
    /// How many lives had found out what the disk holds when they ended.
    pub fetching: usize,
    pub total: u64,
    /// Verified bytes that were fetched twice, or would have to be.
    pub refetched: u64,
    /// What each such byte is about, for people.
    pub why: Vec<String>,
}

/// Kills the terminal that often while the release comes to it, starts it again each time, and waits
/// until it runs the release. The seed decides at how much progress.
pub fn during_download(
    chain: &mut Chain<Lan>,
    victim: usize,
    (directory, published): (&Path, &Published),
    (seed, kills): (u64, usize),
) -> Result<Told> {
    let pieces = Pieces::of(directory)?;
    let product = &published.product;
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut moments: Vec<u64> = (0..kills).map(|_| chance.next_u64() % pieces.total()).collect();
    moments.sort_unstable();

    let mut told = Told { total: pieces.total(), ..Told::default() };
    let mut held = Held::new();
    let mut manifest_bytes = None;
    for moment in moments {
        let hesitation = Duration::from_millis(chance.next_u64() % HESITATION_MS_MAX);
        let terminal = &mut chain.terminals[victim];
        let mut release_seen = ReleaseStatus::default();
        let mut far_since = None;
        stop::until("the moment of the next kill", PROGRESS_WITHIN, || {
            if let Some(release) = terminal.status()?.release(product) {
                release_seen = release.clone();
            }
            if release_seen.bytes_have >= moment {
                far_since.get_or_insert_with(Instant::now);
            }
            Ok(far_since.is_some_and(|since| since.elapsed() >= hesitation).then_some(()))
        })?;
        terminal.kill();
        let now = pieces.held(terminal, product)?;
        told.held.push(pieces.bytes(&now));
        told.life(&pieces, (&held, &now), &release_seen, &mut manifest_bytes);
        held = now;
        chain.start_one(victim)?;
    }
    let terminal = &chain.terminals[victim];
    let release_seen = stop::until("the release running after all kills", PROGRESS_WITHIN, || {
        let status = terminal.status()?;
        let runs = status.runs(product, &published.version);
        Ok(status.release(product).cloned().filter(|_| runs))
    })?;
    let now = pieces.held(terminal, product)?;
    anyhow::ensure!(pieces.bytes(&now) == pieces.total(), "it runs and is not whole");
    // A life that began with everything in place may have nothing to say of how it came.
    let began =
        release_seen.bytes_local + release_seen.bytes_from_hq + release_seen.bytes_from_neighbours
            > 0;
    if began {
        told.life(&pieces, (&held, &now), &release_seen, &mut manifest_bytes);
    }
    Ok(told)
}

impl Told {
    /// Takes in one life: what the disk held before and after it, and the last that it said.
    fn life(
        &mut self,
        pieces: &Pieces,
        (before, after): (&Held, &Held),
        release_seen: &ReleaseStatus,
        manifest_bytes: &mut Option<u64>,
    ) {
        let life = self.held.len();
        let mut unknown = 0;
        if ["fetching", "activating", "running"].contains(&release_seen.phase.as_str()) {
            self.fetching += 1;
            unknown = pieces.bytes(before).saturating_sub(release_seen.bytes_local);
        }
        let gained = pieces.bytes(after.difference(before));
        // The manifest is no part of the directory, and is fetched once.
        let fetched = release_seen.bytes_from_hq + release_seen.bytes_from_neighbours;
        let manifest =
            manifest_bytes.get_or_insert(release_seen.bytes_total.saturating_sub(self.total));
        let of_manifest = fetched.saturating_sub(gained).min(*manifest);
        *manifest -= of_manifest;
        let again = fetched.saturating_sub(gained + of_manifest);
        let lost = pieces.bytes(before.difference(after));
        // What was not found is what is then fetched again, or still lacks when the life ends.
        let twice = unknown.max(again + lost);
        if twice > 0 {
            self.refetched += twice;
            self.why.push(format!(
                "life {life}: {unknown} bytes on disk were not counted, {again} fetched beyond the \
                 {gained} gained, {lost} lost; {release_seen:?}"
            ));
        }
    }

    /// At how many kills the download was neither before its first chunk nor after its last.
    pub fn amid(&self) -> usize {
        self.held.iter().filter(|held| (1..self.total).contains(*held)).count()
    }

    /// Fails where too few kills hit the download to say anything.
    pub fn telling(self, least: usize) -> Result<Self> {
        let amid = self.amid();
        let few = || format!("only {amid} kills came in the middle of the download: {self:?}");
        (amid >= least && self.fetching >= least).then_some(()).with_context(few)?;
        Ok(self)
    }
}
