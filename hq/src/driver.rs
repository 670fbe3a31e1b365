//! Drives the one [`Hq`]: a plain thread that owns it and its database.
//!
//! The rule is the driver's contract: take what is queued (at most [`BATCH_MAX`] events), let the
//! composite handle all, commit its saves in one transaction, then carry the other outputs out in
//! order. So whatever leaves speaks only of what is on disk. It decides nothing; bulk bytes never
//! come here.
//!
//! The inbox is bounded: when it is full, the readers of connections wait, and so do their
//! terminals. The other way nobody waits: a terminal that does not read what is sent to it loses
//! its link. A failed commit ends the thread, and the process with it.

use std::{collections::BTreeMap, thread};

use anyhow::Context as _;
use storemesh_host::{
    clock::{self, wall},
    db::Db,
};
use storemesh_keys::{Name, PeerId};
use storemesh_protocol::{
    Instant, Save,
    feeds::hq::FromFeeds,
    hq::{Answer, Hq, Input, LinkId, Order, Output, Refusal},
};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::timeout,
};

/// As many as design.md's contract has.
const BATCH_MAX: usize = 256;
/// Four batches: enough that the thread finds work when it comes back from the disk.
const INBOX: usize = 4 * BATCH_MAX;

/// The way from the driver to one terminal. Dropping it ends the link, once what was sent is out.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) frames: mpsc::Sender<Vec<u8>>,
    /// The store that it is a terminal of, once it is admitted.
    pub(crate) admitted: watch::Sender<Option<Name>>,
    pub(crate) fetching: watch::Sender<bool>,
}

#[derive(Debug)]
enum Event {
    Connected { link: LinkId, peer: PeerId, way: Way },
    Frame { link: LinkId, bytes: Vec<u8> },
    Disconnected { link: LinkId },
    Order { order: Order, reply: oneshot::Sender<Result<Answer, Refusal>> },
    Feeds(FromFeeds),
}

/// Where events go in.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(mpsc::Sender<Event>);

/// The driver is gone, and so will be the process in a moment.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("HQ is stopping")]
pub(crate) struct Stopping;

impl Inbox {
    pub(crate) async fn connected(
        &self,
        link: LinkId,
        peer: PeerId,
        way: Way,
    ) -> Result<(), Stopping> {
        self.send(Event::Connected { link, peer, way }).await
    }

    pub(crate) async fn frame(&self, link: LinkId, bytes: Vec<u8>) -> Result<(), Stopping> {
        self.send(Event::Frame { link, bytes }).await
    }

    pub(crate) async fn disconnected(&self, link: LinkId) -> Result<(), Stopping> {
        self.send(Event::Disconnected { link }).await
    }

    /// The answer speaks of what is on disk.
    pub(crate) async fn order(&self, order: Order) -> Result<Result<Answer, Refusal>, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.send(Event::Order { order, reply }).await?;
        answer.await.map_err(|_| Stopping)
    }

    /// HQ's feeds say so.
    pub(crate) async fn feeds(&self, told: FromFeeds) -> Result<(), Stopping> {
        self.send(Event::Feeds(told)).await
    }

    async fn send(&self, event: Event) -> Result<(), Stopping> {
        self.0.send(event).await.map_err(|_| Stopping)
    }
}

/// Starts the thread. It ends when every [`Inbox`] is gone, or with the error that the receiver
/// gives; a receiver that gives nothing means a bug made it panic.
pub(crate) fn start(
    hq: Hq,
    db: Db,
) -> anyhow::Result<(Inbox, oneshot::Receiver<anyhow::Result<()>>)> {
    let (inbox, events) = mpsc::channel(INBOX);
    let (tell, ended) = oneshot::channel();
    let driver = Driver {
        hq,
        db,
        events,
        ways: BTreeMap::new(),
        tickets: BTreeMap::new(),
        next_ticket: 0,
        started: std::time::Instant::now(),
    };
    let runtime = Handle::current();
    let thread = thread::Builder::new().name("hq".to_owned());
    thread
        .spawn(move || tell.send(driver.run(&runtime)))
        .context("starting the thread that drives HQ")?;
    Ok((Inbox(inbox), ended))
}

#[derive(Debug)]
struct Driver {
    hq: Hq,
    db: Db,
    events: mpsc::Receiver<Event>,
    ways: BTreeMap<LinkId, Way>,
    /// Who waits for the answer to an order.
    tickets: BTreeMap<u64, oneshot::Sender<Result<Answer, Refusal>>>,
    next_ticket: u64,
    started: std::time::Instant,
}

