//! Finds what a question is about, and gathers the facts for its answer.

use std::collections::BTreeMap;

use storemesh_keys::{Name, PeerId};

use super::{
    Answer, Ask, Question, gateway,
    gateway::{By, Way},
    neighbour::{self, Delivers, Link},
    release::{self, Step},
    words::{listed, many},
};
use crate::{
    Instant,
    content::ListId,
    finder::{Dial, FoundBy},
    gateway::Call,
    install::Product,
    swarm::{Lacking, Trouble},
    terminal::{Source, Terminal, admission::Stage},
    wire::mesh::Phase,
};

/// Peers remembered for having been refused, the last ones: as many as a street of shops shows.
const REFUSALS_MAX: usize = 32;
/// Terminals named where a name fits none or several.
const NAMED_MAX: usize = 6;

/// Why this terminal's last call to HQ came to nothing.
#[derive(Clone, Debug)]
pub(in crate::terminal) struct NotReached {
    pub(in crate::terminal) why: String,
    pub(in crate::terminal) at: Instant,
    pub(in crate::terminal) by: By,
}

/// Whom this terminal sent away, or who left before it was let in.
#[derive(Debug, Default)]
pub(in crate::terminal) struct Refusals(BTreeMap<PeerId, Refusal>);

#[derive(Clone, Debug)]
pub(in crate::terminal) struct Refusal {
    pub(in crate::terminal) why: String,
    pub(in crate::terminal) at: Instant,
    /// As its certificate says, where that is good and another store's.
    pub(in crate::terminal) foreign: Option<Name>,
}

impl Refusals {
    pub(in crate::terminal) fn add(
        &mut self,
        peer: PeerId,
        at: Instant,
        why: &str,
        foreign: Option<Name>,
    ) {
        if self.0.len() >= REFUSALS_MAX && !self.0.contains_key(&peer) {
            let oldest = self.0.iter().min_by_key(|(_, refusal)| refusal.at).map(|(id, _)| *id);
            oldest.and_then(|id| self.0.remove(&id));
        }
        self.0.insert(peer, Refusal { why: why.to_owned(), at, foreign });
    }

    /// It left by itself; if it was sent away that is said already.
    pub(in crate::terminal) fn left(&mut self, peer: PeerId, at: Instant) {
        if !self.0.contains_key(&peer) {
            let why = "it hung up before it had shown a certificate: ask `storemesh why` there";
            self.add(peer, at, why, None);
        }
    }

    pub(in crate::terminal) fn admitted(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }
}

impl Terminal {
    /// Answers in an order that a person reads: releases, the gateway, neighbours by name.
    pub fn why(&self, now: Instant, ask: &Ask) -> Vec<Answer> {
        match ask {
            Ask::Everything => self.why_everything(now),
            Ask::Releases => self.why_releases(now, &gateway::way(&self.gateway_facts(now))),
            Ask::Release(product) => vec![self.why_release(now, product)],
            Ask::Gateway => vec![gateway::answer(&self.gateway_facts(now))],
            Ask::Neighbours => {
                let all = self.why_neighbours(now);
                if all.is_empty() { vec![self.why_nobody()] } else { all }
            }
            Ask::Neighbour(said) => vec![self.why_neighbour(now, said)],
        }
    }

    fn why_everything(&self, now: Instant) -> Vec<Answer> {
        let gateway = self.gateway_facts(now);
        let way = match gateway::way(&gateway) {
            way @ Way::Open(_) => way,
            // Why not is the gateway's answer, and said once.
            Way::Broken(_) => Way::Broken("HQ is not reached".to_owned()),
        };
        let mut answers = self.why_releases(now, &way);
        answers.push(gateway::answer(&gateway));
        answers.extend(self.why_ended());
        // Strangers that are kept out, next door's terminals say, are as it should be.
        let stranger =
            |peer: &PeerId| self.refusals.0.contains_key(peer) && !self.names.contains_key(peer);
        let neighbours = self.why_each(now, self.everybody().filter(|peer| !stranger(peer)));
        let connected = self.admitted_count();
        let well: Vec<String> =
            answers.iter().filter(|a| a.is_well()).map(|a| a.text.clone()).collect();
        answers.extend(neighbours);
        answers.retain(|answer| !answer.is_well());
        if answers.is_empty() {
            let others = many(connected, "neighbour");
            let text = format!("all is well: {}; {others} connected", well.join("; "));
            answers.push(Answer::well(Question::Store, "store.well", text));
        }
        answers
    }

    fn why_releases(&self, now: Instant, way: &Way) -> Vec<Answer> {
        let one = |(name, product)| release::answer(&self.release_facts(now, name, product), way);
        let all: Vec<Answer> = self.installer.products().map(one).collect();
        if all.is_empty() { vec![release::none(way)] } else { all }
    }

