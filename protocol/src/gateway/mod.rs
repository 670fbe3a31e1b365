//! Whether this terminal speaks to HQ for its store, and who does.
//!
//! HQ is the arbiter: it grants a numbered lease, the higher number counts, and nobody takes a
//! gateway's word without it. A terminal that starts calls HQ once, to learn its neighbours'
//! addresses and who the gateway is; if there is none, it is granted the lease by that call. The
//! others keep off the uplink for as long as the holder is their neighbour and reaches HQ. When it
//! is lost, or says that it does not ([`Input::Dark`]), they call in turn, [`TURN`] apart in the
//! published order ([`order`]), and HQ grants the lease to the first, once the holder has not
//! answered HQ either. A holder that sees a clearly better one offers it the lease ([`handover`]).
//!
//! A terminal that has not seen the holder for [`UNSERVED`], though HQ does, is in another part of a
//! split store. If its neighbours do not see the holder either ([`split`]) HQ may grant it an
//! auxiliary lease: feeds at once, chunks after [`AUXILIARY_BYTES_AFTER`], since most splits are short and a
//! release would cross the WAN twice. It ends when the parts meet.
//!
//! A holder cut off from its neighbours, but not from HQ, stays gateway to itself until HQ gives
//! the lease to another; that costs bandwidth, never correctness. One that is stopped gives the
//! lease back first.

mod handover;
mod hear;
mod line;
mod order;
mod split;
#[cfg(test)]
mod tests;
mod why;

use std::{collections::BTreeSet, time::Duration};

use storemesh_keys::{Authored, PeerId, Verified};

pub(crate) use self::why::Call;
use self::{handover::Handover, order::Order, split::Split};
use crate::{
    Instant, Lease,
    statements::Unseen,
    terminal::Hardware,
    wire::mesh::{AskUnseen, Candidate},
};

/// Between one candidate's call and the next one's: a call to HQ over a poor link takes as long.
const TURN: Duration = Duration::from_millis(700);
/// A terminal that knows a holder which is not its neighbour asks HQ again so often. The first
/// number is long enough for a thousand stores, the second spreads a store's terminals.
const RECHECK: Duration = Duration::from_secs(15);
/// One that hears the holder's news by way of a neighbour need not ask as often.
const RECHECK_BEHIND: Duration = Duration::from_mins(2);
/// Neighbours that start together have found each other by then.
const UNSERVED: Duration = Duration::from_secs(5);
/// How long an auxiliary lease carries feeds alone.
pub const AUXILIARY_BYTES_AFTER: Duration = Duration::from_mins(10);
/// The first pause after a call that failed; it doubles up to the other.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// HQ must have answered a call by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Whom HQ refuses calls again only so often: it takes a person to mend that.
const REFUSED: Duration = Duration::from_mins(1);

#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The uplink stands and HQ has proven to be HQ, so long after our hello.
    UplinkReady {
        delay: Duration,
    },
    UplinkDown,
    /// HQ's signed word on who holds a lease.
    Lease {
        lease: Verified<Lease>,
        told_by: ToldBy,
    },
    /// HQ has ended the auxiliary lease of this epoch.
    Ended {
        epoch: u64,
    },
    /// HQ does not take this terminal for one of its own.
    Refused,
    NeighbourUp(PeerId),
    NeighbourLost(PeerId),
    /// A neighbour says that it holds the lease but does not reach HQ.
    Dark(PeerId),
    /// It does again.
    Bright(PeerId),
    /// A neighbour says what it would be as the gateway.
    Candidate {
        peer: PeerId,
        candidate: Candidate,
    },
    /// What this machine is connected to.
    Hardware(Hardware),
    /// Whether what HQ wants finds no room on this terminal's disk.
    NoRoom(bool),
    /// Whether HQ has ended all that this terminal writes.
    JournalEnded(bool),
    /// What HQ's chunks come with.
    Rate(u64),
    /// A neighbour that holds the lease would rather see this terminal hold it.
    Offered(PeerId),
    /// A neighbour's answer: its word that it does not see the holder, or none.
    Unseen {
        peer: PeerId,
        word: Option<Authored<Unseen>>,
    },
    /// The program is to end.
    Stopping,
    Tick,
}

/// Who passed a lease on. HQ's signature is the same; but only HQ's own answer says that the lease
/// stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToldBy {
    Hq {
        /// With it this terminal may ask for an auxiliary lease.
        challenge: Option<u64>,
    },
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
    /// From now on this terminal may fetch chunks from HQ.
    Serve,
    /// No longer.
    Rest,
    /// Tell the neighbours that this terminal, which holds the lease, does not reach HQ.
    TellDark,
    /// Tell them that it does again.
    TellBright,
    /// Give the lease back to HQ, for this terminal to have it.
    GiveBack(Option<PeerId>),
    /// Tell this neighbour that HQ will grant it the lease.
    Offer(PeerId),
    /// Tell the neighbours what this terminal would be as the gateway.
    TellCandidate(Candidate),
    /// Ask the neighbours for their word that they do not see the holder.
    AskUnseen(AskUnseen),
    /// Ask HQ for an auxiliary lease.
    AskPart {
        challenge: u64,
        words: Vec<Authored<Unseen>>,
    },
}

