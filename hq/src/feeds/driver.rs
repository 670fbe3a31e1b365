//! The thread itself.

use std::{collections::BTreeMap, sync::Arc, thread};

use anyhow::Context as _;
use storemesh_host::{
    clock::{self, wall},
    db::Db,
};
use storemesh_protocol::{
    Instant,
    feeds::{
        EntryId,
        hq::{AppendError, Event as Noted, HqFeeds, Input, Lost, Output},
    },
    hq::LinkId,
};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::timeout,
};

use super::{BATCH_MAX, Event, Inbox, Order};
use crate::{driver, own_key::OwnKey};

/// What others need of the thread.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) inbox: Inbox,
    /// Changes when there may be more to read.
    pub(crate) grown: watch::Receiver<()>,
    /// As [`driver::start`]'s.
    pub(crate) ended: oneshot::Receiver<anyhow::Result<()>>,
}

/// Loads what the database holds, and starts the thread; `hq` has heard which releases are wanted when
/// this returns. It ends when every [`Inbox`] is gone, or with the error that `ended` gives.
pub(crate) async fn start(own: &OwnKey, db: Arc<Db>, hq: driver::Inbox) -> anyhow::Result<Started> {
    let (inbox, events) = Inbox::new();
    let (tell, ended) = oneshot::channel();
    let (growing, grown) = watch::channel(());
    let started = std::time::Instant::now();
    let (signer, trust) = (own.signer.clone(), own.trust);
    let loaded = db.batch(|storage| HqFeeds::load(signer, trust, storage));
    let (feeds, outputs) = loaded.context("reading HQ's feeds")?;
    for output in outputs {
        if let Output::Tell(told) = output {
            hq.feeds(told).await?;
        }
    }
    let driver = Driver {
        feeds,
        db,
        hq,
        events,
        ways: BTreeMap::new(),
        tickets: BTreeMap::new(),
        next_ticket: 0,
        growing,
        runtime: Handle::current(),
        started,
    };
    let thread = thread::Builder::new().name("hq feeds".to_owned());
    thread
        .spawn(move || tell.send(driver.run()))
        .context("starting the thread that drives HQ's feeds")?;
    Ok(Started { inbox, grown, ended })
}

#[derive(Debug)]
struct Driver {
    feeds: HqFeeds,
    db: Arc<Db>,
    hq: driver::Inbox,
    events: mpsc::Receiver<Event>,
    /// The way to each terminal. Dropping one ends the link.
    ways: BTreeMap<LinkId, mpsc::Sender<Vec<u8>>>,
    /// Who waits for the answer to an order.
    tickets: BTreeMap<u64, oneshot::Sender<Result<EntryId, AppendError>>>,
    next_ticket: u64,
    growing: watch::Sender<()>,
    runtime: Handle,
    started: std::time::Instant,
}

