//! What a terminal that loses power again and again fetches twice.
//!
//! In a store of three on a LAN of namespaces the gateway is killed (`kill -9`) at twenty random moments
//! while a release comes to it, first from HQ and then from its neighbours, through a port of
//! 20 Mbit/s, so that twenty kills fit into one download. What counts as verified at a kill is what the
//! dead terminal's disk holds, chunk by chunk, read by us; [`kills`](crate::live::kills) says what of
//! it counts as fetched twice.

use std::{fs, time::Duration};

use anyhow::Context as _;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use super::{Family, Outcome, Promise, Reading, Setup};
use crate::live::{
    chain::Chain,
    kills,
    lan::Lan,
    link::Shape,
    relay::Wan,
    status::{Published, Status},
};

pub(crate) const KILL_RESUME: Family = Family {
    figures: &[Promise {
        name: "kill_resume",
        unit: "bytes",
        target: "0 verified bytes fetched twice in 20 random kills of one download",
    }],
    measure,
};

const KILLS: usize = 20;
/// Decides when they come; any will do.
const SEED: u64 = 1;
const TERMINALS: usize = 3;
/// Some hundred chunks, so that a kill leaves some of each kind.
const RELEASE_BYTES: usize = 32 * 1024 * 1024;
/// The download takes some 13 s through it, and each life some tenths of one.
const PORT_MBIT: f64 = 20.0;
/// Kills before the first chunk or after the last say little; most moments must be others.
const TELLING_KILLS: usize = KILLS / 2;
const MEET_WITHIN: Duration = Duration::from_mins(1);

fn measure(setup: &Setup<'_>) -> anyhow::Result<Outcome> {
    if let Some(missing) = Lan::missing() {
        return Ok(Outcome::NotMeasured(format!("needs {missing}")));
    }
    let folder = tempfile::tempdir()?;
    let release = folder.path().join("release");
    fs::create_dir(&release)?;
    let mut bytes = vec![0; RELEASE_BYTES];
    ChaCha8Rng::seed_from_u64(3).fill_bytes(&mut bytes);
    fs::write(release.join("program"), bytes)?;

    let mut chain =
        Chain::open_on_lan(setup.programs, folder.path(), Wan::mbit(2.0 * PORT_MBIT), TERMINALS)?;
    chain.join()?;
    chain.start()?;
    let statuses = chain.meet(MEET_WITHIN)?;
    let victim = statuses.iter().position(Status::is_gateway).context("they agreed on one")?;
    chain.wan.shape(&statuses[victim].name, Shape::mbit(PORT_MBIT))?;
    let published: Published =
        chain.hq.publish(&release, "product", "1", &[])?.well("publishing")?.json()?;
    let told = kills::during_download(&mut chain, victim, (&release, &published), (SEED, KILLS))?;
    let told = told.telling(TELLING_KILLS)?;
    chain.stop()?;

    for why in &told.why {
        tracing::warn!("{why}");
    }
    let how = format!(
        "{KILLS} kills, seed {SEED}, of the gateway of {TERMINALS} terminals while {} bytes came to it \
         through {PORT_MBIT} Mbit/s, {} of them between the first chunk and the last; what its disk \
         held at each kill against what the next life found and fetched",
        told.total,
        told.amid(),
    );
    #[expect(clippy::cast_precision_loss, reason = "a figure's number is one for people")]
    let value = told.refetched as f64;
    Ok(Outcome::Measured(vec![Reading { value, ok: told.refetched == 0, how }]))
}
