//! Chunks: immutable bytes, named by the hash of their plain form.
//!
//! On disk and on the wire a chunk has its stored form: one byte that says how, then the bytes,
//! plain (0) or as zstd frames (1). The rule: a chunk is what its name says or it is nothing;
//! [`unpack`] gives out only bytes that hash to the name.
//!
//! A liar may send too much, too little, other bytes, or a few bytes that swell to gigabytes. The
//! manifest says how long a chunk is, so the output has its place before the first byte is
//! unpacked, and never gets more. Two honest nodes may pack one chunk differently (another zstd
//! version, or no zstd at all): what counts is the plain form, and [`ChunkRef::stored`] is the
//! length HQ's publisher came to, good for counting and planning.

use std::borrow::Cow;

use minicbor::{Decode, Decoder, Encode, decode};
use thiserror::Error;

use super::hash::hash_name;

/// As design.md has it; large enough that headers and seeks do not matter, small enough that a
/// lost or forged one costs little.
pub const CHUNK_MAX: usize = 1 << 20;
/// The longest stored form: a plain chunk and the byte that says so.
pub const STORED_MAX: usize = CHUNK_MAX + 1;

const FORM_PLAIN: u8 = 0;
const FORM_ZSTD: u8 = 1;

/// A release is packed once and crosses thousands of poor links. Above this level the time grows
/// much faster than the gain.
const LEVEL: i32 = 12;
/// Tells in a millisecond whether trying hard is worth it; most releases are full of pictures and
/// archives that are not.
const LEVEL_PROBE: i32 = 1;

hash_name! {
    /// The BLAKE3 hash of a chunk's plain form.
    ChunkId
}

/// A chunk as a manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode)]
#[cbor(array)]
pub struct ChunkRef {
    #[n(0)]
    pub id: ChunkId,
    /// Bytes of the stored form as published, the byte of the form among them.
    #[n(1)]
    pub stored: u32,
    /// Bytes of the plain form.
    #[n(2)]
    pub plain: u32,
}

/// The bytes are not the chunk that was asked for: fetch it from somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// The reference itself cannot be right: distrust who gave it.
    #[error("chunk of {plain} bytes, stored as {stored}; a chunk has 1 to {CHUNK_MAX}")]
    BadReference { plain: u32, stored: u32 },
    #[error("stored form of {0} bytes, at most {1}")]
    TooLong(usize, usize),
    #[error("stored form without its first byte")]
    Empty,
    /// Possibly from a newer version.
    #[error("stored form of unknown kind {0}")]
    UnknownForm(u8),
    #[error("compressed bytes are damaged or unpack to more than {0} bytes")]
    NotUnpackable(u32),
    #[error("plain form of {0} bytes, expected {1}")]
    WrongLength(usize, u32),
    #[error("bytes of another chunk: {found} instead of {wanted}")]
    WrongHash { found: ChunkId, wanted: ChunkId },
}

/// Brings a chunk's plain form, of 1 to [`CHUNK_MAX`] bytes, into its stored form.
pub fn pack(plain: &[u8]) -> (ChunkRef, Vec<u8>) {
    assert!((1..=CHUNK_MAX).contains(&plain.len()), "a chunk has 1 to {CHUNK_MAX} bytes");
    let saves = |packed: &Vec<u8>| packed.len() < plain.len() - plain.len() * 3 / 100;
    let compress = |level| {
        // zstd can only fail for want of memory, and then the plain form will do.
        zstd::bulk::compress(plain, level).ok().filter(saves)
    };
    let (form, packed) = match compress(LEVEL_PROBE).and_then(|_| compress(LEVEL)) {
        Some(packed) => (FORM_ZSTD, packed),
        None => (FORM_PLAIN, plain.to_vec()),
    };
    let mut stored = Vec::with_capacity(1 + packed.len());
    stored.push(form);
    stored.extend(packed);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a chunk is at most 1 MiB");
    let chunk = ChunkRef { id: ChunkId::of(plain), stored: length(&stored), plain: length(plain) };
    (chunk, stored)
}