impl Driver {
    fn run(mut self) -> anyhow::Result<()> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let left = self.feeds.deadline().since(self.now());
            let taking =
                async { timeout(left, self.events.recv_many(&mut batch, BATCH_MAX)).await };
            if let Ok(0) = self.runtime.block_on(taking) {
                return Ok(());
            }
            let mut inputs = Vec::with_capacity(batch.len() + 1);
            // Its room in the inbox is given back as an event is taken out of it.
            for event in batch.drain(..) {
                inputs.extend(self.input(event));
            }
            inputs.push(Input::Tick);
            let (now, feeds) = (self.now(), &mut self.feeds);
            let outputs = self
                .db
                .batch(|storage| feeds.handle(now, wall(), storage, inputs))
                .context("HQ cannot write its feeds and stops: mend the disk and start it again")?;
            self.growing.send_replace(());
            self.carry_out_all(outputs)?;
        }
    }

    fn input(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Up { link, peer, store, frames } => {
                self.ways.insert(link, frames);
                Some(Input::Up { link, peer, store })
            }
            // We hung up on it: what it still says does not count.
            Event::Frame { link, .. } if !self.ways.contains_key(&link) => None,
            Event::Frame { link, bytes, .. } => Some(Input::Frame { link, bytes }),
            Event::Down { link } => {
                self.ways.remove(&link);
                Some(Input::Down { link })
            }
            Event::Order { order, reply } => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.tickets.insert(ticket, reply);
                Some(match order {
                    Order::Append(control) => Input::Append { ticket, control },
                    Order::End { author, topic } => Input::End { ticket, author, topic },
                    Order::Settle { author } => Input::Settle { ticket, author },
                })
            }
        }
    }

    fn carry_out_all(&mut self, outputs: Vec<Output>) -> anyhow::Result<()> {
        outputs.into_iter().try_for_each(|output| self.carry_out(output))
    }

    fn carry_out(&mut self, output: Output) -> anyhow::Result<()> {
        match output {
            Output::Send { link, frame } => {
                let Some(way) = self.ways.get(&link) else { return Ok(()) };
                match way.try_send(frame) {
                    // When it is closed, word of its end is on the way.
                    Ok(()) | Err(TrySendError::Closed(_)) => {}
                    Err(TrySendError::Full(_)) => {
                        tracing::warn!(link, "a terminal does not read its feeds: hanging up");
                        self.ways.remove(&link);
                    }
                }
            }
            Output::Close { link, why } => {
                tracing::debug!(link, why, "hanging up");
                self.ways.remove(&link);
            }
            Output::Appended { ticket, answer } => {
                // Who asked may have gone in the meantime.
                let reply = self.tickets.remove(&ticket).map(|reply| reply.send(answer));
                debug_assert!(reply.is_some(), "one answer for each ticket");
            }
            // HQ's other thread never waits for this one.
            Output::Tell(told) => self.runtime.block_on(self.hq.feeds(told))?,
            Output::Reject { link, why } => tracing::debug!(link, why, "not taken"),
            Output::Event(event) => note(&event),
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        clock::since(self.started)
    }
}

/// For whoever looks after HQ; a person has to act on a warning, and at once on an error.
fn note(event: &Noted) {
    match event {
        Noted::Forked(terminal) => tracing::error!(
            ?terminal,
            "wrote two entries with one number: nothing more of it counts; look at its disk, and join it anew"
        ),
        Noted::Cloned { author, boots: [one, other] } => tracing::error!(
            terminal = ?author, %one, %other,
            "two disks of one terminal are in use, and both are kept out: take one away, and then `storemesh-hq clone settle`"
        ),
        Noted::CloneClaimed { author, boots: [one, other], by } => tracing::warn!(
            terminal = ?author, %one, %other, %by,
            "a terminal says that two disks of another are in use; HQ has not seen it, and keeps nobody out for it: look at both, and then `storemesh-hq clone settle`"
        ),
        Noted::Gap { author, boot, topic, from, upto } => tracing::error!(
            terminal = ?author, %boot, %topic, from, upto,
            "HQ had these entries before it was restored, and no terminal that it has heard since has them: it goes on without them, and takes them from whoever brings them"
        ),
        Noted::Filled { author, boot, topic, upto } => tracing::info!(
            terminal = ?author, %boot, %topic, upto,
            "the entries that were missing before this one have come"
        ),
        Noted::Void(id) => tracing::warn!(
            terminal = ?id.feed.author, boot = %id.feed.boot, topic = %id.feed.topic.name, seq = id.seq,
            "an entry that the schema does not allow counts nowhere"
        ),
        Noted::Lost(Lost::Wanted { product, version }) => tracing::warn!(
            %product, %version,
            "was wanted before HQ was restored: if it still is, `storemesh-hq release start`"
        ),
        Noted::Lost(Lost::Settings) => tracing::warn!(
            "other settings held before HQ was restored: see `storemesh-hq settings show`"
        ),
        Noted::Lost(Lost::Schema { version }) => tracing::error!(
            version,
            "another schema was published under this version before HQ was restored: see `storemesh-hq schema show`"
        ),
        Noted::Behind { generation, seq, known } => tracing::error!(
            generation,
            seq,
            known,
            "a terminal shows what HQ has signed and does not know of: it was restored from a backup; stop it, and `storemesh-hq restored`"
        ),
        Noted::OutOfScope { bytes } => tracing::error!(
            bytes,
            "something was about to leave for a terminal that is not for it, and was held back: a bug of ours"
        ),
    }
}
