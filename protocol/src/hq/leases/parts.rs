//! The auxiliary leases of one store: each for a part of it that the gateway does not reach.
//!
//! The asker shows the word of all its neighbours that they do not see the gateway, each over the
//! number that HQ gave the asker ([`Parts::challenge`]), and the gateway's own last report must name
//! neither the asker nor any of them. So it takes both sides to believe in a split. It has ended when
//! the reports of both sides name one terminal: the parts have met. It also ends with its holder's
//! connection, since asking again costs a second, and with the store's own lease.
//!
//! It carries feeds at once. Chunks are served to its holder only once it is `ripe`: most splits are
//! shorter, and another copy of a release is dear.

use std::collections::{BTreeMap, BTreeSet};

use storemesh_keys::{PeerId, Timestamp, Verified};

use crate::{Instant, Lease, gateway::AUXILIARY_BYTES_AFTER};

/// Parts of one store that have their own gateway at once: more broken cables than a shop has.
const PARTS_MAX: usize = 4;
/// Numbers given and not yet shown: as many terminals as a store may have.
const CHALLENGES_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Parts {
    by_number: BTreeMap<u32, Part>,
    challenges: BTreeMap<PeerId, u64>,
    last_challenge: u64,
}

#[derive(Debug)]
struct Part {
    lease: Verified<Lease>,
    /// The holder's neighbours, as they signed and as it has reported since.
    members: BTreeSet<PeerId>,
    ripe_at: Instant,
    ripe: bool,
}

impl Parts {
    /// A number for `asker` to have signed. Never the same again, also after a restart, as long as
    /// HQ's clock does not go back.
    pub(super) fn challenge(&mut self, wall: Timestamp, asker: PeerId) -> u64 {
        self.last_challenge = wall.0.max(self.last_challenge + 1);
        if self.challenges.len() >= CHALLENGES_MAX && !self.challenges.contains_key(&asker) {
            self.challenges.pop_first();
        }
        self.challenges.insert(asker, self.last_challenge);
        self.last_challenge
    }

    /// Whether this is the number that `asker` was given last; good once.
    pub(super) fn take_challenge(&mut self, asker: PeerId, challenge: u64) -> bool {
        self.challenges.remove(&asker) == Some(challenge)
    }

    /// The number of another part; none when there are too many.
    pub(super) fn free_number(&self) -> Option<u32> {
        let numbers = 1..=u32::try_from(PARTS_MAX).expect("few");
        numbers.into_iter().find(|number| !self.by_number.contains_key(number))
    }

    pub(super) fn granted(
        &mut self,
        now: Instant,
        lease: Verified<Lease>,
        members: BTreeSet<PeerId>,
    ) {
        let part = Part { members, ripe_at: now + AUXILIARY_BYTES_AFTER, ripe: false, lease };
        self.by_number.insert(part.lease.part, part);
    }

    /// The lease that `peer` holds.
    pub(super) fn held_by(&self, peer: PeerId) -> Option<&Verified<Lease>> {
        self.by_number.values().map(|part| &part.lease).find(|lease| lease.holder == peer)
    }

    /// The lease of the part in which any of these terminals is.
    pub(super) fn lease_of(&self, peers: &BTreeSet<PeerId>) -> Option<&Verified<Lease>> {
        self.by_number.values().find(|part| part.meets(peers)).map(|part| &part.lease)
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = PeerId> {
        self.by_number.values().map(|part| part.lease.holder)
    }

    /// The terminals of the part that `holder` speaks for.
    pub(super) fn members(&self, holder: PeerId) -> Option<&BTreeSet<PeerId>> {
        let held = self.by_number.values().find(|part| part.lease.holder == holder);
        held.map(|part| &part.members)
    }

    /// Whom the holder of the auxiliary lease of this epoch reports; false when it has none.
    pub(super) fn reported(&mut self, peer: PeerId, epoch: u64, sees: &BTreeSet<PeerId>) -> bool {
        let by = |part: &&mut Part| (part.lease.holder, part.lease.epoch) == (peer, epoch);
        let Some(part) = self.by_number.values_mut().find(by) else { return false };
        part.members.clone_from(sees);
        true
    }

    /// Ends the leases of the parts that `sees`, the store's own gateway's report, has met.
    pub(super) fn end_those_that_meet(&mut self, sees: &BTreeSet<PeerId>) -> Vec<Verified<Lease>> {
        self.end(|part| part.meets(sees))
    }

    pub(super) fn end_of(&mut self, holder: PeerId) -> Vec<Verified<Lease>> {
        self.end(|part| part.lease.holder == holder)
    }

    pub(super) fn end_all(&mut self) -> Vec<Verified<Lease>> {
        self.end(|_| true)
    }

    pub(super) fn may_fetch(&self, peer: PeerId) -> bool {
        self.by_number.values().any(|part| part.ripe && part.lease.holder == peer)
    }

    /// Whether a lease has become ripe.
    pub(super) fn ripen(&mut self, now: Instant) -> bool {
        let mut any = false;
        for part in self.by_number.values_mut().filter(|p| !p.ripe && p.ripe_at <= now) {
            (part.ripe, any) = (true, true);
        }
        any
    }

    pub(super) fn deadline(&self) -> Instant {
        let unripe = self.by_number.values().filter(|part| !part.ripe);
        unripe.map(|part| part.ripe_at).min().unwrap_or(Instant::NEVER)
    }

    fn end(&mut self, which: impl Fn(&Part) -> bool) -> Vec<Verified<Lease>> {
        let ended = self.by_number.extract_if(.., |_, part| which(part));
        ended.map(|(_, part)| part.lease).collect()
    }
}

impl Part {
    fn meets(&self, peers: &BTreeSet<PeerId>) -> bool {
        peers.contains(&self.lease.holder) || !self.members.is_disjoint(peers)
    }
}
