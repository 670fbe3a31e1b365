//! One stream for feeds: between it and the feeds' thread.
//!
//! The rule: each stream is a session. It goes up when it stands, its frames go in as they come, and it
//! goes down when it ends, however it ends. The thread lets go of a stream by dropping its queue. A
//! frame that is too long, or is cut, ends its stream and nothing else.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use storemesh_host::frames::{read_frame, write_frame};
use storemesh_protocol::{terminal::Source, wire::feeds::FEED_FRAME_MAX};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use super::{Inbox, lanes::Heard};

/// Frames that wait for one side, most of them of 64 KiB: the composite gives no more at a time than it
/// was asked for, and one that reads so little has its stream ended.
const FRAMES: usize = 128;

/// Carries frames for all streams, of neighbours and of HQ.
#[derive(Clone, Debug)]
pub(crate) struct Carrier {
    inbox: Inbox,
    sessions: Arc<AtomicU64>,
}

impl Carrier {
    pub(crate) fn new(inbox: Inbox) -> Self {
        Self { inbox, sessions: Arc::default() }
    }

    /// Until the stream ends, or `gone` does; not to be dropped before.
    pub(crate) async fn carry(
        &self,
        side: Source,
        input: &mut (impl AsyncRead + Unpin),
        output: &mut (impl AsyncWrite + Unpin),
        gone: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (frames, queue) = mpsc::channel(FRAMES);
        self.inbox.heard.send(Heard::Up { side, session, frames }).await?;
        let ended = tokio::select! {
            ended = read(&self.inbox, side, session, input) => ended,
            ended = write(output, queue) => ended,
            () = gone => Ok(()),
        };
        self.inbox.heard.send(Heard::Down { side, session }).await?;
        ended
    }
}

async fn read(
    inbox: &Inbox,
    side: Source,
    session: u64,
    input: &mut (impl AsyncRead + Unpin),
) -> anyhow::Result<()> {
    while let Some(bytes) = read_frame(input, FEED_FRAME_MAX).await? {
        inbox.heard.send(Heard::Frame { side, session, bytes }).await?;
    }
    Ok(())
}

/// Until the thread lets go of the stream.
async fn write(
    output: &mut (impl AsyncWrite + Unpin),
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> anyhow::Result<()> {
    while let Some(frame) = queue.recv().await {
        write_frame(output, &frame).await?;
    }
    Ok(())
}
