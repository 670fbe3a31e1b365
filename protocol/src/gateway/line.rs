//! When this terminal calls HQ, and when it hangs up.

use std::time::Duration;

use storemesh_keys::PeerId;

use super::{
    ANSWER_TIMEOUT, BACKOFF, BACKOFF_MAX, Gateway, Output, RECHECK, RECHECK_BEHIND, TURN, UNSERVED,
    Uplink,
};
use crate::Instant;

impl Gateway {
    pub(super) fn due(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.split.as_ref().is_some_and(|split| split.deadline() <= now) {
            self.call_later(now, outputs);
        }
        if let Uplink::Calling(until) = self.uplink
            && until <= now
        {
            outputs.push(Output::CloseUplink);
            self.down(now, Duration::ZERO, outputs);
        }
        if self.uplink == Uplink::Closed && self.call_at <= now {
            self.uplink = Uplink::Calling(now + ANSWER_TIMEOUT);
            self.call_at = Instant::NEVER;
            outputs.push(Output::OpenUplink);
        }
    }

    /// Off the line, and on it again only when that is due.
    pub(super) fn call_later(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        self.split = None;
        if self.uplink != Uplink::Closed {
            outputs.push(Output::CloseUplink);
            self.uplink = Uplink::Closed;
        }
        self.call_at = if self.is_served() {
            Instant::NEVER
        } else if self.behind.is_some() {
            now + RECHECK_BEHIND + self.turn(now)
        } else {
            // Once it is clear that the holder will not be met, HQ is asked again at once.
            let clear = self.unserved.unwrap_or(now) + UNSERVED;
            let wait = if now < clear { clear } else { now + RECHECK };
            wait + self.turn(now)
        };
    }

    /// The gateway has just been lost.
    pub(super) fn call_in_turn(&mut self, now: Instant) {
        if self.uplink == Uplink::Closed {
            self.call_at = now + self.turn(now);
        }
    }

    pub(super) fn down(&mut self, now: Instant, at_least: Duration, outputs: &mut Vec<Output>) {
        if self.uplink == Uplink::Closed {
            return;
        }
        self.uplink = Uplink::Closed;
        self.split = None;
        let wait = BACKOFF.saturating_mul(1 << self.failures.min(6)).min(BACKOFF_MAX).max(at_least);
        self.failures = self.failures.saturating_add(1);
        let holds_part = self.holds_part();
        if holds_part {
            // HQ ends it when the line does.
            self.drop_part();
        }
        if self.holder() == Some(self.me) {
            self.call_at = now + wait;
        } else {
            if holds_part {
                outputs.push(Output::TellDark);
            }
            self.call_at =
                if self.is_served() { Instant::NEVER } else { now + wait + self.turn(now) };
        }
    }

    /// How long this terminal lets those before it in the order go first.
    pub(super) fn turn(&self, now: Instant) -> Duration {
        let (holder, mine) = (self.holder(), self.order.rank(now, self.me));
        let before = |peer: &&PeerId| Some(**peer) != holder && self.order.rank(now, **peer) < mine;
        let rank = self.neighbours.iter().filter(before).count();
        TURN * u32::try_from(rank).unwrap_or(u32::MAX)
    }
}
