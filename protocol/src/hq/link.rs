//! What one connected terminal may say, and when.
//!
//! First a hello. Without a certificate it may then enrol, nothing else; with one it is admitted,
//! told its neighbours and the time, and may ask for the lease. Only the holder of a lease may report, and only by
//! its newest. A terminal whose disk was cloned is refused like one without a good certificate, until the
//! feeds say otherwise. Whatever comes out of turn ends the link.

use std::collections::BTreeSet;

use storemesh_keys::{Authored, Expiry, HqSigned, Name, PeerId, Timestamp, Verified};

use super::{
    Hq, LinkId, Output,
    leases::{Alone, GivenBack, Holder, PROMISE, Ruling},
};
use crate::{
    HqTime, Instant, Lease, Save, Unseen,
    wire::{
        self, GREETING_MAX, REPORT_MAX,
        mesh::Listen,
        uplink::{
            AskPart, FromHq, GiveBack, Hello, Known, Refused, Report, TERMINALS_MAX, ToHq, Welcome,
            Word,
        },
    },
};

const KEPT_OUT: &str = "two copies of this terminal's disk were in use at once: take one away, and \
                        ask the head office to let the other in again";

#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    greeted: bool,
    pub(super) member: Option<Member>,
    /// The driver was told that it may fetch chunks.
    may_fetch: bool,
}

/// A terminal whose certificate was good.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) store: Name,
}

impl Link {
    pub(super) fn new(peer: PeerId) -> Self {
        Self { peer, greeted: false, member: None, may_fetch: false }
    }
}

impl Hq {
    pub(super) fn frame(
        &mut self,
        now: Instant,
        wall: Timestamp,
        id: LinkId,
        bytes: &[u8],
    ) -> Vec<Output> {
        let Some(link) = self.links.get(&id) else { return Vec::new() };
        let limit = if link.member.is_some() { REPORT_MAX } else { GREETING_MAX };
        if bytes.len() > limit {
            return close(id, format!("frame of {} bytes, at most {limit}", bytes.len()));
        }
        match wire::decode::<ToHq>(bytes) {
            Ok(frame) => {
                let mut outputs = Vec::new();
                if let Err(why) = self.parts(now, wall, id, frame, &mut outputs) {
                    // What its earlier parts have changed stands, and must be saved.
                    outputs.extend(close(id, why));
                }
                outputs
            }
            Err(why) => close(id, why.to_string()),
        }
    }

