//! How the terminal is, as JSON. Names of fields are part of the API; units stand last in them.

use serde::{Deserialize, Serialize};
use storemesh_keys::Name;
use storemesh_protocol::{
    feeds::terminal::{AckLevel, Posted, Status as Feeds},
    terminal::{
        Answer as Why, ApartView, FoundBy, GatewayView, Limit, NeighbourRelease, NeighbourView,
        ReleaseView, State, TimeSource, TimeView, UplinkView,
    },
};

use crate::{cli::VERSION, disk, driver::Look};

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

pub(crate) fn entry((terminal, id): (&Name, &str), posted: &Posted, safe: bool) -> Entry {
    let reached = match posted.reached {
        AckLevel::Disk => "disk",
        AckLevel::Neighbour => "neighbour",
        AckLevel::Hq => "hq",
    };
    Entry {
        terminal: terminal.to_string(),
        terminal_id: id.to_owned(),
        boot: posted.id.feed.boot.to_string(),
        topic: posted.id.feed.topic.name.to_string(),
        seq: posted.id.seq,
        reached: (!safe).then(|| reached.to_owned()),
    }
}

pub(crate) fn journal(status: &Feeds) -> Journal {
    let own = status.feeds.iter().filter(|feed| feed.own);
    Journal {
        state: journal_state(status),
        schema: status.schema,
        copies: status.settings.journal_copies,
        retention_s: status.settings.journal_retention_s,
        feeds: own
            .map(|feed| OwnFeed {
                topic: feed.feed.topic.name.to_string(),
                boot: feed.feed.boot.to_string(),
                first_seq: feed.first,
                last_seq: feed.last,
                acked_seq: feed.acked,
                copies: feed.copies,
            })
            .collect(),
    }
}

fn journal_state(status: &Feeds) -> JournalState {
    let own = status.feeds.iter().filter(|feed| feed.own);
    JournalState {
        unacked: status.unacked,
        acked_at_ms: own.filter_map(|feed| feed.acked_at).map(|at| at.0).max(),
        full: status.full,
        ended: status.ended.all,
        ended_topics: status.ended.topics.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn status(look: &Look, feeds: &Feeds) -> Status {
    let status = &look.status;
    Status {
        name: status.name.to_string(),
        peer: status.peer.to_string(),
        store: status.store.to_string(),
        chain: status.chain.to_string(),
        version: VERSION.to_owned(),
        state: "running".to_owned(),
        gateway: status.gateway.as_ref().map(gateway),
        uplink: match status.uplink {
            UplinkView::Up => "up",
            UplinkView::Connecting => "connecting",
            UplinkView::None => "none",
        }
        .to_owned(),
        hq_not_reached: status.hq_not_reached.clone(),
        hq_addresses: status.hq_addresses.clone(),
        hq_time: hq_time(&status.time),
        certificate_until_ms: status.certificate_until.0,
        neighbours: status.neighbours.iter().filter(|peer| peer.connected).count(),
        wired: status.hardware.wired,
        mains: status.hardware.mains,
        apart: status.gateway.iter().flat_map(|by| apart(&status.apart, by)).collect(),
        listen: status.listen.iter().map(ToString::to_string).collect(),
        uptime_ms: millis(status.uptime),
        first_neighbour_chunk_ms: status.first_neighbour_chunk.map(millis),
        releases: status.releases.iter().map(release).collect(),
        journal: journal_state(feeds),
    }
}

pub(crate) fn peers(look: &Look) -> Vec<Peer> {
    let peer = |view: &NeighbourView| {
        let (bytes_in, bytes_out) = look.traffic.get(&view.peer).copied().unwrap_or_default();
        Peer {
            peer: view.peer.to_string(),
            name: view.name.as_ref().map(ToString::to_string),
            connected: view.connected,
            address: view.address.to_string(),
            found_by: match view.found_by {
                Some(FoundBy::Mdns) => "mdns",
                Some(FoundBy::Hq) => "hq",
                Some(FoundBy::Remembered) => "remembered",
                Some(FoundBy::Configured) => "configured",
                Some(FoundBy::Hello) | None => "dialled us",
            }
            .to_owned(),
            gateway: view.gateway,
            shunned: view.shunned,
            kept_out: view.kept_out,
            bytes_in,
            bytes_out,
            releases: view.releases.iter().map(peer_release).collect(),
        }
    };
    look.status.neighbours.iter().map(peer).collect()
}

fn apart(views: &[ApartView], gateway: &GatewayView) -> impl Iterator<Item = Apart> {
    let by = gateway.name.as_ref().map_or_else(|| gateway.peer.to_string(), Name::to_string);
    views.iter().map(move |ApartView { peer, name }| {
        let note = format!(
            "{name} is not reached directly, but the gateway {by} reaches it: the network keeps the \
             two apart, as the client isolation of a Wi-Fi or a firewall does; its chunks come by \
             way of {by}"
        );
        Apart { peer: peer.to_string(), name: name.to_string(), note }
    })
}

fn hq_time(view: &TimeView) -> HqTime {
    let (from, voices) = match view.source {
        TimeSource::Signed => ("signed", None),
        TimeSource::Median { voices } => ("median", Some(voices)),
        TimeSource::OwnClock => ("own_clock", None),
        TimeSource::Floor => ("floor", None),
    };
    HqTime {
        ms: view.hq_time.0,
        sure: view.is_sure(),
        from: from.to_owned(),
        voices,
        signed_ago_ms: view.signed_ago.map(millis),
        floor_ms: view.floor.0,
    }
}

fn gateway(view: &GatewayView) -> Gateway {
    Gateway {
        peer: view.peer.to_string(),
        name: view.name.as_ref().map(ToString::to_string),
        epoch: view.epoch,
        part: view.part,
        me: view.me,
        connected: view.connected,
        dark: view.dark,
        shunned: view.shunned,
    }
}

fn release(view: &ReleaseView) -> Release {
    Release {
        product: view.product.to_string(),
        wanted: view.wanted.as_ref().map(ToString::to_string),
        running: view.running.as_ref().map(ToString::to_string),
        phase: view.phase.to_string(),
        chunks_have: view.chunks_have,
        chunks_total: view.chunks_total,
        bytes_have: view.bytes_have,
        bytes_total: view.bytes_total,
        bytes_from_hq: view.bytes_from_hq,
        bytes_from_neighbours: view.bytes_from_neighbours,
        bytes_local: view.bytes_local,
        took_ms: view.took.map(millis),
        note: view.note.clone(),
        bytes_lacking: view.lacking.map(|lacking| lacking.bytes),
        lacking_on: view.lacking.map(|lacking| match lacking.on {
            Limit::Disk => "disk".to_owned(),
            Limit::Quota => "quota".to_owned(),
        }),
    }
}

fn peer_release(view: &NeighbourRelease) -> PeerRelease {
    PeerRelease {
        product: view.product.to_string(),
        running: view.running.as_ref().map(ToString::to_string),
        phase: view.phase.as_ref().map(ToString::to_string),
        chunks_have: view.chunks_have,
        chunks_total: view.chunks_total,
    }
}

pub(crate) fn answer(why: &Why) -> Answer {
    Answer {
        question: why.question.to_string(),
        state: match why.state {
            State::Well => "well",
            State::Waits => "waits",
            State::Wrong => "wrong",
        }
        .to_owned(),
        code: why.code.to_owned(),
        answer: why.text.clone(),
    }
}

pub(crate) fn garbage(garbage: &disk::Garbage) -> Garbage {
    Garbage {
        path: garbage.path.display().to_string(),
        bytes: garbage.bytes,
        why: garbage.why.to_string(),
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
