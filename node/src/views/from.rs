//! What the composites tell, as the API says it.

use storemesh_keys::Name;
use storemesh_protocol::{
    feeds::terminal::{AckLevel, Posted, Status as Feeds},
    terminal::{
        Answer as Why, ApartView, FoundBy, GatewayView, Limit, NeighbourRelease, NeighbourView,
        ReleaseView, State, TimeSource, TimeView, UplinkView,
    },
};

use super::{
    Answer, Apart, Entry, Garbage, Gateway, HqTime, Journal, JournalState, OwnFeed, Peer,
    PeerRelease, Release, Status,
};
use crate::{cli::VERSION, disk, driver::Look};

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
