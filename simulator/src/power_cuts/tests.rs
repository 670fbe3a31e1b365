//! A short campaign, and that it finds what is broken on purpose.

use std::fs;

use redb::StorageBackend as _;

use super::{
    disk::Port,
    life::{Done, InFlight, Workload},
    *,
};
use crate::chance::Chance;

/// Some seconds; the long campaign is a command.
const SEEDS: u64 = 12;

fn campaign(from: u64, lives: u64, sabotage: Sabotage) -> Outcome {
    campaign::run::<Sales>(Plan { from, lives, sabotage }, None).unwrap()
}

#[test]
fn no_power_cut_takes_what_was_acknowledged() {
    let Outcome { tally, broken } = campaign(0, SEEDS, Sabotage::None);
    assert_eq!(broken, []);
    assert_eq!((tally.lives, tally.cuts), (SEEDS, SEEDS * CUTS));
    assert!(tally.moments.recovering >= SEEDS * DOUBLE_CUTS, "{tally:?}");

    // All kinds of cuts were among them, but for the rare one in an opening after a clean end.
    let tally::Moments { first, recovering, working, closing, .. } = tally.moments;
    assert!([first, recovering, working, closing].iter().all(|n| *n > 0), "{tally:?}");
    let tally::During { write, set_length, sync } = tally.during;
    assert!([write, set_length, sync].iter().all(|n| *n > SEEDS), "{tally:?}");
    let tally::Pieces { kept, torn, lost } = tally.pieces;
    assert!([kept, torn, lost].iter().all(|n| *n > SEEDS), "{tally:?}");
    assert!(tally.in_flight_whole > 0 && tally.in_flight_gone > SEEDS, "{tally:?}");
    assert!(tally.kills > SEEDS / 2 && tally.acknowledged > SEEDS * 100, "{tally:?}");
    assert!(tally.dropped > SEEDS * 10, "{tally:?}");
}

#[test]
fn a_disk_that_lies_about_syncs_and_answers_before_the_commit_are_found() {
    for sabotage in [Sabotage::LyingDisk, Sabotage::EarlyAnswers] {
        let Outcome { broken, .. } = campaign(0, 10, sabotage);
        // At once: in nearly every life, not in one of a thousand.
        assert!(broken.len() >= 8, "{sabotage:?}: {broken:?}");
        assert!(broken.iter().any(|broken| broken.rule.contains("are gone")), "{broken:?}");
    }
}

#[test]
fn one_seed_tells_one_story() {
    let tally = |seed| life::live::<Sales>(seed, Sabotage::None).unwrap();
    assert_eq!(tally(7), tally(7));
    assert_ne!(tally(7), tally(8));
}

#[test]
fn a_campaign_that_was_interrupted_goes_on_and_comes_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress");
    let plan = Plan { from: 3, lives: 25, sabotage: Sabotage::None };
    let whole = campaign::run::<Stamp>(plan, Some(&path)).unwrap();

    // As it was before the last block came: what is in the file is taken for done.
    let mut progress: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(progress["done"].as_array_mut().unwrap().pop(), Some(2.into()));
    progress["outcome"]["tally"] = serde_json::to_value(Tally::default()).unwrap();
    fs::write(&path, progress.to_string()).unwrap();
    let rest = campaign::run::<Stamp>(plan, Some(&path)).unwrap();
    assert_eq!(rest, campaign::run::<Stamp>(Plan { from: 23, lives: 5, ..plan }, None).unwrap());

    // A finished one is begun anew.
    assert_eq!(campaign::run::<Stamp>(plan, Some(&path)).unwrap(), whole);
}

/// Writes one number after another to one place: for what a campaign does with its lives.
#[derive(Clone)]
struct Stamp(u64);

impl Workload for Stamp {
    type Database = Port;
    type Running = Port;

    fn new(_: Sabotage, _: &mut Chance) -> Self {
        Self(0)
    }

    fn open(&self, port: Port) -> anyhow::Result<Port> {
        port.set_len(512)?;
        port.sync_data()?;
        Ok(port)
    }

    fn start(&mut self, port: Port, _: &mut Chance) -> anyhow::Result<Port> {
        Ok(port)
    }

    fn check(&mut self, _: &mut Port) -> anyhow::Result<InFlight> {
        Ok(InFlight::None)
    }

    fn batch(&mut self, port: &mut Port, _: &mut Chance) -> anyhow::Result<Done> {
        port.write(0, &self.0.to_be_bytes())?;
        port.sync_data()?;
        self.0 += 1;
        Ok(Done { acknowledged: 1, dropped: 0 })
    }
}
