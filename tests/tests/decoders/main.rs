//! Every decoder that reads a stranger's bytes, and the composites behind them, against hostile bytes.
//!
//! `storemesh_tests::fuzz` says how an input is made and what is demanded. A campaign:
//!
//! ```text
//! STOREMESH_FUZZ_SECONDS=300 nice cargo test -p storemesh-tests --test decoders -- --nocapture
//! ```
//!
//! Its results are noted in `docs/results/`.

#![expect(clippy::unwrap_used, reason = "a panic here is the report, as in every test")]

mod chain;
mod composites;
mod content;
mod feeds;
mod keys;
mod streams;
mod wire;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;
