//! The rules for what the feeds say to each other, checked on what they put out.
//!
//! - Nobody is told of, asked for or given a feed of another store.
//! - A side is told how far the feeds are at most once per [`TELL_EVERY`].
//! - Who is honest is not refused, and no stream of two honest sides is cut.
//! - HQ says that it serves a backup only where it does and nobody has said so.
//!
//! Entry bytes are counted as they come: [`World::feed_overhead`] says what they were against what was
//! lacked.

use std::{collections::BTreeMap, time::Duration};

use storemesh_protocol::{
    feeds::{
        FeedId, Scope, hq,
        terminal::{Input, Output},
    },
    hq::LinkId,
    terminal::Source,
    wire::feeds::{FEEDS_MAX, FeedFrame},
};

use super::shelf::Found;
use crate::world::{World, clock::Time, net::Node};

/// As design.md, 3.
const TELL_EVERY: Duration = Duration::from_millis(50);

impl World {
    pub(super) fn before_feeds_input(&mut self, t: usize, input: &Input) {
        if let Input::Frame { bytes, .. } = input
            && let Ok(FeedFrame { batch: Some(batch), .. }) = FeedFrame::read(bytes)
        {
            let bytes: usize = batch.entries.iter().map(|entry| entry.len()).sum();
            self.hosts[t].feeds.received += bytes as u64;
        }
    }

    pub(super) fn watch_feeds_output(&mut self, t: usize, output: &Output) {
        if self.hosts[t].feeds.hostile {
            return;
        }
        match output {
            Output::Send { to, frame } => {
                let store = self.hosts[t].store;
                let to_store = match to {
                    Source::Hq => store,
                    Source::Neighbour(peer) => {
                        let other = self.hosts.iter().find(|host| host.peer == *peer);
                        other.map_or(store, |host| host.store)
                    }
                };
                if let Some(why) = self.stray(to_store, frame) {
                    self.break_rule(t, format!("to {}: {why}", self.source(*to)));
                }
                self.watch_told(t, *to, frame);
            }
            Output::Close { side: from, why } | Output::Reject { from, why } => {
                if !self.is_hostile(*from) {
                    self.break_rule(t, format!("refuses {}: {why}", self.source(*from)));
                }
            }
            Output::Posted { .. } | Output::Tell(_) | Output::Event(_) => {}
        }
    }

    fn watch_told(&mut self, t: usize, to: Source, frame: &[u8]) {
        let now = self.agenda.now();
        let program = self.hosts[t].feeds.program.as_mut().expect("it has just run");
        if let Some(after) = told_too_soon(&mut program.told, to, now, frame) {
            self.break_rule(t, format!("tells {} again after {after:?}", self.source(to)));
        }
    }

    pub(super) fn watch_hq_feeds_output(&mut self, output: &hq::Output) {
        match output {
            hq::Output::Send { link, frame } => {
                let Some(t) = self.on_link(*link) else { return };
                let store = self.hosts[t].store;
                if let Some(why) = self.stray(store, frame) {
                    self.break_hq_rule(format!("to {}: {why}", self.hosts[t].label));
                }
                let now = self.agenda.now();
                if let Some(after) = told_too_soon(&mut self.hq.feeds.told, *link, now, frame) {
                    let label = &self.hosts[t].label;
                    self.break_hq_rule(format!("tells {label} again after {after:?}"));
                }
            }
            hq::Output::Close { link, why } | hq::Output::Reject { link, why } => {
                let hostile = self.on_link(*link).is_none_or(|t| self.hosts[t].feeds.hostile);
                if !hostile {
                    self.break_hq_rule(format!("refuses what an honest terminal says: {why}"));
                }
            }
            hq::Output::Event(hq::Event::OutOfScope { bytes }) => {
                self.break_hq_rule(format!("was about to send {bytes} bytes out of scope"));
            }
            hq::Output::Event(hq::Event::Behind { .. }) => {
                if self.hq.feeds.unsaid != Some(self.hq.generation()) {
                    self.break_hq_rule("says that it serves a backup, and does not".to_owned());
                }
            }
            hq::Output::Event(hq::Event::Forked(author)) => {
                let author = *author;
                self.books.ended.insert(author);
            }
            hq::Output::Event(
                hq::Event::Cloned { author, .. } | hq::Event::CloneClaimed { author, .. },
            ) => {
                let author = *author;
                self.books.cloned.insert(author);
            }
            hq::Output::Event(_) | hq::Output::Appended { .. } | hq::Output::Tell(_) => {}
        }
    }

