//! Every decision of storemesh, and no I/O.
//!
//! Plain state machines that take `(now, input)` and give outputs, with time, randomness and bytes
//! handed in. [`terminal::Terminal`] and [`hq::Hq`] are the two composites: the programs and the
//! simulator drive these and nothing smaller. See ARCHITECTURE.md for the map.

#![deny(clippy::float_arithmetic)]

mod save;
mod time;

pub mod content;
mod statements;
pub mod wire;

#[cfg(test)]
mod fixtures;

mod disk;
mod finder;
mod gateway;
mod install;
mod pace;
mod presence;
mod swarm;

pub mod feeds;

pub mod hq;
pub mod terminal;

pub use save::{BadRow, Rows, Save};
pub use statements::{HqTime, Lease, Unseen};
pub use time::Instant;
