//! Who speaks for each store: HQ is the arbiter.
//!
//! A lease is granted to whoever asks while nobody holds it or its holder has no connection to HQ.
//! A holder that has one is pinged: if it answers within [`SILENCE`] it keeps the lease, and those
//! that asked are told of it; if not, the first that asked is granted it. The epoch rises at every
//! change of holder, is saved before the grant goes out, and never falls, so of two terminals that
//! believe themselves gateway everybody can tell the older one. Asking twice is harmless.
//!
//! A holder that lives and is only slow to answer loses the lease; it hears so at once, and that
//! costs bandwidth, never correctness.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use storemesh_keys::{Expiry, HqSigned, HqSigner, Name, PeerId, Timestamp, Trust, Verified};

use crate::{BadRow, Instant, Lease, Rows, Save};

pub(super) const LEASES: &str = "leases.1";

/// How long a holder may take to answer a ping before the lease goes to another.
pub const SILENCE: Duration = Duration::from_secs(1);
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
    /// The holder has given it back.
    free: bool,
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
    /// `to` holds the lease; `save` when that is new.
    Granted { to: PeerId, lease: Verified<Lease>, save: Option<Save> },
    /// Somebody else than `to` does, and is there.
    Held { to: PeerId, lease: Verified<Lease> },
    /// The holder is to show that it is there.
    Ping { holder: PeerId, number: u64 },
}

impl Leases {
    pub(super) fn load(rows: &Rows, trust: &Trust) -> Result<Self, BadRow> {
        let mut by_store = BTreeMap::new();
        for row in rows.read::<HqSigned<Lease>>(LEASES) {
            let (_, signed) = row?;
            let why = |why| BadRow { table: LEASES.to_owned(), why: format!("{why}") };
            let lease = signed.verify(trust, Timestamp(0), Expiry::Ignored).map_err(why)?;
            by_store.insert(lease.store.clone(), Held { lease, free: false });
        }
        Ok(Self { by_store, pings: BTreeMap::new(), next_ping: 1 })
    }

    pub(super) fn holder(&self, store: &Name) -> Option<PeerId> {
        self.by_store.get(store).map(|held| held.lease.holder)
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
    ) -> Option<Ruling> {
        let Some(Held { lease, free }) = self.by_store.get_mut(store) else {
            return Some(self.grant(wall, signer, store, asker));
        };
        if lease.holder == asker {
            *free = false;
            return Some(Ruling::Granted { to: asker, lease: lease.clone(), save: None });
        }
        if *free || holder == Holder::Away {
            return Some(self.grant(wall, signer, store, asker));
        }
        if let Some(ping) = self.pings.get_mut(store) {
            if ping.askers.len() < ASKERS_MAX && !ping.askers.contains(&asker) {
                ping.askers.push(asker);
            }
            return None;
        }
        let (number, holder) = (self.next_ping, lease.holder);
        self.next_ping += 1;
        let ping = Ping { number, until: now + SILENCE, askers: vec![asker] };
        self.pings.insert(store.clone(), ping);
        Some(Ruling::Ping { holder, number })
    }

    /// The holder is there: who asked is told so.
    pub(super) fn answered(&mut self, store: &Name, peer: PeerId, number: u64) -> Vec<Ruling> {
        let Some(held) = self.by_store.get(store).filter(|held| held.lease.holder == peer) else {
            return Vec::new();
        };
        if self.pings.get(store).is_none_or(|ping| ping.number != number) {
            return Vec::new();
        }
        let ping = self.pings.remove(store).expect("just looked at");
        let told = |to| Ruling::Held { to, lease: held.lease.clone() };
        ping.askers.into_iter().map(told).collect()
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
        let Some(held) = self.by_store.get_mut(store).filter(|held| held.lease.holder == peer)
        else {
            return Vec::new();
        };
        held.free |= back == GivenBack::Yes;
        self.pass_on(wall, signer, store)
    }

    /// Grants what a silent holder has lost.
    pub(super) fn due(
        &mut self,
        now: Instant,
        wall: Timestamp,
        signer: &HqSigner,
    ) -> Vec<(Name, Ruling)> {
        let late = |(store, ping): (&Name, &Ping)| (ping.until <= now).then(|| store.clone());
        let late: Vec<Name> = self.pings.iter().filter_map(late).collect();
        let mut rulings = Vec::new();
        for store in late {
            let passed = self.pass_on(wall, signer, &store);
            rulings.extend(passed.into_iter().map(|ruling| (store.clone(), ruling)));
        }
        rulings
    }

    /// When [`Leases::due`] has something to do.
    pub(super) fn deadline(&self) -> Instant {
        self.pings.values().map(|ping| ping.until).min().unwrap_or(Instant::NEVER)
    }

    /// To the first that asked; the others and the former holder are told.
    fn pass_on(&mut self, wall: Timestamp, signer: &HqSigner, store: &Name) -> Vec<Ruling> {
        let Some(ping) = self.pings.remove(store) else { return Vec::new() };
        let former = self.holder(store);
        let mut askers = ping.askers.into_iter();
        let Some(first) = askers.next() else { return Vec::new() };
        let granted = self.grant(wall, signer, store, first);
        let Ruling::Granted { lease, .. } = &granted else { return vec![granted] };
        let told = |to| Ruling::Held { to, lease: lease.clone() };
        let told: Vec<Ruling> = askers.chain(former).map(told).collect();
        std::iter::once(granted).chain(told).collect()
    }

    fn grant(&mut self, wall: Timestamp, signer: &HqSigner, store: &Name, to: PeerId) -> Ruling {
        let described = signer.described();
        let lease = signer.sign(&Lease {
            chain: described.chain,
            store: store.clone(),
            part: 0,
            generation: described.generation,
            epoch: self.by_store.get(store).map_or(1, |held| held.lease.epoch + 1),
            holder: to,
            at: wall,
        });
        let save = Save::put(LEASES, store.as_ref().as_bytes(), lease.signed());
        self.by_store.insert(store.clone(), Held { lease: lease.clone(), free: false });
        self.pings.remove(store);
        Ruling::Granted { to, lease, save: Some(save) }
    }
}

/// Whether the terminal that holds a lease is connected to HQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Connected,
    Away,
}

/// Whether a holder that goes gave the lease back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenBack {
    Yes,
    No,
}
