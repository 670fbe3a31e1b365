//! Which stores and terminals the chain has, and how a terminal comes to be one of them.
//!
//! An operator adds a store and has a code made for each terminal; HQ keeps the public key of the
//! code's secret. Whoever proves to hold the secret is enrolled under its own key, once: the same
//! terminal asking again gets its certificate again (its answer may have been lost), another is
//! refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use minicbor::{Decode, Encode};
use storemesh_keys::{
    Certificate, Enrolment, HqSigner, Name, PeerId, PublicKey, Roles, Signed, Timestamp, Verified,
};

use super::order::Refusal;
use crate::{BadRow, Rows, Save};

pub(super) const STORES: &str = "stores.1";
pub(super) const INVITATIONS: &str = "invitations.1";
pub(super) const TERMINALS: &str = "terminals.1";

/// How long a code is good for unless the operator says otherwise, and at the most.
pub const INVITATION_VALID: Duration = Duration::from_hours(7 * 24);
const INVITATION_VALID_MAX: Duration = Duration::from_hours(90 * 24);
/// How long a certificate is good for. Certificates are not renewed yet, so it is months.
pub const CERTIFICATE_VALID: Duration = Duration::from_hours(180 * 24);
/// A machine's clock may run this much behind HQ's when it reads its new certificate.
const CLOCK_LAG: Duration = Duration::from_hours(24);

const STORES_MAX: usize = 100_000;
/// Of one store: enough to set up the largest twice.
const INVITATIONS_MAX: usize = 256;

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
struct Store {
    #[n(0)]
    added: Timestamp,
}

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
struct Invitation {
    #[n(0)]
    store: Name,
    #[n(1)]
    until: Timestamp,
    #[n(2)]
    used_by: Option<PeerId>,
}

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(super) struct Terminal {
    #[n(0)]
    pub(super) store: Name,
    #[n(1)]
    pub(super) name: Name,
    #[n(2)]
    serial: u64,
}

impl Terminal {
    /// Whether `certificate` is the last one this terminal was given.
    pub(super) fn is_certified_by(&self, certificate: &Certificate) -> bool {
        self.store == certificate.store && self.serial == certificate.serial
    }
}

#[derive(Debug)]
pub(super) struct Registry {
    stores: BTreeMap<Name, Store>,
    invitations: BTreeMap<PublicKey, Invitation>,
    terminals: BTreeMap<PeerId, Terminal>,
    members: BTreeMap<Name, BTreeSet<PeerId>>,
}

impl Registry {
    pub(super) fn load(rows: &Rows) -> Result<Self, BadRow> {
        let mut registry = Self {
            stores: BTreeMap::new(),
            invitations: BTreeMap::new(),
            terminals: BTreeMap::new(),
            members: BTreeMap::new(),
        };
        for row in rows.read::<(Name, Store)>(STORES) {
            let (_, (name, store)) = row?;
            registry.stores.insert(name, store);
        }
        for row in rows.read::<(PublicKey, Invitation)>(INVITATIONS) {
            let (_, (key, invitation)) = row?;
            registry.invitations.insert(key, invitation);
        }
        for row in rows.read::<(PeerId, Terminal)>(TERMINALS) {
            let (_, (peer, terminal)) = row?;
            registry.insert(peer, terminal);
        }
        Ok(registry)
    }

    pub(super) fn add_store(&mut self, name: Name, wall: Timestamp) -> Result<Save, Refusal> {
        if self.stores.contains_key(&name) {
            return Err(Refusal::StoreExists(name));
        }
        if self.stores.len() >= STORES_MAX {
            return Err(Refusal::TooManyStores(STORES_MAX));
        }
        let store = Store { added: wall };
        let save = Save::put(STORES, name.as_ref().as_bytes(), &(&name, &store));
        self.stores.insert(name, store);
        Ok(save)
    }

    /// Takes note of a new code. Codes that nobody used in time are forgotten on the way.
    pub(super) fn invite(
        &mut self,
        store: &Name,
        key: PublicKey,
        valid: Duration,
        wall: Timestamp,
    ) -> Result<(Timestamp, Vec<Save>), Refusal> {
        if !self.stores.contains_key(store) {
            return Err(Refusal::NoStore(store.clone()));
        }
        if valid > INVITATION_VALID_MAX {
            let days = |span: Duration| span.as_secs() / (24 * 60 * 60);
            return Err(Refusal::ValidTooLong {
                days: days(valid),
                most_days: days(INVITATION_VALID_MAX),
            });
        }
        let forgotten: Vec<_> = self
            .invitations
            .iter()
            .filter(|(_, i)| i.used_by.is_none() && i.until.plus(INVITATION_VALID_MAX) < wall)
            .map(|(key, _)| *key)
            .collect();
        let mut saves = Vec::new();
        for key in forgotten {
            self.invitations.remove(&key);
            saves.push(Save::delete(INVITATIONS, key.as_bytes()));
        }
        let open = |i: &&Invitation| i.store == *store && i.used_by.is_none() && wall <= i.until;
        if self.invitations.values().filter(open).count() >= INVITATIONS_MAX {
            return Err(Refusal::TooManyInvitations(store.clone(), INVITATIONS_MAX));
        }
        let until = wall.plus(valid);
        let invitation = Invitation { store: store.clone(), until, used_by: None };
        saves.push(Save::put(INVITATIONS, key.as_bytes(), &(key, &invitation)));
        self.invitations.insert(key, invitation);
        Ok((until, saves))
    }

