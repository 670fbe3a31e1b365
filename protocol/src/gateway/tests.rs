use super::*;
use storemesh_keys::SecretKey;

use crate::fixtures::{lease, lease_of, name, peer, signer};

const START: Instant = Instant(1);
const BY_HQ: ToldBy = ToldBy::Hq { challenge: None };
const READY: Input = Input::UplinkReady { delay: Duration::from_millis(5) };

fn told(epoch: u64, holder: u8, told_by: ToldBy) -> Input {
    Input::Lease { lease: lease(epoch, peer(holder)), told_by }
}

/// What it does beside telling its neighbours what it would be as a gateway.
struct Till(Gateway);

impl Till {
    fn new(me: u8, lease: Option<Verified<Lease>>) -> Self {
        Self(Gateway::new(peer(me), lease, START))
    }

    fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut outputs = self.0.handle(now, input);
        assert!(now < self.0.deadline(), "asks for a tick in the past");
        outputs.retain(|output| !matches!(output, Output::TellCandidate(_)));
        outputs
    }

    fn deadline(&self) -> Instant {
        self.0.deadline()
    }

    fn speaks(&self) -> bool {
        self.0.speaks()
    }
}

fn start(me: u8) -> Till {
    let mut gateway = Till::new(me, None);
    assert_eq!(gateway.handle(START, Input::Tick), [Output::OpenUplink]);
    gateway
}

/// Follows the holder, which is its neighbour.
fn following(me: u8, holder: u8) -> Till {
    let mut gateway = start(me);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(holder))), []);
    assert_eq!(gateway.handle(START, READY), [Output::Ask]);
    let outputs = gateway.handle(START, told(1, holder, BY_HQ));
    assert_eq!(outputs[1..], [Output::CloseUplink]);
    assert_eq!(gateway.deadline(), Instant::NEVER, "the gateway is there: nothing to do");
    gateway
}

#[test]
fn the_first_to_ask_is_granted_the_lease_and_serves() {
    let mut gateway = start(1);
    assert_eq!(gateway.handle(START, READY), [Output::Ask]);
    let outputs = gateway.handle(START, told(1, 1, BY_HQ));
    assert_eq!(outputs, [Output::Spread(lease(1, peer(1))), Output::Serve]);
    assert_eq!(gateway.handle(START, told(1, 1, BY_HQ)), [], "told twice, done once");
}

#[test]
fn a_neighbours_word_alone_makes_no_gateway() {
    let mut gateway = start(1);
    let outputs = gateway.handle(START, told(3, 1, ToldBy::Neighbour));
    assert_eq!(outputs, [Output::Spread(lease(3, peer(1)))]);
    assert!(!gateway.speaks());
}

#[test]
fn when_the_holder_is_lost_the_others_call_in_turn() {
    for (me, turns) in [(1, 0), (2, 1), (4, 3)] {
        let mut gateway = following(me, 9);
        for other in (1..=4).filter(|other| *other != me) {
            meets(&mut gateway, other);
        }
        let outputs = gateway.handle(START, Input::NeighbourLost(peer(9)));
        if turns == 0 {
            assert_eq!(outputs, [Output::OpenUplink]);
        } else {
            assert_eq!(outputs, []);
            assert_eq!(gateway.deadline(), START + TURN * turns);
        }
    }
}

#[test]
fn a_holder_that_comes_back_in_time_is_kept() {
    let mut gateway = following(2, 9);
    meets(&mut gateway, 1);
    assert_eq!(gateway.handle(START, Input::NeighbourLost(peer(9))), []);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(9))), []);
    assert_eq!(gateway.deadline(), Instant::NEVER);
}

#[test]
fn a_holder_that_hears_of_a_newer_lease_steps_down_at_once() {
    let mut gateway = start(1);
    _ = gateway.handle(START, READY);
    _ = gateway.handle(START, told(1, 1, BY_HQ));
    let outputs = gateway.handle(START, told(2, 2, ToldBy::Neighbour));
    let newer = Output::Spread(lease(2, peer(2)));
    assert_eq!(outputs, [newer, Output::CloseUplink, Output::Rest]);
    assert_eq!(gateway.handle(START, told(1, 1, ToldBy::Neighbour)), [], "old news");
}

