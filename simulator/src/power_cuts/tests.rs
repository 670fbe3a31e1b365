//! A short campaign, and that it finds what is broken on purpose.

use std::fs;

use super::*;

/// Some seconds; the long campaign is a command.
const SEEDS: u64 = 40;

fn campaign(from: u64, lives: u64, sabotage: Sabotage) -> Outcome {
    campaign::run::<Journal>(Plan { from, lives, sabotage }, None).unwrap()
}

#[test]
fn no_power_cut_takes_what_was_acknowledged() {
    let Outcome { tally, broken } = campaign(0, SEEDS, Sabotage::None);
    assert_eq!(broken, []);
    assert_eq!((tally.lives, tally.cuts), (SEEDS, SEEDS * CUTS));
    assert!(tally.moments.recovering >= SEEDS * DOUBLE_CUTS, "{tally:?}");

    // All kinds of cuts were among them.
    let tally::Moments { first, opening, recovering, working, closing } = tally.moments;
    assert!([first, opening, recovering, working, closing].iter().all(|n| *n > 0), "{tally:?}");
    let tally::During { write, set_length, sync } = tally.during;
    assert!([write, set_length, sync].iter().all(|n| *n > SEEDS), "{tally:?}");
    let tally::Pieces { kept, torn, lost } = tally.pieces;
    assert!([kept, torn, lost].iter().all(|n| *n > SEEDS), "{tally:?}");
    assert!(tally.in_flight_whole > 0 && tally.in_flight_gone > SEEDS, "{tally:?}");
    assert!(tally.kills > SEEDS / 2 && tally.acknowledged > SEEDS * 100, "{tally:?}");
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
    let tally = |seed| life::live::<Journal>(seed, Sabotage::None).unwrap();
    assert_eq!(tally(7), tally(7));
    assert_ne!(tally(7), tally(8));
}

#[test]
fn a_campaign_that_was_interrupted_goes_on_and_comes_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress");
    let plan = Plan { from: 3, lives: 25, sabotage: Sabotage::None };
    let whole = campaign::run::<Journal>(plan, Some(&path)).unwrap();

    // As it was before the last block came: what is in the file is taken for done.
    let mut progress: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(progress["done"].as_array_mut().unwrap().pop(), Some(2.into()));
    progress["outcome"]["tally"] = serde_json::to_value(Tally::default()).unwrap();
    fs::write(&path, progress.to_string()).unwrap();
    let rest = campaign::run::<Journal>(plan, Some(&path)).unwrap();
    assert_eq!(rest, campaign(23, 5, Sabotage::None));

    // A finished one is begun anew.
    assert_eq!(campaign::run::<Journal>(plan, Some(&path)).unwrap(), whole);
}
