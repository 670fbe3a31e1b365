//! What crosses a network, byte for byte.
//!
//! Every frame is a minicbor map with numbered, optional parts: a reader skips the parts it does
//! not know, so stores may run old and new nodes side by side. Streams carry a length before each
//! frame; the limits stand here, and a longer frame is refused before memory is taken.

pub(crate) mod addr;
pub mod bulk;
pub mod feeds;
pub mod mesh;
pub mod uplink;

#[cfg(test)]
mod tests;

/// A frame before admission: a hello with its certificate fits many times over.
pub const GREETING_MAX: usize = 8 * 1024;
/// A control frame after admission. The largest is a have-map of 131,072 chunks, 16 KiB; a wanted
/// statement with 64 manifest pieces has 4 KiB.
pub const CONTROL_MAX: usize = 64 * 1024;

/// A member's frame to HQ: a report on 128 terminals of 64 products each is the largest.
pub const REPORT_MAX: usize = 1024 * 1024;

/// The one protocol name, of streams in the mesh and, as TLS takes it, of the uplink; another major
/// version is refused by name.
pub const PROTOCOL: &str = "/storemesh/1";
pub const ALPN: &[u8] = b"storemesh/1";

/// The frame's bytes.
pub fn encode(frame: &impl minicbor::Encode<()>) -> Vec<u8> {
    minicbor::to_vec(frame).expect("encoding into memory cannot fail")
}

/// The frame in `bytes`, all of them.
///
/// # Errors
/// Says what is wrong; the sender is not to be believed further.
pub fn decode<'a, T: minicbor::Decode<'a, ()>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let frame = decoder.decode().map_err(|why| DecodeError::Malformed(why.to_string()))?;
    match bytes.len() - decoder.position() {
        0 => Ok(frame),
        left => Err(DecodeError::Trailing(left)),
    }
}

/// Why bytes are not a frame of ours.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("malformed frame: {0}")]
    Malformed(String),
    #[error("{0} bytes after the frame's end")]
    Trailing(usize),
}