/// Gives the plain form, if the stored form is really that of this chunk. Borrowed where the stored
/// form is the plain one behind its byte: nothing is copied then.
pub fn unpack<'a>(chunk: &ChunkRef, stored: &'a [u8]) -> Result<Cow<'a, [u8]>, ChunkError> {
    chunk.check()?;
    let stored_max = chunk.plain as usize + 1;
    if stored.len() > stored_max {
        return Err(ChunkError::TooLong(stored.len(), stored_max));
    }
    let Some((&form, body)) = stored.split_first() else { return Err(ChunkError::Empty) };
    let plain = match form {
        FORM_PLAIN => Cow::Borrowed(body),
        FORM_ZSTD => {
            // zstd writes into the spare capacity of this and fails when it wants more.
            let mut plain = Vec::with_capacity(chunk.plain as usize);
            zstd::bulk::Decompressor::new()
                .and_then(|mut zstd| zstd.decompress_to_buffer(body, &mut plain))
                .map_err(|_| ChunkError::NotUnpackable(chunk.plain))?;
            Cow::Owned(plain)
        }
        other => return Err(ChunkError::UnknownForm(other)),
    };
    chunk.verify(&plain)?;
    Ok(plain)
}

impl ChunkId {
    pub fn of(plain: &[u8]) -> Self {
        Self(*blake3::hash(plain).as_bytes())
    }
}

impl ChunkRef {
    /// Whether these plain bytes, say from a file on disk, are this chunk.
    pub fn verify(&self, plain: &[u8]) -> Result<(), ChunkError> {
        if plain.len() != self.plain as usize {
            return Err(ChunkError::WrongLength(plain.len(), self.plain));
        }
        let found = ChunkId::of(plain);
        if found != self.id {
            return Err(ChunkError::WrongHash { found, wanted: self.id });
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), ChunkError> {
        let plain_fits = (1..=CHUNK_MAX).contains(&(self.plain as usize));
        if plain_fits && self.stored >= 2 && self.stored <= self.plain + 1 {
            return Ok(());
        }
        Err(ChunkError::BadReference { plain: self.plain, stored: self.stored })
    }
}

impl<Ctx> Decode<'_, Ctx> for ChunkRef {
    fn decode(d: &mut Decoder<'_>, _: &mut Ctx) -> Result<Self, decode::Error> {
        let at = d.position();
        let Fields { id, stored, plain } = d.decode()?;
        let chunk = Self { id, stored, plain };
        chunk.check().map_err(|why| decode::Error::custom(why).at(at))?;
        Ok(chunk)
    }
}

/// A [`ChunkRef`] that nobody has looked at yet.
#[derive(Decode)]
#[cbor(array)]
struct Fields {
    #[n(0)]
    id: ChunkId,
    #[n(1)]
    stored: u32,
    #[n(2)]
    plain: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::samples::noise;

    #[test]
    fn text_is_stored_compressed_and_noise_plain() {
        let text = "price;valid from;item\n".repeat(1000);
        let (chunk, stored) = pack(text.as_bytes());
        assert_eq!((stored[0], chunk.stored as usize), (FORM_ZSTD, stored.len()));
        assert!(stored.len() < text.len() / 100);

        let (chunk, stored) = pack(&noise(1, 70_000));
        assert_eq!((stored[0], chunk.stored, chunk.plain), (FORM_PLAIN, 70_001, 70_000));
    }

    #[test]
    fn another_node_may_pack_a_chunk_in_another_way() {
        let text = "price;valid from;item\n".repeat(1000);
        let (chunk, _) = pack(text.as_bytes());
        let plain = [&[FORM_PLAIN], text.as_bytes()].concat();
        assert_eq!(unpack(&chunk, &plain).unwrap(), text.as_bytes());
    }

