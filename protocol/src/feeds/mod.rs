//! Feeds: what is small and must be in order.
//!
//! A feed is a signed, append-only, gap-free sequence of entries by one author, in one boot, on one topic.
//! Sales, stock movements and HQ's orders travel as entries; a neighbour, the gateway and HQ take each one
//! once, whoever brings it, because it names itself and proves what it is.

mod ack;
mod control;
mod ended;
mod entry;
mod exchange;
pub mod export;
mod held;
pub mod hq;
mod ledger;
mod names;
mod schema;
mod storage;
pub mod terminal;

#[cfg(test)]
mod samples;

pub mod stock;

pub use ack::{Ack, Run};
pub use control::{
    COPIES_MAX, Clones, Control, END_FEEDS_MAX, End, LastCounted, Settings, Wanted, WantedRelease,
};
pub use ended::Ended;
pub use entry::{
    After, Author, Boot, CertificateHash, ENTRY_MAX, Entry, EntryError, EntryId, FeedId, Header,
    HeaderHash, PAYLOAD_MAX, PayloadHash, SEQ_MAX, Scope, Topic,
};
pub use held::{Held, held};
pub use ledger::entries;
pub use names::terminal_name;
pub use schema::{
    CONTROL, STOCK, Schema, SchemaError, ScopeKind, TOPICS_MAX, TopicKind, TopicRule, Writers,
};
pub use storage::{Each, Memory, Read, Storage};
