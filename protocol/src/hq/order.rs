//! What operators order of HQ, and what it answers.

use std::time::Duration;

use storemesh_keys::{Name, PublicKey, Timestamp};

use super::{FleetRow, Hq, Output};
use crate::{
    content::{ReleaseHead, ReleaseId},
    feeds::Control,
};

#[derive(Debug)]
pub enum Order {
    AddStore {
        store: Name,
    },
    Stores,
    /// A code is to be made for one terminal; HQ keeps only its public key.
    Invite {
        store: Name,
        invitation: PublicKey,
        valid: Duration,
    },
    /// All its chunks, and those of its manifest, are held and verified.
    AddRelease {
        release: ReleaseHead,
    },
    /// Make a release the one every terminal is to run; answered with what is to be said to them.
    Start {
        product: Name,
        version: Name,
    },
    Releases,
    Fleet,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Done,
    /// It may be: it is so when HQ's feed says it.
    Say(Control),
    Stores(Vec<StoreRow>),
    Invited {
        until: Timestamp,
    },
    /// The release stands; `new` tells it from one that stood before with the same content.
    Released {
        id: ReleaseId,
        new: bool,
    },
    Releases(Vec<ReleaseRow>),
    Fleet(Vec<FleetRow>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreRow {
    pub store: Name,
    pub terminals: u64,
    /// Name of the terminal that holds the lease.
    pub gateway: Option<Name>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseRow {
    pub release: ReleaseHead,
    pub wanted: bool,
}

/// Why HQ does not do as ordered: what the operator could do differently.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    #[error(
        "no store is called {0}: `storemesh-hq store list` has all, and `storemesh-hq store add {0}` adds it"
    )]
    NoStore(Name),
    #[error("store {0} is there already")]
    StoreExists(Name),
    #[error(
        "{product} {version} is published already with other content: publish this under another version"
    )]
    OtherContent { product: Name, version: Name },
    #[error(
        "there is no release {product} {version}: publish it, or see `storemesh-hq release list`"
    )]
    NoRelease { product: Name, version: Name },
    #[error("a code may be valid for at most {most_days} days, not {days}")]
    ValidTooLong { days: u64, most_days: u64 },
    #[error("HQ has {0} stores, the most there may be")]
    TooManyStores(usize),
    #[error(
        "store {0} has {1} codes that nobody used yet, the most there may be: wait until some expire"
    )]
    TooManyInvitations(Name, usize),
}

impl Hq {
    pub(super) fn order(
        &mut self,
        order: Order,
        wall: Timestamp,
        outputs: &mut Vec<Output>,
    ) -> Result<Answer, Refusal> {
        match order {
            Order::AddStore { store } => {
                outputs.push(Output::Save(self.registry.add_store(store, wall)?));
                Ok(Answer::Done)
            }
            Order::Stores => Ok(Answer::Stores(self.stores())),
            Order::Invite { store, invitation, valid } => {
                let (until, saves) = self.registry.invite(&store, invitation, valid, wall)?;
                outputs.extend(saves.into_iter().map(Output::Save));
                Ok(Answer::Invited { until })
            }
            Order::AddRelease { release } => {
                let id = release.id;
                let save = self.releases.add(release)?;
                let new = save.is_some();
                outputs.extend(save.map(Output::Save));
                Ok(Answer::Released { id, new })
            }
            Order::Start { product, version } => {
                let wanted = Some(self.releases.start(&product, &version, wall)?);
                Ok(Answer::Say(Control { wanted, ..Control::default() }))
            }
            Order::Releases => Ok(Answer::Releases(self.releases.rows())),
            Order::Fleet => Ok(Answer::Fleet(self.fleet_rows())),
        }
    }

    fn stores(&self) -> Vec<StoreRow> {
        let row = |(store, terminals): (&Name, u64)| {
            let holder = self.leases.holder(store).and_then(|peer| self.registry.terminal(&peer));
            StoreRow {
                store: store.clone(),
                terminals,
                gateway: holder.map(|terminal| terminal.name.clone()),
            }
        };
        self.registry.stores().map(row).collect()
    }

    fn fleet_rows(&self) -> Vec<FleetRow> {
        let row = |(peer, terminal): (_, &super::registry::Terminal)| {
            let connected = self.link_of(peer).is_some();
            let gateway = self.leases.speaks(&terminal.store, peer) && connected;
            self.fleet.row(peer, terminal, gateway, connected, &self.releases)
        };
        self.registry.terminals().map(row).collect()
    }
}