    /// What of a frame is not for that store.
    fn stray(&self, store: usize, frame: &[u8]) -> Option<String> {
        let frame = match FeedFrame::read(frame) {
            Ok(frame) => frame,
            Err(why) => return Some(format!("sends what does not read: {why}")),
        };
        let haves = frame.have.iter().flatten().map(|have| have.feed.clone());
        let asks = frame.ask.iter().flatten().map(|ask| ask.feed.clone());
        let entries = frame.batch.iter().flat_map(|batch| &batch.entries);
        let given = entries.filter_map(|entry| Some(Found::read(entry)?.header.feed()));
        let name = &self.stores[store].name;
        let strange = |feed: &FeedId| match &feed.topic.scope {
            Scope::Store(other) => other != name,
            Scope::Chain | Scope::Region(_) | Scope::Terminal(_) => false,
        };
        let feed = haves.chain(asks).chain(given).find(strange)?;
        Some(format!("speaks of {feed:?}"))
    }

    fn is_hostile(&self, source: Source) -> bool {
        let Source::Neighbour(peer) = source else { return false };
        self.hosts.iter().any(|host| host.peer == peer && host.feeds.hostile)
    }

    fn on_link(&self, link: LinkId) -> Option<usize> {
        match self.conns.get(&link)?.ends[0].node {
            Node::Terminal(t) => Some(t),
            Node::Hq => None,
        }
    }

    /// Entry bytes that the terminals of a store received against those that they lacked.
    pub fn feed_overhead(&self, store: usize) -> f64 {
        let sides = self.stores[store].terminals.iter().map(|t| &self.hosts[*t].feeds);
        let (received, lacked) = sides.fold((0, 0), |(received, lacked), side| {
            (received + side.received, lacked + side.lacked)
        });
        let as_f64 = |bytes: u64| u32::try_from(bytes).map_or(f64::MAX, f64::from);
        if lacked == 0 { 0.0 } else { as_f64(received) / as_f64(lacked) }
    }
}

/// How long after the time before a side is told how far the feeds are, if that is too soon.
fn told_too_soon<S: Ord>(
    told: &mut BTreeMap<S, Time>,
    to: S,
    now: Time,
    frame: &[u8],
) -> Option<Duration> {
    let have = FeedFrame::read(frame).ok()?.have?;
    // A vector of more feeds than a frame takes goes in several.
    let whole = have.len() < FEEDS_MAX;
    let before = told.insert(to, now).filter(|before| *before < now && whole)?;
    let after = now.saturating_sub(before);
    (after < TELL_EVERY).then_some(after)
}

/// Which parts a frame for feeds has.
pub(super) fn parts(frame: &[u8]) -> String {
    let Ok(frame) = FeedFrame::read(frame) else { return "[unreadable]".to_owned() };
    let mut parts = Vec::new();
    parts.extend(frame.boot.map(|boot| format!("boot {boot}")));
    let brief = |feed: &FeedId| {
        let author = feed.author.peer().to_string();
        let author: String = author.chars().rev().take(4).collect();
        format!("{}/{author}/{}", feed.topic.name, feed.boot.0 % 1000)
    };
    for have in frame.have.iter().flatten() {
        let keep = if have.keep { " keep" } else { "" };
        let (first, last, acked) = (have.first, have.last, have.acked);
        parts.push(format!("have {} {first}..{last} acked {acked}{keep}", brief(&have.feed)));
    }
    for ask in frame.ask.iter().flatten() {
        parts.push(format!("ask {} {}..{}", brief(&ask.feed), ask.from, ask.upto));
    }
    for bytes in frame.batch.iter().flat_map(|batch| &batch.entries) {
        let Some(found) = Found::read(bytes) else { continue };
        parts.push(format!("entry {} {}", brief(&found.header.feed()), found.header.seq));
    }
    parts.extend(frame.acks.map(|acks| format!("{} acks", acks.len())));
    parts.extend(frame.lacks.iter().flatten().map(|feed| format!("lacks {}", brief(feed))));
    parts.extend(frame.forks.map(|forks| format!("{} forks", forks.len())));
    parts.extend(frame.clones.map(|clones| format!("{} clones", clones.len())));
    format!("[{}]", parts.join(", "))
}
