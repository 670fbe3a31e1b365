//! Streams, before there is a frame: lengths that lie.

use futures::executor::block_on;
use storemesh_host::{
    bulk::{take_body, take_head},
    frames::{FrameError, read_frame, write_frame},
};
use storemesh_protocol::{
    content::ChunkId,
    wire::{
        CONTROL_MAX,
        bulk::{BODY_MAX, HEAD_MAX, Reply},
        encode,
    },
};
use storemesh_tests::fuzz::Target;

use crate::MEMORY;

fn framed(body: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    block_on(write_frame(&mut stream, body)).unwrap();
    stream
}

#[test]
fn frames_on_a_stream() {
    let seeds = vec![[framed(b"one"), framed(b""), framed(&[7; 5000])].concat()];
    let run = |input: &[u8]| {
        let (mut stream, mut frames) = (input, 0);
        loop {
            match block_on(read_frame(&mut stream, CONTROL_MAX)) {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= CONTROL_MAX);
                    frames += 1;
                }
                Ok(None) => return format!("{frames} frames"),
                Err(why @ FrameError::TooLarge { .. }) => return format!("too large: {why}"),
                Err(why) => return why.to_string(),
            }
        }
    };
    let memory_max = |_| 2 * CONTROL_MAX;
    Target { name: "frames", seeds, memory_max, mutations: 2000, memory: &MEMORY, run }.try_out();
}

#[test]
fn answers_on_a_bulk_stream() {
    let chunk = ChunkId([7; 32]);
    let answer = |length: u32, bytes: usize| {
        [framed(&encode(&Reply { chunk, length })), vec![3; bytes]].concat()
    };
    let seeds = vec![[answer(5, 5), answer(0, 0), answer(900, 900)].concat(), answer(u32::MAX, 9)];
    let run = |input: &[u8]| {
        let (mut stream, mut took) = (input, 0);
        loop {
            match block_on(take_head(&mut stream, chunk)) {
                Ok(None) => took += 1,
                Ok(Some(length)) => {
                    assert!((1..=BODY_MAX).contains(&length));
                    let mut body = vec![0; length];
                    match block_on(take_body(&mut stream, &mut body)) {
                        Ok(()) => took += 1,
                        Err(why) => return why.to_string(),
                    }
                }
                Err(why) => return format!("after {took}: {why}"),
            }
        }
    };
    let memory_max = |_| BODY_MAX + 2 * HEAD_MAX;
    Target { name: "bulk_answers", seeds, memory_max, mutations: 2000, memory: &MEMORY, run }
        .try_out();
}
