//! What travels in feeds, and both composites of feeds with a hostile party on the line.
//!
//! An input of a composite is a script of lines, as in [`crate::composites`]: `n` is a frame of the hostile
//! neighbour or terminal, `h` one of HQ, `t` lets time pass, `r` has the hostile one hang up and come again.
//! Signed bytes do not survive mutation, so the pens are handed out too: `e` is a payload that the hostile
//! one rightly signs as its next entry, its first byte says on which topic; `c` is one that HQ signs as its
//! next order. The rules after every line: nothing panics, the next deadline lies ahead, the honest side
//! keeps its stream, and a program's own sale is answered.

mod hq;
mod pen;
mod script;
mod terminal;
mod words;

use storemesh_protocol::wire::feeds::FEED_FRAME_MAX;

const ME: u8 = 3;
const HONEST: u8 = 5;
const HOSTILE: u8 = 4;
/// A packed frame of nothing but empty entries: each takes a byte unpacked, and a list's place in memory,
/// of which a growing list has twice as many.
const TIMES: usize = 64;
/// The rows of both sides, too, are in memory here.
const MEMORY_MAX: usize = TIMES * FEED_FRAME_MAX;

fn most(_: usize) -> usize {
    MEMORY_MAX
}
