//! Who speaks for each store: HQ is the arbiter.
//!
//! A lease is granted to whoever asks while nobody holds it or its holder has no connection to HQ.
//! A holder that has one is pinged: if it answers within [`SILENCE`] it keeps the lease, and those
//! that asked are told of it; if not, the first that asked is granted it. A holder may give it back,
//! for anybody or for one terminal. The epoch rises at every change of holder, is saved before the
//! grant goes out, and never falls, so of two terminals that believe themselves gateway everybody can
//! tell the older one, and HQ takes reports for the store from the newest alone. Asking twice is
//! harmless. An HQ that was restored from a backup grants each lease anew to the first that asks. For stores
//! whose network is split see [`parts`].
//!
//! A holder that lives and is only slow to answer loses the lease; it hears so at once, and that
//! costs bandwidth, never correctness.

mod parts;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use storemesh_keys::{Expiry, HqSigned, HqSigner, Name, PeerId, Timestamp, Trust, Verified};

use self::parts::Parts;
use crate::{BadRow, Instant, Lease, Rows, Save};

pub(super) const LEASES: &str = "leases.1";

/// How long a holder may take to answer a ping before the lease goes to another.
pub const SILENCE: Duration = Duration::from_secs(1);
/// How long a holder's wish counts that another have the lease: that one calls at once.
pub(super) const PROMISE: Duration = Duration::from_secs(30);
/// Terminals of one store that wait for the answer to one ping: more than a store has.
const ASKERS_MAX: usize = 128;

#[derive(Debug)]
pub(super) struct Leases {
    by_store: BTreeMap<Name, Held>,
    pings: BTreeMap<Name, Ping>,
    next_ping: u64,
}

#[derive(Debug)]
struct Held {
    lease: Verified<Lease>,
    /// The highest epoch of all that were granted in this store.
    top: u64,
    /// The holder has given it back.
    free: bool,
    /// The holder wants this terminal to have it, if it asks by then.
    promised: Option<(PeerId, Instant)>,
    /// Whom the holder has named in its last report under this lease, and itself.
    sees: Option<BTreeSet<PeerId>>,
    parts: Parts,
}

/// A holder that has been asked whether it is there.
#[derive(Debug)]
struct Ping {
    number: u64,
    until: Instant,
    /// The first is granted the lease when no answer comes.
    askers: Vec<PeerId>,
}

/// What is to be told to whom.
#[derive(Debug)]
pub(super) enum Ruling {
    /// `to` holds this lease; `save` when that is new.
    Granted { to: PeerId, lease: Verified<Lease>, save: Option<Save> },
    /// Somebody else than `to` does, and is there. With the number `to` may ask for an auxiliary one.
    Held { to: PeerId, lease: Verified<Lease>, challenge: Option<u64> },
    /// The auxiliary lease that `to` held is no more.
    Ended { to: PeerId, epoch: u64 },
    /// The holder is to show that it is there.
    Ping { holder: PeerId, number: u64 },
}

impl Leases {
    pub(super) fn load(rows: &Rows, trust: &Trust) -> Result<Self, BadRow> {
        let mut leases = Vec::new();
        for row in rows.read::<HqSigned<Lease>>(LEASES) {
            let (_, signed) = row?;
            let why = |why| BadRow { table: LEASES.to_owned(), why: format!("{why}") };
            leases.push(signed.verify(trust, Timestamp(0), Expiry::Ignored).map_err(why)?);
        }
        let (whole, parts): (Vec<_>, Vec<_>) = leases.into_iter().partition(|l| l.part == 0);
        let whole = whole.into_iter().map(|lease| (lease.store.clone(), Held::new(lease)));
        let mut by_store: BTreeMap<Name, Held> = whole.collect();
        // Auxiliary leases end with HQ's program; their epochs are not given again.
        for part in parts {
            if let Some(held) = by_store.get_mut(&part.store) {
                held.top = held.top.max(part.epoch);
            }
        }
        Ok(Self { by_store, pings: BTreeMap::new(), next_ping: 1 })
    }