#[test]
fn a_holder_that_loses_hq_calls_again_and_again_and_ever_less_often() {
    let mut gateway = start(1);
    _ = gateway.handle(START, READY);
    _ = gateway.handle(START, told(1, 1, BY_HQ));
    let outputs = gateway.handle(START, Input::UplinkDown);
    assert_eq!(outputs, [Output::Rest, Output::TellDark]);
    let mut now = START;
    let mut last = now;
    for _ in 0..10 {
        last = now;
        now = gateway.deadline();
        assert_eq!(gateway.handle(now, Input::Tick), [Output::OpenUplink]);
        assert_eq!(gateway.handle(now, Input::UplinkDown), []);
    }
    assert_eq!(now - last, BACKOFF_MAX);
    now = gateway.deadline();
    assert_eq!(gateway.handle(now, Input::Tick), [Output::OpenUplink]);
    _ = gateway.handle(now, READY);
    let back = gateway.handle(now, told(1, 1, BY_HQ));
    assert_eq!(back, [Output::Serve, Output::TellBright]);
}

#[test]
fn a_call_that_hq_does_not_answer_is_given_up() {
    let mut gateway = start(1);
    let late = gateway.deadline();
    assert_eq!(late, START + ANSWER_TIMEOUT);
    assert_eq!(gateway.handle(late, Input::Tick), [Output::CloseUplink]);
    assert!(gateway.deadline() > late);
}

#[test]
fn when_the_holder_no_longer_reaches_hq_the_others_call_though_they_see_it() {
    let mut gateway = following(1, 9);
    assert_eq!(gateway.handle(START, Input::Dark(peer(9))), [Output::OpenUplink]);
    assert_eq!(gateway.handle(START, READY), [Output::Ask]);
    let outputs = gateway.handle(START, told(2, 1, BY_HQ));
    assert_eq!(outputs, [Output::Spread(lease(2, peer(1))), Output::Serve]);
}

#[test]
fn only_the_holder_can_send_others_to_hq() {
    let mut gateway = following(1, 9);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(3))), []);
    assert_eq!(gateway.handle(START, Input::Dark(peer(3))), []);
}

#[test]
fn a_first_call_comes_to_its_answer_though_the_gateway_is_met_meanwhile() {
    let mut gateway = start(1);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(9))), []);
    let outputs = gateway.handle(START, told(1, 9, ToldBy::Neighbour));
    assert_eq!(outputs, [Output::Spread(lease(1, peer(9)))]);
    assert_eq!(gateway.handle(START, READY), [Output::Ask]);
    assert_eq!(gateway.0.candidate(START).delay_ms, Some(5));
    assert_eq!(gateway.handle(START, told(1, 9, BY_HQ)), [Output::CloseUplink]);
    assert_eq!(gateway.deadline(), Instant::NEVER);
}

#[test]
fn a_neighbours_old_news_does_not_end_a_call() {
    let mut gateway = Till::new(1, Some(lease(3, peer(9))));
    assert_eq!(gateway.handle(START, Input::Tick), [Output::OpenUplink]);
    assert_eq!(gateway.handle(START, told(3, 9, ToldBy::Neighbour)), []);
    assert_eq!(gateway.handle(START, READY), [Output::Ask]);
}

#[test]
fn whom_hq_refuses_calls_ever_less_often() {
    let (mut gateway, mut now) = (start(1), START);
    for _ in 0..3 {
        _ = gateway.handle(now, READY);
        assert_eq!(gateway.handle(now, Input::Refused), []);
        let next = gateway.deadline();
        assert!(next >= now + REFUSED);
        assert_eq!(gateway.handle(next, Input::Tick), [Output::OpenUplink]);
        now = next;
    }
}

#[test]
fn a_gateway_that_is_stopped_gives_the_lease_back_and_says_so() {
    let mut gateway = start(1);
    _ = gateway.handle(START, READY);
    _ = gateway.handle(START, told(1, 1, BY_HQ));
    assert_eq!(gateway.handle(START, Input::Stopping), [Output::GiveBack(None), Output::TellDark]);
    assert_eq!(following(2, 9).handle(START, Input::Stopping), []);
}

/// Meets a neighbour as good as itself.
fn meets(gateway: &mut Till, other: u8) {
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(other))), []);
    assert_eq!(gateway.handle(START, candidate(other, true)), []);
}

fn candidate(peer_n: u8, wired: bool) -> Input {
    let delay_ms = Some(5);
    let mains = true;
    let candidate = Candidate { wired, mains, delay_ms, ..Candidate::default() };
    Input::Candidate { peer: peer(peer_n), candidate }
}

