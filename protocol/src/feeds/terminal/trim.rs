//! What is old and HQ has acknowledged goes, a piece at a time.
//!
//! Stock is never trimmed: what is on hand is counted from it, until a checkpoint stands in for it. Nor is
//! HQ's control feed.

use std::time::Duration;

use super::{
    TerminalFeeds,
    post::{KEYS, POSTED},
    roles::{is_control, is_stock},
};
use crate::{
    Instant,
    feeds::{Storage, ledger::TRIM_MAX},
};

/// How often it is looked for. A guess: a day's sales are a thousandth of what a disk has.
pub(super) const TRIM_EVERY: Duration = Duration::from_mins(10);
/// Before the next piece, when there was more than one: sales go first.
const NEXT_PIECE: Duration = Duration::from_secs(10);

impl TerminalFeeds {
    pub(super) fn trim(&mut self, now: Instant, storage: &mut dyn Storage) {
        if now < self.trim_at {
            return;
        }
        self.trim_at = now + TRIM_EVERY;
        let Some(hq_time) = self.hq_time.map(|(time, at)| time.plus(now.since(at))) else { return };
        let retention = Duration::from_secs(self.settings.journal_retention_s);
        let generation = self.ledger.generation();
        let mut aged = self.ledger.aged(generation, hq_time, retention);
        aged.retain(|(number, _)| {
            let feed = &self.ledger.feed(*number).id;
            !is_control(feed) && !is_stock(feed)
        });
        let mut left = TRIM_MAX;
        for (number, upto) in aged {
            if left == 0 {
                self.trim_at = now + NEXT_PIECE;
                return;
            }
            let first = self.ledger.feed(number).first;
            let gone = self.ledger.trim(storage, number, upto.min(first + left - 1));
            left -= gone;
            for seq in first..first + gone {
                let posted = number.entry(seq);
                if let Some(key) = storage.get(POSTED, &posted) {
                    storage.delete(KEYS, &key);
                    storage.delete(POSTED, &posted);
                }
            }
        }
    }
}
