//! What the admin API and its commands say to each other, in JSON.
//!
//! Units stand at the end of a name; times are UTC milliseconds since 1970; hashes are hex. Names
//! and hashes are text here and checked by the handlers, whose errors say which one is wrong.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewStore {
    pub(crate) store: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreRow {
    pub(crate) store: String,
    pub(crate) terminals: u64,
    /// Name of the terminal that holds the lease.
    pub(crate) gateway: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewInvitation {
    /// Seven days when absent.
    pub(crate) valid_s: Option<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Invitation {
    pub(crate) code: String,
    pub(crate) store: String,
    pub(crate) until_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chunk {
    pub(crate) id: String,
    pub(crate) stored_bytes: u32,
    pub(crate) plain_bytes: u32,
}

/// A release head.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRelease {
    pub(crate) product: String,
    pub(crate) version: String,
    pub(crate) release: String,
    pub(crate) manifest: Vec<Chunk>,
    pub(crate) manifest_bytes: u32,
    pub(crate) release_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) chunks: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Added {
    pub(crate) product: String,
    pub(crate) version: String,
    pub(crate) release: String,
    /// False when the very same release was there before.
    pub(crate) new: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) product: String,
    pub(crate) version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReleaseRow {
    pub(crate) product: String,
    pub(crate) version: String,
    pub(crate) release: String,
    pub(crate) release_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) chunks: u32,
    pub(crate) wanted: bool,
}

/// One product of one terminal; a terminal of which no product is wanted has one row without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FleetRow {
    pub(crate) terminal: String,
    pub(crate) terminal_id: String,
    pub(crate) store: String,
    pub(crate) gateway: bool,
    pub(crate) online: bool,
    /// Nothing that it writes from now on counts.
    pub(crate) ended: bool,
    /// Nor, where it is not ended as a whole, on these topics.
    pub(crate) ended_topics: Vec<String>,
    pub(crate) product: Option<String>,
    pub(crate) wanted: Option<String>,
    pub(crate) running: Option<String>,
    pub(crate) phase: Option<String>,
    pub(crate) chunks_have: u32,
    pub(crate) chunks_total: u32,
    pub(crate) bytes_from_hq: u64,
    pub(crate) bytes_from_neighbours: u64,
    /// In phase `no_room`: how much room must be made.
    pub(crate) bytes_lacking: Option<u64>,
    /// When HQ last heard of it; none since HQ started.
    pub(crate) seen_ms: Option<u64>,
}

/// What one terminal has written on one topic, as HQ holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldRow {
    pub(crate) store: String,
    pub(crate) terminal: String,
    pub(crate) terminal_id: String,
    pub(crate) topic: String,
    pub(crate) boots: u64,
    pub(crate) entries: u64,
    pub(crate) newest_boot: String,
    pub(crate) newest_seq: u64,
    /// Entries that HQ lost when it was restored, and nobody has brought since.
    pub(crate) missing: u64,
    pub(crate) void: u64,
    pub(crate) forked: bool,
    pub(crate) cloned: bool,
    /// What it writes on the topic from now on does not count.
    pub(crate) ended: bool,
}

/// A terminal that was ended, on a topic or as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndRow {
    pub(crate) store: String,
    pub(crate) terminal: String,
    pub(crate) terminal_id: String,
    /// None for every topic.
    pub(crate) topic: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicRow {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) scope: String,
    pub(crate) writers: String,
    pub(crate) bytes_max: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSchema {
    pub(crate) topics: Vec<TopicRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SchemaRow {
    pub(crate) version: u32,
    pub(crate) topics: Vec<TopicRow>,
}

/// What holds; as a change, what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SettingsRow {
    pub(crate) journal_copies: Option<u32>,
    pub(crate) journal_retention_s: Option<u64>,
}

/// Nothing more of a terminal counts: on this topic, or on all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewEnd {
    pub(crate) topic: Option<String>,
}

/// An order was said in HQ's feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) terminal: String,
    pub(crate) terminal_id: String,
    /// Of the entry in HQ's own feed.
    pub(crate) seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CloneRow {
    pub(crate) store: String,
    pub(crate) terminal: String,
    pub(crate) terminal_id: String,
    pub(crate) boots: Vec<String>,
    pub(crate) settled: bool,
    /// HQ has not seen it itself: the id of the terminal that told it.
    pub(crate) said_by: Option<String>,
}