#[test]
fn a_wireless_terminal_lets_the_wired_go_first() {
    let mut gateway = following(1, 9);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(2))), []);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(3))), []);
    let wireless = Hardware { wired: false, mains: true };
    for input in [Input::Hardware(wireless), candidate(2, true), candidate(3, false)] {
        assert_eq!(gateway.handle(START, input), []);
    }
    assert_eq!(gateway.handle(START, Input::NeighbourLost(peer(9))), []);
    assert_eq!(gateway.deadline(), START + TURN, "only the wired one is before it");
}

/// Holds the lease, and is a tablet.
fn wireless_holder() -> Till {
    let mut gateway = start(1);
    _ = gateway.handle(START, READY);
    _ = gateway.handle(START, told(1, 1, BY_HQ));
    let wireless = Hardware { wired: false, mains: true };
    assert_eq!(gateway.handle(START, Input::Hardware(wireless)), []);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(2))), []);
    gateway
}

#[test]
fn a_holder_offers_the_lease_to_a_better_one_and_goes_on_until_that_has_it() {
    let mut gateway = wireless_holder();
    assert_eq!(gateway.handle(START, candidate(2, true)), []);
    let steady = START + handover::STEADY;
    assert_eq!(gateway.deadline(), steady);
    let outputs = gateway.handle(steady, Input::Tick);
    assert_eq!(outputs, [Output::GiveBack(Some(peer(2))), Output::Offer(peer(2))]);
    assert!(gateway.speaks(), "it goes on");
    assert_eq!(gateway.deadline(), steady + handover::AGAIN, "the other did not take it");
    let outputs = gateway.handle(steady, told(2, 2, BY_HQ));
    let newer = Output::Spread(lease(2, peer(2)));
    assert_eq!(outputs, [newer, Output::CloseUplink, Output::Rest]);
}

#[test]
fn a_holder_whose_disk_is_full_or_that_hq_has_ended_offers_the_lease_to_another() {
    for worse in [Input::NoRoom(true), Input::JournalEnded(true)] {
        let mut gateway = start(1);
        _ = gateway.handle(START, READY);
        _ = gateway.handle(START, told(1, 1, BY_HQ));
        meets(&mut gateway, 2);
        assert_eq!(gateway.deadline(), Instant::NEVER, "they are alike");
        assert_eq!(gateway.handle(START, worse), []);
        let outputs = gateway.handle(gateway.deadline(), Input::Tick);
        assert_eq!(outputs, [Output::GiveBack(Some(peer(2))), Output::Offer(peer(2))]);
    }
}

#[test]
fn one_that_does_not_stay_better_is_not_offered_the_lease() {
    let mut gateway = wireless_holder();
    assert_eq!(gateway.handle(START, candidate(2, true)), []);
    let almost = START + handover::STEADY / 2;
    assert_eq!(gateway.handle(almost, Input::NeighbourLost(peer(2))), []);
    assert_eq!(gateway.handle(almost, Input::NeighbourUp(peer(2))), []);
    assert_eq!(gateway.handle(almost, candidate(2, true)), []);
    assert_eq!(gateway.deadline(), almost + handover::STEADY);
}

