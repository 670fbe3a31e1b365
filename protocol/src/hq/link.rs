//! What one connected terminal may say, and when.
//!
//! First a hello. Without a certificate it may then enrol, nothing else; with one it is admitted,
//! told its neighbours, and may ask for the lease. Only the holder of the lease may report on its
//! store. Whatever comes out of turn ends the link.

use storemesh_keys::{Expiry, Name, PeerId, Timestamp, Verified};

use super::{
    Hq, LinkId, Output,
    leases::{GivenBack, Holder, Ruling},
};
use crate::{
    Instant, Lease, Wanted,
    wire::{
        self, GREETING_MAX, REPORT_MAX,
        uplink::{FromHq, Hello, Known, Refused, TERMINALS_MAX, ToHq, Welcome},
    },
};

#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    greeted: bool,
    pub(super) member: Option<Member>,
}

/// A terminal whose certificate was good.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) store: Name,
}

impl Link {
    pub(super) fn new(peer: PeerId) -> Self {
        Self { peer, greeted: false, member: None }
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
            Ok(frame) => self.parts(now, wall, id, frame).unwrap_or_else(|why| close(id, why)),
            Err(why) => close(id, why.to_string()),
        }
    }

    fn parts(
        &mut self,
        now: Instant,
        wall: Timestamp,
        id: LinkId,
        frame: ToHq,
    ) -> Result<Vec<Output>, String> {
        let mut outputs = Vec::new();
        if let Some(hello) = frame.hello {
            self.hello(id, hello, wall, &mut outputs)?;
        }
        let link = self.links.get(&id).expect("a frame is routed by its link");
        let (peer, member) = (link.peer, link.member.clone());
        if !link.greeted {
            return Err("spoke before its hello".to_owned());
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
            self.ask_lease(now, wall, peer, member, &mut outputs);
        }
        if let (Some(number), Some(member)) = (frame.pong, &member) {
            let rulings = self.leases.answered(&member.store, peer, number);
            self.tell_rulings(&member.store, rulings, &mut outputs);
        }
        if let (Some(_), Some(member)) = (frame.give_back, &member) {
            let back = GivenBack::Yes;
            let rulings = self.leases.gone(wall, &self.signer, &member.store, peer, back);
            self.tell_rulings(&member.store, rulings, &mut outputs);
        }
        if let Some(report) = frame.report {
            let member = member.as_ref().ok_or("reported without a certificate")?;
            if self.leases.holder(&member.store) != Some(peer) {
                return Err("reported on its store without its lease".to_owned());
            }
            if report.terminals.len() > TERMINALS_MAX {
                return Err(format!(
                    "report on {} terminals, at most {TERMINALS_MAX}",
                    report.terminals.len()
                ));
            }
            let members = self.registry.members(&member.store);
            self.fleet.reported(report, members.map(|(peer, _)| peer), wall);
        }
        Ok(outputs)
    }

    fn hello(
        &mut self,
        id: LinkId,
        hello: Hello,
        wall: Timestamp,
        outputs: &mut Vec<Output>,
    ) -> Result<(), String> {
        let link = self.links.get_mut(&id).expect("a frame is routed by its link");
        if link.greeted {
            return Err("said hello twice".to_owned());
        }
        link.greeted = true;
        let mut terminals = Vec::new();
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
            let (name, store) = (certificate.name.clone(), certificate.store.clone());
            let link = self.links.get_mut(&id).expect("just looked up");
            link.member = Some(Member { store: store.clone() });
            self.admitted.entry(peer).or_default().insert(id);
            outputs.extend(self.fleet.called(peer, hello.listen, wall).map(Output::Save));
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
            outputs.push(Output::Admitted { link: id, name, store });
        }
        outputs.push(send(id, &self.welcome(terminals)));
        Ok(())
    }

    fn welcome(&self, terminals: Vec<Known>) -> FromHq {
        let welcome = Some(Welcome { online: self.signer.online().clone(), terminals });
        FromHq { welcome, ..FromHq::default() }
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

    /// Tells terminals who holds their store's lease.
    pub(super) fn tell_rulings(
        &self,
        store: &Name,
        rulings: impl IntoIterator<Item = Ruling>,
        outputs: &mut Vec<Output>,
    ) {
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
                    outputs.extend(self.releases.wanted().map(|wanted| tell(link, wanted)));
                }
                Ruling::Held { to, lease } => {
                    outputs.extend(self.link_of(to).map(|link| tell_lease(link, &lease)));
                }
                Ruling::Ping { holder, number } => {
                    let ping = FromHq { ping: Some(number), ..FromHq::default() };
                    outputs.extend(self.link_of(holder).map(|link| send(link, &ping)));
                }
            }
        }
    }

    /// Tells every gateway that is connected.
    pub(super) fn tell_gateways(&self, wanted: &Verified<Wanted>, outputs: &mut Vec<Output>) {
        for (id, link) in &self.links {
            if let Some(member) = &link.member
                && self.leases.holder(&member.store) == Some(link.peer)
            {
                outputs.push(tell(*id, wanted));
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

fn tell(link: LinkId, wanted: &Verified<Wanted>) -> Output {
    let wanted = Some(wanted.signed().clone());
    send(link, &FromHq { wanted, ..FromHq::default() })
}

/// Tells the person at the other end why not, and hangs up.
fn refuse(link: LinkId, why: String) -> [Output; 2] {
    let refused = Some(Refused { why: why.clone() });
    [send(link, &FromHq { refused, ..FromHq::default() }), Output::Close { link, why }]
}

fn close(link: LinkId, why: String) -> Vec<Output> {
    vec![Output::Close { link, why }]
}
