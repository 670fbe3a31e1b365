//! One HQ as a whole: what a frame brings about, and in which order it leaves.

use core::net::SocketAddr;
use std::time::Duration;

use storemesh_keys::{Certificate, ChainId, Enrolment, HqSigned, PublicKey, SecretKey, Signed};

use super::*;
use crate::{
    fixtures::{name, release, signer},
    wire::{
        self,
        mesh::{Listen, Phase, Presence, ProductState},
        uplink::{
            AskLease, Enrol, FromHq, GiveBack, Hello, Report, TERMINALS_MAX, TerminalState, ToHq,
        },
    },
};

const NOW: Instant = Instant(1);
const WALL: Timestamp = Timestamp(1_000_000_000);

/// An HQ with one store, and its terminals on their links, each numbered as its terminal.
struct Chain {
    hq: Hq,
    /// Each terminal's, as it was enrolled.
    certificates: BTreeMap<u8, HqSigned<Certificate>>,
    wall: Timestamp,
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([100 + n; 32])
}

fn peer(n: u8) -> PeerId {
    key(n).peer_id()
}

fn chain_id() -> ChainId {
    signer().described().chain
}

/// A report by the lease of that epoch: these are seen, each with that version running.
fn report(epoch: u64, seen: &[(u8, &str)]) -> ToHq {
    let state = |(n, version): &(u8, &str)| {
        let product = ProductState {
            product: name("pos"),
            wanted: name(version),
            running: Some(name(version)),
            chunks_have: 1,
            chunks_total: 1,
            bytes_from_hq: 0,
            bytes_from_neighbours: 0,
            phase: Phase::Running,
            bytes_lacking: None,
        };
        TerminalState { peer: peer(*n), presence: Presence { products: vec![product] } }
    };
    let terminals = seen.iter().map(state).collect();
    ToHq { report: Some(Report { terminals, epoch }), ..ToHq::default() }
}

fn ask() -> ToHq {
    ToHq { ask_lease: Some(AskLease {}), ..ToHq::default() }
}

fn listen(addresses: &[u8]) -> Listen {
    let at = |last: &u8| SocketAddr::from(([10, 0, 0, *last], 7410));
    Listen { addresses: addresses.iter().map(at).collect() }
}

impl Chain {
    /// With `terminals` that have joined and are connected.
    fn open(terminals: u8) -> Self {
        let trust = Trust { chain: chain_id(), generation_min: 0 };
        let hq = Hq::load(signer(), trust, &Rows::default()).unwrap();
        let mut chain = Self { hq, certificates: BTreeMap::new(), wall: WALL };
        chain.order(Order::AddStore { store: name("s1") });
        for n in 1..=terminals {
            chain.join(n);
        }
        chain
    }

    fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        self.hq.handle(now, self.wall, input)
    }

    fn order(&mut self, order: Order) -> Answer {
        let outputs = self.handle(NOW, Input::Order { ticket: 1, order });
        let Some(Output::Answer { answer, .. }) = outputs.into_iter().next_back() else {
            panic!("an order is answered")
        };
        answer.unwrap()
    }

    fn say(&mut self, n: u8, frame: &ToHq) -> Vec<Output> {
        let bytes = wire::encode(frame);
        self.handle(NOW, Input::Frame { link: LinkId::from(n), bytes })
    }

    fn join(&mut self, n: u8) {
        let secret = SecretKey::from_seed([200 - n; 32]);
        let invitation: PublicKey = secret.public();
        let (store, valid) = (name("s1"), INVITATION_VALID);
        self.order(Order::Invite { store, invitation, valid });
        let link = LinkId::from(n);
        _ = self.handle(NOW, Input::Connected { link, peer: peer(n) });
        let enrolment =
            Enrolment { chain: chain_id(), peer: peer(n), name: name(&format!("t{n}")) };
        let enrol = Some(Enrol { invitation, proof: Signed::sign(&secret, &enrolment) });
        let hello = Some(Hello { certificate: None, listen: Vec::new() });
        let outputs = self.say(n, &ToHq { hello, enrol, ..ToHq::default() });
        let certificate = sent(&outputs).into_iter().find_map(|(_, frame)| frame.enrolled);
        self.certificates.insert(n, certificate.unwrap_or_else(|| panic!("{outputs:?}")));
        // It calls again with its certificate.
        _ = self.handle(NOW, Input::Disconnected { link });
        let outputs = self.call(n);
        assert!(outputs.iter().any(|o| matches!(o, Output::Admitted { .. })), "{outputs:?}");
    }

    /// An enrolled terminal calls with its certificate.
    fn call(&mut self, n: u8) -> Vec<Output> {
        _ = self.handle(NOW, Input::Connected { link: LinkId::from(n), peer: peer(n) });
        let certificate = self.certificates.get(&n).cloned();
        let hello = Some(Hello { certificate, listen: Vec::new() });
        self.say(n, &ToHq { hello, ..ToHq::default() })
    }

    fn fleet(&mut self) -> Vec<FleetRow> {
        let Answer::Fleet(rows) = self.order(Order::Fleet) else { panic!("another answer") };
        rows
    }
}

fn sent(outputs: &[Output]) -> Vec<(LinkId, FromHq)> {
    let frame = |output: &Output| {
        let Output::Send { link, frame } = output else { return None };
        Some((*link, wire::decode(frame).unwrap()))
    };
    outputs.iter().filter_map(frame).collect()
}

