//! Asking one source for chunks, over one stream.
//!
//! Requests go out as they come; answers come in the same order, are verified and written by a
//! worker, and the composite hears of each. A chunk is read once one of [`STORING_MAX`] places is free,
//! over all sources, so that memory is bounded however many there are. When the stream ends, or the source breaks
//! the protocol, what it still owes is reported and the next request opens a new stream.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use storemesh_host::{
    bulk::{self, AnswerError},
    logs::CHUNKS,
};
use storemesh_protocol::{
    content::ChunkRef,
    terminal::{FetchError, Input, Source},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
    time::timeout,
};

use crate::{
    counters::Traffic,
    disk::{Disk, StoreError},
    driver::{Inbox, Stopping},
    recent::Recent,
};

/// Chunks that are read, verified and written at once.
pub(crate) const STORING_MAX: usize = 16;

/// How long a source may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// An answer that has not begun by then never will: a stream that hangs is given up, and the next
    /// request opens another. The composite asks elsewhere long before.
    pub(crate) head: Duration,
    /// Whoever takes longer over a chunk gives its place back and goes on beside the others, so that a
    /// few that trickle do not hold up all that do not.
    pub(crate) place: Duration,
    /// Nobody is waited for longer than that besides.
    pub(crate) body: Duration,
}

impl Patience {
    /// At 4 Mbit/s a whole chunk comes in `place`; from a port of 10 Mbit/s that serves 30 terminals at
    /// once it comes in `body`.
    pub(crate) const NEIGHBOUR: Self = Self {
        head: Duration::from_mins(1),
        place: Duration::from_secs(2),
        body: Duration::from_secs(30),
    };
    /// The line may be far slower: 70 kbit/s.
    pub(crate) const HQ: Self = Self { body: Duration::from_mins(2), ..Self::NEIGHBOUR };
}

#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    pub(crate) from: Source,
    pub(crate) patience: Patience,
    pub(crate) disk: Arc<Disk>,
    pub(crate) inbox: Inbox,
    pub(crate) traffic: Traffic,
    /// The places for chunks, shared by all sources.
    pub(crate) storing: Arc<Semaphore>,
    /// Where chunks stay in memory for a while.
    pub(crate) recent: Arc<Recent>,
}

impl Fetcher {
    /// Works off `wanted` until it is closed; `open` opens a stream to the source.
    pub(crate) async fn run<R, W, F>(
        self,
        mut wanted: mpsc::Receiver<ChunkRef>,
        mut open: impl FnMut() -> F,
    ) -> Result<(), Stopping>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
        F: Future<Output = anyhow::Result<(R, W)>>,
    {
        while let Some(first) = wanted.recv().await {
            let mut owed = VecDeque::from([first]);
            let why = match open().await {
                Ok((mut input, mut output)) => {
                    self.exchange(&mut input, &mut output, &mut wanted, &mut owed).await?
                }
                Err(why) => {
                    tracing::debug!(from = ?self.from, "no bulk stream: {why:#}");
                    FetchError::Lost
                }
            };
            for chunk in owed {
                let chunk = chunk.id;
                self.inbox.input(Input::NotFetched { from: self.from, chunk, why }).await?;
            }
        }
        Ok(())
    }