    /// What HQ has ended of this terminal's journals.
    fn why_ended(&self) -> Option<Answer> {
        if !self.ended.is_any() {
            return None;
        }
        let topics: Vec<String> = self.ended.topics.iter().map(Name::to_string).collect();
        let on = if self.ended.all { "any topic".to_owned() } else { listed(&topics, NAMED_MAX) };
        let text = format!(
            "HQ has ended what this terminal writes on {on}: it takes nothing more there; post on another \
             terminal, and ask the head office"
        );
        Some(Answer::wrong(Question::Journal, "journal.ended", text))
    }

    fn why_release(&self, now: Instant, product: &str) -> Answer {
        let way = gateway::way(&self.gateway_facts(now));
        let mut products = self.installer.products();
        let Some((name, state)) = products.find(|(name, _)| name.as_str() == product) else {
            let known: Vec<String> =
                self.installer.products().map(|(name, _)| name.to_string()).collect();
            return release::unknown(product, &known, &way);
        };
        release::answer(&self.release_facts(now, name, state), &way)
    }

    fn release_facts(&self, now: Instant, name: &Name, product: &Product) -> release::Facts {
        let wanted = product.wanted.as_ref().map(|wanted| &wanted.release);
        // Version alone does not tell a release: HQ may publish another under the same one.
        let runs = wanted.is_some_and(|w| product.running().is_some_and(|r| r.id == w.id));
        let running = product.running().map(|release| release.version.to_string());
        let step = match &product.job {
            None => Step::None,
            Some(job) => match job.phase {
                Phase::Running => Step::None,
                Phase::Waiting => Step::Checking,
                Phase::Manifest if job.has_manifest() => Step::Manifest(None),
                Phase::Manifest => Step::Manifest(self.lacking(now, &job.pieces)),
                Phase::Staging => Step::Staging,
                Phase::Fetching => {
                    let view = self.release_view(name, product);
                    Step::Fetching {
                        bytes_have: view.bytes_have,
                        bytes_total: view.bytes_total,
                        lacking: job.content.as_ref().and_then(|list| self.lacking(now, list)),
                    }
                }
                Phase::Activating => Step::Activating,
                Phase::NoRoom => Step::NoRoom(job.note.clone().unwrap_or_default()),
                Phase::Failed => Step::Failed {
                    why: job.note.clone().unwrap_or_default(),
                    again_in: job.retry_at().since(now),
                },
            },
        };
        release::Facts {
            product: name.to_string(),
            wanted: wanted.map(|release| release.version.to_string()),
            running: if runs || wanted.is_none() { running } else { None },
            damaged: product.is_damaged(),
            step,
        }
    }

    fn lacking(&self, now: Instant, list: &ListId) -> Option<release::Lacking> {
        let lacking = self.swarm.lacking(list, now)?;
        let Lacking { chunks_have, chunks_total, only_hq, held, asked, resting, .. } = lacking;
        let neighbours = asked.iter().filter_map(|from| match from {
            Source::Hq => None,
            Source::Neighbour(peer) => Some(self.called(peer)),
        });
        Some(release::Lacking {
            chunks_have,
            chunks_total,
            only_hq,
            held,
            asked_hq: asked.contains(&Source::Hq),
            asked: neighbours.collect(),
            resting: resting.iter().map(|peer| self.called(peer)).collect(),
            asks_hq_in: lacking.asks_hq_at.map(|at| at.since(now)),
            hq_rests_for: lacking.hq_rests_until.map(|at| at.since(now)),
        })
    }

    fn gateway_facts(&self, now: Instant) -> gateway::Facts {
        let facts = self.gateway.facts();
        let holder = facts.holder.map(|(peer, epoch)| gateway::Holder {
            name: self.called(&peer),
            me: peer == self.me,
            connected: peer == self.me || self.is_admitted(&peer),
            dark: facts.holder_is_dark,
            epoch,
            part: facts.part,
        });
        gateway::Facts {
            holder,
            serving: facts.serving,
            call: match facts.call {
                Call::NotDue => gateway::Call::NotDue,
                Call::DueAt(at) => gateway::Call::In(at.since(now)),
                Call::UnderWay => gateway::Call::UnderWay,
            },
            failure: self.hq_not_reached.as_ref().map(|not_reached| gateway::Failure {
                why: not_reached.why.clone(),
                ago: now.since(not_reached.at),
                by: not_reached.by,
            }),
            neighbours: self.admitted_count(),
        }
    }

    fn why_neighbours(&self, now: Instant) -> Vec<Answer> {
        self.why_each(now, self.everybody())
    }

    fn why_each(&self, now: Instant, peers: impl Iterator<Item = PeerId>) -> Vec<Answer> {
        let mut all: Vec<(String, PeerId)> = peers.map(|peer| (self.called(&peer), peer)).collect();
        all.sort();
        all.dedup();
        all.iter().map(|(_, peer)| neighbour::answer(&self.neighbour_facts(now, *peer))).collect()
    }

