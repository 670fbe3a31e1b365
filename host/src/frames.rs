//! Messages on a stream of bytes.
//!
//! A frame is its length in four bytes, most significant first, and then that many bytes. The
//! rule: the reader says how large a frame may be, and a larger one is refused when its length has
//! come, before any memory is set aside for it. Memory is touched only as bytes arrive, so a
//! length alone costs a stranger's victim nothing.
//!
//! After any error here the stream's place is lost; whoever reads closes it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const HEAD: usize = 4;
/// Up to here a frame goes out in one write, so that a small message is one packet. A guess: well
/// above our small messages, well below where the copy would be felt.
const ONE_WRITE_BYTES: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side breaks the protocol, or speaks one with larger frames: close the stream.
    #[error("frame of {}, at most {}", size(*.bytes), size(*.max))]
    TooLarge { bytes: u64, max: u64 },
    /// The other side went away in the middle of a frame: what was asked for may be asked again.
    #[error("the stream ended after {got} of {want} bytes of a frame")]
    Cut { got: u64, want: u64 },
    /// The stream failed: connect again.
    #[error(transparent)]
    Stream(#[from] io::Error),
}

/// Reads one frame of at most `max_bytes`; `None` when the stream ended between two frames.
pub async fn read_frame<R: AsyncRead + Unpin>(
    stream: &mut R,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, FrameError> {
    let mut head = [0; HEAD];
    let mut got = 0;
    while got < HEAD {
        match stream.read(&mut head[got..]).await? {
            0 if got == 0 => return Ok(None),
            0 => return Err(FrameError::Cut { got: got as u64, want: HEAD as u64 }),
            bytes => got += bytes,
        }
    }
    let want = u64::from(u32::from_be_bytes(head));
    let max = max_bytes as u64;
    if max < want {
        return Err(FrameError::TooLarge { bytes: want, max });
    }
    let capacity = usize::try_from(want).expect("it is at most `max_bytes`, which is a usize");
    let mut body = Vec::with_capacity(capacity);
    stream.take(want).read_to_end(&mut body).await?;
    let got = body.len() as u64;
    if got < want {
        return Err(FrameError::Cut { got, want });
    }
    Ok(Some(body))
}

/// Writes one frame and flushes it.
pub async fn write_frame<W: AsyncWrite + Unpin>(
    stream: &mut W,
    body: &[u8],
) -> Result<(), FrameError> {
    let Ok(length) = u32::try_from(body.len()) else {
        return Err(FrameError::TooLarge { bytes: body.len() as u64, max: u64::from(u32::MAX) });
    };
    let head = length.to_be_bytes();
    if body.len() <= ONE_WRITE_BYTES {
        stream.write_all(&[&head, body].concat()).await?;
    } else {
        stream.write_all(&head).await?;
        stream.write_all(body).await?;
    }
    Ok(stream.flush().await?)
}

/// A size for people, rounded up to one decimal, so that one byte too many shows.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, one) in UNITS {
        if one <= bytes {
            let tenths = (bytes * 10).div_ceil(one);
            return match (tenths / 10, tenths % 10) {
                (whole, 0) => format!("{whole} {unit}"),
                (whole, tenth) => format!("{whole}.{tenth} {unit}"),
            };
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn frames_arrive_as_they_were_sent_and_the_end_is_told() {
        let (mut near, mut far) = tokio::io::duplex(1000);
        let sent = [vec![], vec![7], vec![1; ONE_WRITE_BYTES], vec![2; 100_000]];
        let copy = sent.clone();
        let writing = tokio::spawn(async move {
            for body in &copy {
                write_frame(&mut near, body).await.unwrap();
            }
        });
        for body in sent {
            assert_eq!(read_frame(&mut far, 100_000).await.unwrap(), Some(body));
        }
        writing.await.unwrap();
        assert_eq!(read_frame(&mut far, 100_000).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_oversize_frame_is_refused_by_its_length_alone() {
        // Only the length is there: a reader that set memory aside or read on would say otherwise.
        for (length, text) in [
            (2_202_009_u32, "frame of 2.1 MiB, at most 1 MiB"),
            (1_048_577, "frame of 1.1 MiB, at most 1 MiB"),
            (u32::MAX, "frame of 4 GiB, at most 1 MiB"),
        ] {
            let head = length.to_be_bytes();
            let error = read_frame(&mut &head[..], MIB).await.unwrap_err();
            assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
            assert_eq!(error.to_string(), text);
        }
    }

    #[tokio::test]
    async fn a_stream_cut_inside_a_frame_is_an_error_and_not_a_short_frame() {
        let error = read_frame(&mut &[0, 0][..], MIB).await.unwrap_err();
        assert!(matches!(error, FrameError::Cut { got: 2, want: 4 }), "{error}");
        let error = read_frame(&mut &[0, 0, 0, 9, 1, 2][..], MIB).await.unwrap_err();
        assert!(matches!(error, FrameError::Cut { got: 2, want: 9 }), "{error}");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1024), "1 KiB");
        assert_eq!(size(1536), "1.5 KiB");
    }
}
