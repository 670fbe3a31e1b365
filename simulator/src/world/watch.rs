//! The rules that hold at every step, checked on what the composites put out.
//!
//! - Nothing is activated that HQ was not ordered to want, or whose chunks are not all on that disk.
//! - No chunk is asked of HQ that a living, connected terminal of the store has verified and has had
//!   the time to tell of ([`NEWS`]).
//! - What HQ sends to a store is one copy of each release and what faults made necessary: what was
//!   under way when an uplink ended, what only a terminal had that went away, and, while a LAN is
//!   split or a box lies, another copy.
//! - Nobody asks for a chunk that it has, or one source for one chunk twice.
//! - No source is ever asked for more than the limits at once.
//! - A deadline lies in the future (`terminal`, `hq`).
//!
//! What neighbours may say to each other is in `rumours`, who speaks to HQ in `grants`, what time it
//! is in `times`.

#![expect(clippy::wildcard_enum_match_arm, reason = "looks at some, carries out none")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use storemesh_keys::PeerId;
use storemesh_protocol::{
    content::{ChunkId, ChunkRef, ListId, ReleaseId, list_id},
    terminal::{DiskAnswer, DiskJob, FetchError, Input, Output, Source},
};

use super::{
    Broken, World,
    clock::Time,
    net::{HEADERS, Node},
    terminal::{Manners, Program},
};

/// A chunk may cross the WAN again while the word that a neighbour has it is under way: what is told
/// is gathered for 50 ms, and crosses a LAN on which bulk may wait in front.
pub(super) const NEWS: Duration = Duration::from_millis(400);
/// The swarm's own limits.
const REQUESTS_MAX: usize = 64;
const HQ_BYTES_MAX: u64 = (16 << 20) + (1 << 20);
const NEIGHBOUR_BYTES_MAX: u64 = (4 << 20) + (2 << 20);

impl World {
    pub(super) fn break_rule(&mut self, t: usize, rule: String) {
        let concerned = vec![self.hosts[t].label.clone()];
        self.break_with(rule, concerned);
    }

    pub(super) fn break_hq_rule(&mut self, rule: String) {
        self.break_with(rule, vec!["hq".to_owned()]);
    }

    pub(super) fn break_with(&mut self, rule: String, concerned: Vec<String>) {
        if self.broken.is_none() {
            self.broken = Some(Broken { at: self.agenda.now(), rule, concerned });
        }
    }

    /// Notes what the composite hears of its disk, before it hears it.
    pub(super) fn before_input(&mut self, t: usize, input: &Input) {
        let now = self.agenda.now();
        let program = self.hosts[t].program.as_mut().expect("it runs");
        match input {
            Input::Disk(DiskAnswer::Checked { list, have }) => {
                let Some(release) = self.releases.iter().find(|r| r.pieces == *list) else {
                    return;
                };
                let held = have.iter_set().map(|at| (release.head.manifest[at as usize].id, now));
                program.offers.insert(*list, held.collect());
            }
            Input::Disk(DiskAnswer::Staged { release, have: Ok(have) }) => {
                let Some(release) = self.releases.iter().find(|r| r.head.id == *release) else {
                    return;
                };
                let chunks = release.manifest.chunks();
                let held = have.iter_set().map(|at| (chunks[at as usize].id, now));
                program.offers.insert(release.content, held.collect());
            }
            Input::Disk(DiskAnswer::Standing { release, .. }) => {
                let Some(release) = self.releases.iter().find(|r| r.head.id == release.id) else {
                    return;
                };
                let all = |chunks: &[_]| ids(chunks).map(|id| (id, now)).collect();
                program.offers.insert(release.pieces, all(&release.head.manifest));
                program.offers.insert(release.content, all(release.manifest.chunks()));
            }
            Input::Disk(DiskAnswer::Activated { done: Ok(()), .. }) => {
                // Of the releases that stood one may have had to go.
                let all: Vec<ListId> = program.offers.keys().copied().collect();
                self.withdraw(t, &all, None);
            }
            Input::Fetched { from, chunk, .. } => {
                for (list, offer) in &mut program.offers {
                    let of = |r: &&super::Release| r.pieces == *list || r.content == *list;
                    let release = self.releases.iter().find(of).expect("lists are of releases");
                    let listed = if release.pieces == *list {
                        ids(&release.head.manifest).any(|id| id == *chunk)
                    } else {
                        release.chunks.contains_key(chunk)
                            && !ids(&release.head.manifest).any(|id| id == *chunk)
                    };
                    if listed {
                        offer.entry(*chunk).or_insert(now);
                    }
                }
                forget(&mut program.asked, *from, chunk);
            }
            Input::NotFetched { from, chunk, why } => {
                forget(&mut program.asked, *from, chunk);
                if let (FetchError::Wrong, Source::Neighbour(peer)) = (why, from) {
                    program.shunned.insert(*peer);
                }
                if *from == Source::Hq {
                    let chunk = self.releases.iter().find_map(|r| r.chunks.get(chunk));
                    self.stores[self.hosts[t].store].allowed += chunk.map_or(0, sent);
                }
            }
            Input::Frame { peer, bytes } => self.hear_rumour(t, *peer, bytes),
            Input::Disconnected { peer } => {
                program.asked.remove(&Source::Neighbour(*peer));
                program.told.remove(peer);
            }
            Input::UplinkDown { .. } => {
                program.asked.remove(&Source::Hq);
            }
            _ => {}
        }
    }

