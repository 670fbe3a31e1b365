//! Who speaks for each store: HQ is the arbiter.
//!
//! A lease is granted to whoever asks while nobody holds it, or while its holder has no connection
//! to HQ. The epoch rises at every change of holder, is saved before the grant goes out, and never
//! falls, so of two terminals that believe themselves gateway everybody can tell the older one.
//! Asking twice is harmless: the holder gets the same lease again.

use std::collections::BTreeMap;

use storemesh_keys::{HqSigned, HqSigner, Name, PeerId, Timestamp, Trust, Verified};

use crate::{BadRow, Lease, Rows, Save};

pub(super) const LEASES: &str = "leases.1";

#[derive(Debug)]
pub(super) struct Leases {
    by_store: BTreeMap<Name, Verified<Lease>>,
}

/// What an asker is told.
#[derive(Debug)]
pub(super) enum Ruling {
    /// The asker holds the lease; `save` when that is new.
    Granted { lease: Verified<Lease>, save: Option<Save> },
    /// Somebody else does, and is there.
    Held(Verified<Lease>),
}

/// Whether the terminal that holds a lease is connected to HQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Connected,
    Away,
}

impl Leases {
    pub(super) fn load(rows: &Rows, trust: &Trust) -> Result<Self, BadRow> {
        let mut by_store = BTreeMap::new();
        for row in rows.read::<HqSigned<Lease>>(LEASES) {
            let (_, signed) = row?;
            let why = |why| BadRow { table: LEASES.to_owned(), why: format!("{why}") };
            let lease =
                signed.verify(trust, Timestamp(0), storemesh_keys::Expiry::Ignored).map_err(why)?;
            by_store.insert(lease.store.clone(), lease);
        }
        Ok(Self { by_store })
    }

    pub(super) fn holder(&self, store: &Name) -> Option<PeerId> {
        self.by_store.get(store).map(|lease| lease.holder)
    }

    pub(super) fn ask(
        &mut self,
        signer: &HqSigner,
        store: &Name,
        asker: PeerId,
        holder: Holder,
        wall: Timestamp,
    ) -> Ruling {
        let standing = self.by_store.get(store);
        if let Some(lease) = standing {
            if lease.holder == asker {
                return Ruling::Granted { lease: lease.clone(), save: None };
            }
            if holder == Holder::Connected {
                return Ruling::Held(lease.clone());
            }
        }
        let lease = signer.sign(&Lease {
            chain: signer.described().chain,
            store: store.clone(),
            part: 0,
            generation: signer.described().generation,
            epoch: standing.map_or(1, |lease| lease.epoch + 1),
            holder: asker,
            at: wall,
        });
        let save = Save::put(LEASES, store.as_ref().as_bytes(), lease.signed());
        self.by_store.insert(store.clone(), lease.clone());
        Ruling::Granted { lease, save: Some(save) }
    }
}
