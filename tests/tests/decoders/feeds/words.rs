//! Each thing that travels in feeds, by itself.

use storemesh_protocol::{
    feeds::{After, Boot, Control, Entry, Header, HeaderHash, stock::Record},
    wire::{
        decode, encode,
        feeds::{FEED_FRAME_MAX, FeedFrame, Over},
    },
};

use super::{
    HOSTILE, most,
    pen::{Pen, ack_of_one, controls, frames, records},
};
use crate::{
    chain::signer,
    wire::{again, shape, try_out},
};

fn written(frames: Vec<FeedFrame>) -> Vec<Vec<u8>> {
    let over = |line| frames.iter().map(move |frame| frame.clone().write(line));
    let mut all: Vec<_> = over(Over::Lan).chain(over(Over::Wan)).collect();
    all.dedup();
    all
}

#[test]
fn a_frame_of_feeds() {
    let mut frames = frames(&mut Pen::new(HOSTILE));
    let mut long = frames[0].clone();
    let batch = long.batch.as_mut().unwrap();
    batch.entries.push(vec![7; 2000].into());
    batch.bases.push(signer().sign(&ack_of_one()).into_signed());
    frames.push(long);
    try_out("feed_frame", written(frames), most, |input| match FeedFrame::read(input) {
        Err(why) => why,
        Ok(frame) => {
            for line in [Over::Lan, Over::Wan] {
                let again = FeedFrame::read(&frame.clone().write(line));
                // Packing may take a frame over its limit that was read just below it.
                assert!(again.as_ref() == Ok(&frame) || input.len() * 2 > FEED_FRAME_MAX);
            }
            shape(&frame)
        }
    });
}

#[test]
fn an_entry_as_it_travels() {
    let mut pen = Pen::new(HOSTILE);
    let header = Header {
        after: Some(After { boot: Boot(7), seq: 3 }),
        previous: Some(HeaderHash([7; 32])),
        ..pen.header("sales", b"{}")
    };
    let header = pen.sign(header).signed().clone();
    let seeds = vec![pen.write("sales", b"{}"), encode(&Entry { header, payload: None })];
    try_out("entry", seeds, |bytes| 8 * bytes, again::<Entry>);
}

#[test]
fn a_header_rightly_signed() {
    let pen = Pen::new(HOSTILE);
    let seeds = vec![encode(&pen.header("sales", b"{}"))];
    try_out("header", seeds, |bytes| 8 * bytes, again::<Header>);
}

#[test]
fn an_order_of_hq() {
    let seeds = controls().iter().map(encode).collect();
    try_out(
        "control",
        seeds,
        |bytes| 64 * bytes,
        |input| {
            let said = again::<Control>(input);
            let schema = decode::<Control>(input).ok().and_then(|control| control.schema);
            let checked = schema.map(|schema| schema.check());
            format!("{said} {}", checked.map_or_else(String::new, |checked| format!("{checked:?}")))
        },
    );
}

#[test]
fn a_record_of_stock() {
    let seeds = records().iter().map(encode).collect();
    try_out(
        "stock_record",
        seeds,
        |bytes| 64 * bytes,
        |input| match Record::decode(input) {
            Err(why) => why.to_string(),
            Ok(record) => {
                assert_eq!(Record::decode(&encode(&record)).as_ref(), Ok(&record));
                shape(&record)
            }
        },
    );
}