    fn parts(
        &mut self,
        now: Instant,
        wall: Timestamp,
        id: LinkId,
        frame: ToHq,
        outputs: &mut Vec<Output>,
    ) -> Result<(), String> {
        if let Some(hello) = frame.hello {
            self.hello(now, wall, id, hello, outputs)?;
        }
        let link = self.links.get(&id).expect("a frame is routed by its link");
        let (peer, member) = (link.peer, link.member.clone());
        if !link.greeted {
            return Err("spoke before its hello".to_owned());
        }
        if let Some(Listen { addresses }) = frame.listen {
            let member = member.as_ref().ok_or("said where it listens without a certificate")?;
            let save = self.fleet.listens(now, peer, addresses);
            self.tell_moved(&member.store, peer, save, outputs);
        }
        if let Some(enrol) = frame.enrol {
            let enrolled =
                self.registry.enrol(&self.signer, peer, enrol.invitation, &enrol.proof, wall);
            match enrolled {
                Ok((certificate, saves)) => {
                    outputs.extend(saves.into_iter().map(Output::Save));
                    outputs.push(Output::Enrolled {
                        store: certificate.store.clone(),
                        peer,
                        name: certificate.name.clone(),
                    });
                    let enrolled = Some(certificate.signed().clone());
                    outputs.push(send(id, &FromHq { enrolled, ..FromHq::default() }));
                }
                Err(why) => outputs.extend(refuse(id, why)),
            }
        }
        if frame.ask_lease.is_some() {
            let member = member.as_ref().ok_or("asked for a lease without a certificate")?;
            self.ask_lease(now, wall, peer, member, outputs);
        }
        if frame.ask_time.is_some() {
            member.as_ref().ok_or("asked for the time without a certificate")?;
            let time = Some(self.time(wall));
            outputs.push(send(id, &FromHq { time, ..FromHq::default() }));
        }
        if let (Some(number), Some(member)) = (frame.pong, &member) {
            let rulings = self.leases.answered(wall, &member.store, peer, number);
            self.tell_rulings(&member.store, rulings, outputs);
        }
        if let Some(ask) = frame.ask_part {
            let member = member.as_ref().ok_or("asked for a lease without a certificate")?;
            self.ask_part(now, wall, peer, member, ask, outputs)?;
        }
        if let (Some(GiveBack { to }), Some(member)) = (frame.give_back, &member) {
            let until = now + PROMISE;
            let back = to.map_or(GivenBack::ToNobody, |other| GivenBack::To { other, until });
            let rulings = self.leases.gone(wall, &self.signer, &member.store, peer, back);
            self.tell_rulings(&member.store, rulings, outputs);
        }
        if let Some(report) = frame.report {
            let member = member.as_ref().ok_or("reported without a certificate")?;
            if report.terminals.len() > TERMINALS_MAX {
                return Err(format!(
                    "report on {} terminals, at most {TERMINALS_MAX}",
                    report.terminals.len()
                ));
            }
            self.report(wall, peer, member, report, outputs);
        }
        Ok(())
    }

    fn hello(
        &mut self,
        now: Instant,
        wall: Timestamp,
        id: LinkId,
        hello: Hello,
        outputs: &mut Vec<Output>,
    ) -> Result<(), String> {
        let link = self.links.get_mut(&id).expect("a frame is routed by its link");
        if link.greeted {
            return Err("said hello twice".to_owned());
        }
        link.greeted = true;
        let (mut terminals, mut time) = (Vec::new(), None);
        if let Some(certificate) = hello.certificate {
            let certificate = match certificate.verify(&self.trust, wall, Expiry::Enforced) {
                Ok(certificate) => certificate,
                Err(why) => {
                    outputs.push(send(id, &self.welcome(Vec::new())));
                    outputs.extend(refuse(
                        id,
                        format!("HQ does not take this terminal's certificate: {why}"),
                    ));
                    return Ok(());
                }
            };
            let peer = link.peer;
            if certificate.peer != peer {
                return Err("came with another terminal's certificate".to_owned());
            }
            let known = self.registry.terminal(&peer);
            if known.is_none_or(|known| !known.is_certified_by(&certificate)) {
                outputs.push(send(id, &self.welcome(Vec::new())));
                let why = "HQ does not know this terminal, or has given it another certificate \
                           since: join it anew with a new code, in an empty data folder";
                outputs.extend(refuse(id, why.to_owned()));
                return Ok(());
            }
            if self.kept_out.contains(&peer) {
                outputs.push(send(id, &self.welcome(Vec::new())));
                outputs.extend(refuse(id, KEPT_OUT.to_owned()));
                return Ok(());
            }
            let (name, store) = (certificate.name.clone(), certificate.store.clone());
            let link = self.links.get_mut(&id).expect("just looked up");
            link.member = Some(Member { store: store.clone() });
            self.admitted.entry(peer).or_default().insert(id);
            let save = self.fleet.called(now, wall, peer, hello.listen);
            self.tell_moved(&store, peer, save, outputs);
            terminals = self
                .registry
                .members(&store)
                .filter(|(other, _)| *other != peer)
                .map(|(other, terminal)| Known {
                    peer: other,
                    name: terminal.name.clone(),
                    listen: self.fleet.listen(&other).to_vec(),
                })
                .take(TERMINALS_MAX)
                .collect();
            time = Some(self.time(wall));
            outputs.push(Output::Admitted { link: id, name, store });
        }
        outputs.push(send(id, &FromHq { time, ..self.welcome(terminals) }));
        Ok(())
    }

