//! The bulk stream: chunks on request, between neighbours and from HQ.
//!
//! Whoever lacks chunks opens the stream and writes [`Request`]s without waiting; the other side
//! answers each, in order, with a [`Reply`] and then `length` raw bytes of the chunk's stored form.
//! Requests, not bytes, are what the asker limits (see `swarm`), so a slow reader holds back
//! nobody's control frames: those travel on another stream.

use minicbor::{Decode, Encode};

use crate::content::{CHUNK_MAX, ChunkId};

/// A request or reply head; both are far smaller.
pub const HEAD_MAX: usize = 256;
/// The longest stored form: the byte that names the form, then a whole plain chunk.
pub const BODY_MAX: usize = CHUNK_MAX + 1;

#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Request {
    #[n(0)]
    pub chunk: ChunkId,
}

#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Reply {
    #[n(0)]
    pub chunk: ChunkId,
    /// Bytes of the stored form that follow; none when the answerer does not have the chunk.
    #[n(1)]
    pub length: u32,
}
