use super::*;
use crate::fixtures::{lease, peer};

const START: Instant = Instant(1);

fn told(epoch: u64, holder: u8, told_by: ToldBy) -> Input {
    Input::Lease { lease: lease(epoch, peer(holder)), told_by }
}

fn start(me: u8) -> Gateway {
    let mut gateway = Gateway::new(peer(me), None, START);
    assert_eq!(gateway.handle(START, Input::Tick), [Output::OpenUplink]);
    gateway
}

/// Follows the holder, which is its neighbour.
fn following(me: u8, holder: u8) -> Gateway {
    let mut gateway = start(me);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(holder))), []);
    assert_eq!(gateway.handle(START, Input::UplinkReady), [Output::Ask]);
    let outputs = gateway.handle(START, told(1, holder, ToldBy::Hq));
    assert_eq!(outputs[1..], [Output::CloseUplink]);
    assert_eq!(gateway.deadline(), Instant::NEVER, "the gateway is there: nothing to do");
    gateway
}

#[test]
fn the_first_to_ask_is_granted_the_lease_and_serves() {
    let mut gateway = start(1);
    assert_eq!(gateway.handle(START, Input::UplinkReady), [Output::Ask]);
    let outputs = gateway.handle(START, told(1, 1, ToldBy::Hq));
    assert_eq!(outputs, [Output::Spread(lease(1, peer(1))), Output::Serve]);
    assert_eq!(gateway.handle(START, told(1, 1, ToldBy::Hq)), [], "told twice, done once");
}

#[test]
fn a_neighbours_word_alone_makes_no_gateway() {
    let mut gateway = start(1);
    let outputs = gateway.handle(START, told(3, 1, ToldBy::Neighbour));
    assert_eq!(outputs, [Output::Spread(lease(3, peer(1)))]);
    assert!(!gateway.serving());
}

#[test]
fn when_the_holder_is_lost_the_others_call_in_turn() {
    for (me, turns) in [(1, 0), (2, 1), (4, 3)] {
        let mut gateway = following(me, 9);
        for other in (1..=4).filter(|other| *other != me) {
            assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(other))), []);
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
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(1))), []);
    assert_eq!(gateway.handle(START, Input::NeighbourLost(peer(9))), []);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(9))), []);
    assert_eq!(gateway.deadline(), Instant::NEVER);
}

#[test]
fn a_holder_that_hears_of_a_newer_lease_steps_down_at_once() {
    let mut gateway = start(1);
    _ = gateway.handle(START, Input::UplinkReady);
    _ = gateway.handle(START, told(1, 1, ToldBy::Hq));
    let outputs = gateway.handle(START, told(2, 2, ToldBy::Neighbour));
    let newer = Output::Spread(lease(2, peer(2)));
    assert_eq!(outputs, [newer, Output::CloseUplink, Output::Rest]);
    assert_eq!(gateway.handle(START, told(1, 1, ToldBy::Neighbour)), [], "old news");
}

#[test]
fn a_holder_that_loses_hq_calls_again_and_again_and_ever_less_often() {
    let mut gateway = start(1);
    _ = gateway.handle(START, Input::UplinkReady);
    _ = gateway.handle(START, told(1, 1, ToldBy::Hq));
    let outputs = gateway.handle(START, Input::UplinkDown);
    assert_eq!(outputs, [Output::Rest, Output::TellDark]);
    let mut now = START;
    let mut last = now;
    for _ in 0..10 {
        last = now;
        now = gateway.deadline();
        assert_eq!(gateway.handle(now, Input::Tick), [Output::OpenUplink]);
        assert_eq!(gateway.handle(now, Input::UplinkDown), [Output::TellDark]);
    }
    assert_eq!(now - last, BACKOFF_MAX);
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
    assert_eq!(gateway.handle(START, Input::UplinkReady), [Output::Ask]);
    let outputs = gateway.handle(START, told(2, 1, ToldBy::Hq));
    assert_eq!(outputs, [Output::Spread(lease(2, peer(1))), Output::Serve]);
}

#[test]
fn only_the_holder_can_send_others_to_hq() {
    let mut gateway = following(1, 9);
    assert_eq!(gateway.handle(START, Input::NeighbourUp(peer(3))), []);
    assert_eq!(gateway.handle(START, Input::Dark(peer(3))), []);
}

#[test]
fn a_neighbours_old_news_does_not_end_a_call() {
    let mut gateway = Gateway::new(peer(1), Some(lease(3, peer(9))), START);
    assert_eq!(gateway.handle(START, Input::Tick), [Output::OpenUplink]);
    assert_eq!(gateway.handle(START, told(3, 9, ToldBy::Neighbour)), []);
    assert_eq!(gateway.handle(START, Input::UplinkReady), [Output::Ask]);
}

#[test]
fn whom_hq_refuses_calls_ever_less_often() {
    let (mut gateway, mut now) = (start(1), START);
    for _ in 0..3 {
        _ = gateway.handle(now, Input::UplinkReady);
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
    _ = gateway.handle(START, Input::UplinkReady);
    _ = gateway.handle(START, told(1, 1, ToldBy::Hq));
    assert_eq!(gateway.handle(START, Input::Stopping), [Output::GiveBack, Output::TellDark]);
    assert_eq!(following(2, 9).handle(START, Input::Stopping), []);
}
