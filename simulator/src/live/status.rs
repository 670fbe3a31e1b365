//! What the programs say with `--json`, as far as live runs read it.
//!
//! Fields that a program adds are skipped; one that it lacks is an error, since somebody relies on it.

use serde::Deserialize;

/// `storemesh status`.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub name: String,
    pub peer: String,
    pub store: String,
    pub chain: String,
    pub version: String,
    pub gateway: Option<Gateway>,
    /// `up`, `connecting` or `none`.
    pub uplink: String,
    /// Where neighbours can reach it, the best first.
    pub listen: Vec<String>,
    pub wired: bool,
    pub mains: bool,
    pub apart: Vec<Apart>,
    /// Connected and admitted ones.
    pub neighbours: usize,
    pub hq_time: HqTime,
    /// From the start of the program.
    pub first_neighbour_chunk_ms: Option<u64>,
    pub releases: Vec<ReleaseStatus>,
}

impl Status {
    pub fn is_gateway(&self) -> bool {
        self.gateway.as_ref().is_some_and(|gateway| gateway.me)
    }

    pub fn release(&self, product: &str) -> Option<&ReleaseStatus> {
        self.releases.iter().find(|release| release.product == product)
    }

    pub fn runs(&self, product: &str, version: &str) -> bool {
        self.release(product).is_some_and(|release| release.running.as_deref() == Some(version))
    }
}

/// A terminal that the gateway reaches and this one does not, and why.
#[derive(Clone, Debug, Deserialize)]
pub struct Apart {
    pub name: String,
    pub note: String,
}

/// What time the terminal takes it to be at HQ.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct HqTime {
    pub ms: u64,
    /// By HQ's own word; else it is a guess.
    pub sure: bool,
    /// The latest time that HQ has signed, as far as it is known.
    pub floor_ms: u64,
}

/// Who the terminal takes for its store's gateway.
#[derive(Clone, Debug, Deserialize)]
pub struct Gateway {
    pub peer: String,
    /// 0, or while the store's network is split the number of this part.
    pub part: u32,
    pub me: bool,
}

/// What a terminal has of the release it should run; bytes are compressed ones of verified chunks.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ReleaseStatus {
    pub product: String,
    pub wanted: Option<String>,
    pub running: Option<String>,
    pub phase: String,
    pub bytes_have: u64,
    pub bytes_total: u64,
    pub bytes_from_hq: u64,
    pub bytes_from_neighbours: u64,
    pub bytes_local: u64,
    pub note: Option<String>,
    /// In phase `no_room`, and on which limit: `disk` or `quota`.
    pub bytes_lacking: Option<u64>,
    pub lacking_on: Option<String>,
}

/// `storemesh peers`, one of the list.
#[derive(Clone, Debug, Deserialize)]
pub struct Peer {
    pub peer: String,
    pub name: Option<String>,
    pub connected: bool,
    pub address: String,
    pub found_by: Option<String>,
    pub gateway: bool,
}

/// `storemesh-hq release publish`.
#[derive(Clone, Debug, Deserialize)]
pub struct Published {
    pub product: String,
    pub version: String,
    /// The release's identity in hex.
    pub release: String,
    pub release_bytes: u64,
    /// The compressed bytes of the chunks that HQ lacked, and so every store.
    pub moved_bytes: u64,
}

impl Published {
    /// The name of its directory on a terminal.
    pub fn folder(&self) -> String {
        format!("{}-{}", self.version, self.release.get(..8).unwrap_or(&self.release))
    }
}

/// `storemesh-hq store invite`.
#[derive(Clone, Debug, Deserialize)]
pub struct Invited {
    pub code: String,
}

/// `storemesh-hq fleet`, one of the list.
#[derive(Clone, Debug, Deserialize)]
pub struct FleetRow {
    pub terminal: String,
    pub terminal_id: String,
    pub store: String,
    pub gateway: bool,
    pub online: bool,
    pub product: Option<String>,
    pub wanted: Option<String>,
    pub running: Option<String>,
    pub phase: Option<String>,
}
