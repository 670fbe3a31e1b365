use super::*;

const LOW: PeerId = PeerId::from_bytes([1; 32]);
const HIGH: PeerId = PeerId::from_bytes([2; 32]);

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn found(peer: PeerId, port: u16) -> Input {
    Input::Found { peer, address: at(port), by: FoundBy::Mdns }
}

#[test]
fn the_lower_peer_dials_at_once_and_the_higher_when_nobody_came() {
    let now = Instant(5);
    let dial = |peer, port| vec![Output::Dial { peer: Some(peer), address: at(port) }];
    assert_eq!(Finder::new(LOW).handle(now, found(HIGH, 1)), dial(HIGH, 1));

    let mut high = Finder::new(HIGH);
    assert_eq!(high.handle(now, found(LOW, 1)), []);
    assert_eq!(high.deadline(), now + PATIENCE);
    assert_eq!(high.handle(now + PATIENCE, Input::Tick), dial(LOW, 1));
}

#[test]
fn a_neighbour_that_dialled_us_is_not_dialled() {
    let mut finder = Finder::new(HIGH);
    assert_eq!(finder.handle(Instant(0), found(LOW, 1)), []);
    assert_eq!(finder.handle(Instant(1), Input::Connected { peer: LOW, address: at(9) }), []);
    assert_eq!(finder.deadline(), Instant::NEVER);
}

fn fail(finder: &mut Finder, now: Instant, port: u16) -> Vec<Output> {
    finder.handle(now, Input::DialFailed { peer: Some(HIGH), address: at(port) })
}

fn dial(port: u16) -> Vec<Output> {
    vec![Output::Dial { peer: Some(HIGH), address: at(port) }]
}

fn told(ports: &[u16]) -> Input {
    Input::Told { peer: HIGH, addresses: ports.iter().copied().map(at).collect() }
}

#[test]
fn every_address_has_its_turn_before_there_is_a_pause() {
    let mut finder = Finder::new(LOW);
    let now = Instant(0);
    assert_eq!(finder.handle(now, found(HIGH, 1)), dial(1));
    assert_eq!(finder.handle(now, found(HIGH, 2)), dial(2));
    assert_eq!(fail(&mut finder, now, 1), []);
    assert_eq!(fail(&mut finder, now, 2), []);
    assert_eq!(finder.deadline(), now + BACKOFF);
}

#[test]
fn an_address_that_does_not_answer_holds_up_the_next_one_for_a_moment_only() {
    let mut finder = Finder::new(LOW);
    assert_eq!(finder.handle(Instant(0), told(&[1, 2, 3])), dial(1));
    for port in [2, 3] {
        let now = finder.deadline();
        assert_eq!(finder.handle(now, Input::Tick), dial(port));
        assert_eq!(now, Instant(0) + STAGGER * u32::from(port - 1));
    }
    // Now all are dialled; when none answers there is a pause.
    let silent = finder.deadline();
    assert_eq!(finder.handle(silent, Input::Tick), []);
    assert_eq!(finder.deadline(), silent + BACKOFF);
}

#[test]
fn what_a_neighbour_says_anew_is_dialled_before_what_it_said_once() {
    let mut finder = Finder::new(LOW);
    _ = finder.handle(Instant(0), told(&[1]));
    _ = finder.handle(Instant(0), Input::Connected { peer: HIGH, address: at(1) });
    assert_eq!(finder.handle(Instant(1), told(&[2])), []);
    let lost = Instant(0) + LASTING;
    let lost = finder.handle(lost, Input::Lost { peer: HIGH, admitted: true });
    assert_eq!(lost, dial(2));
    let now = finder.deadline();
    assert_eq!(finder.handle(now, Input::Tick), dial(1), "it may come back to it");
}

#[test]
fn new_addresses_of_our_own_are_a_reason_to_dial_at_once() {
    let mut finder = Finder::new(LOW);
    let mut now = Instant(0);
    _ = finder.handle(now, found(HIGH, 1));
    for _ in 0..10 {
        _ = fail(&mut finder, now, 1);
        now = finder.deadline();
        _ = finder.handle(now, Input::Tick);
    }
    assert_eq!(fail(&mut finder, now, 1), []);
    assert!(finder.deadline() > now + BACKOFF);
    assert_eq!(finder.handle(now, Input::Here(vec![at(7)])), dial(1));
}

