//! Who is let into the mesh.
//!
//! A connection proves a key; the certificate shown in the first frame must be that key's, from this
//! chain and store, and not have ended longer ago than [`CERTIFICATE_GRACE`]: HQ may be out of reach
//! for weeks. Until then nothing is answered. Whoever shows anything else, or nothing within
//! [`GREETING_TIMEOUT`], is disconnected and not dialled again until found again.

use core::net::SocketAddr;
use std::time::Duration;

use minicbor::{Decode, Encode};
use storemesh_keys::{Certificate, Expiry, HqSigned, Name, PeerId, Verified};

use super::{Output, Source, Terminal, feeds::KEPT_OUT, mesh, reach};
use crate::{Instant, finder, gateway, presence, swarm, time::clock, wire::mesh::Hello};

/// HQ's certificates count so much longer in the store: the grace of a long outage.
pub const CERTIFICATE_GRACE: Duration = Duration::from_hours(35 * 24);
/// A new connection's certificate must be here by then; on a busy terminal it may take a while.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(3);
/// Neighbours connected at once: the largest store has fifty terminals.
const NEIGHBOURS_MAX: usize = 96;
/// Of these, so many may not have shown a certificate yet.
const STRANGERS_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) address: SocketAddr,
    pub(super) stage: Stage,
    /// Where it said that it listens.
    pub(super) listen: Vec<SocketAddr>,
    /// Our own addresses have changed since it was told them.
    pub(super) listen_untold: bool,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Its certificate is awaited until then.
    Greeting(Instant),
    Admitted,
}

impl Neighbour {
    pub(super) fn deadline(&self) -> Instant {
        match self.stage {
            Stage::Greeting(until) => until,
            Stage::Admitted => Instant::NEVER,
        }
    }
}

/// Where a neighbour listened when it was last here.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(super) struct Remembered {
    #[n(0)]
    pub(super) peer: PeerId,
    #[cbor(n(1), with = "crate::wire::addr")]
    pub(super) listen: Vec<SocketAddr>,
    #[n(2)]
    pub(super) name: Option<Name>,
}

impl Terminal {
    pub(super) fn connected(
        &mut self,
        now: Instant,
        peer: PeerId,
        address: SocketAddr,
        outputs: &mut Vec<Output>,
    ) {
        let greeting = |n: &&Neighbour| matches!(n.stage, Stage::Greeting(_));
        let strangers = self.neighbours.values().filter(greeting).count();
        // The handshake proved its key: a flood of others must not keep out one of the store.
        let crowded = strangers >= STRANGERS_MAX && !self.names.contains_key(&peer);
        let full = crowded || self.neighbours.len() >= NEIGHBOURS_MAX;
        if full && !self.neighbours.contains_key(&peer) {
            outputs.push(Output::Close { peer, why: "too many neighbours".to_owned() });
            return;
        }
        if self.is_admitted(&peer) {
            // The driver reports a connection once; if it did not, begin anew.
            self.disconnected(now, peer, outputs);
        }
        let stage = Stage::Greeting(now + GREETING_TIMEOUT);
        let (listen, listen_untold) = (Vec::new(), false);
        self.neighbours.insert(peer, Neighbour { address, stage, listen, listen_untold });
        self.find(now, finder::Input::Connected { peer, address }, outputs);
        let hello = Hello {
            certificate: self.membership.certificate.signed().clone(),
            listen: self.listen.clone(),
        };
        outputs.push(mesh::hello(peer, hello));
    }

    pub(super) fn disconnected(&mut self, now: Instant, peer: PeerId, outputs: &mut Vec<Output>) {
        let Some(neighbour) = self.neighbours.remove(&peer) else { return };
        self.moves.forget(&peer);
        let admitted = matches!(neighbour.stage, Stage::Admitted);
        self.find(now, finder::Input::Lost { peer, admitted }, outputs);
        if !admitted {
            self.refusals.left(peer, now);
        }
        if admitted {
            self.swarm(now, swarm::Input::NeighbourLost(peer), outputs);
            let told = self.presences.handle(now, presence::Input::NeighbourLost(peer));
            self.tell_presence(told, outputs);
            self.gateway(now, gateway::Input::NeighbourLost(peer), outputs);
            self.reach(now, reach::Input::NeighbourLost(peer), outputs);
            self.time(now, clock::Input::NeighbourLost(peer), outputs);
        }
    }

