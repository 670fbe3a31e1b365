//! The figures of one release, as they stand in the report.

use serde::Serialize;

use super::failover::Failover;

/// For the store as a whole. Ratios and limits are absent where there is nothing to divide by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    /// Plain size of the release.
    pub(super) release_bytes: u64,
    /// Compressed size of the chunks that the store lacked.
    pub(super) moved_bytes: u64,
    /// What the line carried to the store, headers of IP and UDP included.
    pub(super) wan_bytes: u64,
    /// What it carried back.
    pub(super) wan_up_bytes: u64,
    pub(super) wan_ratio: Option<f64>,
    /// From the order to start the release until the first terminal ran it.
    pub(super) first_s: f64,
    pub(super) last_s: f64,
    /// What the line alone needs for the moved bytes.
    pub(super) wan_limit_s: Option<f64>,
}

/// One terminal's share in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) terminal: String,
    /// What it says that it runs.
    pub(super) version: Option<String>,
    pub(super) seconds: f64,
    pub(super) gateway: bool,
    /// It was killed while the release came, and started again.
    pub(super) killed: bool,
    pub(super) bytes_from_hq: u64,
    pub(super) bytes_from_neighbours: u64,
    /// Not moved at all: it held them already.
    pub(super) bytes_local: u64,
}

/// One release, from the order to the last terminal.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Phase {
    pub(super) product: String,
    pub(super) version: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// None where the gateway was not to be killed, or was not in the middle.
    pub(super) failover: Option<Failover>,
    /// Why it was not, where it was to be.
    pub(super) no_failover: Option<String>,
    pub(super) per_terminal: Vec<Row>,
}

impl Figures {
    /// Fills in what follows from the rest.
    pub(super) fn new(measured: Self, wan_mbit: f64) -> Self {
        let moved = measured.moved_bytes;
        Self {
            first_s: to_ms(measured.first_s),
            last_s: to_ms(measured.last_s),
            wan_ratio: (moved > 0).then(|| ratio(measured.wan_bytes, moved)),
            wan_limit_s: (wan_mbit > 0.0).then(|| to_ms(8.0 * as_float(moved) / (wan_mbit * 1e6))),
            ..measured
        }
    }
}

/// Rounded to milliseconds, which is more than a look every few of them can tell.
pub(super) fn to_ms(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// What the line carried against what had to move, rounded to what can be told from chance.
pub(super) fn ratio(wan_bytes: u64, moved_bytes: u64) -> f64 {
    (as_float(wan_bytes) / as_float(moved_bytes) * 1e4).round() / 1e4
}

/// Exact for anything that fits on a disk.
#[expect(clippy::cast_precision_loss)]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_and_the_limit_follow_from_what_moved() {
        let measured =
            Figures { moved_bytes: 10_000_000, wan_bytes: 10_520_000, ..Figures::default() };
        let figures = Figures::new(measured, 20.0);
        assert_eq!((figures.wan_ratio, figures.wan_limit_s), (Some(1.052), Some(4.0)));
        let nothing = Figures::new(Figures::default(), 0.0);
        assert_eq!((nothing.wan_ratio, nothing.wan_limit_s), (None, None));
    }
}
