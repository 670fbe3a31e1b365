//! The control stream: frames between one terminal and the composite.
//!
//! The rule: frames go to the driver in the order in which they came, each of at most
//! [`REPORT_MAX`] bytes; a longer one ends the link. (What a stranger may say is shorter: the
//! composite, who knows when it was admitted, holds it to that.) When the driver is behind, the
//! reader waits, and QUIC holds the terminal back. What the driver sends is ahead of feeds
//! and chunks on the same connection, so an order never waits behind a release.

use quinn::{RecvStream, SendStream};
use storemesh_host::frames::{read_frame, write_frame};
use storemesh_protocol::{hq::LinkId, wire::REPORT_MAX};
use tokio::sync::mpsc;

use crate::driver::Inbox;

/// Above that of feeds, 1, and of bulk streams, which keep the default, 0.
const PRIORITY: i32 = 2;

/// Until the terminal ends the stream.
pub(super) async fn read(
    link: LinkId,
    mut stream: RecvStream,
    inbox: &Inbox,
) -> anyhow::Result<()> {
    while let Some(frame) = read_frame(&mut stream, REPORT_MAX).await? {
        inbox.frame(link, frame).await?;
    }
    Ok(())
}

/// Until the driver hangs up; then everything sent has arrived.
pub(super) async fn write(
    mut stream: SendStream,
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> anyhow::Result<()> {
    stream.set_priority(PRIORITY)?;
    while let Some(frame) = queue.recv().await {
        write_frame(&mut stream, &frame).await?;
    }
    stream.finish()?;
    stream.stopped().await?;
    Ok(())
}
