//! How the page looks: from top to bottom this terminal, the store's terminals, the releases with a
//! bar for each terminal, and what is not as it should be. It reads well at 80 columns and 24 lines,
//! and says how many lines it had no room for.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};
use storemesh_host::sizes;

use super::{Said, View, rates};
use crate::{
    ops,
    views::{Answer, Gateway, Peer, PeerRelease, Release, Status},
    words::span,
};

/// Lines for what is not as it should be.
const WHY_LINES_MAX: u16 = 7;
/// Title, gateway and HQ.
const HEAD_LINES: u16 = 3;
/// Columns for a terminal's name, and for its address: an IPv4 one with its port fits.
const NAME: usize = 15;
const ADDRESS: usize = 21;
/// Between two bars on one line.
const GAP: usize = 2;
/// Room for ` 100%`.
const PERCENT: usize = 5;

const GOOD: Color = Color::Green;
const WAITS: Color = Color::Yellow;
const BAD: Color = Color::Red;

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let Some(said) = &view.said else {
        let lines = vec![title(None, area.width), silence(view)];
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), area);
        return;
    };
    let old = if view.silent.is_some() { Modifier::DIM } else { Modifier::empty() };
    let why = why(said, view);
    let why_lines = wrapped(&why, area.width).min(WHY_LINES_MAX);
    let terminals = terminals(said, view);
    let releases = releases(said, usize::from(area.width));
    let between = area.height.saturating_sub(HEAD_LINES + 3 + why_lines);
    let (for_terminals, for_releases) = shared(between, terminals.len(), releases.len());
    let [head, first, middle, second, bars, third, last] = Layout::vertical([
        Constraint::Length(HEAD_LINES),
        Constraint::Length(1),
        Constraint::Length(for_terminals),
        Constraint::Length(1),
        Constraint::Length(for_releases),
        Constraint::Length(1),
        Constraint::Min(0),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head_lines(said, view, area.width)).style(old), head);
    rule(frame, first, "terminals");
    frame.render_widget(Paragraph::new(cut(terminals, for_terminals)).style(old), middle);
    rule(frame, second, "releases");
    frame.render_widget(Paragraph::new(cut(releases, for_releases)).style(old), bars);
    rule(frame, third, "why");
    frame.render_widget(Paragraph::new(why).wrap(Wrap { trim: false }), last);
}

/// Both get what they need where there is room, and otherwise half each or what the other leaves.
fn shared(lines: u16, first: usize, second: usize) -> (u16, u16) {
    let need = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    let (first, second) = (need(first), need(second));
    let half = lines / 2;
    let first = first.min(half.max(lines.saturating_sub(second)));
    (first, second.min(lines - first))
}

/// What has no room is counted on the last line.
fn cut(mut lines: Vec<Line<'_>>, room: u16) -> Vec<Line<'_>> {
    let room = usize::from(room);
    if room < lines.len() && room > 0 {
        let more = lines.len() - (room - 1);
        lines.truncate(room - 1);
        lines.push(Line::from(format!("  .. and {more} more lines")).style(dim()));
    }
    lines
}

fn rule(frame: &mut Frame<'_>, area: Rect, name: &str) {
    let width = usize::from(area.width);
    let line = format!("{:\u{2500}<width$}", format!("\u{2500}\u{2500} {name} "));
    frame.render_widget(Line::from(line).style(dim()), area);
}

fn title(status: Option<&Status>, width: u16) -> Line<'static> {
    let left = match status {
        Some(status) => format!("{} of store {}", status.name, status.store),
        None => "storemesh".to_owned(),
    };
    let right = match status {
        Some(status) => {
            let up = span(Duration::from_millis(status.uptime_ms));
            format!("storemesh {}, up {up}, q ends", status.version)
        }
        None => "q ends".to_owned(),
    };
    let gap = usize::from(width).saturating_sub(left.chars().count() + right.len()).max(1);
    Line::from(vec![
        Span::styled(left, Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(" ".repeat(gap)),
        Span::styled(right, dim()),
    ])
}

fn head_lines(said: &Said, view: &View, width: u16) -> Vec<Line<'static>> {
    let status = &said.status;
    let (mut text, mut color) = match &status.gateway {
        Some(Gateway { me: true, epoch, .. }) => {
            (format!("gateway: this terminal (epoch {epoch})"), up_color(status))
        }
        Some(Gateway { name, peer, epoch, connected: true, .. }) => {
            (format!("gateway: {} (epoch {epoch})", name.as_ref().unwrap_or(peer)), GOOD)
        }
        Some(Gateway { name, peer, epoch, connected: false, .. }) => {
            let name = name.as_ref().unwrap_or(peer);
            (format!("gateway: {name} (epoch {epoch}), not connected"), BAD)
        }
        None => ("gateway: none known yet".to_owned(), WAITS),
    };
    if status.gateway.as_ref().is_some_and(|gateway| gateway.part != 0) {
        text.push_str(", of a part of the store: its network is split");
        color = BAD;
    }
    let hq = match (status.uplink.as_str(), &status.hq_not_reached) {
        ("up", _) => {
            let (came, _) = view.rates.of(rates::HQ);
            let rate = if came == 0 { String::new() } else { format!(", {} in", rate(came)) };
            Line::from(format!("HQ: on the line{rate}")).style(GOOD)
        }
        ("connecting", None) => Line::from("HQ: being called").style(WAITS),
        (_, Some(why)) => Line::from(format!("HQ: not reached at the last call: {why}")).style(BAD),
        (_, None) => Line::from("HQ: the gateway speaks with it"),
    };
    vec![title(Some(status), width), Line::from(text).style(color), hq]
}

