//! How the terminal is, as JSON. Names of fields are part of the API; units stand last in them.

mod from;

use serde::{Deserialize, Serialize};

pub(crate) use self::from::{answer, entry, garbage, journal, peers, status};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) peer: String,
    pub(crate) store: String,
    pub(crate) chain: String,
    /// Of the node that answers.
    pub(crate) version: String,
    pub(crate) state: String,
    /// Who holds HQ's lease, as far as this terminal has heard.
    pub(crate) gateway: Option<Gateway>,
    /// `up`, `connecting` or `none`; only the gateway keeps it up.
    pub(crate) uplink: String,
    /// Why this terminal's last call to HQ came to nothing; the gateway alone calls regularly.
    pub(crate) hq_not_reached: Option<String>,
    /// Where HQ is called, in this order.
    pub(crate) hq_addresses: Vec<String>,
    /// What this terminal takes for HQ's time.
    pub(crate) hq_time: HqTime,
    /// UTC since 1970.
    pub(crate) certificate_until_ms: u64,
    /// Admitted and connected.
    pub(crate) neighbours: usize,
    pub(crate) listen: Vec<String>,
    /// The store's network is reached by cable.
    pub(crate) wired: bool,
    /// It does not run on a battery.
    pub(crate) mains: bool,
    /// Terminals that the gateway reaches and this one does not.
    pub(crate) apart: Vec<Apart>,
    pub(crate) uptime_ms: u64,
    pub(crate) first_neighbour_chunk_ms: Option<u64>,
    pub(crate) releases: Vec<Release>,
    #[serde(default)]
    pub(crate) journal: JournalState,
}

/// How the journal stands as a whole.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct JournalState {
    /// This terminal's entries that HQ has not acknowledged.
    pub(crate) unacked: u64,
    /// HQ's time when it acknowledged any of them last, UTC since 1970.
    pub(crate) acked_at_ms: Option<u64>,
    /// The disk is full: new entries are refused.
    pub(crate) full: bool,
    /// HQ has ended this terminal: new entries are refused.
    #[serde(default)]
    pub(crate) ended: bool,
    /// Or, where it is not ended as a whole, those on these topics.
    #[serde(default)]
    pub(crate) ended_topics: Vec<String>,
}

#[expect(clippy::struct_excessive_bools, reason = "each says one thing to a person")]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Gateway {
    pub(crate) peer: String,
    pub(crate) name: Option<String>,
    pub(crate) epoch: u64,
    /// 0, or while the store's network is split the number of this part.
    pub(crate) part: u32,
    pub(crate) me: bool,
    /// It is this terminal, or a neighbour.
    pub(crate) connected: bool,
    /// It does not reach HQ.
    pub(crate) dark: bool,
    /// It sent wrong bytes: nothing is fetched from it.
    pub(crate) shunned: bool,
}

/// Times are UTC since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HqTime {
    pub(crate) ms: u64,
    /// HQ has signed it since the start; else it is a guess.
    pub(crate) sure: bool,
    /// `signed`, `median`, `own_clock` or `floor`.
    pub(crate) from: String,
    /// From `median`: of so many, this machine's own clock among them if it can be right.
    pub(crate) voices: Option<usize>,
    /// Since a time that HQ signed last came; none when none has since the start.
    pub(crate) signed_ago_ms: Option<u64>,
    /// The highest time that HQ has signed: HQ time is never below it.
    pub(crate) floor_ms: u64,
}

impl HqTime {
    /// As late as it is at least.
    pub(crate) fn least_ms(&self) -> u64 {
        if self.sure { self.ms } else { self.floor_ms }
    }
}

/// A terminal that the network keeps from this one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Apart {
    pub(crate) peer: String,
    pub(crate) name: String,
    /// For people: why, and what it means.
    pub(crate) note: String,
}

