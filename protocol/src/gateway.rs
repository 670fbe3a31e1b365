//! Whether this terminal speaks to HQ for its store.
//!
//! HQ is the arbiter: it grants a numbered lease, the higher number counts, and nobody takes a
//! gateway's word without it. A terminal that starts calls HQ once, to learn its neighbours'
//! addresses and who the gateway is; if there is none, it is granted the lease by that call. The
//! others keep off the uplink for as long as the holder is their neighbour. When it is lost they
//! call in turn, [`TURN`] apart by PeerId, and HQ grants the lease to the first.
//!
//! A holder cut off from its neighbours, but not from HQ, stays gateway to itself until HQ gives
//! the lease to another; that costs bandwidth, never correctness. A holder cut off from HQ calls
//! again and again and its neighbours keep it until they lose it.

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

#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The uplink stands and HQ has proven to be HQ.
    UplinkReady,
    UplinkDown,
    /// HQ's signed word on who holds the lease, from HQ itself or passed on by a neighbour.
    Lease(Verified<Lease>),
    NeighbourUp(PeerId),
    NeighbourLost(PeerId),
    Tick,
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
        Self { me, lease, neighbours, uplink, call_at: now, failures: 0, serving: false }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::UplinkReady => {
                self.failures = 0;
                outputs.push(Output::Ask);
            }
            Input::UplinkDown => self.down(now, &mut outputs),
            Input::Lease(lease) => self.heard(now, lease, &mut outputs),
            Input::NeighbourUp(peer) => {
                self.neighbours.insert(peer);
                if self.holder() == Some(peer) && self.uplink == Uplink::Closed {
                    self.call_at = Instant::NEVER;
                }
            }
            Input::NeighbourLost(peer) => {
                self.neighbours.remove(&peer);
                if self.holder() == Some(peer) {
                    self.call_at = now + self.turn();
                }
            }
            Input::Tick => {}
        }
        if let Uplink::Calling(until) = self.uplink
            && until <= now
        {
            outputs.push(Output::CloseUplink);
            self.down(now, &mut outputs);
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

    /// Whether this terminal holds the lease and HQ is on the line.
    pub(crate) fn serving(&self) -> bool {
        self.serving
    }

    fn heard(&mut self, now: Instant, lease: Verified<Lease>, outputs: &mut Vec<Output>) {
        let newer = self.lease.as_ref().is_none_or(|known| known.order() < lease.order());
        let same = self.lease.as_ref().is_some_and(|known| known.order() == lease.order());
        if !newer && !same {
            return;
        }
        if newer {
            outputs.push(Output::Spread(lease.clone()));
            self.lease = Some(lease);
        }
        if self.holder() == Some(self.me) {
            match self.uplink {
                Uplink::Calling(_) => {
                    self.uplink = Uplink::Ready;
                    self.serving = true;
                    outputs.push(Output::Serve);
                }
                // A neighbour told: only HQ itself, asked, makes a gateway.
                Uplink::Closed => self.call_at = self.call_at.min(now),
                Uplink::Ready => {}
            }
            return;
        }
        if self.uplink != Uplink::Closed {
            outputs.push(Output::CloseUplink);
            self.uplink = Uplink::Closed;
        }
        self.rest(outputs);
        self.call_at = match self.holder() {
            Some(holder) if self.neighbours.contains(&holder) => Instant::NEVER,
            _ => now + RECHECK + self.turn(),
        };
    }

    fn down(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.uplink == Uplink::Closed {
            return;
        }
        self.uplink = Uplink::Closed;
        self.rest(outputs);
        let mine = self.holder() == Some(self.me);
        let served = self.holder().is_some_and(|holder| self.neighbours.contains(&holder));
        let wait = BACKOFF.saturating_mul(1 << self.failures.min(6)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.call_at = match (mine, served) {
            (true, _) => now + wait,
            (false, true) => Instant::NEVER,
            (false, false) => now + wait + self.turn(),
        };
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