    pub(super) fn watch_output(&mut self, t: usize, output: &Output) {
        match output {
            Output::Fetch { from, chunk } => {
                let program = self.hosts[t].program.as_mut().expect("it runs");
                let has = program.offers.values().any(|offer| offer.contains_key(&chunk.id));
                let asked = program.asked.entry(*from).or_default();
                let twice = asked.insert(chunk.id, chunk.stored).is_some();
                let (count, limit) = (
                    asked.len(),
                    match from {
                        Source::Hq => HQ_BYTES_MAX,
                        Source::Neighbour(_) => NEIGHBOUR_BYTES_MAX,
                    },
                );
                let bytes: u64 = asked.values().map(|bytes| u64::from(*bytes)).sum();
                if count > REQUESTS_MAX || bytes > limit {
                    self.break_rule(t, format!("asks {from:?} for {count} chunks, {bytes} bytes"));
                }
                if has || twice {
                    let again = if has { "it has" } else { "it has asked for" };
                    let from = self.source(*from);
                    self.break_rule(t, format!("asks {from} for {:?}, which {again}", chunk.id));
                }
                match from {
                    Source::Hq => self.watch_wan(t, &chunk.id),
                    Source::Neighbour(peer) => self.watch_question(t, *peer, &chunk.id),
                }
            }
            Output::Send { peer, frame } => self.watch_frame(t, *peer, frame),
            Output::SendUp(frame) => self.watch_sent_up(t, frame),
            Output::Disk(DiskJob::GiveUp { release } | DiskJob::Abandon { release }) => {
                let known = self.releases.iter().find(|r| r.head.id == release.id);
                let gone = known.map_or_else(Vec::new, |r| vec![r.pieces, r.content]);
                self.withdraw(t, &gone, Some(release.id));
            }
            Output::Admitted { peer, .. } => self.watch_admitted(t, peer),
            Output::Cancel { from, chunk } => {
                let program = self.hosts[t].program.as_mut().expect("it runs");
                forget(&mut program.asked, *from, chunk);
            }
            Output::Disk(DiskJob::Activate { release, manifest }) => {
                if !self.ordered.contains(&release.id) {
                    self.break_rule(t, format!("activates {}, not wanted", release.version));
                }
                if !self.hosts[t].disk.is_whole(release, manifest) {
                    self.break_rule(t, format!("activates {} not whole", release.version));
                }
            }
            _ => {}
        }
    }

    /// What has left a terminal's disk it has no more: of these lists stay those of releases that stand there
    /// without `gone`, since two releases may have one list.
    fn withdraw(&mut self, t: usize, lists: &[ListId], gone: Option<ReleaseId>) {
        let host = &mut self.hosts[t];
        let standing = host.disk.standing().into_iter().filter(|(head, ..)| Some(head.id) != gone);
        let stay: Vec<ListId> = standing
            .flat_map(|(head, tree, _)| [list_id(&head.manifest), list_id(tree.chunks())])
            .collect();
        let program = host.program.as_mut().expect("it runs");
        program.offers.retain(|list, _| !lists.contains(list) || stay.contains(list));
    }

