//! The commands that ask a running node, over its socket.

use storemesh_host::out;

use crate::{
    cli::{Common, WhyQuestion},
    client::{ask, client},
    journal::{ended, unacked},
    views::{Answer, Garbage, Gateway, Peer, Release, Status},
    words,
};

pub(crate) fn status(common: &Common) -> anyhow::Result<()> {
    let status: Status = ask(&common.data, "/v1/status")?;
    if common.json {
        return out::json(&status);
    }
    out::line(format_args!(
        "{} of store {}, storemesh {}, {} {}",
        status.name,
        status.store,
        status.version,
        status.neighbours,
        if status.neighbours == 1 { "neighbour" } else { "neighbours" },
    ))?;
    out::line(match &status.gateway {
        Some(Gateway { me: true, epoch, .. }) => {
            format!("gateway: this terminal (epoch {epoch}), uplink {}", status.uplink)
        }
        Some(Gateway { name, peer, epoch, connected, dark, part, shunned, .. }) => {
            let state = match (connected, shunned, dark) {
                (_, true, _) => ", sent wrong bytes and is not asked any more: look after it",
                (false, false, _) => ", not connected",
                (true, false, true) => ", does not reach HQ",
                (true, false, false) => "",
            };
            let part =
                if *part == 0 { "" } else { ", of a part of the store: its network is split" };
            format!("gateway: {} (epoch {epoch}{state}{part})", name.as_ref().unwrap_or(peer))
        }
        None => "gateway: none known yet".to_owned(),
    })?;
    out::line(words::hq_time(&status.hq_time))?;
    let network = if status.wired { "by cable" } else { "by Wi-Fi" };
    let power = if status.mains { "mains" } else { "battery" };
    out::line(format_args!("network {network}, power from {power}"))?;
    for apart in &status.apart {
        out::line(&apart.note)?;
    }
    if let Some(why) = &status.hq_not_reached {
        out::line(format_args!("HQ was not reached at the last call: {why}"))?;
    }
    for release in &status.releases {
        out::line(line(release))?;
    }
    if status.journal.full {
        out::line("the disk is full: sales are refused until there is room")?;
    }
    if let Some(ended) = ended(&status.journal) {
        out::line(ended)?;
    }
    if status.journal.unacked > 0 {
        out::line(unacked(status.journal.unacked))?;
    }
    Ok(())
}

pub(crate) fn why(common: &Common, question: Option<WhyQuestion>) -> anyhow::Result<()> {
    let path = match question {
        None => "/v1/why".to_owned(),
        Some(WhyQuestion::Release { product: None }) => "/v1/why/release".to_owned(),
        Some(WhyQuestion::Release { product: Some(product) }) => {
            format!("/v1/why/release/{product}")
        }
        Some(WhyQuestion::Gateway) => "/v1/why/gateway".to_owned(),
        Some(WhyQuestion::Neighbour { terminal: None }) => "/v1/why/neighbour".to_owned(),
        Some(WhyQuestion::Neighbour { terminal: Some(terminal) }) => {
            format!("/v1/why/neighbour/{terminal}")
        }
    };
    let answers: Vec<Answer> = ask(&common.data, &path)?;
    if common.json {
        return out::json(&answers);
    }
    for answer in &answers {
        out::line(&answer.answer)?;
    }
    Ok(())
}

pub(crate) fn line(release: &Release) -> String {
    let Release { product, phase, chunks_have, chunks_total, .. } = release;
    let mut line = match (&release.running, &release.wanted) {
        (Some(running), Some(wanted)) if running == wanted => format!("{product} {running} runs"),
        (Some(running), Some(wanted)) => {
            format!(
                "{product} {running} runs, {wanted} is wanted: {phase}, {chunks_have} of {chunks_total} chunks"
            )
        }
        (None, Some(wanted)) => {
            format!("{product} {wanted} is wanted: {phase}, {chunks_have} of {chunks_total} chunks")
        }
        (Some(running), None) => format!("{product} {running} runs"),
        (None, None) => format!("{product}: nothing is wanted"),
    };
    if let Some(note) = &release.note {
        line.push_str(" (");
        line.push_str(note);
        line.push(')');
    }
    line
}

pub(crate) fn peers(common: &Common) -> anyhow::Result<()> {
    let peers: Vec<Peer> = ask(&common.data, "/v1/peers")?;
    if common.json {
        return out::json(&peers);
    }
    if peers.is_empty() {
        return out::line("no other terminal of the store is known yet");
    }
    out::line(format_args!(
        "{:<20} {:<22} {:<10} {:>10} {:>10}  {}",
        "terminal", "address", "found by", "in MiB", "out MiB", "state"
    ))?;
    for peer in &peers {
        let state = match (peer.connected, peer.gateway) {
            _ if peer.kept_out => "its disk was cloned, kept out",
            _ if peer.shunned => "sent wrong bytes, not asked",
            (true, true) => "gateway",
            (true, false) => "connected",
            (false, true) => "gateway, away",
            (false, false) => "away",
        };
        let mib = |bytes: u64| format!("{}.{}", bytes >> 20, ((bytes * 10) >> 20) % 10);
        out::line(format_args!(
            "{:<20} {:<22} {:<10} {:>10} {:>10}  {state}",
            peer.name.as_deref().unwrap_or(&peer.peer[..12]),
            peer.address,
            peer.found_by,
            mib(peer.bytes_in),
            mib(peer.bytes_out),
        ))?;
    }
    Ok(())
}

pub(crate) fn gc(common: &Common, dry_run: bool) -> anyhow::Result<()> {
    let garbage: Vec<Garbage> = if dry_run {
        ask(&common.data, "/v1/garbage")?
    } else {
        client(&common.data, async |client| client.post("/v1/garbage/collect", &()).await)?
    };
    if common.json {
        return out::json(&garbage);
    }
    for garbage in &garbage {
        out::line(format_args!(
            "{:>12} bytes  {}  ({})",
            garbage.bytes, garbage.path, garbage.why
        ))?;
    }
    let bytes: u64 = garbage.iter().map(|garbage| garbage.bytes).sum();
    let done = if dry_run { "would be deleted" } else { "deleted" };
    out::line(format_args!("{} things, {bytes} bytes, {done}", garbage.len()))
}
