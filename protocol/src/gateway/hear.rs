//! What follows from a lease, and from the neighbours' words on its holder.

use storemesh_keys::{Authored, PeerId, Verified};

use super::{
    ANSWER_TIMEOUT, AUXILIARY_BYTES_AFTER, BACKOFF, Gateway, Output, ToldBy, UNSERVED, Uplink,
    split::{Split, Step},
};
use crate::{Instant, Lease, statements::Unseen, wire::mesh::AskUnseen};

impl Gateway {
    pub(super) fn heard(
        &mut self,
        now: Instant,
        lease: Verified<Lease>,
        told_by: ToldBy,
        outputs: &mut Vec<Output>,
    ) {
        let (spoke, served) = (self.speaks(), self.is_served());
        let (part, holder) = (lease.part, lease.holder);
        if let ToldBy::Hq { .. } = told_by
            && part == 0
            && self.holds_part()
        {
            // Whoever holds an auxiliary lease is told of that one for as long as it stands.
            self.drop_part();
            outputs.extend(spoke.then_some(Output::TellDark));
        }
        let newer = if part == 0 { self.take_whole(lease) } else { self.take_part(lease, told_by) };
        if let Some(newer) = &newer {
            outputs.push(Output::Spread(newer.clone()));
        }
        match told_by {
            ToldBy::Hq { challenge } => self.answered(now, holder, challenge, outputs),
            ToldBy::Neighbour if newer.is_some() => self.passed_on(now, spoke, served, outputs),
            ToldBy::Neighbour => {}
        }
    }

    /// Notes a lease for the whole store, if it is news.
    pub(super) fn take_whole(&mut self, lease: Verified<Lease>) -> Option<Verified<Lease>> {
        if self.lease.as_ref().is_some_and(|known| lease.order() <= known.order()) {
            return None;
        }
        self.holder_is_dark = false;
        // HQ ends the auxiliary leases of a store when it grants the whole of it anew.
        self.part = self.part.take().filter(|part| lease.order() < part.order());
        self.lease = Some(lease.clone());
        Some(lease)
    }

    /// Notes an auxiliary lease, if it is news and for this part.
    pub(super) fn take_part(
        &mut self,
        lease: Verified<Lease>,
        told_by: ToldBy,
    ) -> Option<Verified<Lease>> {
        let whole = self.lease.as_ref()?;
        let known = self.part.as_ref();
        // What has ended may still be on its way from neighbour to neighbour.
        let ended = told_by == ToldBy::Neighbour && lease.order() <= self.ended;
        let newer = !ended
            && whole.order() < lease.order()
            && known.is_none_or(|known| known.order() < lease.order());
        // Where the store's own gateway is seen, no other counts.
        let elsewhere = self.sees_the_holder() && !self.holder_is_dark;
        if !newer || elsewhere || !self.sees(&lease.holder) {
            return None;
        }
        self.part = Some(lease.clone());
        Some(lease)
    }

    /// HQ has answered a call: the lease known now is the one that stands.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        holder: PeerId,
        challenge: Option<u64>,
        outputs: &mut Vec<Output>,
    ) {
        self.failures = 0;
        // HQ has heard of the holder a moment ago.
        self.holder_is_dark = false;
        let whole = self.holder() == Some(self.me);
        if holder == self.me && (whole || self.holds_part()) {
            if whole {
                self.part = None;
                self.bytes_from = now;
            } else if self.uplink != Uplink::Ready {
                self.bytes_from = now + AUXILIARY_BYTES_AFTER;
            }
            if self.uplink != Uplink::Closed {
                self.uplink = Uplink::Ready;
            }
            return;
        }
        let long = self.unserved.is_some_and(|since| since + UNSERVED <= now);
        if let (Some(challenge), Some(lease), true) = (challenge, &self.lease, long) {
            let (generation, epoch) = lease.order();
            outputs.push(Output::AskUnseen(AskUnseen { generation, epoch, challenge }));
            let mut split = Split::new(now, challenge, &self.neighbours);
            let step = split.step();
            self.split = Some(split);
            self.split_steps(now, step, outputs);
        } else {
            self.call_later(now, outputs);
        }
    }

    /// A neighbour has passed a newer lease on.
    pub(super) fn passed_on(
        &mut self,
        now: Instant,
        spoke: bool,
        served: bool,
        outputs: &mut Vec<Output>,
    ) {
        if self.holder() == Some(self.me) {
            // HQ's answer is on its way, or was lost.
            if self.uplink == Uplink::Closed {
                self.call_at = self.call_at.min(now);
            }
            return;
        }
        // A call that is under way comes to its answer: what it measures orders the candidates.
        let calling = matches!(self.uplink, Uplink::Calling(_)) && self.split.is_none();
        if !calling && (self.is_served() || served || (spoke && !self.holds_part())) {
            self.call_later(now, outputs);
        }
    }

    pub(super) fn answered_unseen(
        &mut self,
        now: Instant,
        peer: PeerId,
        word: Option<Authored<Unseen>>,
        outputs: &mut Vec<Output>,
    ) {
        let Some(split) = &mut self.split else { return };
        let step = split.answered(peer, word);
        if step == Step::NotAlone {
            self.behind = Some(peer);
        }
        self.split_steps(now, step, outputs);
    }

    pub(super) fn split_steps(&mut self, now: Instant, step: Step, outputs: &mut Vec<Output>) {
        match step {
            Step::Wait => {}
            Step::Alone { challenge, words } => {
                self.split = None;
                self.uplink = Uplink::Calling(now + ANSWER_TIMEOUT);
                outputs.push(Output::AskPart { challenge, words });
            }
            Step::NotAlone => self.call_later(now, outputs),
        }
    }

    pub(super) fn drop_part(&mut self) {
        if let Some(part) = self.part.take() {
            self.ended = self.ended.max(part.order());
        }
    }

    /// The auxiliary lease that is known has ended.
    pub(super) fn end_part(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let mine = self.holds_part();
        self.drop_part();
        if mine {
            outputs.push(Output::TellDark);
            self.call_later(now, outputs);
            if !self.is_served() {
                self.call_at = now + BACKOFF;
            }
        }
    }
}