impl Driver {
    fn run(mut self, runtime: &Handle) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let left = self.hq.deadline().since(self.now());
            // A deadline that never comes is some hundred thousand years away.
            let taking =
                async { timeout(left, self.events.recv_many(&mut batch, BATCH_MAX)).await };
            if let Ok(0) = runtime.block_on(taking) {
                return Ok(());
            }
            let mut outputs = Vec::new();
            for event in batch.drain(..) {
                if let Some(input) = self.input(event) {
                    outputs.extend(self.handle(input));
                }
            }
            // However much there is to do, what is due is done.
            if self.hq.deadline() <= self.now() {
                outputs.extend(self.handle(Input::Tick));
            }
            self.carry_out_all(outputs)?;
        }
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        let now = self.now();
        self.hq.handle(now, wall(), input)
    }

    fn input(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Connected { link, peer, way } => {
                self.ways.insert(link, way);
                Some(Input::Connected { link, peer })
            }
            // We hung up on it: what it still says does not count.
            Event::Frame { link, .. } if !self.ways.contains_key(&link) => None,
            Event::Frame { link, bytes } => Some(Input::Frame { link, bytes }),
            Event::Disconnected { link } => {
                self.ways.remove(&link);
                Some(Input::Disconnected { link })
            }
            Event::Feeds(told) => Some(Input::Feeds(told)),
            Event::Order { order, reply } => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.tickets.insert(ticket, reply);
                Some(Input::Order { ticket, order })
            }
        }
    }

    fn carry_out_all(&mut self, outputs: Vec<Output>) -> anyhow::Result<()> {
        let saves: Vec<&Save> = outputs
            .iter()
            .filter_map(|output| if let Output::Save(save) = output { Some(save) } else { None })
            .collect();
        if !saves.is_empty() {
            self.db.commit(saves).context(
                "HQ cannot write its database and stops: mend the disk and start it again",
            )?;
        }
        for output in outputs {
            self.carry_out(output);
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            // Committed already, with the batch's others.
            Output::Save(_) => {}
            Output::Send { link, frame } => {
                let Some(way) = self.ways.get(&link) else { return };
                match way.frames.try_send(frame) {
                    // When it is closed, word of its end is on the way.
                    Ok(()) | Err(TrySendError::Closed(_)) => {}
                    Err(TrySendError::Full(_)) => {
                        tracing::warn!(link, "a terminal does not read what HQ says: hanging up");
                        self.ways.remove(&link);
                    }
                }
            }
            Output::Close { link, why } => {
                tracing::debug!(link, why, "hanging up");
                self.ways.remove(&link);
            }
            Output::Admitted { link, name, store } => {
                tracing::info!(link, terminal = %name, %store, "a terminal called");
                if let Some(way) = self.ways.get(&link) {
                    way.admitted.send_replace(Some(store));
                }
            }
            Output::Fetching { link, may } => {
                if let Some(way) = self.ways.get(&link) {
                    way.fetching.send_replace(may);
                }
            }
            Output::Answer { ticket, answer } => {
                // Who asked may have gone in the meantime.
                let reply = self.tickets.remove(&ticket);
                debug_assert!(reply.is_some(), "one answer for each ticket");
                _ = reply.map(|reply| reply.send(answer).is_ok());
            }
            Output::Gateway { store, name, epoch, .. } => {
                tracing::info!(%store, terminal = %name, epoch, "gateway");
            }
            Output::Enrolled { store, name, .. } => {
                tracing::info!(%store, terminal = %name, "a terminal joined");
            }
        }
    }

    fn now(&self) -> Instant {
        clock::since(self.started)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use redb::{StorageBackend, backends::InMemoryBackend};
    use storemesh_keys::SecretKey;
    use storemesh_protocol::hq::TABLES;

    use super::*;
    use crate::own_key;

    /// A disk that refuses to sync once it is broken.
    #[derive(Debug, Default)]
    struct Disk {
        memory: InMemoryBackend,
        broken: Arc<AtomicBool>,
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.memory.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.memory.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.memory.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            if self.broken.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.memory.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.memory.write(offset, data)
        }
    }

    fn add(store: &str) -> Order {
        Order::AddStore { store: store.parse().unwrap() }
    }

    fn start_on(storage: impl StorageBackend) -> (Inbox, oneshot::Receiver<anyhow::Result<()>>) {
        let data = tempfile::tempdir().unwrap();
        let root = SecretKey::generate();
        own_key::create(data.path(), &root, &"acme".parse().unwrap(), wall()).unwrap();
        let own = own_key::load(data.path(), wall()).unwrap();
        let db = Db::on(storage, TABLES, 1 << 20).unwrap();
        let hq = Hq::load(own.signer, own.trust, &db.rows().unwrap()).unwrap();
        start(hq, db).unwrap()
    }

    #[tokio::test]
    async fn when_the_disk_fails_nothing_is_answered_and_hq_ends() {
        let disk = Disk::default();
        let broken = disk.broken.clone();
        let (inbox, ended) = start_on(disk);
        assert!(inbox.order(add("s1")).await.unwrap().is_ok());
        broken.store(true, Ordering::Relaxed);
        assert!(inbox.order(add("s2")).await.is_err(), "answered from memory");
        let why = format!("{:#}", ended.await.unwrap().unwrap_err());
        assert!(why.contains("mend the disk"), "{why}");
        assert!(inbox.order(Order::Stores).await.is_err());
    }

    #[tokio::test]
    async fn the_driver_ends_when_nobody_can_ask_it_any_more() {
        let (inbox, ended) = start_on(InMemoryBackend::new());
        drop(inbox);
        ended.await.unwrap().unwrap();
    }
}
