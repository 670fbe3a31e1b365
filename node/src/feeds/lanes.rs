//! The ways into the feeds' thread.
//!
//! The rule: three lanes, and of what waits in them sales are taken first, then what streams brought,
//! then what the rest of the node says; at most [`BATCH_MAX`] at once. Each of the later lanes has a few
//! places of every batch for itself, so that callers who never stop do not keep HQ's acknowledgements
//! out; and of each no more is taken once it has brought [`BATCH_BYTES`], so that a batch finds room on the
//! disk. A full lane makes whoever sends wait, and so the callers and neighbours behind it.

use std::time::Duration;

use storemesh_protocol::{
    feeds::terminal::{Body, Post, PostError, Posted, Status, ToFeeds},
    terminal::Source,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::driver::Stopping;

/// As many as the contract has.
const BATCH_MAX: usize = 256;
/// Of 192 sales of the largest size it would be 12 MiB in one transaction. A backlog of so much a sync still
/// comes faster than any uplink brings it away.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// Places of a batch that sales and frames leave to the lanes after them.
const LEFT_TO_OTHERS: usize = 32;
/// Sales that wait; their callers are at most as many as the local API has connections.
const SALES: usize = BATCH_MAX;
/// Whole frames that wait, each of at most half a megabyte.
const FRAMES: usize = 64;

/// What a program wants kept, and whom to answer.
#[derive(Debug)]
pub(super) struct Sale {
    pub(super) post: Post,
    pub(super) answer: oneshot::Sender<Result<Posted, PostError>>,
}

/// What the streams for feeds bring. `session` tells a stream from former ones to the same side.
#[derive(Debug)]
pub(super) enum Heard {
    Up { side: Source, session: u64, frames: mpsc::Sender<Vec<u8>> },
    Frame { side: Source, session: u64, bytes: Vec<u8> },
    Down { side: Source, session: u64 },
}

/// What the rest of the node says.
#[derive(Debug)]
pub(super) enum Said {
    Told(ToFeeds),
    /// Somebody wants to see how the feeds are.
    Look(oneshot::Sender<Status>),
    /// The node is to stop: what came before is carried out, nothing after.
    Stop,
}

#[derive(Debug)]
pub(super) enum Event {
    Sale(Sale),
    Heard(Heard),
    Said(Said),
}

impl Event {
    /// How much of it may have to be written.
    fn bytes(&self) -> usize {
        match self {
            Self::Sale(Sale { post, .. }) => match &post.body {
                Body::Event(bytes) => bytes.len(),
                Body::Moved(moved) => {
                    moved.iter().map(|(item, quantity)| item.len() + size_of_val(quantity)).sum()
                }
                Body::Counted { item, value } => item.len() + size_of_val(value),
            },
            Self::Heard(Heard::Frame { bytes, .. }) => bytes.len(),
            Self::Heard(Heard::Up { .. } | Heard::Down { .. }) | Self::Said(_) => 0,
        }
    }
}

/// Where events go in.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    sales: mpsc::Sender<Sale>,
    pub(super) heard: mpsc::Sender<Heard>,
    said: mpsc::UnboundedSender<Said>,
}

#[derive(Debug)]
pub(super) struct Lanes {
    sales: mpsc::Receiver<Sale>,
    heard: mpsc::Receiver<Heard>,
    said: mpsc::UnboundedReceiver<Said>,
}

/// The lanes, before anybody takes from them.
pub(super) fn lanes() -> (Inbox, Lanes) {
    let (sales, sales_out) = mpsc::channel(SALES);
    let (heard, heard_out) = mpsc::channel(FRAMES);
    // Unbounded, since the other driver must not wait for this one; it says little, and only what
    // replaces what it said before.
    let (said, said_out) = mpsc::unbounded_channel();
    (Inbox { sales, heard, said }, Lanes { sales: sales_out, heard: heard_out, said: said_out })
}

impl Inbox {
    /// Answers when the entry is kept as well as was asked for, or cannot be.
    pub(crate) async fn post(&self, post: Post) -> Result<Result<Posted, PostError>, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.sales.send(Sale { post, answer }).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    pub(crate) fn tell(&self, told: ToFeeds) {
        // The thread ends with the process.
        _ = self.said.send(Said::Told(told));
    }

    pub(crate) async fn look(&self) -> Result<Status, Stopping> {
        let (tell, told) = oneshot::channel();
        self.said.send(Said::Look(tell)).map_err(|_| Stopping)?;
        told.await.map_err(|_| Stopping)
    }

    pub(crate) fn stop(&self) {
        _ = self.said.send(Said::Stop);
    }
}

impl Lanes {
    /// What waits, in the order in which it is to be handled; waits for at most `patience` where nothing
    /// does. None when every sender is gone.
    pub(super) async fn next(&mut self, patience: Duration) -> Option<Vec<Event>> {
        let mut batch = Vec::new();
        self.drain(&mut batch);
        if batch.is_empty() {
            let first = async {
                tokio::select! {
                    biased;
                    Some(sale) = self.sales.recv() => Some(Event::Sale(sale)),
                    Some(heard) = self.heard.recv() => Some(Event::Heard(heard)),
                    Some(said) = self.said.recv() => Some(Event::Said(said)),
                    else => None,
                }
            };
            if let Ok(first) = timeout(patience, first).await {
                batch.push(first?);
                self.drain(&mut batch);
                // The first may not have been one that goes first.
                batch.sort_by_key(|event| match event {
                    Event::Sale(_) => 0,
                    Event::Heard(_) => 1,
                    Event::Said(_) => 2,
                });
            }
        }
        Some(batch)
    }

