//! One direction of a link: how long bytes take to be through.
//!
//! A control frame goes ahead of the bulk that waits; bulk waits for both. Delay, loss and order
//! are the connection's matter (`net`).

use std::time::Duration;

use super::clock::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Control,
    /// As soon as control, on a stream of its own.
    Feeds,
    Bulk,
}

pub(super) const CLASSES: usize = 3;

#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// Bytes per second.
    pub(super) rate: u64,
    control_free: Time,
    bulk_free: Time,
}

/// When the first and the last byte of something are through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    pub(super) begin: Time,
    pub(super) end: Time,
}

pub(super) const fn mbit(megabits: u64) -> u64 {
    megabits * 1_000_000 / 8
}

impl Lane {
    pub(super) fn new(rate: u64) -> Self {
        Self { rate, control_free: Time::ZERO, bulk_free: Time::ZERO }
    }

    pub(super) fn pass(&mut self, now: Time, class: Class, bytes: u64) -> Passage {
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.rate.max(1));
        let begin = match class {
            Class::Control | Class::Feeds => now.max(self.control_free),
            Class::Bulk => now.max(self.bulk_free).max(self.control_free),
        };
        let end = begin + takes;
        match class {
            Class::Control | Class::Feeds => {
                self.control_free = end;
                self.bulk_free = self.bulk_free.max(begin) + takes;
            }
            Class::Bulk => self.bulk_free = end,
        }
        Passage { begin, end }
    }
}
