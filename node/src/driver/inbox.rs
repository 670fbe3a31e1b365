//! What reaches the driver: inputs, what connections say, and questions.

use std::{collections::BTreeMap, net::SocketAddr};

use storemesh_keys::{PeerId, PublicKey};
use storemesh_protocol::terminal::{Answer, Ask, Input, Status};
use tokio::sync::{mpsc, oneshot, watch};

use super::{BATCH_MAX, Line, Neighbour};

/// Four batches: enough that the thread finds work when it comes back from the disk.
const INBOX: usize = 4 * BATCH_MAX;

#[derive(Debug)]
pub(crate) enum Event {
    /// What needs no more than the composite.
    Input(Input),
    /// A control stream to `peer` stands; `session` tells it from former ones.
    NeighbourUp {
        peer: PeerId,
        address: SocketAddr,
        session: u64,
        neighbour: Neighbour,
    },
    NeighbourFrame {
        peer: PeerId,
        session: u64,
        bytes: Vec<u8>,
    },
    NeighbourDown {
        peer: PeerId,
        session: u64,
    },
    UplinkUp {
        session: u64,
        hq: PublicKey,
        line: Line,
        /// Set once this terminal speaks to HQ for its store.
        speaks: watch::Sender<bool>,
    },
    UplinkFrame {
        session: u64,
        bytes: Vec<u8>,
    },
    UplinkDown {
        session: u64,
        why: String,
    },
    /// The node was asked to stop: what came before is carried out, nothing after.
    Stop,
    /// Somebody wants to see how the terminal is.
    Look(oneshot::Sender<Look>),
    /// Somebody wants to know why.
    Why(Ask, oneshot::Sender<Vec<Answer>>),
}

/// How the terminal is, and what its neighbours' connections have carried.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) status: Status,
    pub(crate) traffic: BTreeMap<PeerId, (u64, u64)>,
}

/// Where events go in.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(mpsc::Sender<Event>);

/// The driver is gone, and so will be the process in a moment.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the node is stopping")]
pub(crate) struct Stopping;

impl Inbox {
    pub(crate) async fn send(&self, event: Event) -> Result<(), Stopping> {
        self.0.send(event).await.map_err(|_| Stopping)
    }

    pub(crate) async fn input(&self, input: Input) -> Result<(), Stopping> {
        self.send(Event::Input(input)).await
    }

    /// From a thread that may wait.
    pub(crate) fn input_blocking(&self, input: Input) -> Result<(), Stopping> {
        self.0.blocking_send(Event::Input(input)).map_err(|_| Stopping)
    }

    pub(crate) async fn look(&self) -> Result<Look, Stopping> {
        let (tell, told) = oneshot::channel();
        self.send(Event::Look(tell)).await?;
        told.await.map_err(|_| Stopping)
    }

    pub(crate) async fn why(&self, ask: Ask) -> Result<Vec<Answer>, Stopping> {
        let (tell, told) = oneshot::channel();
        self.send(Event::Why(ask, tell)).await?;
        told.await.map_err(|_| Stopping)
    }
}

/// The inbox, before anybody takes from it.
pub(crate) fn inbox() -> (Inbox, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(INBOX);
    (Inbox(sender), receiver)
}
