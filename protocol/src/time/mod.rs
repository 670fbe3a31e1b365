//! What protocol code knows of time.
//!
//! An [`Instant`] is this machine's own monotonic clock, begun at 0 when the program started; it is
//! handed in by the driver and never sent to anybody. A [`Timestamp`](storemesh_keys::Timestamp) is
//! UTC; what HQ dated is judged by HQ time, which [`clock`] keeps.

pub(crate) mod clock;
#[cfg(test)]
mod tests;

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// Microseconds since this program started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// Later than anything that happens: the deadline of a machine that waits for nothing.
    pub const NEVER: Self = Self(u64::MAX);

    /// How long ago `earlier` was; zero when it was not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}
