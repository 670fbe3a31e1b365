//! Which chunks of a list somebody has: one bit each.
//!
//! The rule: a set knows its length, and what lies beyond is never in it; setting it does
//! nothing. So an index from a stranger needs no look first. On the wire it is the length and the
//! bytes; more bytes than the length needs, or a bit beyond it, is refused.

use minicbor::{
    Decode, Decoder, Encode, Encoder, decode,
    encode::{self, Write},
};

use super::CHUNKS_MAX;

/// The longest set, for the longest list of chunks.
pub const BITS_MAX: u32 = 131_072;
const _: () = assert!(BITS_MAX as usize == CHUNKS_MAX);

#[derive(Clone, PartialEq, Eq)]
pub struct Bits {
    len: u32,
    /// How many are set; asked far more often than changed.
    count: u32,
    /// 64 to a word, the first in the lowest bit; none beyond `len`.
    words: Vec<u64>,
}

impl Bits {
    /// An empty set over `len` indexes, at most [`BITS_MAX`].
    #[must_use]
    pub fn new(len: u32) -> Self {
        assert!(len <= BITS_MAX, "a list has at most {BITS_MAX} chunks");
        Self { len, count: 0, words: vec![0; len.div_ceil(64) as usize] }
    }

    /// A set over `len` indexes with all in it.
    #[must_use]
    pub fn full(len: u32) -> Self {
        let mut bits = Self::new(len);
        (0..len).for_each(|index| _ = bits.set(index));
        bits
    }

    /// Puts an index in; false when it was in already, or is beyond the length.
    pub fn set(&mut self, index: u32) -> bool {
        if index >= self.len || self.get(index) {
            return false;
        }
        self.words[index as usize / 64] |= 1 << (index % 64);
        self.count += 1;
        true
    }

    /// Takes an index out; false when it was not in.
    pub fn clear(&mut self, index: u32) -> bool {
        if !self.get(index) {
            return false;
        }
        self.words[index as usize / 64] &= !(1 << (index % 64));
        self.count -= 1;
        true
    }

    pub fn get(&self, index: u32) -> bool {
        let word = self.words.get(index as usize / 64);
        word.is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// How many indexes there are, in it or not.
    #[expect(clippy::len_without_is_empty, reason = "empty of what would be the question")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// How many indexes are in it.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    pub fn iter_set(&self) -> impl Iterator<Item = u32> {
        ones(self.words.iter().copied())
    }

    pub fn iter_missing(&self) -> impl Iterator<Item = u32> {
        ones(self.words.iter().map(|word| !word)).take_while(|index| *index < self.len)
    }

    /// What is in this set and missing from the other.
    pub fn missing_from(&self, other: &Self) -> impl Iterator<Item = u32> {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        ones(self.words.iter().zip(theirs).map(|(ours, theirs)| ours & !theirs))
    }
}

/// The places of the ones, over all words.
fn ones(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    (0..).step_by(64).zip(words).flat_map(|(base, mut word)| {
        std::iter::from_fn(move || {
            let place = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(base + place)
        })
    })
}

impl std::fmt::Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.count, self.len)
    }
}

impl<Ctx> Encode<Ctx> for Bits {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut Ctx,
    ) -> Result<(), encode::Error<W::Error>> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8) as usize);
        e.array(2)?.u32(self.len)?.bytes(&bytes)?;
        Ok(())
    }
}

impl<Ctx> Decode<'_, Ctx> for Bits {
    fn decode(d: &mut Decoder<'_>, _: &mut Ctx) -> Result<Self, decode::Error> {
        let at = d.position();
        let refuse = |why| Err(decode::Error::message(why).at(at));
        if d.array()? != Some(2) {
            return refuse("a bit set is its length and its bytes");
        }
        let len = d.u32()?;
        let bytes = d.bytes()?;
        if len > BITS_MAX {
            return refuse("bit set is longer than allowed");
        }
        if bytes.len() != len.div_ceil(8) as usize {
            return refuse("bit set of another length than it says");
        }
        let mut bits = Self::new(len);
        for (word, bytes) in bits.words.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(whole);
            bits.count += word.count_ones();
        }
        if len % 64 != 0 && bits.words.last().is_some_and(|last| last >> (len % 64) != 0) {
            return refuse("bit set with bits beyond its length");
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    fn bits(len: u32, set: &BTreeSet<u32>) -> Bits {
        let mut bits = Bits::new(len);
        for index in set {
            assert_eq!(bits.set(*index), *index < len);
            assert!(!bits.set(*index));
        }
        bits
    }

    #[test]
    fn what_lies_beyond_is_never_in_it() {
        let mut bits = Bits::full(70);
        for index in [70, 127, 128, u32::MAX] {
            assert!(!bits.set(index) && !bits.get(index));
        }
        assert!(bits.is_full() && bits.iter_missing().next().is_none());
        assert!(Bits::new(0).is_full() && Bits::full(BITS_MAX).is_full());
    }

    #[test]
    fn a_set_that_lies_about_its_length() {
        for (len, bytes) in [
            (9, &[0][..]),
            (8, &[0, 0]),
            (0, &[0]),
            (7, &[0x80]),
            (BITS_MAX + 1, &vec![0; 16_385]),
            (u32::MAX, &[]),
        ] {
            let mut e = Encoder::new(Vec::new());
            e.array(2).unwrap().u32(len).unwrap().bytes(bytes).unwrap();
            assert!(decode::<Bits>(&e.into_writer()).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_set(
            len in 0..300_u32, other_len in 0..300_u32,
            set in btree_set(0..310_u32, 0..80), others in btree_set(0..310_u32, 0..80),
        ) {
            let (ours, theirs) = (bits(len, &set), bits(other_len, &others));
            let set: BTreeSet<_> = set.into_iter().filter(|index| *index < len).collect();
            let others: BTreeSet<_> = others.into_iter().filter(|it| *it < other_len).collect();
            prop_assert_eq!(ours.count() as usize, set.len());
            prop_assert_eq!(ours.is_full(), set.len() == len as usize);
            prop_assert!(ours.iter_set().eq(set.iter().copied()));
            prop_assert!(ours.iter_missing().eq((0..len).filter(|index| !set.contains(index))));
            prop_assert!(ours.missing_from(&theirs).eq(set.difference(&others).copied()));
            let encoded = minicbor::to_vec(&ours).unwrap();
            prop_assert_eq!(decode::<Bits>(&encoded).unwrap(), ours);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(bits) = decode::<Bits>(&bytes) {
                prop_assert_eq!(bits.iter_set().count(), bits.count() as usize);
            }
        }
    }
}
