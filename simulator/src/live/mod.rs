//! Live runs: the real programs, started by path, with a shaped line between the store and HQ: the
//! [`relay`] on any machine, a [`lan`] where network namespaces are to be had.
//!
//! [`chain::Chain`] is a whole small chain in one folder; what it is made of stands below it.
//! Nothing here survives us: daemons end with their stdin, short commands with [`tie`].

pub mod chain;
pub mod hq;
pub mod terminal;

pub mod cashier;
pub mod tail;

pub mod alarms;
pub mod books;
pub mod failover;
pub mod status;
pub mod tree;

pub mod kills;
pub mod pieces;

pub mod programs;

pub mod child;
pub mod stop;
pub mod tie;

pub mod lan;
pub mod link;
pub mod relay;
