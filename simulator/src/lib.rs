//! The simulator of a storemesh chain.
//!
//! [`live`] runs the real programs on this machine; the demo and the end-to-end tests stand on it.
//! [`demo`] is the main job shown and checked, [`figures`] measures what we promise, [`world`] is a
//! chain in virtual time, and [`cli`] the commands of `storemesh-sim`.

pub mod live;

pub mod demo;

mod chance;

pub mod run;
pub mod world;

pub mod power_cuts;

pub mod figures;

pub mod cli;
