//! HQ's feeds on their own thread, with their own database, so that a day of sales that comes back
//! from a store never holds up a lease.
//!
//! The rule is the driver's contract: take what is queued (at most [`BATCH_MAX`] events), let the
//! composite ([`HqFeeds`]) handle all within one transaction, commit it, then carry the outputs out
//! in order. So whatever leaves speaks only of what is on disk. It decides nothing.
//!
//! What is queued is bounded by number and by bytes: when it is full, the readers of streams wait,
//! and QUIC holds their terminals back. A terminal that does not read what is sent to it loses its
//! link. A failed commit ends the thread, and the process with it.

mod db;
mod driver;
#[cfg(test)]
pub(crate) mod till;

use std::sync::Arc;

use storemesh_keys::{Name, PeerId};
use storemesh_protocol::{
    feeds::{Author, Control, EntryId, hq::AppendError},
    hq::LinkId,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub(crate) use self::{
    db::{FILE, open},
    driver::{Started, start},
};
use crate::driver::Stopping;

/// As many as design.md's contract has.
const BATCH_MAX: usize = 256;
/// Two batches: enough that the thread finds work when it comes back from the disk.
const INBOX: usize = 2 * BATCH_MAX;
/// Of frames that wait: what a thousand stores send at once, a frame each.
const INBOX_KIB: u32 = 64 * 1024;
/// Frames that wait for one terminal. HQ sends its orders, and acknowledgements of many feeds at once.
pub(crate) const QUEUE: usize = 64;

#[derive(Debug)]
enum Event {
    Up { link: LinkId, peer: PeerId, store: Name, frames: mpsc::Sender<Vec<u8>> },
    Frame { link: LinkId, bytes: Vec<u8>, _room: OwnedSemaphorePermit },
    Down { link: LinkId },
    Order { order: Order, reply: oneshot::Sender<Result<EntryId, AppendError>> },
}

/// What operators have to say to the chain.
#[derive(Debug)]
pub(crate) enum Order {
    Append(Control),
    /// Nothing more of this author counts, on this topic or on all.
    End {
        author: Author,
        topic: Option<Name>,
    },
    /// The terminal whose disk was cloned is let in again.
    Settle {
        author: Author,
    },
}

/// Where events go in.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    events: mpsc::Sender<Event>,
    room: Arc<Semaphore>,
}

impl Inbox {
    fn new() -> (Self, mpsc::Receiver<Event>) {
        let (events, queue) = mpsc::channel(INBOX);
        let room = Arc::new(Semaphore::new(INBOX_KIB as usize));
        (Self { events, room }, queue)
    }

    pub(crate) async fn up(
        &self,
        link: LinkId,
        peer: PeerId,
        store: Name,
        frames: mpsc::Sender<Vec<u8>>,
    ) -> Result<(), Stopping> {
        self.send(Event::Up { link, peer, store, frames }).await
    }

    pub(crate) async fn frame(&self, link: LinkId, bytes: Vec<u8>) -> Result<(), Stopping> {
        let kib = u32::try_from(bytes.len().div_ceil(1024)).unwrap_or(INBOX_KIB);
        let room = self.room.clone().acquire_many_owned(kib.min(INBOX_KIB)).await;
        let room = room.map_err(|_| Stopping)?;
        self.send(Event::Frame { link, bytes, _room: room }).await
    }

    pub(crate) async fn down(&self, link: LinkId) -> Result<(), Stopping> {
        self.send(Event::Down { link }).await
    }

    /// The answer speaks of what is on disk.
    pub(crate) async fn order(
        &self,
        order: Order,
    ) -> Result<Result<EntryId, AppendError>, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.send(Event::Order { order, reply }).await?;
        answer.await.map_err(|_| Stopping)
    }

    async fn send(&self, event: Event) -> Result<(), Stopping> {
        self.events.send(event).await.map_err(|_| Stopping)
    }
}
