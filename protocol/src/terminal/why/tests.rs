//! A terminal of a store of three is asked, as its program would ask it.

use std::{net::SocketAddr, time::Duration};

use storemesh_keys::{Certificate, Name, PeerId, Roles, SecretKey, Timestamp, Verified};

use super::{Answer, Ask, State};
use crate::{
    Instant, Rows,
    feeds::{Ended, terminal::FromFeeds},
    fixtures::{lease, name, signer},
    terminal::{FoundBy, Input, Membership, Output, Setup, Terminal},
    wire::{
        self,
        mesh::{Frame, Hello},
        uplink::{FromHq, Known, Refused, Welcome},
    },
};

const NOW: Instant = Instant(1_000_000);
const WALL: Timestamp = Timestamp(1_800_000_000_000);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn certificate(of: &SecretKey, called: &str, store: &str) -> Verified<Certificate> {
    signer().sign(&Certificate {
        chain: signer().described().chain,
        serial: 1,
        peer: of.peer_id(),
        door: None,
        name: name(called),
        store: name(store),
        roles: Roles::TERMINAL,
        from: WALL,
        until: WALL.plus(Duration::from_hours(24)),
    })
}

/// till-1, joined, and just started.
fn terminal() -> Terminal {
    let (chain, key) = (signer().described().chain, key(11));
    let certificate = certificate(&key, "till-1", "s1");
    let hq = vec!["hq.example:7400".to_owned()];
    let mut rows = Rows::default();
    rows.apply(&Membership { chain, certificate, hq }.save());
    let setup = Setup { key, seed: 1, wall: WALL, neighbours: Vec::new(), hq_list: true };
    Terminal::load(setup, &rows, Instant(0)).unwrap().0
}

fn tell(terminal: &mut Terminal, input: Input) -> Vec<Output> {
    terminal.handle(NOW, input)
}

fn address() -> SocketAddr {
    "10.0.0.5:7410".parse().unwrap()
}

/// `key` connects and shows this certificate.
fn greet(terminal: &mut Terminal, key: &SecretKey, certificate: &Verified<Certificate>) {
    let peer = key.peer_id();
    _ = tell(terminal, Input::Connected { peer, address: address() });
    let hello = Hello { certificate: certificate.signed().clone(), listen: vec![address()] };
    let bytes = wire::encode(&Frame { hello: Some(hello), ..Frame::default() });
    _ = tell(terminal, Input::Frame { peer, bytes });
}

/// HQ takes the call and says `frame`, after a welcome that names till-2 and till-3.
fn hq_says(terminal: &mut Terminal, frame: FromHq) {
    _ = tell(terminal, Input::Tick);
    _ = tell(terminal, Input::UplinkUp { hq: signer().described().key });
    let known = |n: u8, called: &str| Known {
        peer: key(n).peer_id(),
        name: name(called),
        listen: Vec::new(),
    };
    let terminals = vec![known(12, "till-2"), known(13, "till-3")];
    let welcome = Some(Welcome { online: signer().online().clone(), terminals });
    _ = tell(terminal, Input::UplinkFrame(wire::encode(&FromHq { welcome, ..frame })));
}

