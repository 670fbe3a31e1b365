//! The time that HQ writes into what it signs.
//!
//! UTC milliseconds since 1970. It says when a signed thing begins and ends, and is compared
//! only with other times that came from HQ (design: "HQ time"); a node's own timers use the
//! protocol's monotonic instant. Arithmetic stops at both ends instead of overflowing, so no
//! number a stranger sends can panic us.

use std::{fmt, time::Duration};

use minicbor::{Decode, Encode};

/// UTC milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] pub u64);

impl Timestamp {
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// How long after `earlier` this is; nothing when it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_both_ends() {
        let start = Timestamp(1_000);
        assert_eq!(start.plus(Duration::from_secs(2)), Timestamp(3_000));
        assert_eq!(start.plus(Duration::from_secs(2)).since(start), Duration::from_secs(2));
        assert_eq!(start.since(Timestamp(3_000)), Duration::ZERO);
        assert_eq!(start.minus(Duration::from_secs(2)), Timestamp(0));
        assert_eq!(start.plus(Duration::MAX), Timestamp(u64::MAX));
        assert_eq!(Timestamp(u64::MAX).plus(Duration::from_millis(1)), Timestamp(u64::MAX));
    }
}