    /// Enrols `peer` by a code, or says what is wrong with it, for a person to read.
    pub(super) fn enrol(
        &mut self,
        signer: &HqSigner,
        peer: PeerId,
        key: PublicKey,
        proof: &Signed<Enrolment>,
        wall: Timestamp,
    ) -> Result<(Verified<Certificate>, Vec<Save>), String> {
        let Some(invitation) = self.invitations.get_mut(&key) else {
            return Err("HQ does not know this code: ask for a new one, made with \
                        `storemesh-hq store invite`"
                .to_owned());
        };
        let Ok(enrolment) = proof.verify(&key) else {
            return Err("this terminal could not prove that it holds the code".to_owned());
        };
        if enrolment.chain != signer.described().chain || enrolment.peer != peer {
            return Err("the code was used on behalf of another terminal".to_owned());
        }
        let store = invitation.store.clone();
        match invitation.used_by {
            // The answer may have been lost, and the terminal asks again.
            Some(user)
                if user == peer
                    && wall <= invitation.until
                    && self.terminals.get(&peer).is_some_and(|t| t.store == store) => {}
            Some(user) => {
                let name = self.terminals.get(&user).map_or("another", |t| t.name.as_ref());
                return Err(format!(
                    "this code was used by terminal {name} of store {store}: a code is good for \
                     one terminal, ask for another one"
                ));
            }
            None if invitation.until < wall => {
                return Err(format!("this code for store {store} has expired: ask for a new one"));
            }
            None => {}
        }
        let mut members = self.members.get(&store).into_iter().flatten();
        let taken = members.any(|other| {
            *other != peer && self.terminals.get(other).is_some_and(|t| t.name == enrolment.name)
        });
        if taken {
            return Err(format!(
                "store {store} has a terminal named {} already: join with another --name",
                enrolment.name
            ));
        }
        invitation.used_by = Some(peer);
        let mut saves = vec![Save::put(INVITATIONS, key.as_bytes(), &(key, &*invitation))];

        let serial = self.terminals.get(&peer).map_or(1, |terminal| terminal.serial + 1);
        let terminal = Terminal { store: store.clone(), name: enrolment.name.clone(), serial };
        saves.push(Save::put(TERMINALS, peer.as_bytes(), &(peer, &terminal)));
        self.insert(peer, terminal);
        let certificate = Certificate {
            chain: signer.described().chain,
            serial,
            peer,
            door: None,
            name: enrolment.name,
            store,
            roles: Roles::TERMINAL,
            from: wall.minus(CLOCK_LAG),
            until: wall.plus(CERTIFICATE_VALID),
        };
        Ok((signer.sign(&certificate), saves))
    }

    fn insert(&mut self, peer: PeerId, terminal: Terminal) {
        self.members.entry(terminal.store.clone()).or_default().insert(peer);
        // A terminal may be enrolled anew, into another store.
        if let Some(before) = self.terminals.insert(peer, terminal)
            && let Some(members) = self.members.get_mut(&before.store)
            && self.terminals[&peer].store != before.store
        {
            members.remove(&peer);
        }
    }

    pub(super) fn terminal(&self, peer: &PeerId) -> Option<&Terminal> {
        self.terminals.get(peer)
    }

    pub(super) fn terminals(&self) -> impl Iterator<Item = (PeerId, &Terminal)> {
        self.terminals.iter().map(|(peer, terminal)| (*peer, terminal))
    }

    /// The terminals of one store.
    pub(super) fn members(&self, store: &Name) -> impl Iterator<Item = (PeerId, &Terminal)> {
        let members = self.members.get(store).into_iter().flatten();
        members.filter_map(|peer| Some((*peer, self.terminals.get(peer)?)))
    }

    /// Each store and how many terminals it has.
    pub(super) fn stores(&self) -> impl Iterator<Item = (&Name, u64)> {
        let count = |name| self.members.get(name).map_or(0, |members| members.len() as u64);
        self.stores.keys().map(move |name| (name, count(name)))
    }
}
