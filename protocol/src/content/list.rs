//! Reading lists from a stranger: counted while they are read, whatever length they claim.

use minicbor::{Decode, Decoder, decode};

use super::{CHUNKS_MAX, ChunkRef, ENTRIES_MAX, Entry, MANIFEST_PIECES_MAX, REFERENCES_MAX};

pub(super) fn chunks<Ctx>(
    d: &mut Decoder<'_>,
    _: &mut Ctx,
) -> Result<Vec<ChunkRef>, decode::Error> {
    at_most(d, CHUNKS_MAX)
}

pub(super) fn pieces<Ctx>(
    d: &mut Decoder<'_>,
    _: &mut Ctx,
) -> Result<Vec<ChunkRef>, decode::Error> {
    at_most(d, MANIFEST_PIECES_MAX)
}

/// What one file refers to. All files together are counted by [`entries`].
pub(super) fn references<Ctx>(d: &mut Decoder<'_>, _: &mut Ctx) -> Result<Vec<u32>, decode::Error> {
    at_most(d, REFERENCES_MAX)
}

/// A reference is one byte here and four in memory, so their sum is watched as it grows.
pub(super) fn entries<Ctx>(d: &mut Decoder<'_>, _: &mut Ctx) -> Result<Vec<Entry>, decode::Error> {
    let mut references = 0;
    at_most_if(d, ENTRIES_MAX, |entry: &Entry| {
        references += entry.kind.chunks().len();
        references <= REFERENCES_MAX
    })
}

fn at_most<'b, T: Decode<'b, ()>>(
    d: &mut Decoder<'b>,
    max: usize,
) -> Result<Vec<T>, decode::Error> {
    at_most_if(d, max, |_| true)
}

fn at_most_if<'b, T: Decode<'b, ()>>(
    d: &mut Decoder<'b>,
    max: usize,
    mut fits: impl FnMut(&T) -> bool,
) -> Result<Vec<T>, decode::Error> {
    let at = d.position();
    let mut list = Vec::new();
    for item in d.array_iter()? {
        let item = item?;
        if list.len() == max || !fits(&item) {
            return Err(decode::Error::message("list is longer than allowed").at(at));
        }
        list.push(item);
    }
    Ok(list)
}