    fn why_nobody(&self) -> Answer {
        let text = format!(
            "no other terminal of store {} is known: none has joined, or HQ and multicast are both \
             out of reach (`storemesh doctor` tells)",
            self.membership.certificate.store
        );
        Answer::waits(Question::Store, "neighbour.none", text)
    }

    fn why_neighbour(&self, now: Instant, said: &str) -> Answer {
        let question = Question::Neighbour(said.to_owned());
        let me = self.called(&self.me);
        let mut fits: Vec<PeerId> = Vec::new();
        for peer in self.everybody().chain([self.me]) {
            let (name, id) = (self.called(&peer), peer.to_string());
            if name == said || id == said {
                fits = vec![peer];
                break;
            }
            let begins = !said.is_empty() && (name.starts_with(said) || id.starts_with(said));
            if begins && !fits.contains(&peer) {
                fits.push(peer);
            }
        }
        match fits[..] {
            [peer] if peer == self.me => {
                let text = format!("{me} is this terminal itself");
                Answer::well(question, "neighbour.this", text)
            }
            [peer] => neighbour::answer(&self.neighbour_facts(now, peer)),
            [] => {
                let mut names: Vec<String> =
                    self.everybody().map(|peer| self.called(&peer)).collect();
                names.sort();
                names.dedup();
                let (store, names) =
                    (&self.membership.certificate.store, listed(&names, NAMED_MAX));
                let text = format!(
                    "no terminal `{said}` of store {store} is known here: known is {names}"
                );
                Answer::wrong(question, "neighbour.unknown", text)
            }
            _ => {
                let mut names: Vec<String> = fits.iter().map(|peer| self.called(peer)).collect();
                names.sort();
                let text = format!("`{said}` may be {}: say which", listed(&names, NAMED_MAX));
                Answer::wrong(question, "neighbour.ambiguous", text)
            }
        }
    }

    fn neighbour_facts(&self, now: Instant, peer: PeerId) -> neighbour::Facts {
        let link = match self.neighbours.get(&peer).map(|neighbour| &neighbour.stage) {
            None => Link::None,
            Some(Stage::Greeting(_)) => Link::Greeting,
            Some(Stage::Admitted) => Link::Admitted(match self.swarm.trouble(&peer, now) {
                None => Delivers::Well,
                Some(Trouble::Lied(at)) => Delivers::Lied { ago: now.since(at) },
                Some(Trouble::Stalled { until }) => Delivers::Stalled { left: until.since(now) },
                Some(Trouble::Rests { until }) => Delivers::Rests { left: until.since(now) },
            }),
        };
        let refusal = self.refusals.0.get(&peer).map(|refusal| neighbour::Refusal {
            why: refusal.why.clone(),
            ago: now.since(refusal.at),
            foreign: refusal.foreign.is_some(),
        });
        let search = self.finder.search(&peer).map(|search| neighbour::Search {
            at: search.addresses.first().map(|(at, by)| format!("{at} ({})", told_by(*by))),
            dialled_in: match search.dial {
                Dial::DueAt(at) => Some(at.since(now)),
                Dial::UnderWay | Dial::Connected => None,
            },
            failures: search.failures,
            was_here: search.was_here,
        });
        let is_apart = self.reach.apart(now).any(|(other, _)| other == peer);
        let gateway = self.gateway.facts().holder.filter(|_| is_apart);
        let apart = gateway.map(|(holder, _)| self.called(&holder));
        let hq_list = self.hq_list;
        neighbour::Facts { name: self.called(&peer), link, refusal, search, apart, hq_list }
    }

    /// Every other terminal that was ever heard of, some of them more than once.
    fn everybody(&self) -> impl Iterator<Item = PeerId> {
        let named = self.names.keys().copied();
        let found = self.finder.known().map(|(peer, ..)| peer);
        let connected = self.neighbours.keys().copied();
        let refused = self.refusals.0.keys().copied();
        named.chain(found).chain(connected).chain(refused).filter(|peer| *peer != self.me)
    }

    fn admitted_count(&self) -> usize {
        self.neighbours.values().filter(|n| matches!(n.stage, Stage::Admitted)).count()
    }

    /// What people call a terminal.
    fn called(&self, peer: &PeerId) -> String {
        let foreign = || self.refusals.0.get(peer).and_then(|refusal| refusal.foreign.clone());
        let name = self.name_of(peer).or_else(foreign);
        name.map_or_else(|| peer.to_string(), |name| name.to_string())
    }
}

fn told_by(by: FoundBy) -> &'static str {
    match by {
        FoundBy::Mdns => "found by mDNS",
        FoundBy::Hq => "told by HQ",
        FoundBy::Remembered => "remembered",
        FoundBy::Configured => "configured",
        FoundBy::Hello => "told by itself",
    }
}