/// One product. Bytes are those of chunks as they are stored, compressed where that helps.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) product: String,
    pub(crate) wanted: Option<String>,
    pub(crate) running: Option<String>,
    /// `waiting`, `manifest`, `staging`, `fetching`, `activating`, `running`, `failed` or `no_room`.
    pub(crate) phase: String,
    pub(crate) chunks_have: u32,
    pub(crate) chunks_total: u32,
    pub(crate) bytes_have: u64,
    pub(crate) bytes_total: u64,
    pub(crate) bytes_from_hq: u64,
    pub(crate) bytes_from_neighbours: u64,
    pub(crate) bytes_local: u64,
    pub(crate) took_ms: Option<u64>,
    /// Why it does not go on, if it does not.
    pub(crate) note: Option<String>,
    /// In phase `no_room`: how much room must be made, once that was measured.
    pub(crate) bytes_lacking: Option<u64>,
    /// And which limit leaves too little: `disk` or `quota`.
    pub(crate) lacking_on: Option<String>,
}

#[expect(clippy::struct_excessive_bools, reason = "each says one thing to a person")]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    #[expect(clippy::struct_field_names, reason = "it is the API's word")]
    pub(crate) peer: String,
    pub(crate) name: Option<String>,
    pub(crate) connected: bool,
    pub(crate) address: String,
    /// `mdns`, `hq`, `remembered`, `configured` or `dialled us`.
    pub(crate) found_by: String,
    pub(crate) gateway: bool,
    /// It sent wrong bytes: nothing is fetched from it until this node starts anew.
    pub(crate) shunned: bool,
    /// Two copies of its disk were in use at once: it is not let in until HQ has decided.
    #[serde(default)]
    pub(crate) kept_out: bool,
    /// Chunks that came from it and went to it over this connection.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// How far it is with what this terminal wants or runs, as far as it has told.
    #[serde(default)]
    pub(crate) releases: Vec<PeerRelease>,
}

/// One product on a neighbour. Only the gateway is told what runs there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PeerRelease {
    pub(crate) product: String,
    pub(crate) running: Option<String>,
    pub(crate) phase: Option<String>,
    pub(crate) chunks_have: u32,
    pub(crate) chunks_total: u32,
}

/// Why something is as it is, in one line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// `release PRODUCT`, `gateway`, `neighbour TERMINAL` or `store`.
    pub(crate) question: String,
    /// `well`, `waits` (it goes on by itself) or `wrong` (somebody should look after it).
    pub(crate) state: String,
    /// Stable, such as `release.waits_for_hq`.
    pub(crate) code: String,
    #[expect(clippy::struct_field_names, reason = "it is the API's word")]
    pub(crate) answer: String,
}

/// Something on this terminal's disk that nobody needs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Garbage {
    pub(crate) path: String,
    /// What deleting it gives back.
    pub(crate) bytes: u64,
    pub(crate) why: String,
}

/// Where an entry of the journal is kept: the ids that make it unique, anywhere in the chain.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) terminal: String,
    pub(crate) terminal_id: String,
    /// 16 hexadecimal digits.
    pub(crate) boot: String,
    pub(crate) topic: String,
    pub(crate) seq: u64,
    /// `disk`, `neighbour` or `hq`, where that is less than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reached: Option<String>,
}

/// How this terminal's own entries stand.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Journal {
    #[serde(flatten)]
    pub(crate) state: JournalState,
    /// HQ's schema, which names the topics; 0 before the first.
    pub(crate) schema: u32,
    /// Neighbours, besides the gateway, that keep a copy of each entry.
    pub(crate) copies: u32,
    /// How long an entry stays here after HQ has acknowledged it.
    pub(crate) retention_s: u64,
    pub(crate) feeds: Vec<OwnFeed>,
}

/// What this terminal wrote to one topic, from one start to the next.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OwnFeed {
    pub(crate) topic: String,
    pub(crate) boot: String,
    /// The oldest entry that is still here.
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// HQ has acknowledged all up to it.
    pub(crate) acked_seq: u64,
    /// Neighbours that are here and have all of it.
    pub(crate) copies: usize,
}
