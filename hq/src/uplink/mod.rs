//! HQ's side of the uplink: QUIC connections of terminals.
//!
//! The rule: a connection is a stranger until the composite admits it, and a stranger may have
//! one stream with small frames, for a short time, and in small numbers. It says hello within
//! [`HELLO`] of its handshake and is admitted (or has enrolled and left) within [`STRANGER`]. Then
//! the same stream carries larger frames, and there may be further ones, by their first byte
//! (`streams`): one for feeds (`feeds`), and, while the composite lets it, those that fetch chunks
//! (`bulk`).
//!
//! What a frame means is the composites' business; here frames go in and out (`control`). A lost
//! connection is no loss: the terminal calls again.

mod bulk;
mod control;
mod feeds;
mod streams;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quinn::{Connection, VarInt};
use storemesh_host::{
    frames::read_frame,
    quic::{Handshake, Listener, address_of},
};
use storemesh_keys::PeerId;
use storemesh_protocol::{hq::LinkId, wire::GREETING_MAX};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{sleep, timeout},
};

use self::bulk::Bulk;
use crate::{
    chunks::Chunks,
    driver::{Inbox, Way},
};

/// From the handshake to the first whole frame.
const HELLO: Duration = Duration::from_secs(10);
/// From the first frame to admission. Enrolling takes one exchange and a commit.
const STRANGER: Duration = Duration::from_secs(20);
/// What was sent before a link is ended gets this long to arrive (design: within a second).
const LINGER: Duration = Duration::from_secs(1);
/// Strangers at once; more are turned away and call again. A guess: a whole chain that comes back
/// after an outage is admitted in milliseconds each.
const STRANGERS_MAX: usize = 1024;
/// Frames that wait for one terminal. It is told of its neighbours, leases and releases, rarely.
const QUEUE: usize = 64;

/// HQ said what it had to say, or stops.
const DONE: VarInt = VarInt::from_u32(0);
/// Too many strangers, or no hello in time.
const TURNED_AWAY: VarInt = VarInt::from_u32(1);

/// What every connection needs.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    inbox: Inbox,
    feeds: crate::feeds::Inbox,
    chunks: Chunks,
    next_link: Arc<AtomicU64>,
    strangers: Arc<Semaphore>,
}

impl Uplink {
    pub(crate) fn new(inbox: Inbox, feeds: crate::feeds::Inbox, chunks: Chunks) -> Self {
        let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
        Self { inbox, feeds, chunks, next_link: Arc::default(), strangers }
    }

    /// Takes connections until the endpoint is closed.
    pub(crate) async fn listen(self, listener: Listener) {
        while let Some(handshake) = listener.accept().await {
            tokio::spawn(self.clone().take(handshake));
        }
    }

    async fn take(self, handshake: Handshake) {
        let from = handshake.from();
        let (connection, peer) = match handshake.finish().await {
            Ok(connected) => connected,
            Err(why) => {
                tracing::debug!(%from, "no handshake: {why:#}");
                return;
            }
        };
        let link = self.next_link.fetch_add(1, Ordering::Relaxed);
        match self.link(link, &connection, peer).await {
            Ok(()) => connection.close(DONE, b""),
            Err(why) => {
                tracing::debug!(link, from = %address_of(&connection), "{why:#}");
                connection.close(TURNED_AWAY, b"");
            }
        }
    }

    async fn link(
        &self,
        link: LinkId,
        connection: &Connection,
        peer: PeerId,
    ) -> anyhow::Result<()> {
        let Ok(stranger) = self.strangers.try_acquire() else {
            anyhow::bail!("more than {STRANGERS_MAX} strangers at once");
        };
        let greeting = async {
            let (out, mut input) = connection.accept_bi().await?;
            let hello = read_frame(&mut input, GREETING_MAX).await?;
            anyhow::Ok((out, input, hello))
        };
        let (out, input, hello) = match timeout(HELLO, greeting).await {
            Ok(Ok((out, input, Some(hello)))) => (out, input, hello),
            Ok(Ok((_, _, None))) => anyhow::bail!("no hello"),
            Ok(Err(why)) => return Err(why.context("no hello")),
            Err(_) => anyhow::bail!("no hello within {} s", HELLO.as_secs()),
        };

        let (frames, queue) = mpsc::channel(QUEUE);
        let (admitted, admission) = watch::channel(None);
        let (fetching, may_fetch) = watch::channel(false);
        tracing::debug!(link, %peer, from = %address_of(connection), "a terminal connected");
        self.inbox.connected(link, peer, Way { frames, admitted, fetching }).await?;
        self.inbox.frame(link, hello).await?;

        let in_time = async {
            let mut admission = admission.clone();
            match timeout(STRANGER, admission.wait_for(Option::is_some)).await {
                Ok(Ok(_)) => drop(stranger),
                // Hung up on: `hung_up` sees to that.
                Ok(Err(_)) => {}
                Err(_) => return,
            }
            std::future::pending::<()>().await;
        };
        let streaming = async {
            let admitted = admission.clone().wait_for(Option::is_some).await.map(|it| it.clone());
            if let Ok(Some(store)) = admitted {
                let bulk = Bulk::new(peer, self.chunks.clone(), may_fetch);
                // One more may wait while the last ends.
                let (opened, feeds_streams) = mpsc::channel(1);
                tokio::select! {
                    () = streams::serve(connection, bulk, opened) => {}
                    ended = feeds::serve(link, peer, &store, feeds_streams, &self.feeds) => {
                        return ended;
                    }
                }
            }
            std::future::pending().await
        };
        let hung_up = async {
            let mut admission = admission.clone();
            while admission.changed().await.is_ok() {}
            sleep(LINGER).await;
        };
        let ended = tokio::select! {
            ended = control::read(link, input, &self.inbox) => ended,
            ended = control::write(out, queue) => ended,
            () = hung_up => Ok(()),
            () = in_time => Err(anyhow::anyhow!("not admitted within {} s", STRANGER.as_secs())),
            ended = streaming => ended,
        };
        // Told in any case, or the composite would take it for connected for ever.
        self.feeds.down(link).await?;
        self.inbox.disconnected(link).await?;
        ended
    }
}