    /// Its disk was cloned: both copies are hung up on, until the feeds say [`FromFeeds::LetIn`].
    ///
    /// [`FromFeeds::LetIn`]: crate::feeds::hq::FromFeeds::LetIn
    pub(super) fn keep_out(&mut self, peer: PeerId) -> Vec<Output> {
        self.kept_out.insert(peer);
        let links = self.admitted.get(&peer).into_iter().flatten();
        links.flat_map(|link| refuse(*link, KEPT_OUT.to_owned())).collect()
    }

    /// A terminal is to be reached elsewhere: those of its store that are connected are told, since
    /// they may have lost it.
    pub(super) fn tell_moved(
        &self,
        store: &Name,
        peer: PeerId,
        save: Option<Save>,
        outputs: &mut Vec<Output>,
    ) {
        let (Some(save), Some(terminal)) = (save, self.registry.terminal(&peer)) else { return };
        outputs.push(Output::Save(save));
        let listen = self.fleet.listen(&peer).to_vec();
        let moved = self.welcome(vec![Known { peer, name: terminal.name.clone(), listen }]);
        let others = self.registry.members(store).filter(|(other, _)| *other != peer);
        outputs.extend(
            others.filter_map(|(other, _)| self.link_of(other)).map(|link| send(link, &moved)),
        );
    }

    fn welcome(&self, terminals: Vec<Known>) -> FromHq {
        let welcome = Some(Welcome { online: self.signer.online().clone(), terminals });
        FromHq { welcome, ..FromHq::default() }
    }

    fn time(&self, at: Timestamp) -> HqSigned<HqTime> {
        self.signer.sign(&HqTime { chain: self.trust.chain, at }).into_signed()
    }

    fn ask_lease(
        &mut self,
        now: Instant,
        wall: Timestamp,
        peer: PeerId,
        member: &Member,
        outputs: &mut Vec<Output>,
    ) {
        let holder = match self.leases.holder(&member.store) {
            Some(holder) if self.link_of(holder).is_some() => Holder::Connected,
            _ => Holder::Away,
        };
        let ruling = self.leases.ask(now, wall, &self.signer, &member.store, peer, holder);
        self.tell_rulings(&member.store, ruling, outputs);
    }

    /// `peer` has gathered its neighbours' words that they do not see the gateway.
    fn ask_part(
        &mut self,
        now: Instant,
        wall: Timestamp,
        peer: PeerId,
        member: &Member,
        AskPart { challenge, words }: AskPart,
        outputs: &mut Vec<Output>,
    ) -> Result<(), String> {
        let store = &member.store;
        let Some(whole) = self.leases.whole(store) else { return Ok(()) };
        let order = whole.order();
        if words.len() > TERMINALS_MAX {
            return Err(format!("showed {} words, at most {TERMINALS_MAX}", words.len()));
        }
        let mut neighbours = BTreeSet::new();
        for Word { by, unseen } in words {
            let word = Authored::verify(by, unseen)
                .map_err(|why| format!("showed a word that is not {by}'s: {why}"))?;
            let Unseen { chain, generation, epoch, asker, challenge: number, .. } =
                *word.statement();
            let ours = self.registry.terminal(&by).is_some_and(|known| known.store == *store);
            let about = word.statement().store == *store && chain == self.trust.chain;
            if !ours || !about || asker != peer || number != challenge {
                return Err(format!("showed a word of {by} that was not for this"));
            }
            neighbours.insert(by);
            if (generation, epoch) != order {
                // The lease has passed on since: whether its holder is seen nobody has said yet.
                neighbours.insert(whole.holder);
            }
        }
        let alone = Alone { asker: peer, challenge, neighbours };
        let rulings = self.leases.ask_part(now, wall, &self.signer, store, alone);
        self.tell_rulings(store, rulings, outputs);
        Ok(())
    }

