//! Yamux under libp2p, with frames as large as a Noise message.
//!
//! libp2p's own wrapper leaves Yamux's frames at 16 KiB, and every frame is encrypted, sent and woken
//! for by itself; it offers no way to say otherwise. This one speaks the same protocol to anybody,
//! sends frames of [`FRAME_BYTES`], and also limits what one neighbour can make us buffer
//! ([`WINDOWS_BYTES`]). Streams that a neighbour opens wait here until they are taken; there are at
//! most [`STREAMS_MAX`], since Yamux ends a connection that opens more.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use yamux::{Connection, ConnectionError, Mode, Stream};

/// Streams of one connection: one for control, one for feeds, one bulk each way, and a few that are
/// ending.
const STREAMS_MAX: usize = 16;
/// With its header of 12 bytes it fills one message of libp2p's Noise, 64 KiB less 1 KiB and one
/// byte, so that no message is a small remainder. A control frame waits behind one of these at most
/// once it is its turn: 5 ms at 100 Mbit/s.
const FRAME_BYTES: usize = (1 << 16) - 1 - (1 << 10) - 12;
/// What all streams of a connection may have on their way to us, unread. Yamux grants each 256 KiB;
/// the rest is for bulk, of which at most 4 MiB are asked for at once.
const WINDOWS_BYTES: usize = STREAMS_MAX * (256 << 10) + (4 << 20);

/// Offers Yamux for a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upgrade;

#[derive(Debug)]
pub(super) struct Muxer<C> {
    connection: Connection<C>,
    /// Opened by the neighbour while nobody was there to take them.
    opened: VecDeque<Stream>,
    taker: Option<Waker>,
}

impl Upgrade {
    fn start<C>(socket: C, mode: Mode) -> Muxer<C>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let mut config = yamux::Config::default();
        config
            .set_max_num_streams(STREAMS_MAX)
            .set_max_connection_receive_window(Some(WINDOWS_BYTES))
            .set_split_send_size(FRAME_BYTES);
        let connection = Connection::new(socket, config, mode);
        Muxer { connection, opened: VecDeque::new(), taker: None }
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Self::start(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Self::start(socket, Mode::Client)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    /// Moves all streams on, until the neighbour opens another.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let next = ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.opened.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let driven = self.drive(cx);
        if driven.is_pending() {
            self.taker = Some(cx.waker().clone());
        }
        driven
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        loop {
            let stream = ready!(self.drive(cx))?;
            self.opened.push_back(stream);
            if let Some(taker) = self.taker.take() {
                taker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt as _, AsyncWriteExt as _, future::poll_fn};
    use tokio::io::DuplexStream;
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

    use super::*;

    type End = Muxer<Compat<DuplexStream>>;

    /// Both ends of a connection; the pipe between holds a frame and its header.
    fn pair() -> (End, End) {
        let (near, far) = tokio::io::duplex(FRAME_BYTES + 12);
        let near = Upgrade::start(near.compat(), Mode::Client);
        (near, Upgrade::start(far.compat(), Mode::Server))
    }

    #[tokio::test]
    async fn what_one_side_writes_the_other_reads_and_streams_wait_until_they_are_taken() {
        let (mut near, mut far) = pair();
        let sent: Vec<u8> = (0..FRAME_BYTES * 9).map(|at| at.to_le_bytes()[1]).collect();
        let copy = sent.clone();
        let sending = tokio::spawn(async move {
            for _ in 0..2 {
                let opened = poll_fn(|cx| Pin::new(&mut near).poll_outbound(cx)).await;
                let (mut stream, copy) = (opened.unwrap(), copy.clone());
                tokio::spawn(async move {
                    stream.write_all(&copy).await.unwrap();
                    stream.close().await.unwrap();
                });
            }
            // Until the other side goes away.
            _ = poll_fn(|cx| Pin::new(&mut near).poll(cx)).await;
        });
        // Nobody takes a stream yet, but the connection is driven: so they are kept.
        let both = poll_fn(|cx| {
            assert!(Pin::new(&mut far).poll(cx).is_pending());
            if far.opened.len() < 2 { Poll::Pending } else { Poll::Ready(()) }
        });
        both.await;
        let mut taken = Vec::new();
        for _ in 0..2 {
            taken.push(poll_fn(|cx| Pin::new(&mut far).poll_inbound(cx)).await.unwrap());
        }
        let driving = tokio::spawn(async move { poll_fn(|cx| Pin::new(&mut far).poll(cx)).await });
        for stream in &mut taken {
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            assert!(got == sent);
        }
        driving.abort();
        _ = driving.await;
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn who_opens_more_streams_than_there_may_be_loses_the_connection() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let mut config = yamux::Config::default();
        config.set_max_num_streams(2 * STREAMS_MAX);
        let mut near = Connection::new(near.compat(), config, Mode::Client);
        let mut far = Upgrade::start(far.compat(), Mode::Server);
        let pushing = tokio::spawn(async move {
            let mut streams = Vec::new();
            for _ in 0..=STREAMS_MAX {
                let opened = poll_fn(|cx| near.poll_new_outbound(cx)).await;
                let mut stream = opened.unwrap();
                stream.write_all(&[1]).await.unwrap();
                streams.push(stream);
            }
            poll_fn(|cx| near.poll_next_inbound(cx)).await.is_none_or(|next| next.is_err())
        });
        let ended = poll_fn(|cx| Pin::new(&mut far).poll(cx)).await;
        assert!(ended.is_err());
        assert!(far.opened.len() <= STREAMS_MAX);
        drop(far);
        assert!(pushing.await.unwrap());
    }
}