#[test]
fn an_address_in_our_own_network_is_dialled_first() {
    let mut finder = Finder::new(LOW);
    _ = finder.handle(Instant(0), Input::Here(vec!["10.0.0.7:1".parse().unwrap()]));
    let addresses = vec!["172.17.0.1:1".parse().unwrap(), at(1)];
    assert_eq!(finder.handle(Instant(0), Input::Told { peer: HIGH, addresses }), dial(1));
}

#[test]
fn of_too_many_addresses_the_one_that_works_stays() {
    let mut finder = Finder::new(LOW);
    _ = finder.handle(Instant(0), found(HIGH, 1));
    _ = finder.handle(Instant(0), Input::Connected { peer: HIGH, address: at(1) });
    for port in 2..100 {
        _ = finder.handle(Instant(0), found(HIGH, port));
    }
    let lost = Instant(0) + LASTING;
    assert_eq!(finder.handle(lost, Input::Lost { peer: HIGH, admitted: true }), dial(1));
}

#[test]
fn what_nobody_could_dial_is_not_dialled() {
    let mut finder = Finder::new(LOW);
    for address in ["0.0.0.0:7410", "224.0.0.1:7410", "[fe80::1]:7410", "10.0.0.1:0"] {
        let address = address.parse().unwrap();
        let found = Input::Found { peer: HIGH, address, by: FoundBy::Mdns };
        assert_eq!(finder.handle(Instant(0), found), []);
    }
    assert_eq!(finder.known().count(), 0);
}

#[test]
fn whoever_was_turned_away_is_not_dialled_again_however_often_it_is_announced() {
    let mut finder = Finder::new(LOW);
    let (mut now, mut dials) = (Instant(0), 0);
    while now < Instant(0) + refused::PAUSE * 2 {
        dials += finder.handle(now, found(HIGH, 1)).len();
        _ = finder.handle(now, Input::Connected { peer: HIGH, address: at(1) });
        _ = finder.handle(now, Input::Lost { peer: HIGH, admitted: false });
        _ = finder.handle(now, Input::Forget(HIGH));
        now = now + Duration::from_millis(100);
    }
    // Every connection, whoever dialled, begins the pause anew.
    assert_eq!(dials, 1);
    assert_eq!(finder.deadline(), Instant::NEVER);
    now = now + refused::PAUSE;
    assert_eq!(finder.handle(now, found(HIGH, 1)), dial(1));
}

#[test]
fn a_lost_neighbour_is_dialled_again_for_ever_but_ever_more_slowly() {
    let mut finder = Finder::new(LOW);
    let mut now = Instant(0);
    let mut outputs = finder.handle(now, found(HIGH, 1));
    let mut last = now;
    for _ in 0..20 {
        assert_eq!(outputs.len(), 1);
        let failed = Input::DialFailed { peer: Some(HIGH), address: at(1) };
        assert_eq!(finder.handle(now, failed), []);
        last = now;
        now = finder.deadline();
        outputs = finder.handle(now, Input::Tick);
    }
    assert_eq!(now - last, BACKOFF_MAX);
}

#[test]
fn a_neighbour_that_hangs_up_at_once_is_dialled_ever_more_slowly_too() {
    let mut finder = Finder::new(LOW);
    let mut now = Instant(0);
    assert_eq!(finder.handle(now, found(HIGH, 1)).len(), 1);
    for _ in 0..12 {
        let connected = Input::Connected { peer: HIGH, address: at(1) };
        assert_eq!(finder.handle(now, connected), []);
        let lost = Input::Lost { peer: HIGH, admitted: false };
        assert_eq!(finder.handle(now, lost), []);
        now = finder.deadline();
        assert_eq!(finder.handle(now, Input::Tick).len(), 1);
    }
    assert!(now > Instant(0) + BACKOFF_MAX * 4, "{now:?}");
}

#[test]
fn a_flood_of_announcements_is_forgotten_past_the_limit() {
    let mut finder = Finder::new(LOW);
    for n in 0..1000_u16 {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        _ = finder.handle(Instant(0), found(PeerId::from_bytes(bytes), n));
    }
    assert_eq!(finder.peers.len(), PEERS_MAX);
}
