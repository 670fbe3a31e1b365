//! What the programs of storemesh share of the machine they run on.
//!
//! The daemons and their commands touch the world in the same ways: they print results and
//! failures, read a configuration, own a data folder, answer HTTP on this machine, and speak QUIC
//! with the identities of `storemesh-keys`. Each of these ways is one module here, and none of
//! them knows a store, a release or a gateway: what is said over a connection and what a row of the
//! database means is decided in `storemesh-protocol`.

pub mod bulk;
pub mod clock;
pub mod config;
pub mod db;
pub mod exit;
pub mod files;
pub mod folder;
pub mod frames;
pub mod http;
pub mod json;
pub mod logs;
pub mod out;
pub mod ports;
pub mod quantity;
pub mod quic;
pub mod sizes;
pub mod stdin_guard;
pub mod stock;
pub mod stop;
pub mod token;