    fn report(
        &mut self,
        wall: Timestamp,
        peer: PeerId,
        member: &Member,
        report: Report,
        outputs: &mut Vec<Output>,
    ) {
        let store = &member.store;
        let sees = report.terminals.iter().map(|terminal| terminal.peer).collect();
        // It may not have heard yet that the lease has passed on.
        let Some(rulings) = self.leases.reported(store, peer, report.epoch, sees) else { return };
        let others = self.leases.seen_by_others(store, peer);
        let members = self.registry.members(store).map(|(member, _)| member);
        self.fleet.reported(report, members.filter(|member| !others.contains(member)), wall);
        self.tell_rulings(store, rulings, outputs);
    }

    /// Tells terminals who holds their store's lease, and the driver who may fetch by it.
    pub(super) fn tell_rulings(
        &mut self,
        store: &Name,
        rulings: Vec<Ruling>,
        outputs: &mut Vec<Output>,
    ) {
        let granted =
            |ruling: &Ruling| matches!(ruling, Ruling::Granted { .. } | Ruling::Ended { .. });
        if rulings.iter().any(granted) {
            self.settle_fetching(store, outputs);
        }
        for ruling in rulings {
            match ruling {
                Ruling::Granted { to, lease, save } => {
                    let name = self.registry.terminal(&to).map(|terminal| terminal.name.clone());
                    if let (Some(save), Some(name)) = (save, name) {
                        outputs.push(Output::Save(save));
                        let (store, epoch) = (store.clone(), lease.epoch);
                        outputs.push(Output::Gateway { store, peer: to, name, epoch });
                    }
                    let Some(link) = self.link_of(to) else { continue };
                    outputs.push(tell_lease(link, &lease));
                }
                Ruling::Held { to, lease, challenge } => {
                    let lease = Some(lease.signed().clone());
                    let held = FromHq { lease, challenge, ..FromHq::default() };
                    outputs.extend(self.link_of(to).map(|link| send(link, &held)));
                }
                Ruling::Ended { to, epoch } => {
                    let ended = FromHq { ended: Some(epoch), ..FromHq::default() };
                    outputs.extend(self.link_of(to).map(|link| send(link, &ended)));
                }
                Ruling::Ping { holder, number } => {
                    let ping = FromHq { ping: Some(number), ..FromHq::default() };
                    outputs.extend(self.link_of(holder).map(|link| send(link, &ping)));
                }
            }
        }
    }

    /// HQ serves chunks to holders alone.
    pub(super) fn settle_fetching(&mut self, store: &Name, outputs: &mut Vec<Output>) {
        for (peer, _) in self.registry.members(store) {
            let may = self.leases.may_fetch(store, peer);
            for link in self.admitted.get(&peer).into_iter().flatten().copied() {
                let known = self.links.get_mut(&link).expect("admitted ones are known");
                if std::mem::replace(&mut known.may_fetch, may) != may {
                    outputs.push(Output::Fetching { link, may });
                }
            }
        }
    }

    /// The newest admitted connection of a terminal.
    pub(super) fn link_of(&self, peer: PeerId) -> Option<LinkId> {
        self.admitted.get(&peer)?.last().copied()
    }
}

fn send(link: LinkId, frame: &FromHq) -> Output {
    Output::Send { link, frame: wire::encode(frame) }
}

fn tell_lease(link: LinkId, lease: &Verified<Lease>) -> Output {
    let lease = Some(lease.signed().clone());
    send(link, &FromHq { lease, ..FromHq::default() })
}

/// Tells the person at the other end why not, and hangs up.
fn refuse(link: LinkId, why: String) -> [Output; 2] {
    let refused = Some(Refused { why: why.clone() });
    [send(link, &FromHq { refused, ..FromHq::default() }), Output::Close { link, why }]
}

fn close(link: LinkId, why: String) -> Vec<Output> {
    vec![Output::Close { link, why }]
}
