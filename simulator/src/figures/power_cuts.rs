//! Whether power cuts take what was acknowledged.
//!
//! The long campaign of `storemesh-sim power-cuts`: a terminal's feeds in their real database, on disks whose
//! write cache forgets.
//! It needs no programs and no network, and says the same on every machine.

use super::{Family, Outcome, Promise, Reading, Setup};
use crate::power_cuts::{self, ALL_CUTS, ALL_DOUBLE};

pub(crate) const POWER_CUTS: Family = Family {
    figures: &[Promise {
        name: "power_cuts",
        unit: "disks",
        target: "0 disks lost anything in 10,000 power cuts, 2,000 of them in a recovery",
    }],
    measure,
};

fn measure(setup: &Setup<'_>) -> anyhow::Result<Outcome> {
    let outcome = power_cuts::all(&setup.folder)?;
    let (cuts, double) = (outcome.tally.cuts, outcome.tally.moments.recovering);
    let broken = u32::try_from(outcome.broken.len())?;
    let how = format!(
        "storemesh-sim power-cuts: {cuts} cuts of {} disks, {double} in a recovery; {} entries of sales \
         and stock acknowledged",
        outcome.tally.lives, outcome.tally.acknowledged
    );
    let ok = broken == 0 && cuts >= ALL_CUTS && double >= ALL_DOUBLE;
    Ok(Outcome::Measured(vec![Reading { value: f64::from(broken), ok, how }]))
}
