//! What neighbours tell each other, frame by frame.

use core::net::SocketAddr;

use storemesh_keys::{Authored, Expiry, HqSigned, PeerId, Signed, Verified};

use super::{Output, Source, Terminal, admission::Stage, reach};
use crate::{
    Instant, Lease, Unseen,
    content::{Bits, ListId},
    gateway::{self, ToldBy},
    presence,
    swarm::{self, Looked},
    wire::{
        self, CONTROL_MAX, GREETING_MAX,
        mesh::{
            AskUnseen, Candidate, Dark, Frame, GOT_MAX, Got, Have, Hello, Listen, Offer,
            PRODUCTS_MAX, Presence, Seen, UnseenAnswer,
        },
        uplink::TERMINALS_MAX,
    },
};

impl Terminal {
    pub(super) fn frame(
        &mut self,
        now: Instant,
        peer: PeerId,
        bytes: &[u8],
        outputs: &mut Vec<Output>,
    ) {
        let Some(neighbour) = self.neighbours.get(&peer) else { return };
        let admitted = matches!(neighbour.stage, Stage::Admitted);
        let limit = if admitted { CONTROL_MAX } else { GREETING_MAX };
        if bytes.len() > limit {
            let why = format!("frame of {} bytes, at most {limit}", bytes.len());
            self.turn_away(now, peer, why, outputs);
            return;
        }
        match wire::decode::<Frame>(bytes) {
            Err(why) => self.turn_away(now, peer, why.to_string(), outputs),
            Ok(frame) if admitted => self.parts(now, peer, frame, outputs),
            Ok(Frame { hello: Some(hello), .. }) => self.greeted(now, peer, hello, outputs),
            Ok(_) => {
                let why = "spoke before showing a certificate".to_owned();
                self.hang_up_on(now, peer, why, outputs);
            }
        }
    }

    fn parts(&mut self, now: Instant, peer: PeerId, frame: Frame, outputs: &mut Vec<Output>) {
        let Frame {
            hello,
            lease,
            have,
            got,
            presence,
            dark,
            listen,
            candidate,
            offer,
            ask_unseen,
            unseen,
            sees,
            time,
        } = frame;
        if hello.is_some() {
            self.turn_away(now, peer, "said hello twice".to_owned(), outputs);
            return;
        }
        if let Some(lease) = lease {
            match self.verify_lease(now, &lease) {
                Ok(lease) => {
                    let told_by = ToldBy::Neighbour;
                    self.gateway(now, gateway::Input::Lease { lease, told_by }, outputs);
                }
                Err(why) => outputs.push(Output::Reject { from: Source::Neighbour(peer), why }),
            }
        }
        if let Some(time) = time {
            self.hear_time(now, peer, time, outputs);
        }
        if let Some(Have { list, chunks, more }) = have {
            let looked = if more == Some(true) { Looked::NotYet } else { Looked::Yes };
            self.swarm(now, swarm::Input::Have { peer, list, chunks, looked }, outputs);
        }
        if let Some(Got { list, chunks }) = got {
            if chunks.len() > GOT_MAX {
                let why = format!("told of {} chunks at once, at most {GOT_MAX}", chunks.len());
                self.turn_away(now, peer, why, outputs);
                return;
            }
            self.swarm(now, swarm::Input::Got { peer, list, chunks }, outputs);
        }
        if let Some(Dark { over }) = dark {
            let bright = over == Some(true);
            let dark = gateway::Input::Dark(peer);
            let input = if bright { gateway::Input::Bright(peer) } else { dark };
            self.gateway(now, input, outputs);
        }
        if let Some(Listen { addresses }) = listen {
            self.hear_listen(now, peer, addresses, outputs);
        }
        if let Some(terminals) = sees {
            if terminals.len() > TERMINALS_MAX {
                let why = format!("sees {} terminals, at most {TERMINALS_MAX}", terminals.len());
                self.turn_away(now, peer, why, outputs);
                return;
            }
            let terminals = terminals.into_iter().map(|seen| (seen.peer, seen.name)).collect();
            self.reach(now, reach::Input::Sees { from: peer, terminals }, outputs);
        }
        if let Some(candidate) = candidate {
            let no_room = candidate.no_room;
            self.swarm(now, swarm::Input::NoRoom { peer, no_room }, outputs);
            self.gateway(now, gateway::Input::Candidate { peer, candidate }, outputs);
        }
        if offer.is_some() {
            self.gateway(now, gateway::Input::Offered(peer), outputs);
        }
        if let Some(asked) = ask_unseen {
            outputs.push(self.answer_unseen(peer, &asked));
        }
        if let Some(UnseenAnswer { word }) = unseen {
            match word.map(|word| self.verify_unseen(peer, word)).transpose() {
                Ok(word) => self.gateway(now, gateway::Input::Unseen { peer, word }, outputs),
                Err(why) => outputs.push(Output::Reject { from: Source::Neighbour(peer), why }),
            }
        }
        if let Some(mut presence) = presence {
            presence.products.truncate(PRODUCTS_MAX);
            let told = self.presences.handle(now, presence::Input::Told { peer, presence });
            self.tell_presence(told, outputs);
        }
    }

    pub(super) fn verify_lease(
        &self,
        now: Instant,
        lease: &HqSigned<Lease>,
    ) -> Result<Verified<Lease>, String> {
        let at = self.clock.at(now);
        let lease =
            lease.verify(&self.trust, at, Expiry::Ignored).map_err(|why| why.to_string())?;
        let store = &self.membership.certificate.store;
        if lease.store == *store {
            Ok(lease)
        } else {
            Err(format!("a lease for store {}, this is {store}", lease.store))
        }
    }

