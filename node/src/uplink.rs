//! The uplink: this terminal's QUIC connection to HQ.
//!
//! Opening tries HQ's addresses one [`STAGGER`] after the other and takes the first that answers
//! with any key; whether it is HQ's the composite finds out by the welcome. The first stream carries
//! frames, ahead of everything. Each later one begins with a byte that says what it is: one for feeds,
//! once the composite speaks to HQ for the store, goes ahead of the one that fetches chunks. Every
//! opening is a session of its own with a new endpoint, so a network that changed under the old one does
//! no harm.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use futures::{
    FutureExt as _,
    future::{join_all, select_ok},
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use storemesh_host::{
    frames::{read_frame, write_frame},
    quic,
};
use storemesh_keys::{PublicKey, SecretKey};
use storemesh_protocol::{
    terminal::Source,
    wire::{CONTROL_MAX, feeds::FEEDS_STREAM, mesh::BULK_STREAM},
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    counters::Traffic,
    disk::Disk,
    driver::{Event, Inbox, Line},
    feeds::Carrier,
    fetch::{Fetcher, Patience},
    recent::Recent,
};

/// Between one address's try and the next one's (RFC 8305 recommends 250 ms).
const STAGGER: Duration = Duration::from_millis(250);
const RESOLVE: Duration = Duration::from_secs(3);
/// Addresses tried of all that HQ's names resolve to.
const ADDRESSES_MAX: usize = 16;
/// Frames that wait for HQ; a terminal says little.
const FRAMES: usize = 64;
/// As many as the composite asks for at once, and some to spare.
const FETCHES: usize = 256;
/// Above those of the other streams.
const CONTROL_PRIORITY: i32 = 2;
const FEEDS_PRIORITY: i32 = 1;
const BULK_PRIORITY: i32 = 0;
/// Before a stream for feeds that ended is opened again: one side has found something wrong.
const REOPEN_FEEDS: Duration = Duration::from_secs(5);

/// Opens uplinks.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) key: SecretKey,
    pub(crate) disk: Arc<Disk>,
    pub(crate) inbox: Inbox,
    pub(crate) runtime: Handle,
    pub(crate) storing: Arc<Semaphore>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) feeds: Carrier,
}

/// One session, open or opening; dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Open(AbortHandle);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Dialer {
    pub(crate) fn open(&self, session: u64, addresses: Vec<String>) -> Open {
        let this = self.clone();
        let task = async move {
            let why = match this.session(session, &addresses).await {
                Ok(()) => "HQ hung up".to_owned(),
                Err(why) => format!("{why:#}"),
            };
            // The node may be stopping; nobody needs to hear then.
            _ = this.inbox.send(Event::UplinkDown { session, why }).await;
        };
        Open(self.runtime.spawn(task).abort_handle())
    }

    async fn session(&self, session: u64, addresses: &[String]) -> anyhow::Result<()> {
        let (connection, hq) = call(&self.key, addresses).await?;
        // Dropped with this task, so that the other side sees the end at once.
        let _closing = Closing(connection.clone());
        let (out, input) = connection.open_bi().await.context("opening a stream to HQ")?;
        out.set_priority(CONTROL_PRIORITY).context("preferring control frames")?;
        let (frames, queue) = mpsc::channel(FRAMES);
        let (fetches, wanted) = mpsc::channel(FETCHES);
        let line = Line { frames, fetches };
        let (speaks, speaking) = watch::channel(false);
        // On its own, so that its end is always told; it ends with the connection.
        tokio::spawn(carry_feeds(self.feeds.clone(), connection.clone(), speaking));
        self.inbox.send(Event::UplinkUp { session, hq, line, speaks }).await?;
        let asking = Fetcher {
            from: Source::Hq,
            patience: Patience::HQ,
            disk: self.disk.clone(),
            inbox: self.inbox.clone(),
            traffic: Traffic::default(),
            storing: self.storing.clone(),
            recent: self.recent.clone(),
        };
        let bulk = asking.run(wanted, || stream(&connection, BULK_STREAM, BULK_PRIORITY));
        let ended = tokio::select! {
            ended = read(session, input, &self.inbox) => ended,
            ended = write(out, queue) => ended,
            ended = bulk => Ok(ended?),
        };
        match connection.close_reason() {
            // It said so itself; what broke here because of it need not be told.
            Some(ConnectionError::ApplicationClosed(_)) => Ok(()),
            Some(ConnectionError::TimedOut) => bail!("HQ fell silent"),
            Some(_) | None => ended,
        }
    }
}

