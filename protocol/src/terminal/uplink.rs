//! What HQ and this terminal tell each other.
//!
//! The terminal greets first. It takes nothing from the other end until a welcome shows that the key
//! which the handshake proved is vouched for by the chain root.

use core::net::SocketAddr;
use std::time::Duration;

use storemesh_keys::{Authored, PeerId, PublicKey, Timestamp, Trust};

use super::{
    Event, Output, Source, Terminal,
    why::{By, NotReached},
};
use crate::{
    Instant, Unseen, finder,
    gateway::{self, ToldBy},
    terminal::FoundBy,
    time::clock,
    wire::{
        self, CONTROL_MAX,
        mesh::{Listen, Presence},
        uplink::{
            ADDRESSES_MAX, AskLease, AskPart, AskTime, FromHq, GiveBack, Hello, Report,
            TERMINALS_MAX, TerminalState, ToHq, Welcome, Word,
        },
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uplink {
    Down,
    Opening,
    /// The other end holds this key; whether it is HQ's is not known yet.
    Greeting {
        hq: PublicKey,
        /// When our hello went out.
        since: Instant,
    },
    Up,
}

impl Uplink {
    /// HQ was told who we are and where.
    pub(super) fn is_greeted(self) -> bool {
        match self {
            Self::Down | Self::Opening => false,
            Self::Greeting { .. } | Self::Up => true,
        }
    }
}

/// Whether a welcome shows that `hq` is the key of our chain's HQ.
pub(super) fn vouches(
    welcome: &Welcome,
    hq: &PublicKey,
    trust: &Trust,
    at: Timestamp,
) -> Result<(), String> {
    let online = welcome.online.verify(trust.chain.root()).map_err(|_| {
        "this is not our chain's HQ: its key is not vouched for by our chain root".to_owned()
    })?;
    if online.chain != trust.chain || online.key != *hq {
        return Err("this is not our chain's HQ: it shows another's key".to_owned());
    }
    if online.generation < trust.generation_min {
        return Err(format!(
            "HQ is of generation {}, but this store knows generation {}",
            online.generation, trust.generation_min
        ));
    }
    if online.until <= at {
        return Err(
            "HQ's online key has expired by this terminal's clock: set the clock right, or \
                    replace the key with the chain root"
                .to_owned(),
        );
    }
    Ok(())
}

impl Terminal {
    pub(super) fn uplink_up(&mut self, now: Instant, hq: PublicKey, outputs: &mut Vec<Output>) {
        if self.uplink != Uplink::Opening {
            return;
        }
        self.uplink = Uplink::Greeting { hq, since: now };
        let mut listen = self.listen.clone();
        listen.truncate(ADDRESSES_MAX);
        let certificate = Some(self.membership.certificate.signed().clone());
        let hello = Some(Hello { certificate, listen });
        outputs.push(send(&ToHq { hello, ..ToHq::default() }));
        self.time(now, clock::Input::Greeted, outputs);
    }

    pub(super) fn uplink_down(&mut self, now: Instant, why: String, outputs: &mut Vec<Output>) {
        if self.uplink == Uplink::Down {
            return;
        }
        self.uplink = Uplink::Down;
        self.hq_not_reached = Some(NotReached { why: why.clone(), at: now, by: By::Line });
        outputs.push(Output::Event(Event::Unreachable { why }));
        self.gateway(now, gateway::Input::UplinkDown, outputs);
    }

    pub(super) fn uplink_frame(&mut self, now: Instant, bytes: &[u8], outputs: &mut Vec<Output>) {
        if matches!(self.uplink, Uplink::Down | Uplink::Opening) {
            return;
        }
        if bytes.len() > CONTROL_MAX {
            let why = format!("frame of {} bytes, at most {CONTROL_MAX}", bytes.len());
            self.hang_up(now, why, outputs);
            return;
        }
        match wire::decode::<FromHq>(bytes) {
            Ok(frame) => self.hear_hq(now, frame, outputs),
            Err(why) => self.hang_up(now, why.to_string(), outputs),
        }
    }

    fn hear_hq(&mut self, now: Instant, frame: FromHq, outputs: &mut Vec<Output>) {
        if let Uplink::Greeting { hq, since } = self.uplink {
            let Some(welcome) = &frame.welcome else {
                self.hang_up(now, "spoke before its welcome".to_owned(), outputs);
                return;
            };
            if let Err(why) = vouches(welcome, &hq, &self.trust, self.clock.certain(now)) {
                self.hang_up(now, why, outputs);
                return;
            }
            self.uplink = Uplink::Up;
            self.welcomed(now, welcome, now.since(since), outputs);
        } else if let Some(welcome) = &frame.welcome {
            self.hear_terminals(now, welcome, outputs);
        }
        if let Some(time) = &frame.time {
            self.hear_hq_time(now, time, outputs);
        }
        if let Some(refused) = frame.refused {
            let why = refused.why.clone();
            self.hq_not_reached = Some(NotReached { why, at: now, by: By::Hq });
            outputs.push(Output::Event(Event::Refused { why: refused.why }));
            outputs.push(Output::CloseUplink);
            self.uplink = Uplink::Down;
            self.gateway(now, gateway::Input::Refused, outputs);
            return;
        }
        if let Some(ping) = frame.ping {
            outputs.push(send(&ToHq { pong: Some(ping), ..ToHq::default() }));
        }
        if let Some(lease) = frame.lease {
            match self.verify_lease(now, &lease) {
                Ok(lease) => {
                    let told_by = ToldBy::Hq { challenge: frame.challenge };
                    self.gateway(now, gateway::Input::Lease { lease, told_by }, outputs);
                }
                Err(why) => outputs.push(Output::Reject { from: Source::Hq, why }),
            }
        }
        if let Some(epoch) = frame.ended {
            self.gateway(now, gateway::Input::Ended { epoch }, outputs);
        }
    }

    fn welcomed(
        &mut self,
        now: Instant,
        welcome: &Welcome,
        delay: Duration,
        outputs: &mut Vec<Output>,
    ) {
        self.hq_not_reached = None;
        self.hear_terminals(now, welcome, outputs);
        self.gateway(now, gateway::Input::UplinkReady { delay }, outputs);
    }

    /// Who the store's other terminals are, and where they listen.
    fn hear_terminals(&mut self, now: Instant, welcome: &Welcome, outputs: &mut Vec<Output>) {
        for terminal in welcome.terminals.iter().take(TERMINALS_MAX) {
            self.names.insert(terminal.peer, terminal.name.clone());
        }
        if self.hq_list {
            for terminal in welcome.terminals.iter().take(TERMINALS_MAX) {
                // The newest found is tried first, and the first told is the best.
                for address in terminal.listen.iter().take(ADDRESSES_MAX).rev().copied() {
                    let (peer, by) = (terminal.peer, FoundBy::Hq);
                    self.find(now, finder::Input::Found { peer, address, by }, outputs);
                }
            }
        }
    }

    /// As the gateway: how this terminal and its neighbours are.
    pub(super) fn report(
        &self,
        presence: Presence,
        neighbours: Vec<(PeerId, Presence)>,
        outputs: &mut Vec<Output>,
    ) {
        let mine = TerminalState { peer: self.me, presence };
        let states =
            neighbours.into_iter().map(|(peer, presence)| TerminalState { peer, presence });
        let terminals = std::iter::once(mine).chain(states).take(TERMINALS_MAX).collect();
        let Some(epoch) = self.gateway.speaks_by().map(|lease| lease.epoch) else { return };
        let report = Some(Report { terminals, epoch });
        outputs.push(send(&ToHq { report, ..ToHq::default() }));
    }

    fn hang_up(&mut self, now: Instant, why: String, outputs: &mut Vec<Output>) {
        outputs.push(Output::Reject { from: Source::Hq, why: why.clone() });
        outputs.push(Output::CloseUplink);
        self.uplink_down(now, why, outputs);
    }
}

pub(super) fn ask_lease() -> Output {
    send(&ToHq { ask_lease: Some(AskLease {}), ..ToHq::default() })
}

pub(super) fn ask_time() -> Output {
    send(&ToHq { ask_time: Some(AskTime {}), ..ToHq::default() })
}

pub(super) fn give_back(to: Option<PeerId>) -> Output {
    send(&ToHq { give_back: Some(GiveBack { to }), ..ToHq::default() })
}

pub(super) fn ask_part(challenge: u64, words: &[Authored<Unseen>]) -> Output {
    let word = |word: &Authored<Unseen>| Word { by: word.author(), unseen: word.signed().clone() };
    let words = words.iter().map(word).take(TERMINALS_MAX).collect();
    send(&ToHq { ask_part: Some(AskPart { challenge, words }), ..ToHq::default() })
}

pub(super) fn tell_listen(addresses: &[SocketAddr]) -> Output {
    let addresses = addresses.iter().copied().take(ADDRESSES_MAX).collect();
    send(&ToHq { listen: Some(Listen { addresses }), ..ToHq::default() })
}

fn send(frame: &ToHq) -> Output {
    Output::SendUp(wire::encode(frame))
}
