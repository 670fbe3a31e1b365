//! Whether this terminal speaks to HQ for its store.
//!
//! HQ is the arbiter: it grants a numbered lease, the higher number counts, and nobody takes a
//! gateway's word without it. A terminal that starts calls HQ once, to learn its neighbours'
//! addresses and who the gateway is; if there is none, it is granted the lease by that call. The
//! others keep off the uplink for as long as the holder is their neighbour and reaches HQ. When it
//! is lost, or says that it does not ([`Input::Dark`]), they call in turn, [`TURN`] apart by PeerId,
//! and HQ grants the lease to the first, once the holder has not answered HQ either.
//!
//! A holder cut off from its neighbours, but not from HQ, stays gateway to itself until HQ gives
//! the lease to another; that costs bandwidth, never correctness. One that is stopped gives the
//! lease back first.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use storemesh_keys::{PeerId, Verified};

use crate::{Instant, Lease};

/// Between one candidate's call and the next one's: a call to HQ over a poor link takes as long.
const TURN: Duration = Duration::from_millis(700);
/// A terminal that knows a holder which is not its neighbour asks HQ again so often. The first
/// number is long enough for a thousand stores, the second spreads a store's terminals.
const RECHECK: Duration = Duration::from_secs(15);
/// The first pause after a call that failed; it doubles up to the other.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// HQ must have answered a call by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Whom HQ refuses calls again only so often: it takes a person to mend that.
const REFUSED: Duration = Duration::from_mins(1);

#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The uplink stands and HQ has proven to be HQ.
    UplinkReady,
    UplinkDown,
    /// HQ's signed word on who holds the lease.
    Lease {
        lease: Verified<Lease>,
        told_by: ToldBy,
    },
    /// HQ does not take this terminal for one of its own.
    Refused,
    NeighbourUp(PeerId),
    NeighbourLost(PeerId),
    /// A neighbour says that it holds the lease but does not reach HQ.
    Dark(PeerId),
    /// The program is to end.
    Stopping,
    Tick,
}

/// Who passed a lease on. HQ's signature is the same; but only HQ's own answer says that the lease
/// stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToldBy {
    Hq,
    Neighbour,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    OpenUplink,
    CloseUplink,
    /// Ask HQ for the lease.
    Ask,
    /// This lease is the newest known: tell the neighbours.
    Spread(Verified<Lease>),
    /// From now on this terminal may fetch from HQ, and should report.
    Serve,
    /// No longer.
    Rest,
    /// Tell the neighbours that this terminal, which holds the lease, does not reach HQ.
    TellDark,
    /// Give the lease back to HQ.
    GiveBack,
}

#[derive(Debug)]
pub(crate) struct Gateway {
    me: PeerId,
    lease: Option<Verified<Lease>>,
    neighbours: BTreeSet<PeerId>,
    uplink: Uplink,
    /// When to call HQ next, if nothing happens before.
    call_at: Instant,
    failures: u32,
    serving: bool,
    /// The holder said that it does not reach HQ.
    holder_is_dark: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uplink {
    Closed,
    /// Opening or awaiting HQ's answer, at most until then.
    Calling(Instant),
    Ready,
}

impl Gateway {
    /// `lease` is the last one heard before the restart; HQ may have another by now.
    pub(crate) fn new(me: PeerId, lease: Option<Verified<Lease>>, now: Instant) -> Self {
        let (neighbours, uplink) = (BTreeSet::new(), Uplink::Closed);
        Self {
            me,
            lease,
            neighbours,
            uplink,
            call_at: now,
            failures: 0,
            serving: false,
            holder_is_dark: false,
        }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::UplinkReady => outputs.push(Output::Ask),
            Input::UplinkDown => self.down(now, Duration::ZERO, &mut outputs),
            Input::Refused => self.down(now, REFUSED, &mut outputs),
            Input::Lease { lease, told_by } => self.heard(now, lease, told_by, &mut outputs),
            Input::NeighbourUp(peer) => {
                self.neighbours.insert(peer);
                if self.is_served() && self.uplink == Uplink::Closed {
                    self.call_at = Instant::NEVER;
                }
            }
            Input::NeighbourLost(peer) => {
                self.neighbours.remove(&peer);
                if self.holder() == Some(peer) {
                    self.call_at = now + self.turn();
                }
            }
            Input::Dark(peer) => {
                if self.holder() == Some(peer) && !self.holder_is_dark {
                    self.holder_is_dark = true;
                    self.call_at = now + self.turn();
                }
            }
            Input::Stopping => {
                if self.serving {
                    outputs.extend([Output::GiveBack, Output::TellDark]);
                }
            }
            Input::Tick => {}
        }
        if let Uplink::Calling(until) = self.uplink
            && until <= now
        {
            outputs.push(Output::CloseUplink);
            self.down(now, Duration::ZERO, &mut outputs);
        }
        if self.uplink == Uplink::Closed && self.call_at <= now {
            self.uplink = Uplink::Calling(now + ANSWER_TIMEOUT);
            self.call_at = Instant::NEVER;
            outputs.push(Output::OpenUplink);
        }
        outputs
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub(crate) fn deadline(&self) -> Instant {
        match self.uplink {
            Uplink::Closed => self.call_at,
            Uplink::Calling(until) => until,
            Uplink::Ready => Instant::NEVER,
        }
    }