/// Closes the connection when the session ends, however it ends.
struct Closing(Connection);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close(0_u32.into(), b"");
    }
}

/// The first of HQ's addresses that answers, and the key it proved.
pub(crate) async fn call(
    key: &SecretKey,
    addresses: &[String],
) -> anyhow::Result<(Connection, PublicKey)> {
    let resolved = resolve(addresses).await?;
    let endpoint = quic::client_endpoint(key)?;
    let tries = resolved.iter().enumerate().map(|(turn, address)| {
        let endpoint = endpoint.clone();
        async move {
            sleep(STAGGER * u32::try_from(turn).unwrap_or(u32::MAX)).await;
            quic::connect(&endpoint, *address).await
        }
        .boxed()
    });
    let called = select_ok(tries).await;
    let ((connection, peer), _others) =
        called.with_context(|| format!("HQ does not answer at {}", addresses.join(", ")))?;
    Ok((connection, *peer.public()))
}

/// Looks all names up at once; numbers need no looking up.
async fn resolve(addresses: &[String]) -> anyhow::Result<Vec<SocketAddr>> {
    let look_up = |address: &String| {
        let address = address.clone();
        async move {
            match timeout(RESOLVE, tokio::net::lookup_host(&address)).await {
                Ok(Ok(found)) => Ok(found.collect::<Vec<_>>()),
                Ok(Err(why)) => Err(format!("looking up {address}: {why}")),
                Err(_) => Err(format!("looking up {address}: no answer")),
            }
        }
    };
    let mut resolved = Vec::new();
    let mut failure = None;
    for found in join_all(addresses.iter().map(look_up)).await {
        match found {
            Ok(found) => resolved.extend(found),
            Err(why) => failure = Some(why),
        }
    }
    resolved.truncate(ADDRESSES_MAX);
    if resolved.is_empty() {
        bail!(failure.unwrap_or_else(|| "this terminal knows no address of HQ".to_owned()));
    }
    Ok(resolved)
}

async fn stream(
    connection: &Connection,
    kind: u8,
    priority: i32,
) -> anyhow::Result<(RecvStream, SendStream)> {
    let (mut output, input) = connection.open_bi().await?;
    output.set_priority(priority)?;
    output.write_all(&[kind]).await?;
    Ok((input, output))
}

/// Once the composite speaks to HQ, until the connection ends.
async fn carry_feeds(feeds: Carrier, connection: Connection, mut speaks: watch::Receiver<bool>) {
    if speaks.wait_for(|speaks| *speaks).await.is_err() {
        return;
    }
    while connection.close_reason().is_none() {
        let ended = match stream(&connection, FEEDS_STREAM, FEEDS_PRIORITY).await {
            Ok((mut input, mut output)) => {
                let gone = async { _ = connection.closed().await };
                feeds.carry(Source::Hq, &mut input, &mut output, gone).await
            }
            Err(why) => Err(why),
        };
        if let Err(why) = ended {
            tracing::debug!("the stream for feeds to HQ ended: {why:#}");
        }
        _ = timeout(REOPEN_FEEDS, connection.closed()).await;
    }
}

async fn read(session: u64, mut input: RecvStream, inbox: &Inbox) -> anyhow::Result<()> {
    while let Some(bytes) = read_frame(&mut input, CONTROL_MAX).await? {
        inbox.send(Event::UplinkFrame { session, bytes }).await?;
    }
    Ok(())
}

/// Until the driver closes the session.
async fn write(mut out: SendStream, mut queue: mpsc::Receiver<Vec<u8>>) -> anyhow::Result<()> {
    while let Some(frame) = queue.recv().await {
        write_frame(&mut out, &frame).await?;
    }
    Ok(())
}