    #[test]
    fn other_bytes() {
        let (chunk, mut stored) = pack(&noise(1, 70_000));
        stored[30_000] ^= 1;
        assert!(matches!(unpack(&chunk, &stored), Err(ChunkError::WrongHash { .. })));
        let (_, other) = pack(&noise(2, 70_000));
        assert!(matches!(unpack(&chunk, &other), Err(ChunkError::WrongHash { .. })));
    }

    #[test]
    fn lying_length() {
        let (chunk, stored) = pack(&noise(1, 1000));
        assert_eq!(unpack(&chunk, &stored[..900]), Err(ChunkError::WrongLength(899, 1000)));
        let long = [&stored[..], &[0]].concat();
        assert_eq!(unpack(&chunk, &long), Err(ChunkError::TooLong(1002, 1001)));
        assert_eq!(unpack(&chunk, &[]), Err(ChunkError::Empty));
        assert_eq!(unpack(&chunk, &[7; 9]), Err(ChunkError::UnknownForm(7)));

        let claim = ChunkRef { plain: u32::MAX, ..chunk };
        assert!(matches!(unpack(&claim, &stored), Err(ChunkError::BadReference { .. })));
    }

    #[test]
    fn bomb() {
        // 64 MiB in some kilobytes, from somebody who was asked for 64 KiB.
        let swells = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        let bomb = [&[FORM_ZSTD], &swells[..]].concat();
        let chunk = ChunkRef { id: ChunkId::of(b""), stored: 100, plain: 64 << 10 };
        assert_eq!(unpack(&chunk, &bomb), Err(ChunkError::NotUnpackable(64 << 10)));
    }

    #[test]
    fn bomb_of_many_frames() {
        // No frame is too large; together they are.
        let frame = zstd::bulk::compress(&vec![0; 60 << 10], 3).unwrap();
        let bomb = [&[FORM_ZSTD], &frame.repeat(1000)[..]].concat();
        let chunk = ChunkRef { id: ChunkId::of(b""), stored: 100, plain: 64 << 10 };
        assert_eq!(unpack(&chunk, &bomb), Err(ChunkError::NotUnpackable(64 << 10)));
    }

    #[test]
    fn a_reference_skips_fields_of_a_newer_version() {
        let (chunk, _) = pack(b"some bytes");
        let mut e = minicbor::Encoder::new(Vec::new());
        e.array(4).unwrap().encode(chunk.id).unwrap().u32(chunk.stored).unwrap();
        e.u32(chunk.plain).unwrap().str("new").unwrap();
        assert_eq!(decode::<ChunkRef>(&e.into_writer()).unwrap(), chunk);
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(
            plain in prop_oneof![
                prop::collection::vec(any::<u8>(), 1..3000),
                prop::collection::vec(0..3_u8, 1..3000),
            ],
        ) {
            let (chunk, stored) = pack(&plain);
            prop_assert_eq!(stored.len(), chunk.stored as usize);
            prop_assert_eq!(unpack(&chunk, &stored), Ok(plain.into()));
            let encoded = minicbor::to_vec(chunk).unwrap();
            prop_assert_eq!(decode::<ChunkRef>(&encoded).unwrap(), chunk);
        }

        #[test]
        fn damaged_bytes_are_never_given_out(
            at in 0..200_usize, flip in 1..=u8::MAX, cut in 0..200_usize,
        ) {
            let plain = b"a line of a catalogue\n".repeat(40);
            let (chunk, mut stored) = pack(&plain);
            let at = at % stored.len();
            stored[at] ^= flip;
            // A flipped bit that zstd does not look at does no harm.
            prop_assert!(unpack(&chunk, &stored).is_ok_and(|got| got == plain)
                || unpack(&chunk, &stored).is_err());
            stored.truncate(cut % stored.len());
            prop_assert!(unpack(&chunk, &stored).is_err());
        }
    }
}