    /// The lease for the whole of a store.
    pub(super) fn whole(&self, store: &Name) -> Option<&Verified<Lease>> {
        self.by_store.get(store).map(|held| &held.lease)
    }

    pub(super) fn holder(&self, store: &Name) -> Option<PeerId> {
        self.whole(store).map(|lease| lease.holder)
    }

    /// Whether `peer` holds the store's lease, or an auxiliary one.
    pub(super) fn speaks(&self, store: &Name, peer: PeerId) -> bool {
        let held = self.by_store.get(store);
        held.is_some_and(|held| held.lease.holder == peer || held.parts.held_by(peer).is_some())
    }

    /// Whether HQ serves chunks to `peer`.
    pub(super) fn may_fetch(&self, store: &Name, peer: PeerId) -> bool {
        let held = self.by_store.get(store);
        held.is_some_and(|held| held.lease.holder == peer || held.parts.may_fetch(peer))
    }

    /// `asker` wants the lease; `holder` says whether the terminal that has it is connected.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        wall: Timestamp,
        signer: &HqSigner,
        store: &Name,
        asker: PeerId,
        holder: Holder,
    ) -> Vec<Ruling> {
        let Some(held) = self.by_store.get_mut(store) else {
            return self.grant(wall, signer, store, asker);
        };
        // An HQ that was restored from a backup may have granted it to another since, whom its terminals
        // still follow: an old word would be no news to them.
        if held.lease.generation < signer.described().generation {
            return self.grant(wall, signer, store, asker);
        }
        if held.lease.holder == asker {
            (held.free, held.promised) = (false, None);
            let granted = Ruling::Granted { to: asker, lease: held.lease.clone(), save: None };
            // It is there: that answers a ping too, which may have gone to a line that is dead.
            return std::iter::once(granted).chain(self.stands(wall, store)).collect();
        }
        let promised = held.promised.is_some_and(|(to, until)| to == asker && now < until);
        if held.free || promised || holder == Holder::Away {
            return self.grant(wall, signer, store, asker);
        }
        if let Some(ping) = self.pings.get_mut(store) {
            if ping.askers.len() < ASKERS_MAX && !ping.askers.contains(&asker) {
                ping.askers.push(asker);
            }
            return Vec::new();
        }
        let (number, holder) = (self.next_ping, held.lease.holder);
        self.next_ping += 1;
        let ping = Ping { number, until: now + SILENCE, askers: vec![asker] };
        self.pings.insert(store.clone(), ping);
        vec![Ruling::Ping { holder, number }]
    }

    /// A terminal has shown that neither it nor its neighbours see the holder.
    pub(super) fn ask_part(
        &mut self,
        now: Instant,
        wall: Timestamp,
        signer: &HqSigner,
        store: &Name,
        alone: Alone,
    ) -> Vec<Ruling> {
        let Some(held) = self.by_store.get_mut(store) else { return Vec::new() };
        let Alone { asker, challenge, neighbours: mut members } = alone;
        let whole =
            |held: &Held| Ruling::Held { to: asker, lease: held.lease.clone(), challenge: None };
        members.insert(asker);
        // No report yet: the gateway has only just been granted the lease, and may see them all.
        let apart = held.sees.as_ref().is_some_and(|sees| sees.is_disjoint(&members));
        if !held.parts.take_challenge(asker, challenge) || !apart {
            return vec![whole(held)];
        }
        if let Some(lease) = held.parts.lease_of(&members) {
            return vec![Ruling::Held { to: asker, lease: lease.clone(), challenge: None }];
        }
        let Some(number) = held.parts.free_number() else { return vec![whole(held)] };
        held.top += 1;
        let lease = sign(wall, signer, store, number, held.top, asker);
        held.parts.granted(now, lease.clone(), members);
        let save = Some(Save::put(LEASES, &row(store, number), lease.signed()));
        vec![Ruling::Granted { to: asker, lease, save }]
    }

    /// The holder is there: who asked is told so, or of the gateway of their part.
    pub(super) fn answered(
        &mut self,
        wall: Timestamp,
        store: &Name,
        peer: PeerId,
        number: u64,
    ) -> Vec<Ruling> {
        let holds = self.holder(store) == Some(peer);
        if !holds || self.pings.get(store).is_none_or(|ping| ping.number != number) {
            return Vec::new();
        }
        self.stands(wall, store)
    }

    /// A terminal has no connection any more: it waits for no answer.
    pub(super) fn hung_up(&mut self, store: &Name, peer: PeerId) {
        if let Some(ping) = self.pings.get_mut(store) {
            ping.askers.retain(|asker| *asker != peer);
        }
    }

    /// The holder keeps the lease: whoever waits for the answer to a ping is told.
    fn stands(&mut self, wall: Timestamp, store: &Name) -> Vec<Ruling> {
        let Some(ping) = self.pings.remove(store) else { return Vec::new() };
        let held = self.by_store.get_mut(store).expect("a lease that was asked for");
        let told = |to| match held.parts.lease_of(&BTreeSet::from([to])) {
            Some(lease) if lease.holder == to => {
                Ruling::Granted { to, lease: lease.clone(), save: None }
            }
            Some(lease) => Ruling::Held { to, lease: lease.clone(), challenge: None },
            None => {
                let challenge = Some(held.parts.challenge(wall, to));
                Ruling::Held { to, lease: held.lease.clone(), challenge }
            }
        };
        ping.askers.into_iter().map(told).collect()
    }

    /// A terminal reports on those it sees, by its lease of this epoch; none when it has no such
    /// lease (any more), and must not be believed.
    pub(super) fn reported(
        &mut self,
        store: &Name,
        peer: PeerId,
        epoch: u64,
        mut sees: BTreeSet<PeerId>,
    ) -> Option<Vec<Ruling>> {
        let held = self.by_store.get_mut(store)?;
        sees.insert(peer);
        if (held.lease.holder, held.lease.epoch) == (peer, epoch) {
            held.sees = Some(sees);
        } else if !held.parts.reported(peer, epoch, &sees) {
            return None;
        }
        let met = held.sees.as_ref().map(|sees| held.parts.end_those_that_meet(sees));
        Some(met.unwrap_or_default().into_iter().map(ended).collect())
    }

    /// Whom `peer` alone has named as a gateway: nobody reports on these once it is gone.
    pub(super) fn seen_by(&self, store: &Name, peer: PeerId) -> BTreeSet<PeerId> {
        let Some(held) = self.by_store.get(store) else { return BTreeSet::new() };
        if held.lease.holder == peer {
            held.sees.clone().unwrap_or_default()
        } else {
            held.parts.members(peer).cloned().unwrap_or_default()
        }
    }

    /// Whom the store's other gateways than `peer` have named.
    pub(super) fn seen_by_others(&self, store: &Name, peer: PeerId) -> BTreeSet<PeerId> {
        let holders = self.by_store.get(store).into_iter().flat_map(|held| {
            held.parts.holders().chain([held.lease.holder]).filter(|holder| *holder != peer)
        });
        holders.flat_map(|holder| self.seen_by(store, holder)).collect()
    }

    /// The holder has hung up, or gives the lease back: who asked need not wait.
    pub(super) fn gone(
        &mut self,
        wall: Timestamp,
        signer: &HqSigner,
        store: &Name,
        peer: PeerId,
        back: GivenBack,
    ) -> Vec<Ruling> {
        let Some(held) = self.by_store.get_mut(store) else { return Vec::new() };
        if held.lease.holder != peer {
            return held.parts.end_of(peer).into_iter().map(ended).collect();
        }
        match back {
            GivenBack::ToNobody => held.free = true,
            GivenBack::To { other, until } => {
                // It goes on until the other asks.
                held.promised = Some((other, until));
                return Vec::new();
            }
            GivenBack::No => {}
        }
        self.pass_on(wall, signer, store)
    }

    /// Grants what a silent holder has lost; names each store in which something has changed.
    pub(super) fn due(
        &mut self,
        now: Instant,
        wall: Timestamp,
        signer: &HqSigner,
    ) -> Vec<(Name, Vec<Ruling>)> {
        let late = |(store, ping): (&Name, &Ping)| (ping.until <= now).then(|| store.clone());
        let late: Vec<Name> = self.pings.iter().filter_map(late).collect();
        let mut changed = Vec::new();
        for store in late {
            let rulings = self.pass_on(wall, signer, &store);
            changed.push((store, rulings));
        }
        for (store, held) in &mut self.by_store {
            if held.parts.ripen(now) {
                changed.push((store.clone(), Vec::new()));
            }
        }
        changed
    }

    /// When [`Leases::due`] has something to do.
    pub(super) fn deadline(&self) -> Instant {
        let pings = self.pings.values().map(|ping| ping.until);
        let parts = self.by_store.values().map(|held| held.parts.deadline());
        pings.chain(parts).min().unwrap_or(Instant::NEVER)
    }

    /// To the first that asked, if somebody still waits.
    fn pass_on(&mut self, wall: Timestamp, signer: &HqSigner, store: &Name) -> Vec<Ruling> {
        let first = self.pings.get(store).and_then(|ping| ping.askers.first().copied());
        let Some(first) = first else {
            self.pings.remove(store);
            return Vec::new();
        };
        self.grant(wall, signer, store, first)
    }

    /// To `to`; the former holder and all that wait for the answer to a ping are told, and auxiliary
    /// leases end.
    fn grant(
        &mut self,
        wall: Timestamp,
        signer: &HqSigner,
        store: &Name,
        to: PeerId,
    ) -> Vec<Ruling> {
        let waiting = self.pings.remove(store).map(|ping| ping.askers).unwrap_or_default();
        let former = self.by_store.remove(store);
        let epoch = former.as_ref().map_or(1, |held| held.top + 1);
        let lease = sign(wall, signer, store, 0, epoch, to);
        let save = Some(Save::put(LEASES, &row(store, 0), lease.signed()));
        self.by_store.insert(store.clone(), Held::new(lease.clone()));
        let mut rulings = vec![Ruling::Granted { to, lease: lease.clone(), save }];
        let holder = former.as_ref().map(|held| held.lease.holder);
        let waiting = waiting.into_iter().filter(|peer| *peer != to && Some(*peer) != holder);
        let held = |to| Ruling::Held { to, lease: lease.clone(), challenge: None };
        rulings.extend(holder.into_iter().chain(waiting).map(held));
        if let Some(mut former) = former {
            let others = former.parts.end_all().into_iter().filter(|part| part.holder != to);
            rulings.extend(others.map(ended));
        }
        rulings
    }
}