#[derive(Debug)]
pub(crate) struct Gateway {
    me: PeerId,
    /// For the whole store.
    lease: Option<Verified<Lease>>,
    /// An auxiliary one, for the part of a split store in which this terminal is.
    part: Option<Verified<Lease>>,
    /// The newest auxiliary lease that is known to have ended, by [`Lease::order`].
    ended: (u64, u64),
    neighbours: BTreeSet<PeerId>,
    order: Order,
    uplink: Uplink,
    /// When to call HQ next, if nothing happens before.
    call_at: Instant,
    failures: u32,
    /// Chunks may be fetched from then on, while this terminal speaks to HQ.
    bytes_from: Instant,
    fetching: bool,
    /// The holder said that it does not reach HQ.
    holder_is_dark: bool,
    /// The neighbours were told that this terminal, which holds the lease, does not reach HQ.
    told_dark: bool,
    /// Since when no gateway is among the neighbours; none while one is, or this terminal is it.
    unserved: Option<Instant>,
    /// This neighbour has said that it sees the holder.
    behind: Option<PeerId>,
    split: Option<Split>,
    handover: Handover,
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
        Self {
            me,
            lease,
            part: None,
            ended: (0, 0),
            neighbours: BTreeSet::new(),
            order: Order::new(me, now),
            uplink: Uplink::Closed,
            call_at: now,
            failures: 0,
            bytes_from: now,
            fetching: false,
            holder_is_dark: false,
            told_dark: false,
            unserved: Some(now),
            behind: None,
            split: None,
            handover: Handover::new(),
        }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::UplinkReady { delay } => {
                self.order.delay(delay);
                outputs.push(Output::Ask);
            }
            Input::UplinkDown => self.down(now, Duration::ZERO, &mut outputs),
            Input::Refused => self.down(now, REFUSED, &mut outputs),
            Input::Lease { lease, told_by } => self.heard(now, lease, told_by, &mut outputs),
            Input::Ended { epoch } => {
                if self.part.as_ref().is_some_and(|part| part.epoch == epoch) {
                    self.end_part(now, &mut outputs);
                }
            }
            Input::NeighbourUp(peer) => self.neighbour_up(now, peer, &mut outputs),
            Input::NeighbourLost(peer) => self.neighbour_lost(now, peer, &mut outputs),
            Input::Dark(peer) => self.dark(now, peer, &mut outputs),
            Input::Bright(peer) => self.bright(now, peer, &mut outputs),
            Input::Candidate { peer, candidate } => {
                if self.neighbours.contains(&peer) {
                    self.order.heard(now, peer, candidate);
                }
            }
            Input::Hardware(hardware) => self.order.hardware(hardware),
            Input::NoRoom(no_room) => self.order.no_room(no_room),
            Input::JournalEnded(ended) => self.order.ended(ended),
            Input::Rate(bytes_per_s) => self.order.rate(bytes_per_s),
            Input::Offered(peer) => {
                if self.holder() == Some(peer) && self.uplink == Uplink::Closed {
                    self.call_at = now;
                }
            }
            Input::Unseen { peer, word } => self.answered_unseen(now, peer, word, &mut outputs),
            Input::Stopping => {
                if self.speaks() {
                    outputs.extend([Output::GiveBack(None), Output::TellDark]);
                }
            }
            Input::Tick => {}
        }
        self.due(now, &mut outputs);
        self.settle(now, &mut outputs);
        outputs
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub(crate) fn deadline(&self) -> Instant {
        let uplink = match self.uplink {
            Uplink::Closed => self.call_at,
            Uplink::Calling(until) => until,
            Uplink::Ready => Instant::NEVER,
        };
        let split = self.split.as_ref().map_or(Instant::NEVER, Split::deadline);
        let bytes = if self.speaks() && !self.fetching { self.bytes_from } else { Instant::NEVER };
        uplink.min(split).min(bytes).min(self.handover.deadline())
    }

    /// The newest lease for the whole store.
    pub(crate) fn lease(&self) -> Option<&Verified<Lease>> {
        self.lease.as_ref()
    }

    /// An auxiliary lease for the part of the store in which this terminal is.
    pub(crate) fn part(&self) -> Option<&Verified<Lease>> {
        self.part.as_ref()
    }

    /// The lease of the gateway that serves this terminal, or should.
    pub(crate) fn gateway(&self) -> Option<&Verified<Lease>> {
        let part = self.part.as_ref().filter(|part| self.sees(&part.holder));
        let whole = self.lease.as_ref();
        if self.sees_the_holder() && !self.holder_is_dark { whole } else { part.or(whole) }
    }

    /// Whether this terminal holds the lease, has called HQ in vain, and should say so.
    pub(crate) fn is_dark(&self) -> bool {
        self.holder() == Some(self.me) && !self.speaks() && self.failures > 0
    }

    /// Whether this terminal holds a lease and HQ is on the line.
    pub(crate) fn speaks(&self) -> bool {
        self.uplink == Uplink::Ready
    }

    /// The lease by which it does.
    pub(crate) fn speaks_by(&self) -> Option<&Verified<Lease>> {
        let mine = |lease: &&Verified<Lease>| lease.holder == self.me;
        let held = self.lease.as_ref().filter(mine).or(self.part.as_ref().filter(mine));
        held.filter(|_| self.speaks())
    }

    /// What this terminal tells of itself.
    pub(crate) fn candidate(&self, now: Instant) -> Candidate {
        self.order.mine(now)
    }

    /// Whether this terminal can sign that it does not see the holder of this lease.
    pub(crate) fn does_not_see(&self, asked: &AskUnseen) -> bool {
        let known = |lease: &Verified<Lease>| lease.order() == (asked.generation, asked.epoch);
        self.lease.as_ref().is_some_and(known) && !self.sees_the_holder()
    }

    /// Who holds the lease for the whole store, as far as this terminal has heard.
    fn holder(&self) -> Option<PeerId> {
        self.lease.as_ref().map(|lease| lease.holder)
    }

    fn holds_part(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.holder == self.me)
    }

    fn sees(&self, peer: &PeerId) -> bool {
        *peer == self.me || self.neighbours.contains(peer)
    }

    fn sees_the_holder(&self) -> bool {
        self.holder().is_some_and(|holder| self.sees(&holder))
    }

    fn neighbour_up(&mut self, now: Instant, peer: PeerId, outputs: &mut Vec<Output>) {
        self.neighbours.insert(peer);
        if self.holder() == Some(peer) {
            // It says so again if it is.
            self.holder_is_dark = false;
        }
        // It may see the holder, and was not asked.
        let asking = self.split.take().is_some();
        if self.holds_part() && self.sees_the_holder() && !self.holder_is_dark {
            self.end_part(now, outputs);
        } else if asking {
            self.call_later(now, outputs);
        } else if self.is_served() && self.uplink == Uplink::Closed {
            self.call_at = Instant::NEVER;
        }
    }

    fn neighbour_lost(&mut self, now: Instant, peer: PeerId, outputs: &mut Vec<Output>) {
        let served = self.is_served();
        self.neighbours.remove(&peer);
        self.order.lost(&peer);
        if self.behind == Some(peer) {
            self.behind = None;
            self.call_at = self.call_at.min(now + RECHECK);
        }
        if self.part.as_ref().is_some_and(|part| part.holder == peer) {
            // If it comes back it brings the lease with it.
            self.part = None;
        }
        if served && !self.is_served() {
            self.call_in_turn(now);
        }
        if let Some(split) = &mut self.split {
            let step = split.lost(&peer);
            self.split_steps(now, step, outputs);
        }
    }

    fn bright(&mut self, now: Instant, peer: PeerId, outputs: &mut Vec<Output>) {
        if self.holder() != Some(peer) {
            return;
        }
        self.holder_is_dark = false;
        if self.holds_part() {
            self.end_part(now, outputs);
        } else if self.uplink == Uplink::Closed {
            self.call_at = Instant::NEVER;
        }
    }

    fn dark(&mut self, now: Instant, peer: PeerId, outputs: &mut Vec<Output>) {
        let served = self.is_served();
        if self.holder() == Some(peer) {
            self.holder_is_dark = true;
        } else if self.part.as_ref().is_some_and(|part| part.holder == peer) {
            self.drop_part();
        } else {
            return;
        }
        if self.speaks() && self.holds_part() && self.sees_the_holder() {
            // The parts have met, and this one's gateway alone reaches HQ.
            outputs.push(Output::Ask);
        } else if served && !self.is_served() {
            self.call_in_turn(now);
        }
    }

    /// What follows from how things are, after every input.
    fn settle(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        self.unserved =
            if self.is_served() || self.speaks() { None } else { self.unserved.or(Some(now)) };
        if self.unserved.is_none() {
            self.behind = None;
        }
        let may_fetch = self.speaks() && self.bytes_from <= now;
        if may_fetch != self.fetching {
            self.fetching = may_fetch;
            outputs.push(if may_fetch { Output::Serve } else { Output::Rest });
        }
        let dark = self.is_dark();
        if std::mem::replace(&mut self.told_dark, dark) != dark {
            outputs.extend(match (dark, self.holder() == Some(self.me)) {
                (true, _) => Some(Output::TellDark),
                (false, true) => Some(Output::TellBright),
                // Another holds it by now.
                (false, false) => None,
            });
        }
        if self.speaks() && self.holder() == Some(self.me) {
            if let Some(better) = self.handover.look(now, &self.order) {
                outputs.extend([Output::GiveBack(Some(better)), Output::Offer(better)]);
            }
        } else {
            self.handover.rest();
        }
        if self.order.is_news() {
            outputs.push(Output::TellCandidate(self.order.mine(now)));
        }
    }

    /// Whether a gateway that reaches HQ is among the neighbours, as far as they have said.
    pub(crate) fn is_served(&self) -> bool {
        let near = |peer: &PeerId| self.neighbours.contains(peer);
        let whole = !self.holder_is_dark && self.holder().is_some_and(|holder| near(&holder));
        whole || self.part.as_ref().is_some_and(|part| near(&part.holder))
    }
}