    pub(crate) fn lease(&self) -> Option<&Verified<Lease>> {
        self.lease.as_ref()
    }

    /// The terminal that holds the lease, as far as this one has heard.
    pub(crate) fn holder(&self) -> Option<PeerId> {
        self.lease.as_ref().map(|lease| lease.holder)
    }

    /// Whether this terminal holds the lease, has called HQ in vain, and should say so.
    pub(crate) fn is_dark(&self) -> bool {
        self.holder() == Some(self.me) && !self.serving && self.failures > 0
    }

    /// Whether this terminal holds the lease and HQ is on the line.
    pub(crate) fn serving(&self) -> bool {
        self.serving
    }

    fn heard(
        &mut self,
        now: Instant,
        lease: Verified<Lease>,
        told_by: ToldBy,
        outputs: &mut Vec<Output>,
    ) {
        let newer = self.lease.as_ref().is_none_or(|known| known.order() < lease.order());
        if newer {
            outputs.push(Output::Spread(lease.clone()));
            self.lease = Some(lease);
            self.holder_is_dark = false;
        }
        match told_by {
            ToldBy::Hq => self.answered(now, outputs),
            ToldBy::Neighbour if newer => self.passed_on(now, outputs),
            ToldBy::Neighbour => {}
        }
    }

    /// HQ has answered a call: the lease known now is the one that stands.
    fn answered(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        self.failures = 0;
        // HQ has heard of the holder a moment ago.
        self.holder_is_dark = false;
        if self.holder() == Some(self.me) {
            if let Uplink::Calling(_) = self.uplink {
                self.uplink = Uplink::Ready;
                self.serving = true;
                outputs.push(Output::Serve);
            }
            return;
        }
        self.hang_up(outputs);
        self.call_at = self.when_to_call_again(now);
    }

    /// A neighbour has passed a newer lease on.
    fn passed_on(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.holder() == Some(self.me) {
            // HQ's answer is on its way, or was lost.
            if self.uplink == Uplink::Closed {
                self.call_at = self.call_at.min(now);
            }
        } else if self.serving || self.is_served() {
            self.hang_up(outputs);
            self.call_at = self.when_to_call_again(now);
        }
    }

    fn hang_up(&mut self, outputs: &mut Vec<Output>) {
        if self.uplink != Uplink::Closed {
            outputs.push(Output::CloseUplink);
            self.uplink = Uplink::Closed;
        }
        self.rest(outputs);
    }

    fn when_to_call_again(&self, now: Instant) -> Instant {
        if self.is_served() { Instant::NEVER } else { now + RECHECK + self.turn() }
    }

    /// Whether the holder is a neighbour and reaches HQ, as far as it has said.
    fn is_served(&self) -> bool {
        let seen = |holder| self.neighbours.contains(&holder);
        !self.holder_is_dark && self.holder().is_some_and(seen)
    }

    fn down(&mut self, now: Instant, at_least: Duration, outputs: &mut Vec<Output>) {
        if self.uplink == Uplink::Closed {
            return;
        }
        self.uplink = Uplink::Closed;
        self.rest(outputs);
        let wait = BACKOFF.saturating_mul(1 << self.failures.min(6)).min(BACKOFF_MAX).max(at_least);
        self.failures = self.failures.saturating_add(1);
        if self.holder() == Some(self.me) {
            self.call_at = now + wait;
            outputs.push(Output::TellDark);
        } else {
            self.call_at = if self.is_served() { Instant::NEVER } else { now + wait + self.turn() };
        }
    }

    fn rest(&mut self, outputs: &mut Vec<Output>) {
        if self.serving {
            self.serving = false;
            outputs.push(Output::Rest);
        }
    }

    /// How long this terminal lets those before it in the order go first.
    fn turn(&self) -> Duration {
        let holder = self.holder();
        let before = |peer: &&PeerId| **peer < self.me && Some(**peer) != holder;
        let rank = self.neighbours.iter().filter(before).count();
        TURN * u32::try_from(rank).unwrap_or(u32::MAX)
    }
}