    fn drain(&mut self, batch: &mut Vec<Event>) {
        let mut take = |left: usize, next: &mut dyn FnMut() -> Option<Event>| {
            let mut bytes = 0;
            while batch.len() + left < BATCH_MAX && bytes < BATCH_BYTES {
                let Some(event) = next() else { return };
                bytes += event.bytes();
                batch.push(event);
            }
        };
        take(2 * LEFT_TO_OTHERS, &mut || self.sales.try_recv().ok().map(Event::Sale));
        take(LEFT_TO_OTHERS, &mut || self.heard.try_recv().ok().map(Event::Heard));
        take(0, &mut || self.said.try_recv().ok().map(Event::Said));
    }
}

#[cfg(test)]
mod tests {
    use storemesh_keys::Timestamp;
    use storemesh_protocol::feeds::terminal::AckLevel;

    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    fn sale(bytes: usize) -> Sale {
        let (topic, key) = ("sales".parse().unwrap(), b"key".to_vec());
        let (body, ack, wait) = (Body::Event(vec![0; bytes]), AckLevel::Disk, Duration::ZERO);
        let (answer, _) = oneshot::channel();
        Sale { post: Post { topic, key, body, ack, wait }, answer }
    }

    fn kinds(batch: &[Event]) -> (usize, usize, usize) {
        let count = |is: fn(&Event) -> bool| batch.iter().filter(|event| is(event)).count();
        assert!(batch.is_sorted_by_key(|event| match event {
            Event::Sale(_) => 0,
            Event::Heard(_) => 1,
            Event::Said(_) => 2,
        }));
        let sales = count(|event| matches!(event, Event::Sale(_)));
        let heard = count(|event| matches!(event, Event::Heard(_)));
        (sales, heard, count(|event| matches!(event, Event::Said(_))))
    }

    #[tokio::test]
    async fn sales_go_first_and_leave_the_others_some_places_of_every_batch() {
        let (inbox, mut lanes) = lanes();
        for number in 0..1000 {
            inbox.tell(ToFeeds::HqTime(Timestamp(number)));
        }
        for session in 0..FRAMES as u64 {
            inbox.heard.try_send(Heard::Down { side: Source::Hq, session }).unwrap();
        }
        for _ in 0..SALES {
            inbox.sales.try_send(sale(0)).unwrap();
        }
        let first = lanes.next(SOON).await.unwrap();
        assert_eq!(kinds(&first), (192, 32, 32));
        let second = lanes.next(SOON).await.unwrap();
        assert_eq!(kinds(&second), (64, 32, 160));
        // Each lane keeps its own order.
        let times = first.iter().chain(&second).filter_map(|event| match event {
            Event::Said(Said::Told(ToFeeds::HqTime(at))) => Some(at.0),
            Event::Said(_) | Event::Sale(_) | Event::Heard(_) => None,
        });
        assert!(times.eq(0..192));
    }

    #[tokio::test]
    async fn a_batch_is_no_larger_than_finds_room_and_large_sales_keep_nobody_out() {
        const SALE: usize = 64 << 10;
        const FRAME: usize = 384 << 10;
        let (inbox, mut lanes) = lanes();
        for _ in 0..SALES {
            inbox.sales.try_send(sale(SALE)).unwrap();
        }
        for _ in 0..FRAMES {
            let (side, bytes) = (Source::Hq, vec![0; FRAME]);
            inbox.heard.try_send(Heard::Frame { side, session: 1, bytes }).unwrap();
        }
        inbox.tell(ToFeeds::Gateway(None));
        let first = lanes.next(SOON).await.unwrap();
        assert_eq!(kinds(&first), (BATCH_BYTES / SALE, BATCH_BYTES.div_ceil(FRAME), 1));
        let bytes: usize = first.iter().map(Event::bytes).sum();
        assert!(bytes < 3 * BATCH_BYTES, "{bytes}");
    }

    #[tokio::test]
    async fn what_comes_after_a_wait_is_in_order_too() {
        let (inbox, mut lanes) = lanes();
        let waiting = tokio::spawn(async move { lanes.next(Duration::from_mins(1)).await });
        tokio::task::yield_now().await;
        inbox.tell(ToFeeds::Gateway(None));
        inbox.sales.try_send(sale(0)).unwrap();
        assert_eq!(kinds(&waiting.await.unwrap().unwrap()), (1, 0, 1));
    }

    #[tokio::test]
    async fn an_idle_lane_waits_no_longer_than_it_may_and_ends_with_its_senders() {
        let (inbox, mut lanes) = lanes();
        assert!(lanes.next(SOON).await.unwrap().is_empty());
        drop(inbox);
        assert!(lanes.next(Duration::from_mins(1)).await.is_none());
    }
}
