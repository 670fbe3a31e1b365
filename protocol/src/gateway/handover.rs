//! When the gateway would rather see another terminal in its place.
//!
//! A tablet may be the first to reach HQ in the morning; once the desk's terminal is there, it is the
//! better gateway ([`Order::better`]). The holder waits until that has been so for [`STEADY`], then
//! offers the lease: HQ grants it to the other when it asks, and the holder goes on until then, so
//! nothing stands still. It offers no more than once in [`AGAIN`]: a store whose uplinks take turns
//! at being slow must not spend its day handing over.

use std::time::Duration;

use storemesh_keys::PeerId;

use super::order::Order;
use crate::Instant;

/// Long enough for a terminal that was just switched on to show that it stays.
pub(super) const STEADY: Duration = Duration::from_mins(1);
pub(super) const AGAIN: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub(super) struct Handover {
    /// The same neighbour has been better since then.
    better: Option<(PeerId, Instant)>,
    not_before: Instant,
}

impl Handover {
    pub(super) fn new() -> Self {
        Self { better: None, not_before: Instant(0) }
    }

    /// While this terminal is the gateway: whom to offer the lease now, if anybody.
    pub(super) fn look(&mut self, now: Instant, order: &Order) -> Option<PeerId> {
        let Some(best) = order.better(now) else {
            self.better = None;
            return None;
        };
        let since = match self.better {
            Some((known, since)) if known == best => since,
            _ => now,
        };
        self.better = Some((best, since));
        if now < self.due(since) {
            return None;
        }
        self.not_before = now + AGAIN;
        Some(best)
    }

    /// It is not the gateway.
    pub(super) fn rest(&mut self) {
        self.better = None;
    }

    pub(super) fn deadline(&self) -> Instant {
        self.better.map_or(Instant::NEVER, |(_, since)| self.due(since))
    }

    fn due(&self, since: Instant) -> Instant {
        (since + STEADY).max(self.not_before)
    }
}
