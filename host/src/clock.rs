//! The machine's two clocks, in the protocol's units: the wall clock, which may be wrong or put back, and
//! the time since a program started, which never goes back.

use std::time::{self, SystemTime};

use storemesh_keys::Timestamp;
use storemesh_protocol::Instant;

/// What the machine says it is; 1970 where it says that it is before.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How long a program runs that has started then.
pub fn since(started: time::Instant) -> Instant {
    Instant(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
}