impl Held {
    fn new(lease: Verified<Lease>) -> Self {
        let (top, parts) = (lease.epoch, Parts::default());
        Self { lease, top, free: false, promised: None, sees: None, parts }
    }
}

fn sign(
    wall: Timestamp,
    signer: &HqSigner,
    store: &Name,
    part: u32,
    epoch: u64,
    holder: PeerId,
) -> Verified<Lease> {
    let described = signer.described();
    let (chain, generation) = (described.chain, described.generation);
    let store = store.clone();
    signer.sign(&Lease { chain, store, part, generation, epoch, holder, at: wall })
}

/// The key of a saved lease: the store's name, and behind a byte that no name has the part's number.
fn row(store: &Name, part: u32) -> Vec<u8> {
    let mut key = store.as_ref().as_bytes().to_vec();
    if part > 0 {
        key.push(0);
        key.extend(part.to_be_bytes());
    }
    key
}

fn ended(lease: Verified<Lease>) -> Ruling {
    Ruling::Ended { to: lease.holder, epoch: lease.epoch }
}

/// A terminal that does not see the holder, and the neighbours that have signed that they do not
/// either, over that number.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) asker: PeerId,
    pub(super) challenge: u64,
    pub(super) neighbours: BTreeSet<PeerId>,
}

/// Whether the terminal that holds a lease is connected to HQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Connected,
    Away,
}

/// Whether a holder that goes gave the lease back, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenBack {
    No,
    ToNobody,
    To { other: PeerId, until: Instant },
}
