//! Where a file is cut into chunks.
//!
//! By content (`FastCDC`): whether a place is a cut depends on the bytes just before it and on
//! the distance to the last cut, so an edit in the middle of a file moves the cuts near it and no
//! others, and the next version shares most chunks with this one. The cut points are part of what
//! was published: change a number here and every file of the next release is new.

use std::io::{self, Read};

use fastcdc::v2020::{Normalization, StreamCDC};

use super::CHUNK_MAX;

/// Smaller ones would cost more in names and requests than they save.
pub const CUT_MIN: usize = 64 << 10;
/// The lower end of what a LAN link is filled with (facts.md), for the finest sharing.
pub const CUT_AVERAGE: usize = 256 << 10;

/// The plain chunks of a file, in order; none for an empty one. Holds two chunks in memory,
/// whatever the file's length. After an error, stop: the rest would be cut at other places.
pub fn cut<R: Read>(file: R) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    StreamCDC::with_level(file, CUT_MIN, CUT_AVERAGE, CHUNK_MAX, Normalization::Level1)
        .map(|chunk| Ok(chunk?.data))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::content::{ChunkId, samples::noise};

    fn lengths(bytes: &[u8]) -> Vec<usize> {
        cut(bytes).map(|chunk| chunk.unwrap().len()).collect()
    }

    fn ids(bytes: &[u8]) -> BTreeSet<ChunkId> {
        cut(bytes).map(|chunk| ChunkId::of(&chunk.unwrap())).collect()
    }

    /// Every release that was ever published was cut like this.
    #[test]
    fn the_cut_points_never_change() {
        assert_eq!(lengths(&noise(1, 8 << 20)), GOLDEN);
    }

    const GOLDEN: [usize; 25] = [
        278_755, 88_644, 296_107, 404_445, 750_279, 308_596, 612_881, 284_656, 279_012, 442_646,
        245_891, 196_426, 368_418, 100_296, 290_129, 400_109, 381_067, 431_204, 528_985, 80_993,
        510_062, 214_918, 308_538, 263_686, 321_865,
    ];

    #[test]
    fn the_chunks_are_the_file_and_keep_their_limits() {
        let files = [vec![], vec![7], noise(2, CUT_MIN), noise(3, 5 << 20), vec![0; 5 << 20]];
        for file in files {
            let chunks: Vec<_> = cut(&file[..]).map(Result::unwrap).collect();
            assert_eq!(chunks.concat(), file);
            if let Some((last, others)) = chunks.split_last() {
                assert!((1..=CHUNK_MAX).contains(&last.len()));
                assert!(others.iter().all(|it| (CUT_MIN..=CHUNK_MAX).contains(&it.len())));
            }
        }
    }

    #[test]
    fn an_edit_in_the_middle_changes_few_chunks() {
        let file = noise(4, 8 << 20);
        let before = ids(&file);
        for round in 0..24 {
            // Something is put in, taken out, or both.
            let (head, tail) = file.split_at(1 + round * 349_511);
            let edited = [head, &noise(5, round % 12), &tail[11 - round % 12..]].concat();
            let new = ids(&edited).difference(&before).count();
            assert!((1..=4).contains(&new), "round {round}: {new} new of {}", before.len());
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_says_so() {
        struct Torn;
        impl Read for Torn {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("torn"))
            }
        }
        assert_eq!(cut(Torn).next().unwrap().unwrap_err().to_string(), "torn");
    }
}