    /// Signed, if this terminal does not see the holder of that lease.
    fn answer_unseen(&self, asker: PeerId, question: &AskUnseen) -> Output {
        let word = self.gateway.does_not_see(question).then(|| {
            let AskUnseen { generation, epoch, challenge } = *question;
            let (chain, store) = (self.membership.chain, self.membership.certificate.store.clone());
            let unseen = Unseen { chain, store, generation, epoch, asker, challenge };
            Signed::sign(&self.key, &unseen)
        });
        send(asker, &Frame { unseen: Some(UnseenAnswer { word }), ..Frame::default() })
    }

    fn verify_unseen(
        &self,
        peer: PeerId,
        word: Signed<Unseen>,
    ) -> Result<Authored<Unseen>, String> {
        let word = Authored::verify(peer, word).map_err(|why| why.to_string())?;
        let Unseen { asker, store, chain, .. } = word.statement();
        let ours = *store == self.membership.certificate.store && *chain == self.membership.chain;
        if *asker == self.me && ours {
            Ok(word)
        } else {
            Err("gave its word to another terminal".to_owned())
        }
    }

    /// What a new neighbour is told first.
    pub(super) fn brief(&self, now: Instant, peer: PeerId, outputs: &mut Vec<Output>) {
        outputs.push(tell_candidate(peer, self.gateway.candidate(now)));
        outputs.push(self.tell_time(now, peer));
        outputs.push(tell_presence(peer, self.presence()));
        for lease in self.gateway.lease().into_iter().chain(self.gateway.part()) {
            outputs.push(tell_lease(peer, lease));
        }
        if self.gateway.is_dark() {
            outputs.push(tell_dark(peer));
        }
    }

    pub(super) fn spread_dark(&self, outputs: &mut Vec<Output>) {
        outputs.extend(self.admitted().map(tell_dark));
    }

    pub(super) fn spread_bright(&self, outputs: &mut Vec<Output>) {
        let frame = Frame { dark: Some(Dark { over: Some(true) }), ..Frame::default() };
        outputs.extend(self.admitted().map(|peer| send(peer, &frame)));
    }

    pub(super) fn spread_lease(&self, lease: &Verified<Lease>, outputs: &mut Vec<Output>) {
        outputs.extend(self.admitted().map(|peer| tell_lease(peer, lease)));
    }

    pub(super) fn spread_candidate(&self, candidate: Candidate, outputs: &mut Vec<Output>) {
        outputs.extend(self.admitted().map(|peer| tell_candidate(peer, candidate)));
    }

    pub(super) fn spread_ask_unseen(&self, asked: AskUnseen, outputs: &mut Vec<Output>) {
        let frame = Frame { ask_unseen: Some(asked), ..Frame::default() };
        outputs.extend(self.admitted().map(|peer| send(peer, &frame)));
    }

    pub(super) fn spread_sees(&self, terminals: &[PeerId], outputs: &mut Vec<Output>) {
        let seen = |peer: &PeerId| Some(Seen { peer: *peer, name: self.name_of(peer)? });
        let seen: Vec<Seen> = terminals.iter().filter_map(seen).take(TERMINALS_MAX).collect();
        let frame = Frame { sees: Some(seen), ..Frame::default() };
        outputs.extend(self.admitted().map(|peer| send(peer, &frame)));
    }

    pub(super) fn admitted(&self) -> impl Iterator<Item = PeerId> {
        let peers = self.neighbours.iter();
        peers.filter(|(_, n)| matches!(n.stage, Stage::Admitted)).map(|(peer, _)| *peer)
    }
}

pub(super) fn hello(peer: PeerId, hello: Hello) -> Output {
    send(peer, &Frame { hello: Some(hello), ..Frame::default() })
}

fn tell_lease(peer: PeerId, lease: &Verified<Lease>) -> Output {
    send(peer, &Frame { lease: Some(lease.signed().clone()), ..Frame::default() })
}

fn tell_dark(peer: PeerId) -> Output {
    send(peer, &Frame { dark: Some(Dark { over: None }), ..Frame::default() })
}

fn tell_candidate(peer: PeerId, candidate: Candidate) -> Output {
    send(peer, &Frame { candidate: Some(candidate), ..Frame::default() })
}

pub(super) fn offer(peer: PeerId) -> Output {
    send(peer, &Frame { offer: Some(Offer {}), ..Frame::default() })
}

pub(super) fn tell_listen(peer: PeerId, addresses: Vec<SocketAddr>) -> Output {
    send(peer, &Frame { listen: Some(Listen { addresses }), ..Frame::default() })
}

pub(super) fn tell_have(peer: PeerId, list: ListId, chunks: Bits, looked: Looked) -> Output {
    let more = (looked == Looked::NotYet).then_some(true);
    send(peer, &Frame { have: Some(Have { list, chunks, more }), ..Frame::default() })
}

pub(super) fn tell_got(
    peer: PeerId,
    list: ListId,
    chunks: Vec<u32>,
) -> impl Iterator<Item = Output> {
    let parts: Vec<Vec<u32>> = chunks.chunks(GOT_MAX).map(<[u32]>::to_vec).collect();
    parts.into_iter().map(move |chunks| {
        send(peer, &Frame { got: Some(Got { list, chunks }), ..Frame::default() })
    })
}

pub(super) fn tell_presence(peer: PeerId, presence: Presence) -> Output {
    send(peer, &Frame { presence: Some(presence), ..Frame::default() })
}

pub(super) fn send(peer: PeerId, frame: &Frame) -> Output {
    Output::Send { peer, frame: wire::encode(frame) }
}