fn at(outputs: &[Output], which: impl Fn(&Output) -> bool) -> usize {
    outputs.iter().position(which).unwrap_or_else(|| panic!("{outputs:?}"))
}

#[test]
fn what_a_frame_has_changed_is_saved_though_a_later_part_of_it_is_wrong() {
    let mut chain = Chain::open(1);
    let many = vec![(1, "1"); TERMINALS_MAX + 1];
    let frame = ToHq { listen: Some(listen(&[7])), ..report(1, &many) };
    let outputs = chain.say(1, &frame);
    let saved = at(&outputs, |o| matches!(o, Output::Save(_)));
    let closed = at(&outputs, |o| matches!(o, Output::Close { link: 1, .. }));
    assert!(saved < closed, "{outputs:?}");
}

#[test]
fn a_terminal_whose_addresses_change_all_the_time_is_heard_now_and_then_and_at_last() {
    let mut chain = Chain::open(2);
    let news = |outputs: &[Output]| -> Option<Vec<SocketAddr>> {
        let moved = sent(outputs).into_iter().find(|(link, _)| *link == 2)?.1.welcome?;
        assert!(outputs.iter().any(|output| matches!(output, Output::Save(_))), "{outputs:?}");
        Some(moved.terminals[0].listen.clone())
    };
    let mut heard = 0;
    for last in 1..=200 {
        let frame = ToHq { listen: Some(listen(&[last])), ..ToHq::default() };
        let outputs = chain.say(1, &frame);
        heard += usize::from(news(&outputs).is_some());
        assert!(!outputs.iter().any(|output| matches!(output, Output::Close { .. })));
    }
    assert!((2..50).contains(&heard), "{heard} times");
    let due = chain.hq.deadline();
    assert!(due <= NOW + Duration::from_mins(1));
    let outputs = chain.handle(due, Input::Tick);
    assert_eq!(news(&outputs), Some(listen(&[200]).addresses));
}

#[test]
fn the_former_holder_may_fetch_no_more_before_anybody_hears_of_the_new_one() {
    let mut chain = Chain::open(2);
    let outputs = chain.say(1, &ask());
    let first = at(&outputs, |o| matches!(o, Output::Fetching { link: 1, may: true }));
    assert!(first < at(&outputs, |o| matches!(o, Output::Send { .. })), "{outputs:?}");
    let outputs = chain.say(2, &ask());
    assert!(sent(&outputs).iter().all(|(link, frame)| *link == 1 && frame.ping.is_some()));
    let outputs = chain.handle(NOW + SILENCE, Input::Tick);
    let ends = at(&outputs, |o| matches!(o, Output::Fetching { link: 1, may: false }));
    let begins = at(&outputs, |o| matches!(o, Output::Fetching { link: 2, may: true }));
    let told = at(&outputs, |o| matches!(o, Output::Send { .. }));
    assert!(ends < told && begins < told, "{outputs:?}");
    let leases = sent(&outputs).into_iter().filter(|(_, frame)| frame.lease.is_some());
    assert_eq!(leases.map(|(link, _)| link).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_report_by_an_older_lease_leaves_the_fleet_alone() {
    let mut chain = Chain::open(3);
    let wanted = release("1").0;
    chain.order(Order::AddRelease { release: wanted.release.clone() });
    assert!(chain.handle(NOW, Input::Feeds(FromFeeds::Wanted(wanted))).is_empty());
    _ = chain.say(1, &ask());
    _ = chain.say(1, &report(1, &[(1, "1"), (2, "1"), (3, "1")]));
    _ = chain.say(1, &ToHq { give_back: Some(GiveBack { to: None }), ..ToHq::default() });
    _ = chain.say(2, &ask());
    _ = chain.say(2, &report(2, &[(2, "1"), (3, "1")]));
    let before = chain.fleet();
    let runs = |row: &FleetRow| row.products[0].running.clone();
    assert!(before.iter().all(|row| runs(row) == Some(name("1"))), "{before:?}");

    chain.wall = WALL.plus(SILENCE);
    let outputs = chain.say(1, &report(1, &[(1, "0"), (3, "0")]));
    assert!(outputs.is_empty(), "{outputs:?}");
    assert_eq!(chain.fleet(), before);
    _ = chain.say(2, &report(2, &[(2, "1"), (3, "0")]));
    assert_ne!(chain.fleet(), before, "the newest one's counts");
}

#[test]
fn a_terminal_that_the_feeds_keep_out_is_hung_up_on_and_refused_until_they_let_it_in() {
    let mut chain = Chain::open(2);
    let outputs = chain.handle(NOW, Input::Feeds(FromFeeds::KeepOut(peer(1))));
    at(&outputs, |o| matches!(o, Output::Close { link: 1, .. }));
    assert!(!outputs.iter().any(|o| matches!(o, Output::Close { link: 2, .. })), "{outputs:?}");
    _ = chain.handle(NOW, Input::Disconnected { link: 1 });
    let outputs = chain.call(1);
    assert!(sent(&outputs).iter().any(|(_, frame)| frame.refused.is_some()), "{outputs:?}");
    at(&outputs, |o| matches!(o, Output::Close { link: 1, .. }));
    _ = chain.handle(NOW, Input::Disconnected { link: 1 });
    _ = chain.handle(NOW, Input::Feeds(FromFeeds::LetIn(peer(1))));
    at(&chain.call(1), |o| matches!(o, Output::Admitted { .. }));
}