fn up_color(status: &Status) -> Color {
    if status.uplink == "up" { GOOD } else { WAITS }
}

fn terminals<'a>(said: &Said, view: &View) -> Vec<Line<'a>> {
    let row = |name: &str, address: &str, by: &str, into: &str, out: &str, state: &str| {
        let (name, address) = (fit(name, NAME), fit(address, ADDRESS));
        format!("{name:<NAME$} {address:<ADDRESS$} {by:<10} {into:>11} {out:>11} {state}")
    };
    let heads = row("", "address", "found by", "in", "out", "state");
    let mut lines = vec![Line::from(heads).style(dim())];
    let status = &said.status;
    let rates: Vec<(u64, u64)> = said.peers.iter().map(|peer| view.rates.of(&peer.peer)).collect();
    let sum = |pick: fn(&(u64, u64)) -> u64| rate(rates.iter().map(pick).sum());
    let state = if status.gateway.as_ref().is_some_and(|it| it.me) { "gateway" } else { "" };
    let listen = status.listen.first().map_or("", String::as_str);
    let (into, out) = (sum(|rate| rate.0), sum(|rate| rate.1));
    lines.push(Line::from(row(&status.name, listen, "this one", &into, &out, state)));
    let mut peers: Vec<(&Peer, &(u64, u64))> = said.peers.iter().zip(&rates).collect();
    peers.sort_by_key(|(peer, _)| (!peer.connected, name_of(peer).to_owned()));
    for (peer, (into, out)) in peers {
        let (state, style) = match (peer.connected, peer.gateway) {
            _ if peer.shunned => ("shunned", BAD.into()),
            (true, true) => ("gateway", Style::new()),
            (true, false) => ("", Style::new()),
            (false, true) => ("gw away", BAD.into()),
            (false, false) => ("away", dim()),
        };
        let (into, out) =
            if peer.connected { (rate(*into), rate(*out)) } else { Default::default() };
        let line = row(name_of(peer), &peer.address, &peer.found_by, &into, &out, state);
        lines.push(Line::from(line).style(style));
    }
    lines
}