    /// Until the stream ends, with what is still owed left in `owed`, or until nobody wants more.
    async fn exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        input: &mut R,
        output: &mut W,
        wanted: &mut mpsc::Receiver<ChunkRef>,
        owed: &mut VecDeque<ChunkRef>,
    ) -> Result<FetchError, Stopping> {
        if bulk::ask(output, owed[0].id).await.is_err() {
            return Ok(FetchError::Lost);
        }
        // Reading an answer must not be given up half-way when a request comes in between, so one
        // side asks and the other takes.
        let (to_take, mut taking) = mpsc::unbounded_channel();
        to_take.send(owed.pop_front().expect("the first was just asked for")).expect("just made");
        let asking = async {
            while let Some(chunk) = wanted.recv().await {
                // Owed from now on, whether or not it gets out.
                to_take.send(chunk).expect("the other side outlives this one");
                if bulk::ask(output, chunk.id).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let mut current = None;
        let ended = {
            let take_all = async {
                while let Some(chunk) = taking.recv().await {
                    current = Some(chunk);
                    match self.take(input, chunk).await {
                        Ok(Some((stored, place))) => self.store(chunk, stored, place),
                        Ok(None) => self.report(chunk, Err(FetchError::Missing)).await?,
                        Err(AnswerError::Lost(why)) => {
                            tracing::debug!(from = ?self.from, why, "a bulk stream ended");
                            return Ok(FetchError::Lost);
                        }
                        Err(AnswerError::Wrong(why)) => {
                            tracing::debug!(from = ?self.from, why, "a bulk stream went wrong");
                            return Ok(FetchError::Wrong);
                        }
                    }
                    current = None;
                }
                Ok(FetchError::Lost)
            };
            tokio::select! {
                ended = take_all => ended,
                () = asking => unreachable!("it waits for the other side"),
            }
        };
        owed.extend(current);
        while let Ok(chunk) = taking.try_recv() {
            owed.push_back(chunk);
        }
        ended
    }

    /// The next answer, if there is one, and the place it takes.
    async fn take<R: AsyncRead + Unpin>(
        &self,
        input: &mut R,
        chunk: ChunkRef,
    ) -> Result<Option<(Vec<u8>, OwnedSemaphorePermit)>, AnswerError> {
        let late = |what: &str| AnswerError::Lost(format!("{what} did not come in time"));
        let head = timeout(self.patience.head, bulk::take_head(input, chunk.id)).await;
        let Some(length) = head.map_err(|_| late("an answer"))?? else { return Ok(None) };
        let place = self.place().await;
        let mut body = self.recent.buffer(length);
        let in_time = {
            let mut reading = pin!(bulk::take_body(input, &mut body));
            if let Ok(read) = timeout(self.patience.place, &mut reading).await {
                read?;
                Some(place)
            } else {
                drop(place);
                let read = timeout(self.patience.body, reading).await;
                read.map_err(|_| late("a chunk"))??;
                None
            }
        };
        let place = match in_time {
            Some(place) => place,
            None => self.place().await,
        };
        Ok(Some((body, place)))
    }

    async fn place(&self) -> OwnedSemaphorePermit {
        self.storing.clone().acquire_owned().await.expect("nobody closes it")
    }

    fn store(&self, chunk: ChunkRef, stored: Vec<u8>, place: OwnedSemaphorePermit) {
        let this = self.clone();
        spawn_blocking(move || {
            let bytes = u32::try_from(stored.len()).expect("a stored form is about 1 MiB at most");
            this.traffic.came(u64::from(bytes));
            let done = match this.disk.store(&chunk, &stored) {
                Ok(()) => {
                    let from_hq = this.from == Source::Hq;
                    tracing::debug!(target: CHUNKS, chunk = %chunk.id, bytes, from_hq, "verified");
                    this.recent.keep(chunk.id, stored);
                    Ok(bytes)
                }
                Err(why) => {
                    tracing::warn!(from = ?this.from, chunk = %chunk.id, "not kept: {why}");
                    Err(match why {
                        StoreError::Wrong(_) => FetchError::Wrong,
                        StoreError::Disk(_) => FetchError::Disk,
                        StoreError::NoRoom => FetchError::NoRoom,
                    })
                }
            };
            // The place is free when the composite has heard of it, so that a slow driver slows the
            // readers. When it is gone nobody needs to hear.
            _ = this.inbox.input_blocking(this.input(chunk, done));
            drop(place);
        });
    }

    async fn report(&self, chunk: ChunkRef, done: Result<u32, FetchError>) -> Result<(), Stopping> {
        self.inbox.input(self.input(chunk, done)).await
    }

    fn input(&self, chunk: ChunkRef, done: Result<u32, FetchError>) -> Input {
        let (from, chunk) = (self.from, chunk.id);
        match done {
            Ok(bytes) => Input::Fetched { from, chunk, bytes },
            Err(why) => Input::NotFetched { from, chunk, why },
        }
    }
}
