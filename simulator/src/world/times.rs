//! The terminals' own clocks, which are wrong as the seed says, and the rules for HQ time.
//!
//! - A terminal's HQ time is never below the floor on its disk.
//! - The floor is never ahead of HQ: it rises by what HQ signs alone, whatever clocks in 2100 say.
//! - A time that is sure is never ahead of HQ's.
//! - A store that agrees is sure, and behind HQ by no more than [`BEHIND_MAX`].

use std::time::Duration;

use storemesh_keys::Timestamp;
use storemesh_protocol::terminal::{TimeView, floor};

use super::{World, hq::wall, terminal::Program};

/// An answer of HQ that took longer does not count (5 s), a frame may wait for a program that sleeps
/// (10 s), and the rest for wires.
const BEHIND_MAX: Duration = Duration::from_secs(16);
const DAY_MS: u64 = 86_400_000;
const IN_1970: Timestamp = Timestamp(1_000);
const IN_2100: Timestamp = Timestamp(4_102_444_800_000);

/// What a machine's own clock shows at a start: of eight, three are right to the second, three to the
/// day, and one each has lost its battery or was set by hand.
pub(super) fn own_clock(seed: u64, right: Timestamp) -> Timestamp {
    // The composite has its own use for this seed: these are other bits of it.
    let (kind, error) = (seed >> 61, seed >> 20 & 0xffff_ffff);
    let (second, day) =
        (Duration::from_millis(error % 1_000), Duration::from_millis(error % DAY_MS));
    match kind {
        0 | 1 => right.plus(second),
        2 => right.minus(second),
        3 | 4 => right.plus(day),
        5 => right.minus(day),
        6 => IN_1970,
        _ => IN_2100,
    }
}

impl World {
    fn time_of(&self, program: &Program) -> TimeView {
        program.terminal.time_view(program.local(self.now()))
    }

    /// After every step of a terminal.
    pub(super) fn watch_time(&mut self, t: usize) {
        let (host, right) = (&self.hosts[t], wall(self.now()));
        let view = self.time_of(host.program.as_ref().expect("it runs"));
        let kept = floor(&host.disk.rows).expect("what it saved reads");
        if view.hq_time < kept {
            self.break_rule(t, format!("takes it for {}, below its floor {kept}", view.hq_time));
        } else if right < view.floor || right < kept {
            self.break_rule(t, format!("has a floor of {}, and it is {right}", view.floor));
        } else if view.is_sure() && right < view.hq_time {
            self.break_rule(t, format!("is sure of {}, and it is {right}", view.hq_time));
        }
    }

    /// Whose HQ time in a store is not yet right.
    pub(super) fn wrong_time(&self, store: usize) -> Option<String> {
        let right = wall(self.now());
        let wrong = |view: &TimeView| !view.is_sure() || view.hq_time.plus(BEHIND_MAX) < right;
        self.alive(store).find_map(|(host, program)| {
            let view = Some(self.time_of(program)).filter(wrong)?;
            Some(format!("{} takes it for {view:?}, and it is {right}", host.label))
        })
    }
}
