//! A box with a good certificate whose feeds are not ours.

use std::time::Duration;

use storemesh_protocol::{
    Instant,
    feeds::terminal::{Input, Output, Setup},
};

use super::tills::Tills;

/// How often it tries something.
const PACE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Hostile {
    next: Instant,
}

impl Hostile {
    pub(super) fn new(_: Setup) -> Self {
        Self { next: Instant(0) + PACE }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    pub(super) fn handle(&mut self, now: Instant, _: Vec<Input>, _: &mut Tills) -> Vec<Output> {
        if self.next <= now {
            self.next = now + PACE;
        }
        Vec::new()
    }
}