    pub(super) fn greeted(
        &mut self,
        now: Instant,
        peer: PeerId,
        hello: Hello,
        outputs: &mut Vec<Output>,
    ) {
        let certificate = match self.judge(now, peer, &hello.certificate) {
            Ok(certificate) => certificate,
            Err(Unfit { why, foreign }) => {
                self.turn_away(now, peer, why.clone(), outputs);
                self.refusals.add(peer, now, &why, foreign);
                return;
            }
        };
        let name = certificate.name.clone();
        let neighbour = self.neighbours.get_mut(&peer).expect("a frame comes from a neighbour");
        neighbour.stage = Stage::Admitted;
        self.refusals.admitted(&peer);
        self.names.insert(peer, name.clone());
        outputs.push(Output::Admitted { peer, name });
        self.hear_listen(now, peer, hello.listen, outputs);
        self.tell_listen(peer, outputs);
        self.brief(now, peer, outputs);
        self.swarm(now, swarm::Input::NeighbourUp(peer), outputs);
        let told = self.presences.handle(now, presence::Input::NeighbourUp(peer));
        self.tell_presence(told, outputs);
        self.gateway(now, gateway::Input::NeighbourUp(peer), outputs);
        self.reach(now, reach::Input::NeighbourUp(peer), outputs);
    }

    /// Ends connections whose certificate never came.
    pub(super) fn end_late_greetings(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let late = |(peer, n): (&PeerId, &Neighbour)| (n.deadline() <= now).then_some(*peer);
        let late: Vec<PeerId> = self.neighbours.iter().filter_map(late).collect();
        for peer in late {
            self.hang_up_on(now, peer, "showed no certificate in time".to_owned(), outputs);
        }
    }

    /// Cuts the connection. It may be one of ours, that was busy or took this connection for an older
    /// one: it is tried again, ever less often.
    pub(super) fn hang_up_on(
        &mut self,
        now: Instant,
        peer: PeerId,
        why: String,
        outputs: &mut Vec<Output>,
    ) {
        self.refusals.add(peer, now, &why, None);
        outputs.push(Output::Reject { from: Source::Neighbour(peer), why: why.clone() });
        outputs.push(Output::Close { peer, why });
        self.disconnected(now, peer, outputs);
    }

    /// Cuts the connection and forgets the peer until somebody finds it again.
    pub(super) fn turn_away(
        &mut self,
        now: Instant,
        peer: PeerId,
        why: String,
        outputs: &mut Vec<Output>,
    ) {
        self.hang_up_on(now, peer, why, outputs);
        self.find(now, finder::Input::Forget(peer), outputs);
    }

    pub(super) fn is_admitted(&self, peer: &PeerId) -> bool {
        let neighbour = self.neighbours.get(peer);
        neighbour.is_some_and(|n| matches!(n.stage, Stage::Admitted))
    }

    fn judge(
        &self,
        now: Instant,
        peer: PeerId,
        shown: &HqSigned<Certificate>,
    ) -> Result<Verified<Certificate>, Unfit> {
        let at = self.clock.certain(now);
        let certificate = shown.verify(&self.trust, at, Expiry::Ignored).map_err(Unfit::from)?;
        let store = &self.membership.certificate.store;
        if certificate.peer != peer {
            return Err(Unfit::new("shows another terminal's certificate"));
        }
        if certificate.store != *store {
            let why = format!("is a terminal of store {}, this is {store}", certificate.store);
            return Err(Unfit { why, foreign: Some(certificate.name.clone()) });
        }
        if self.kept_out.contains(&peer) {
            return Err(Unfit::new(KEPT_OUT));
        }
        if certificate.until.plus(CERTIFICATE_GRACE) <= at {
            return Err(Unfit::new("shows a certificate that ended longer ago than the grace"));
        }
        Ok(certificate)
    }
}

/// Why a terminal is not let in.
struct Unfit {
    why: String,
    /// The name of one that is good, and of another store.
    foreign: Option<Name>,
}

impl Unfit {
    fn new(why: impl ToString) -> Self {
        Self { why: why.to_string(), foreign: None }
    }
}

impl From<storemesh_keys::VerifyError> for Unfit {
    fn from(why: storemesh_keys::VerifyError) -> Self {
        Self::new(why)
    }
}