#[test]
fn whoever_is_offered_the_lease_by_its_holder_asks_for_it_at_once() {
    let mut gateway = following(2, 9);
    assert_eq!(gateway.handle(START, Input::Offered(peer(3))), [], "not its to offer");
    assert_eq!(gateway.handle(START, Input::Offered(peer(9))), [Output::OpenUplink]);
    assert_eq!(gateway.handle(START, READY), [Output::Ask]);
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

/// The word of a neighbour, whose PeerId that is, over HQ's number.
fn word(of: &SecretKey, challenge: u64) -> Authored<Unseen> {
    let chain = signer().described().chain;
    let asker = peer(1);
    let unseen = Unseen { chain, store: name("s1"), generation: 1, epoch: 1, asker, challenge };
    Authored::sign(of, unseen)
}

/// The holder is on the other side of a split, with two neighbours on this one; HQ has just said
/// that it is there.
fn split_off() -> (Till, Instant) {
    let mut gateway = following(1, 9);
    for n in [2, 3] {
        assert_eq!(gateway.handle(START, Input::NeighbourUp(key(n).peer_id())), []);
    }
    let lost = Input::NeighbourLost(peer(9));
    assert_eq!(gateway.handle(START, lost), [Output::OpenUplink]);
    let here = || told(1, 9, ToldBy::Hq { challenge: Some(6) });
    assert_eq!(gateway.handle(START, READY), [Output::Ask]);
    assert_eq!(gateway.handle(START, here()), [Output::CloseUplink], "it may yet be met");
    let now = gateway.deadline();
    assert_eq!(now, START + UNSERVED);
    assert_eq!(gateway.handle(now, Input::Tick), [Output::OpenUplink]);
    assert_eq!(gateway.handle(now, READY), [Output::Ask]);
    let asked = AskUnseen { generation: 1, epoch: 1, challenge: 6 };
    assert_eq!(gateway.handle(now, here()), [Output::AskUnseen(asked)]);
    (gateway, now)
}

fn says(of: &SecretKey, word: Option<Authored<Unseen>>) -> Input {
    Input::Unseen { peer: of.peer_id(), word }
}

/// As `split_off`, and HQ has granted an auxiliary lease.
fn part_gateway() -> (Till, Instant) {
    let (mut gateway, now) = split_off();
    let words = [word(&key(2), 6), word(&key(3), 6)];
    assert_eq!(gateway.handle(now, says(&key(2), Some(words[0].clone()))), []);
    let outputs = gateway.handle(now, says(&key(3), Some(words[1].clone())));
    assert_eq!(outputs, [Output::AskPart { challenge: 6, words: words.into() }]);
    let part = lease_of(1, 2, peer(1));
    let outputs = gateway.handle(now, Input::Lease { lease: part.clone(), told_by: BY_HQ });
    assert_eq!(outputs, [Output::Spread(part)]);
    (gateway, now)
}

#[test]
fn a_part_without_the_gateway_gets_its_own_which_fetches_chunks_much_later() {
    let (mut gateway, now) = part_gateway();
    assert!(gateway.speaks());
    let ripe = now + AUXILIARY_BYTES_AFTER;
    assert_eq!(gateway.deadline(), ripe);
    assert_eq!(gateway.handle(ripe, Input::Tick), [Output::Serve]);
}

#[test]
fn one_neighbour_that_sees_the_gateway_is_enough() {
    let (mut gateway, now) = split_off();
    assert_eq!(gateway.handle(now, says(&key(2), None)), [Output::CloseUplink]);
    assert!(gateway.deadline() >= now + RECHECK_BEHIND, "its news come by that one");
    let lost = gateway.handle(now, Input::NeighbourLost(key(2).peer_id()));
    assert_eq!(lost, []);
    assert!(gateway.deadline() <= now + RECHECK, "no longer");
}

#[test]
fn a_neighbour_that_does_not_answer_is_not_alone() {
    let (mut gateway, now) = split_off();
    assert_eq!(gateway.handle(now, says(&key(2), Some(word(&key(2), 6)))), []);
    let late = gateway.deadline();
    assert!(late <= now + Duration::from_secs(1));
    assert_eq!(gateway.handle(late, Input::Tick), [Output::CloseUplink]);
    assert!(gateway.deadline() >= late + RECHECK);
}

#[test]
fn a_word_for_another_call_does_not_count() {
    let (mut gateway, now) = split_off();
    let old = gateway.handle(now, says(&key(2), Some(word(&key(2), 5))));
    assert_eq!(old, [Output::CloseUplink]);
}

#[test]
fn when_the_parts_meet_the_auxiliary_gateway_gives_way() {
    let (mut gateway, now) = part_gateway();
    let outputs = gateway.handle(now, Input::NeighbourUp(peer(9)));
    assert_eq!(outputs, [Output::TellDark, Output::CloseUplink]);
    assert!(!gateway.speaks());
    assert_eq!(gateway.deadline(), Instant::NEVER, "the store's own gateway is there");
}

#[test]
fn when_the_stores_gateway_reaches_hq_again_the_auxiliary_one_gives_way() {
    let (mut gateway, now) = part_gateway();
    let part = Output::Ask;
    // They met while the store's own had no line.
    gateway.0.neighbours.insert(peer(9));
    assert_eq!(gateway.handle(now, Input::Dark(peer(9))), [part]);
    let outputs = gateway.handle(now, Input::Bright(peer(9)));
    assert_eq!(outputs, [Output::TellDark, Output::CloseUplink]);
    assert_eq!(gateway.0.gateway().map(|lease| lease.holder), Some(peer(9)));
}

#[test]
fn an_auxiliary_lease_that_has_ended_and_comes_back_as_an_echo_makes_no_gateway() {
    let (mut gateway, now) = part_gateway();
    let outputs = gateway.handle(now, Input::UplinkDown);
    assert_eq!(outputs, [Output::TellDark]);
    let part = lease_of(1, 2, peer(1));
    let echo = Input::Lease { lease: part, told_by: ToldBy::Neighbour };
    assert_eq!(gateway.handle(now, echo), []);
    let now = gateway.deadline();
    assert_eq!(gateway.handle(now, Input::Tick), [Output::OpenUplink]);
    assert_eq!(gateway.handle(now, READY), [Output::Ask]);
    let here = || told(1, 9, ToldBy::Hq { challenge: Some(7) });
    assert_eq!(gateway.handle(now, here()), [Output::CloseUplink]);
    let now = gateway.deadline();
    assert_eq!(gateway.handle(now, Input::Tick), [Output::OpenUplink]);
    assert_eq!(gateway.handle(now, READY), [Output::Ask]);
    let asked = AskUnseen { generation: 1, epoch: 1, challenge: 7 };
    assert_eq!(gateway.handle(now, here()), [Output::AskUnseen(asked)], "it asks anew");
}

#[test]
fn an_auxiliary_lease_of_a_restored_hq_counts_though_its_epochs_begin_anew() {
    let (mut gateway, now) = part_gateway();
    assert_eq!(gateway.handle(now, Input::UplinkDown), [Output::TellDark]);
    let lease = |part, epoch, holder| {
        let older = lease_of(part, epoch, holder);
        signer().sign(&Lease { generation: older.generation + 1, ..Lease::clone(&older) })
    };
    let heard = |lease| Input::Lease { lease, told_by: ToldBy::Neighbour };
    let (whole, part) = (lease(0, 1, peer(9)), lease(1, 2, key(2).peer_id()));
    assert!(gateway.handle(now, heard(whole.clone())).contains(&Output::Spread(whole)));
    assert!(gateway.handle(now, heard(part.clone())).contains(&Output::Spread(part)));
}

#[test]
fn when_hq_ends_it_the_auxiliary_gateway_gives_way_and_asks_again() {
    let (mut gateway, now) = part_gateway();
    assert_eq!(gateway.handle(now, Input::Ended { epoch: 1 }), [], "another's");
    let outputs = gateway.handle(now, Input::Ended { epoch: 2 });
    assert_eq!(outputs, [Output::TellDark, Output::CloseUplink]);
    assert_eq!(gateway.deadline(), now + BACKOFF);
}

#[test]
fn a_part_follows_its_own_gateway_until_it_sees_the_stores() {
    let mut gateway = following(1, 9);
    _ = gateway.handle(START, Input::NeighbourUp(peer(2)));
    let part = lease_of(1, 2, peer(2));
    let passed_on = Input::Lease { lease: part.clone(), told_by: ToldBy::Neighbour };
    assert_eq!(gateway.handle(START, passed_on.clone()), [], "the store's own is there");
    _ = gateway.handle(START, Input::NeighbourLost(peer(9)));
    assert_eq!(gateway.handle(START, passed_on)[0], Output::Spread(part));
    assert_eq!(gateway.0.gateway().map(|lease| lease.holder), Some(peer(2)));
    _ = gateway.handle(START, READY);
    assert_eq!(gateway.handle(START, told(1, 9, BY_HQ)), [Output::CloseUplink]);
    assert_eq!(gateway.deadline(), Instant::NEVER, "served");
    _ = gateway.handle(START, Input::NeighbourUp(peer(9)));
    assert_eq!(gateway.0.gateway().map(|lease| lease.holder), Some(peer(9)));
}

#[test]
fn a_terminal_gives_its_word_only_of_what_it_does_not_see() {
    let mut gateway = following(1, 9);
    let asked = |epoch| AskUnseen { generation: 1, epoch, challenge: 6 };
    assert!(!gateway.0.does_not_see(&asked(1)), "it is there");
    _ = gateway.handle(START, Input::NeighbourLost(peer(9)));
    assert!(gateway.0.does_not_see(&asked(1)));
    assert!(!gateway.0.does_not_see(&asked(2)), "a lease that it has not heard of");
}
