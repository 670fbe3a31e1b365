//! The scripts that both composites are played.

use storemesh_protocol::{
    feeds::{CONTROL, STOCK, stock::Record},
    wire::encode,
};

use super::{
    HOSTILE,
    pen::{Pen, controls, frames, records},
};
use crate::composites::line;

/// What an `e` line says: the topic by its first byte, and the payload.
pub(super) fn topic(bytes: &[u8]) -> Option<(&'static str, &[u8])> {
    let (topic, payload) = bytes.split_first()?;
    Some((["sales", STOCK, "cash", CONTROL, "salads"][usize::from(*topic) % 5], payload))
}

pub(super) fn scripts(letter: u8) -> [Vec<Vec<u8>>; 3] {
    let frames = frames(&mut Pen::new(HOSTILE));
    let frames = frames.iter().map(|frame| line(letter, &encode(frame))).collect();
    let entry = |record: &Record| line(b'e', &[&[1], &encode(record)[..]].concat());
    let mut entries: Vec<_> = records().iter().map(entry).collect();
    entries.push(line(b'e', &[0, 1, 2, 3]));
    let orders = controls().iter().map(|control| line(b'c', &encode(control))).collect();
    [frames, entries, orders]
}
