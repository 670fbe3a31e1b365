//! The feeds stream: frames between one terminal and HQ's feeds.
//!
//! The rule: one at a time on a link, told to the driver of feeds as up and down, in this order.
//! Frames are of at most [`FEED_FRAME_MAX`] bytes. A terminal may end its stream and open another;
//! when we end it, the terminal has broken the protocol or does not read, and the whole link goes.

use anyhow::bail;
use storemesh_host::frames::{read_frame, write_frame};
use storemesh_keys::{Name, PeerId};
use storemesh_protocol::{hq::LinkId, wire::feeds::FEED_FRAME_MAX};
use tokio::sync::mpsc;

use super::streams::Stream;
use crate::feeds::{Inbox, QUEUE};

/// Between control frames and bulk: an acknowledgement never waits behind a release, and an order
/// waits behind neither.
const PRIORITY: i32 = 1;

/// Until the link ends; the driver still has to be told that it is down.
pub(super) async fn serve(
    link: LinkId,
    peer: PeerId,
    store: &Name,
    mut streams: mpsc::Receiver<Stream>,
    inbox: &Inbox,
) -> anyhow::Result<()> {
    while let Some(Stream { out, input }) = streams.recv().await {
        let (frames, queue) = mpsc::channel(QUEUE);
        inbox.up(link, peer, store.clone(), frames).await?;
        tokio::select! {
            ended = read(link, input, inbox) => ended?,
            ended = write(out, queue) => {
                ended?;
                bail!("HQ's feeds hung up");
            }
        }
        inbox.down(link).await?;
    }
    Ok(())
}

/// Until the terminal ends the stream.
async fn read(link: LinkId, mut input: quinn::RecvStream, inbox: &Inbox) -> anyhow::Result<()> {
    while let Some(frame) = read_frame(&mut input, FEED_FRAME_MAX).await? {
        inbox.frame(link, frame).await?;
    }
    Ok(())
}

/// Until the driver hangs up.
async fn write(
    mut out: quinn::SendStream,
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> anyhow::Result<()> {
    out.set_priority(PRIORITY)?;
    while let Some(frame) = queue.recv().await {
        write_frame(&mut out, &frame).await?;
    }
    Ok(())
}