    /// Nobody near may have offered what is now asked of HQ.
    fn watch_wan(&mut self, t: usize, chunk: &ChunkId) {
        let now = self.agenda.now();
        let me = self.hosts[t].program.as_ref().expect("it runs");
        let mut found = None;
        for other in self.stores[self.hosts[t].store].terminals.clone() {
            let host = &self.hosts[other];
            let Some(program) = host.program.as_ref().filter(|_| other != t) else { continue };
            let linked = me.admitted.get(&host.peer).zip(program.admitted.get(&self.hosts[t].peer));
            let Some((a, b)) = linked else { continue };
            if me.shunned.contains(&host.peer) || host.manners != Manners::Honest {
                continue;
            }
            let Some(hears_since) = self.hears_since(t, host.peer) else { continue };
            let met = (*a).max(*b).max(hears_since);
            for (list, offer) in &program.offers {
                let since = offer.get(chunk).filter(|_| me.offers.contains_key(list));
                let Some(since) = since else { continue };
                let known: Time = now.saturating_sub(met.max(*since));
                if known > NEWS {
                    let what = format!(
                        "asks HQ for chunk {chunk:?}, verified by {} {} ms ago",
                        host.label,
                        known.as_millis()
                    );
                    found = Some((what, host.label.clone()));
                } else {
                    self.news_fetches += 1;
                }
            }
        }
        if let Some((rule, other)) = found {
            let concerned = vec![self.hosts[t].label.clone(), other];
            self.break_with(rule, concerned);
        }
    }

    /// Since when all that a neighbour says reaches a terminal.
    pub(super) fn hears_since(&self, t: usize, peer: PeerId) -> Option<Time> {
        let conn = self.conns.get(self.hosts[t].program.as_ref()?.lines.get(&peer)?)?;
        let me = conn.ends.iter().position(|end| end.node == Node::Terminal(t))?;
        conn.hears(me).then_some(conn.hears_since[me])
    }

    /// The terminal goes away: what only it has told of may have to come again.
    pub(super) fn allow_for_leaving(&mut self, t: usize) {
        self.allow_for_uplink(t);
        let Some(program) = &self.hosts[t].program else { return };
        let store = &self.stores[self.hosts[t].store];
        let others = || {
            let others = store.terminals.iter().filter(|other| **other != t);
            others.filter_map(|other| self.hosts[*other].program.as_ref())
        };
        let told =
            |program: &Program, id: &ChunkId| program.offers.values().any(|o| o.contains_key(id));
        let only = |id: &&ChunkId| others().all(|other| !told(other, id));
        let offered: BTreeSet<&ChunkId> =
            program.offers.values().flat_map(BTreeMap::keys).collect();
        let bytes = |id| self.releases.iter().find_map(|r| r.chunks.get(id)).map_or(0, sent);
        let bytes: u64 = offered.into_iter().filter(only).map(bytes).sum();
        self.stores[self.hosts[t].store].allowed += bytes;
    }

    /// An uplink ended: what was under way is lost.
    pub(super) fn allow_for_uplink(&mut self, t: usize) {
        let host = &self.hosts[t];
        let asked = host.program.as_ref().and_then(|p| p.asked.get(&Source::Hq));
        let bytes: u64 =
            asked.into_iter().flat_map(BTreeMap::values).map(|b| u64::from(*b) + HEADERS).sum();
        self.stores[host.store].allowed += bytes;
    }

    pub(super) fn allow_another_copy(&mut self, store: usize) {
        self.stores[store].copies += 1;
    }

    /// HQ is about to send a chunk to a store.
    pub(super) fn watch_budget(&mut self, store: usize) {
        let ordered = self.releases.iter().filter(|r| self.ordered.contains(&r.head.id));
        let unique: BTreeMap<_, _> = ordered.flat_map(|release| &release.chunks).collect();
        let once: u64 = unique.values().map(|chunk| sent(chunk)).sum();
        let store = &self.stores[store];
        let budget = once * (1 + store.copies) + store.allowed;
        if store.carried.chunks > budget {
            let rule = format!(
                "the WAN of {} carried {} bytes of chunks, and {budget} would have been enough",
                store.name, store.carried.chunks
            );
            self.break_with(rule, Vec::new());
        }
    }
}

fn ids(chunks: &[ChunkRef]) -> impl Iterator<Item = ChunkId> {
    chunks.iter().map(|chunk| chunk.id)
}

/// What a chunk takes on a link.
fn sent(chunk: &ChunkRef) -> u64 {
    u64::from(chunk.stored) + HEADERS
}

fn forget(asked: &mut BTreeMap<Source, BTreeMap<ChunkId, u32>>, from: Source, chunk: &ChunkId) {
    if let Some(of) = asked.get_mut(&from) {
        of.remove(chunk);
    }
}