fn one(terminal: &Terminal, ask: &Ask) -> Answer {
    let mut answers = terminal.why(NOW, ask);
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

fn of_neighbour(terminal: &Terminal, said: &str) -> Answer {
    one(terminal, &Ask::Neighbour(said.to_owned()))
}

fn holder(epoch: u64, peer: PeerId) -> FromHq {
    FromHq { lease: Some(lease(epoch, peer).signed().clone()), ..FromHq::default() }
}

#[test]
fn a_terminal_that_has_just_started_calls_and_then_says_why_hq_is_not_reached() {
    let mut terminal = terminal();
    assert_eq!(one(&terminal, &Ask::Gateway).code, "gateway.calling");
    _ = tell(&mut terminal, Input::Tick);
    let why = "HQ does not answer at hq.example:7400".to_owned();
    _ = tell(&mut terminal, Input::UplinkDown { why });
    let answer = one(&terminal, &Ask::Gateway);
    assert_eq!((answer.code, answer.state), ("gateway.none", State::Wrong));
    assert!(answer.text.contains("hq.example:7400"), "{}", answer.text);
    let release = one(&terminal, &Ask::Release("pos".to_owned()));
    assert_eq!(release.code, "release.not_heard");
    let all = terminal.why(NOW, &Ask::Everything);
    let codes: Vec<&str> = all.iter().map(|answer| answer.code).collect();
    assert_eq!(codes, ["release.not_heard", "gateway.none"]);
    let why = all.iter().filter(|answer| answer.text.contains("hq.example:7400"));
    assert_eq!(why.count(), 1, "said once: {all:?}");
}

#[test]
fn a_terminal_that_hq_has_ended_says_so_and_on_what() {
    let mut terminal = terminal();
    hq_says(&mut terminal, holder(1, key(11).peer_id()));
    let mut ended = |ended: Ended| {
        _ = tell(&mut terminal, Input::Feeds(FromFeeds::Ended(ended)));
        let all = terminal.why(NOW, &Ask::Everything);
        all.into_iter().find(|answer| answer.code == "journal.ended").unwrap()
    };
    let cash = ended(Ended { all: false, topics: [name("cash")].into() });
    assert!(cash.state == State::Wrong && cash.text.contains("writes on cash:"), "{}", cash.text);
    let all = ended(Ended { all: true, ..Ended::default() });
    assert!(all.text.contains("writes on any topic:"), "{}", all.text);
}

#[test]
fn a_gateway_with_all_its_neighbours_is_well_and_says_so_in_one_line() {
    let mut terminal = terminal();
    let me = key(11).peer_id();
    hq_says(&mut terminal, holder(1, me));
    for (n, called) in [(12, "till-2"), (13, "till-3")] {
        greet(&mut terminal, &key(n), &certificate(&key(n), called, "s1"));
    }
    let answer = one(&terminal, &Ask::Everything);
    assert_eq!((answer.code, answer.state), ("store.well", State::Well));
    assert!(answer.text.contains("this terminal is the gateway"), "{}", answer.text);
    assert!(answer.text.ends_with("2 neighbours connected"), "{}", answer.text);
    assert_eq!(one(&terminal, &Ask::Release("pos".to_owned())).code, "release.not_wanted");
    assert_eq!(of_neighbour(&terminal, "till-2").code, "neighbour.connected");
}

#[test]
fn what_hq_refuses_is_said_as_hq_said_it() {
    let mut terminal = terminal();
    let refused = Some(Refused { why: "this terminal was retired".to_owned() });
    hq_says(&mut terminal, FromHq { refused, ..FromHq::default() });
    let answer = one(&terminal, &Ask::Gateway);
    assert_eq!(answer.code, "gateway.refused");
    assert!(answer.text.contains("this terminal was retired"), "{}", answer.text);
}

#[test]
fn terminals_that_hq_named_and_nobody_found_are_missed() {
    let mut terminal = terminal();
    hq_says(&mut terminal, holder(1, key(12).peer_id()));
    assert_eq!(one(&terminal, &Ask::Gateway).code, "gateway.away");
    assert_eq!(of_neighbour(&terminal, "till-3").code, "neighbour.never_found");
    let (peer, by) = (key(13).peer_id(), FoundBy::Mdns);
    let found = tell(&mut terminal, Input::Discovered { peer, address: address(), by });
    assert!(of_neighbour(&terminal, "till-3").code == "neighbour.dialling", "{found:?}");
    _ = terminal.handle(NOW + Duration::from_secs(2), Input::Tick);
    _ = tell(&mut terminal, Input::DialFailed { address: address(), peer: Some(peer) });
    let silent = of_neighbour(&terminal, "till-3");
    assert_eq!(silent.code, "neighbour.silent");
    assert!(silent.text.contains("10.0.0.5:7410 (found by mDNS)"), "{}", silent.text);
}

#[test]
fn next_doors_terminal_is_known_by_its_name_and_disturbs_nobody() {
    let mut terminal = terminal();
    hq_says(&mut terminal, holder(1, key(11).peer_id()));
    greet(&mut terminal, &key(14), &certificate(&key(14), "bar-1", "s2"));
    let answer = of_neighbour(&terminal, "bar-1");
    assert_eq!((answer.code, answer.state), ("neighbour.foreign", State::Well));
    assert!(answer.text.ends_with("is a terminal of store s2, this is s1"), "{}", answer.text);
    let missed = terminal.why(NOW, &Ask::Everything);
    assert!(missed.iter().all(|answer| !answer.text.contains("bar-1")), "{missed:?}");
}

#[test]
fn whoever_shows_no_good_certificate_is_refused_until_it_does() {
    let mut terminal = terminal();
    let other = certificate(&key(14), "till-2", "s1");
    greet(&mut terminal, &key(12), &other);
    let id = key(12).peer_id().to_string();
    assert_eq!(of_neighbour(&terminal, &id).code, "neighbour.refused");
    greet(&mut terminal, &key(12), &certificate(&key(12), "till-2", "s1"));
    assert_eq!(of_neighbour(&terminal, "till-2").code, "neighbour.connected");
    _ = tell(&mut terminal, Input::Disconnected { peer: key(12).peer_id() });
    assert_eq!(of_neighbour(&terminal, "till-2").code, "neighbour.silent");
}

#[test]
fn who_hangs_up_before_the_greeting_leads_to_its_own_answer() {
    let mut terminal = terminal();
    let peer = key(12).peer_id();
    _ = tell(&mut terminal, Input::Connected { peer, address: address() });
    assert_eq!(of_neighbour(&terminal, &peer.to_string()).code, "neighbour.greeting");
    _ = tell(&mut terminal, Input::Disconnected { peer });
    let answer = of_neighbour(&terminal, &peer.to_string());
    assert_eq!(answer.code, "neighbour.refused");
    assert!(answer.text.contains("hung up before it had shown"), "{}", answer.text);
}

#[test]
fn a_name_may_be_cut_short_for_as_long_as_it_fits_one() {
    let mut terminal = terminal();
    hq_says(&mut terminal, holder(1, key(11).peer_id()));
    assert_eq!(of_neighbour(&terminal, "till-3").code, "neighbour.never_found");
    assert_eq!(of_neighbour(&terminal, "till-1").code, "neighbour.this");
    assert_eq!(of_neighbour(&terminal, "till").code, "neighbour.ambiguous");
    let unknown = of_neighbour(&terminal, "tilt");
    assert_eq!(unknown.code, "neighbour.unknown");
    assert!(unknown.text.contains("till-2 and till-3"), "{}", unknown.text);
    assert_eq!(of_neighbour(&terminal, "").code, "neighbour.unknown");
}

#[test]
fn a_flood_of_strangers_is_remembered_up_to_a_limit() {
    let mut refusals = super::Refusals::default();
    for n in 0..=255 {
        let peer = PeerId::from_bytes([n; 32]);
        refusals.add(peer, NOW + Duration::from_secs(u64::from(n)), "no", None::<Name>);
    }
    assert_eq!(refusals.len(), 32);
    assert!(refusals.has(&PeerId::from_bytes([255; 32])), "the last ones stay");
    assert!(!refusals.has(&PeerId::from_bytes([0; 32])));
}
