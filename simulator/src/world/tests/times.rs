//! Stories of clocks that are wrong, and of who sets them right.

use storemesh_protocol::terminal::TimeSource;

use super::*;
use crate::world::hq::wall;

/// A quiet store's way to HQ and back, and from neighbour to neighbour.
const ROUND_TRIP: Duration = Duration::from_millis(100);

impl World {
    /// How far a terminal's HQ time is from HQ's.
    fn off_by(&self, t: usize) -> Duration {
        let (told, right) = (self.status(t).expect("it runs").time.hq_time, wall(self.now()));
        told.max(right).since(told.min(right))
    }

    fn time_from(&self, t: usize) -> TimeSource {
        self.status(t).expect("it runs").time.source
    }
}

#[test]
fn whatever_its_own_clocks_show_a_store_that_reaches_hq_has_hqs_time() {
    for seed in 500..508 {
        let mut store = open(4, seed);
        for t in 0..4 {
            assert_eq!(store.time_from(t), TimeSource::Signed, "seed {seed}, t{t}");
            assert!(store.off_by(t) < ROUND_TRIP, "seed {seed}, t{t}: {:?}", store.off_by(t));
        }
        store.run(Duration::from_mins(20));
        for t in 0..4 {
            assert!(store.off_by(t) < ROUND_TRIP, "seed {seed}, t{t}: {:?}", store.off_by(t));
            // The gateway asks every five minutes, and passes it on.
            let signed = store.status(t).unwrap().time.signed_ago;
            assert!(signed.is_some_and(|ago| ago < Duration::from_mins(6)), "{signed:?}");
        }
        assert!(store.broken().is_none(), "seed {seed}: {:?}", store.broken());
    }
}

#[test]
fn without_hq_a_terminal_that_starts_takes_its_neighbours_time_for_a_guess() {
    for seed in 520..532 {
        let mut store = open(4, seed);
        store.kill_hq();
        // What was signed before is too old by then to bear anybody out.
        store.run(Duration::from_mins(20));
        store.fault(Fault::CutPower(3));
        store.fault(Fault::Start(3));
        store.run(FIRST_START);
        assert!(matches!(store.time_from(3), TimeSource::Median { voices: 3.. }), "seed {seed}");
        assert!(store.off_by(3) < ROUND_TRIP, "seed {seed}: {:?}", store.off_by(3));
        store.start_hq();
        let sure = |store: &World| store.time_from(3) == TimeSource::Signed;
        let took = store.run_to(Duration::from_mins(1), sure);
        assert!(took.is_some(), "seed {seed}: {:?}", store.status(3).unwrap().time);
        assert!(store.off_by(3) < ROUND_TRIP, "seed {seed}: {:?}", store.off_by(3));
    }
}

#[test]
fn after_a_power_cut_without_hq_wrong_clocks_keep_nobody_out() {
    for seed in 540..560 {
        let mut store = open(3, seed);
        store.kill_hq();
        store.run(Duration::from_mins(10));
        for t in 0..3 {
            store.fault(Fault::CutPower(t));
        }
        for t in 0..3 {
            store.fault(Fault::Start(t));
        }
        store.run(10 * SECOND);
        assert_eq!(store.unmet(0), None, "seed {seed}");
        store.start_hq();
        agrees_within(&mut store, Duration::from_mins(1));
        for t in 0..3 {
            assert!(store.off_by(t) < ROUND_TRIP, "seed {seed}, t{t}: {:?}", store.off_by(t));
        }
    }
}
