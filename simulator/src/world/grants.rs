//! The rules for who speaks for a store, checked on what HQ sends and on what terminals ask it.
//!
//! - An epoch of a store is granted once: to one holder, for the whole or for one part.
//! - A grant has a higher epoch than all before it.
//! - HQ lets only the holder of the store's lease fetch chunks, and that of an auxiliary one from
//!   [`AUXILIARY_BYTES_AFTER`] on.
//! - No auxiliary lease is granted while the asker, or a neighbour of it, has been connected with the
//!   store's gateway for longer than its word may be old ([`WORD`]).
//! - A gateway offers its lease to a better one at most once in [`OFFERS_APART`].

use std::time::Duration;

use storemesh_keys::{Name, PeerId};
use storemesh_protocol::{
    Lease,
    wire::{
        self,
        uplink::{FromHq, ToHq},
    },
};

use super::{World, clock::Time, net::ConnId, terminal::micros};

/// As design.md, 7: most splits are shorter, and another copy of a release is dear.
const AUXILIARY_BYTES_AFTER: Duration = Duration::from_mins(10);
/// The neighbours are asked, HQ is told, and the gateway's report is half a second old.
const WORD: Duration = Duration::from_secs(3);
const OFFERS_APART: Duration = Duration::from_mins(10);
/// Who has lost the lease may still be sent what it asked for while HQ writes that down.
const SETTLED: Duration = Duration::from_millis(10);

/// Store, generation, epoch.
pub(super) type GrantId = (Name, u64, u64);

/// A lease as HQ has sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) part: u32,
    pub(super) holder: PeerId,
    pub(super) since: Time,
}

impl World {
    /// What HQ has granted in a store, the oldest first.
    pub(super) fn grants(&self, store: usize) -> impl DoubleEndedIterator<Item = Grant> {
        let name = &self.stores[store].name;
        self.granted.iter().filter(move |((of, ..), _)| of == name).map(|(_, grant)| *grant)
    }

    /// Auxiliary leases that were ever granted in a store.
    pub(super) fn part_grants(&self, store: usize) -> Vec<Grant> {
        self.grants(store).filter(|grant| grant.part != 0).collect()
    }

    /// HQ sends a frame.
    pub(super) fn watch_hq_frame(&mut self, frame: &[u8]) {
        let Ok(FromHq { lease: Some(lease), .. }) = wire::decode::<FromHq>(frame) else { return };
        let lease = self.read_lease(&lease);
        let id = (lease.store.clone(), lease.generation, lease.epoch);
        if let Some(before) = self.granted.get(&id) {
            if (before.holder, before.part) != (lease.holder, lease.part) {
                self.break_hq_rule(format!("two grants of {id:?}: {before:?} and {lease:?}"));
            }
            return;
        }
        let higher = self.granted.keys().any(|other| other.0 == id.0 && *other > id);
        let grant = Grant { part: lease.part, holder: lease.holder, since: self.now() };
        self.granted.insert(id, grant);
        let now = micros(self.now());
        let holder = self.who(&lease.holder);
        let what = format!("{now} part {} epoch {} to {holder}", lease.part, lease.epoch);
        self.trace.step("grant", what);
        if higher {
            self.break_hq_rule(format!("grants {lease:?} after a higher epoch"));
        }
        if lease.part != 0 {
            self.watch_part(&lease);
        }
    }

    /// An auxiliary lease has just been granted: the gateway must be out of reach.
    fn watch_part(&mut self, lease: &Lease) {
        let Some(asker) = self.host_of(lease.holder) else { return };
        let store = self.hosts[asker].store;
        let Some(gateway) = self.gateway(store) else {
            self.break_hq_rule("grants a part of a store that has no gateway".to_owned());
            return;
        };
        let long = |a: usize, b: usize| {
            self.connected_since(a, b).is_some_and(|since| since + WORD < self.now())
        };
        let terminals = &self.stores[store].terminals;
        let near = terminals.iter().filter(|t| **t == asker || long(asker, **t));
        let seen = near.copied().find(|t| *t == gateway || long(*t, gateway));
        if let Some(by) = seen {
            let (by, gateway) = (self.hosts[by].label.clone(), self.hosts[gateway].label.clone());
            let asker = self.hosts[asker].label.clone();
            let rule = format!("{asker} gets an auxiliary lease, and {by} near it sees {gateway}");
            self.break_with(rule, vec![asker, by, gateway, "hq".to_owned()]);
        }
    }

    fn host_of(&self, peer: PeerId) -> Option<usize> {
        self.hosts.iter().position(|host| host.peer == peer)
    }

    /// Since when two terminals have let each other in and hear each other.
    pub(super) fn connected_since(&self, a: usize, b: usize) -> Option<Time> {
        let one_way = |a: usize, b: usize| {
            let met = *self.hosts[a].program.as_ref()?.admitted.get(&self.hosts[b].peer)?;
            Some(met.max(self.hears_since(a, self.hosts[b].peer)?))
        };
        Some(one_way(a, b)?.max(one_way(b, a)?))
    }

    /// HQ lets this link fetch chunks.
    pub(super) fn watch_serving(&mut self, link: ConnId) {
        let Some(conn) = self.conns.get(&link) else { return };
        let super::Node::Terminal(t) = conn.ends[0].node else { return };
        let (peer, now) = (self.hosts[t].peer, self.now());
        let store = self.hosts[t].store;
        let wholes: Vec<Grant> = self.grants(store).filter(|grant| grant.part == 0).collect();
        let (newest, former) = (wholes.iter().nth_back(0), wholes.iter().nth_back(1));
        let holds = newest.is_some_and(|grant| grant.holder == peer);
        let just_lost = former.is_some_and(|grant| grant.holder == peer)
            && newest.is_some_and(|grant| now < grant.since + SETTLED);
        let ripe = |grant: &Grant| {
            grant.holder == peer && grant.since + AUXILIARY_BYTES_AFTER <= now + SETTLED
        };
        if !holds && !just_lost && !self.part_grants(store).iter().any(ripe) {
            let label = self.hosts[t].label.clone();
            self.break_hq_rule(format!("lets {label} fetch, which holds no lease for that"));
        }
    }

    /// A terminal speaks to HQ.
    pub(super) fn watch_sent_up(&mut self, t: usize, frame: &[u8]) {
        let Ok(ToHq { give_back: Some(back), .. }) = wire::decode::<ToHq>(frame) else { return };
        let now = self.now();
        let program = self.hosts[t].program.as_mut().expect("it runs");
        if back.to.is_some()
            && let Some(before) = program.offered.replace(now)
            && now < before + OFFERS_APART
        {
            self.break_rule(
                t,
                format!("offers its lease again after {:?}", now.saturating_sub(before)),
            );
        }
    }
}
