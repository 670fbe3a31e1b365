//! The bulk stream, both ends: chunks on request (`storemesh_protocol::wire::bulk`).
//!
//! The rule: requests are answered in the order in which they came, each with a head and then as
//! many raw bytes as the head says; whoever does not have the chunk says so with none. The asker
//! writes requests ahead, so the answerer needs no more memory than one chunk a stream. A request
//! or answer that does not read ends its stream, nothing else.

use std::{ops::Deref, time::Duration};

use anyhow::Context as _;
use storemesh_protocol::{
    content::ChunkId,
    wire::{
        self,
        bulk::{BODY_MAX, HEAD_MAX, Reply, Request},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use crate::frames::{FrameError, read_frame, write_frame};

/// An asker that never reads keeps a chunk in our memory; longer than the most patient asker waits.
pub const TAKEN_WITHIN: Duration = Duration::from_mins(5);

/// Answers requests until the asker ends the stream; `stored` looks a chunk's stored form up.
/// `sent` hears of the bytes of each.
pub async fn answer<R, W, F, B>(
    input: &mut R,
    output: &mut W,
    stored: impl Fn(ChunkId) -> F,
    sent: impl Fn(u64),
) -> anyhow::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    F: Future<Output = Option<B>>,
    B: Deref<Target: AsRef<[u8]>>,
{
    answer_within(TAKEN_WITHIN, input, output, stored, sent).await
}

async fn answer_within<R, W, F, B>(
    patience: Duration,
    input: &mut R,
    output: &mut W,
    stored: impl Fn(ChunkId) -> F,
    sent: impl Fn(u64),
) -> anyhow::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    F: Future<Output = Option<B>>,
    B: Deref<Target: AsRef<[u8]>>,
{
    while let Some(frame) = read_frame(input, HEAD_MAX).await? {
        let Request { chunk } = wire::decode(&frame)?;
        let body = stored(chunk).await;
        let body: &[u8] = body.as_deref().map_or(&[], AsRef::as_ref);
        let length = u32::try_from(body.len())?;
        let writing = async {
            write_frame(output, &wire::encode(&Reply { chunk, length })).await?;
            output.write_all(body).await?;
            anyhow::Ok(output.flush().await?)
        };
        timeout(patience, writing).await.context("the asker does not take its chunk")??;
        sent(u64::from(length));
    }
    Ok(())
}

/// Asks for a chunk; the answer comes in its turn.
pub async fn ask<W: AsyncWrite + Unpin>(output: &mut W, chunk: ChunkId) -> anyhow::Result<()> {
    Ok(write_frame(output, &wire::encode(&Request { chunk })).await?)
}

/// Why there is no answer to a request.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The stream ended or failed: ask somebody else.
    #[error("the stream ended: {0}")]
    Lost(String),
    /// The other side does not keep to the protocol: do not ask it again.
    #[error("{0}")]
    Wrong(String),
}

/// Reads the head of the answer to the request for `awaited`: how many bytes follow, or none when
/// the other side does not have it.
pub async fn take_head<R: AsyncRead + Unpin>(
    input: &mut R,
    awaited: ChunkId,
) -> Result<Option<usize>, AnswerError> {
    let head = match read_frame(input, HEAD_MAX).await {
        Ok(Some(head)) => head,
        Ok(None) => return Err(AnswerError::Lost("closed by the other side".to_owned())),
        Err(why @ FrameError::TooLarge { .. }) => return Err(AnswerError::Wrong(why.to_string())),
        Err(why @ (FrameError::Cut { .. } | FrameError::Stream(_))) => {
            return Err(AnswerError::Lost(why.to_string()));
        }
    };
    let Reply { chunk, length } =
        wire::decode(&head).map_err(|why| AnswerError::Wrong(why.to_string()))?;
    if chunk != awaited {
        return Err(AnswerError::Wrong(format!("answered {chunk} when asked for {awaited}")));
    }
    match length as usize {
        0 => Ok(None),
        length if length <= BODY_MAX => Ok(Some(length)),
        length => Err(AnswerError::Wrong(format!("chunk of {length} bytes, at most {BODY_MAX}"))),
    }
}

/// Reads the bytes after a head: all of `body`, which the caller has made as long as the head says.
pub async fn take_body<R: AsyncRead + Unpin>(
    input: &mut R,
    body: &mut [u8],
) -> Result<(), AnswerError> {
    let read = input.read_exact(body).await;
    read.map(drop).map_err(|why| AnswerError::Lost(why.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{duplex, split};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn an_asker_that_never_reads_loses_its_stream_and_costs_one_chunk() {
        let (mut asker, answerer) = duplex(4096);
        let looked_up = std::cell::Cell::new(0);
        let stored = |_| {
            looked_up.set(looked_up.get() + 1);
            async { Some(Box::new(vec![7_u8; BODY_MAX])) }
        };
        for seed in 0..20 {
            ask(&mut asker, ChunkId([seed; 32])).await.unwrap();
        }
        let (mut input, mut output) = split(answerer);
        let began = Instant::now();
        let ended = answer_within(PATIENCE, &mut input, &mut output, stored, |_| {}).await;
        assert_eq!(ended.unwrap_err().to_string(), "the asker does not take its chunk");
        assert!(began.elapsed() >= PATIENCE, "not before its time");
        assert_eq!(looked_up.get(), 1);
    }

    #[tokio::test]
    async fn a_request_that_does_not_read_ends_the_stream() {
        for wrong in [&[0, 0, 0, 1, 0xff][..], &[0xff, 0xff, 0xff, 0xff], &[0, 0]] {
            let (mut asker, answerer) = duplex(4096);
            asker.write_all(wrong).await.unwrap();
            asker.shutdown().await.unwrap();
            let (mut input, mut output) = split(answerer);
            let stored = |_| async { None::<Box<Vec<u8>>> };
            assert!(answer(&mut input, &mut output, stored, |_| {}).await.is_err(), "{wrong:?}");
        }
    }
}
