//! Which stream is which: every stream after the control stream begins with a byte that says so.
//!
//! The rule: a terminal that was admitted opens streams as it likes, QUIC holds it to some; bulk
//! streams are answered several at a time (`bulk`), feeds have one stream at a time (`feeds`). A
//! stream that does not say what it is in time, or is of a kind we do not know, is reset: the link
//! goes on.

use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream, VarInt};
use storemesh_protocol::wire::{feeds::FEEDS_STREAM, mesh::BULK_STREAM};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::bulk::Bulk;

/// A stream's first byte comes with whatever the terminal wants to say on it.
const FIRST_BYTE: Duration = Duration::from_secs(5);
/// No stream of ours, or one too many.
const UNKNOWN: VarInt = VarInt::from_u32(3);

/// Both directions of one.
pub(super) struct Stream {
    pub(super) out: SendStream,
    pub(super) input: RecvStream,
}

impl Stream {
    pub(super) fn reset(mut self, why: VarInt) {
        // Either is an error when the other side has ended it already.
        _ = (self.out.reset(why), self.input.stop(why));
    }
}

/// Until the connection ends, or the driver hangs up. Dropped, it leaves no stream behind.
pub(super) async fn serve(connection: &Connection, mut bulk: Bulk, feeds: mpsc::Sender<Stream>) {
    let mut opening = JoinSet::new();
    loop {
        tokio::select! {
            // In this order: a stream opened right after the lease was granted is answered.
            biased;
            goes_on = bulk.changed() => {
                if !goes_on {
                    return;
                }
            }
            stream = connection.accept_bi() => {
                let Ok((out, input)) = stream else { return };
                opening.spawn(first_byte(Stream { out, input }));
            }
            Some(opened) = opening.join_next() => {
                // A task that was ended has nothing to say.
                let Ok((kind, stream)) = opened else { continue };
                match kind {
                    Some(BULK_STREAM) => bulk.take(stream),
                    Some(FEEDS_STREAM) => {
                        if let Err(why) = feeds.try_send(stream) {
                            why.into_inner().reset(UNKNOWN);
                        }
                    }
                    Some(_) | None => stream.reset(UNKNOWN),
                }
            }
        }
    }
}

async fn first_byte(mut stream: Stream) -> (Option<u8>, Stream) {
    let mut kind = [0];
    let read = timeout(FIRST_BYTE, stream.input.read_exact(&mut kind)).await;
    let kind = matches!(read, Ok(Ok(()))).then_some(kind[0]);
    (kind, stream)
}