fn releases<'a>(said: &Said, width: usize) -> Vec<Line<'a>> {
    if said.status.releases.is_empty() {
        return vec![Line::from("HQ has asked for none, as far as is known here").style(dim())];
    }
    let mut lines = Vec::new();
    for release in &said.status.releases {
        let about = ops::line(release);
        let mut came = Vec::new();
        for (bytes, whence) in
            [(release.bytes_from_hq, "HQ"), (release.bytes_from_neighbours, "neighbours")]
        {
            if bytes > 0 {
                came.push(format!("{} from {whence}", sizes::bytes(bytes)));
            }
        }
        let came = came.join(", ");
        if came.is_empty() {
            lines.push(Line::from(about));
        } else if about.chars().count() + came.len() + 2 <= width {
            lines.push(Line::from(format!("{about}; {came}")));
        } else {
            lines.extend([Line::from(about), Line::from(format!("  {came}")).style(dim())]);
        }
        let cell_width = (width.saturating_sub(GAP) / 2).max(NAME + PERCENT + 6);
        let mut cells = vec![cell(&said.status.name, Some(mine(release)), cell_width)];
        for peer in said.peers.iter().filter(|peer| peer.connected) {
            let theirs = peer.releases.iter().find(|theirs| theirs.product == release.product);
            // It may not have heard of the release yet, and speak of the one before.
            let theirs = theirs.filter(|theirs| theirs.chunks_total == release.chunks_total);
            cells.push(cell(name_of(peer), theirs.map(theirs_far), cell_width));
        }
        let mut cells = cells.into_iter().peekable();
        while let Some(mut line) = cells.next() {
            if let Some(second) = cells.next() {
                line.push(Span::raw(" ".repeat(GAP)));
                line.extend(second);
            }
            lines.push(Line::from(line));
        }
    }
    lines
}

/// Chunks there, of all, and how it looks.
struct Far {
    have: u32,
    total: u32,
    color: Color,
}

fn mine(release: &Release) -> Far {
    let (have, total) = (release.chunks_have, release.chunks_total);
    Far { have, total, color: color(Some(&release.phase), have, total) }
}

fn theirs_far(theirs: &PeerRelease) -> Far {
    let (have, total) = (theirs.chunks_have, theirs.chunks_total);
    Far { have, total, color: color(theirs.phase.as_deref(), have, total) }
}

fn color(phase: Option<&str>, have: u32, total: u32) -> Color {
    match phase {
        Some("running") => GOOD,
        Some("failed" | "no_room") => BAD,
        None if have == total => GOOD,
        _ => WAITS,
    }
}

/// A name and its bar; without a bar where nothing is known.
fn cell(name: &str, far: Option<Far>, width: usize) -> Vec<Span<'static>> {
    let name = format!("{:<NAME$} ", fit(name, NAME));
    let room = width.saturating_sub(NAME + 1 + PERCENT);
    let Some(Far { have, total, color }) = far else {
        let unknown = format!("{:<1$}", "not known here", room + PERCENT);
        return vec![Span::raw(name), Span::styled(unknown, dim())];
    };
    let part = |of: usize| {
        let (have, total) = (u64::from(have.min(total)), u64::from(total.max(1)));
        usize::try_from(have * of as u64 / total).unwrap_or(of)
    };
    let full = part(room);
    vec![
        Span::raw(name),
        Span::styled("\u{2588}".repeat(full), color),
        Span::styled("\u{2591}".repeat(room - full), dim()),
        Span::raw(format!("{:>4}%", part(100))),
    ]
}

fn why<'a>(said: &Said, view: &View) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    if view.silent.is_some() {
        lines.push(silence(view));
        return lines;
    }
    // What somebody should look after goes first.
    let mut answers: Vec<&Answer> = said.answers.iter().collect();
    answers.sort_by_key(|answer| answer.state != "wrong");
    for answer in answers {
        let color = match answer.state.as_str() {
            "well" => GOOD,
            "waits" => WAITS,
            _ => BAD,
        };
        lines.push(Line::from(answer.answer.clone()).style(color));
    }
    lines
}

fn silence<'a>(view: &View) -> Line<'a> {
    match &view.silent {
        Some((why, ago)) => {
            let stands = if view.said.is_some() { "; above is how it was" } else { "" };
            let text = format!("no answer for {}: {why}{stands}; waiting for it", span(*ago));
            Line::from(text).style(Style::new().fg(BAD).add_modifier(Modifier::BOLD))
        }
        None => Line::from("asking the node"),
    }
}

/// How many lines these take.
fn wrapped(lines: &[Line<'_>], width: u16) -> u16 {
    let width = usize::from(width.max(1));
    // Words are kept whole, which may take a line more than the count of characters says.
    let one = |line: &Line<'_>| line.width().div_ceil(width.saturating_sub(8).max(1)).max(1);
    u16::try_from(lines.iter().map(one).sum::<usize>()).unwrap_or(u16::MAX)
}

fn name_of(peer: &Peer) -> &str {
    peer.name.as_deref().unwrap_or(&peer.peer)
}

fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}..")
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// Bytes a second; nothing when none.
fn rate(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!("{}/s", sizes::bytes(bytes)) }
}
