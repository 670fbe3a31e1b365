//! What a terminal takes for HQ's time, and whom it believes.

use std::time::Duration;

use storemesh_keys::{Timestamp, Verified};

use super::{
    Instant,
    clock::{HqClock, Input, Output, TimeSource},
};
use crate::{
    HqTime,
    fixtures::{peer, signer},
};

/// The truth when the terminal starts: some day of 2027.
const NOON: Timestamp = Timestamp(1_800_000_000_000);
const YESTERDAY: Timestamp = Timestamp(NOON.0 - DAY_MS);
const IN_2100: Timestamp = Timestamp(4_102_444_800_000);
const IN_1970: Timestamp = Timestamp(60_000);
const DAY_MS: u64 = 86_400_000;
const START: Instant = Instant(0);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn after(span: Duration) -> Instant {
    START + span
}

/// Its own clock shows that, and HQ signed something yesterday.
fn clock(wall: Timestamp) -> HqClock {
    HqClock::new(wall, YESTERDAY, YESTERDAY, START)
}

fn sign(at: Timestamp) -> Verified<HqTime> {
    signer().sign(&HqTime { chain: signer().described().chain, at })
}

fn told(n: u8, time: Timestamp) -> Input {
    Input::Told { peer: peer(n), time, sure: false, signed: None }
}

fn told_surely(n: u8, time: Timestamp, signed: Timestamp) -> Input {
    Input::Told { peer: peer(n), time, sure: true, signed: Some(sign(signed)) }
}

fn tells(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Tell { .. }))
}

fn kept(outputs: &[Output]) -> Option<Timestamp> {
    outputs.iter().find_map(|output| if let Output::Keep(at) = output { Some(*at) } else { None })
}

fn answer(clock: &mut HqClock, asked: Instant, answered: Instant, at: Timestamp) -> Vec<Output> {
    _ = clock.handle(asked, Input::Greeted);
    clock.handle(answered, Input::Answered(sign(at)))
}

#[test]
fn a_terminal_alone_goes_by_its_own_clock_and_says_that_it_is_unsure() {
    let clock = clock(NOON);
    let view = clock.view(after(MINUTE));
    assert_eq!((view.hq_time, view.source), (NOON.plus(MINUTE), TimeSource::OwnClock));
    assert!(!view.is_sure());
    assert_eq!((view.floor, view.signed_ago), (YESTERDAY, None));
}

#[test]
fn a_clock_at_1970_counts_from_what_hq_signed_last() {
    let clock = clock(IN_1970);
    let view = clock.view(after(MINUTE));
    assert_eq!((view.hq_time, view.source), (YESTERDAY.plus(MINUTE), TimeSource::Floor));
}

#[test]
fn hqs_answer_makes_the_time_sure_whatever_the_own_clock_shows() {
    for wall in [IN_1970, NOON, IN_2100] {
        let mut clock = clock(wall);
        let outputs = answer(&mut clock, START, after(SECOND), NOON);
        assert!(tells(&outputs), "{outputs:?}");
        let view = clock.view(after(SECOND + MINUTE));
        assert_eq!((view.hq_time, view.source), (NOON.plus(MINUTE), TimeSource::Signed));
        assert_eq!((view.signed_ago, view.floor), (Some(MINUTE), NOON));
        let off = outputs.iter().find(|output| matches!(output, Output::ClockOff { .. }));
        assert_eq!(off.is_some(), wall != NOON, "{wall}: {outputs:?}");
    }
}

#[test]
fn an_answer_that_took_long_says_only_how_late_it_is_at_least() {
    let mut clock = clock(IN_1970);
    _ = answer(&mut clock, START, after(6 * SECOND), NOON);
    let view = clock.view(after(6 * SECOND));
    assert_eq!((view.hq_time, view.source), (NOON, TimeSource::Floor));
    // Nor does one that was not asked for: it may have been held back.
    _ = clock.handle(after(7 * SECOND), Input::Answered(sign(NOON.plus(SECOND))));
    assert!(!clock.view(after(7 * SECOND)).is_sure());
}

#[test]
fn a_later_answer_mends_a_monotonic_clock_that_ran_wrong() {
    let mut clock = clock(NOON);
    _ = answer(&mut clock, START, START, NOON);
    // This machine's minutes are too long, then too short.
    _ = answer(&mut clock, after(MINUTE), after(MINUTE), NOON.plus(MINUTE + SECOND));
    assert_eq!(clock.at(after(MINUTE)), NOON.plus(MINUTE + SECOND));
    _ = answer(&mut clock, after(2 * MINUTE), after(2 * MINUTE), NOON.plus(2 * MINUTE));
    let within = NOON.plus(2 * MINUTE)..=NOON.plus(2 * MINUTE + SECOND);
    assert!(within.contains(&clock.at(after(2 * MINUTE))), "never below what was signed");
}

#[test]
fn hq_time_never_falls_below_what_hq_has_signed() {
    let mut clock = clock(IN_2100);
    _ = clock.handle(START, Input::Signed(NOON));
    // HQ's own clock was set back.
    _ = answer(&mut clock, START, START, YESTERDAY);
    assert_eq!(clock.at(after(SECOND)), NOON.plus(SECOND));
    assert_eq!(clock.view(START).floor, NOON);
}

#[test]
fn an_old_lease_that_is_told_again_does_not_make_the_time_sure() {
    let mut clock = clock(NOON);
    _ = clock.handle(START, Input::Signed(YESTERDAY.plus(MINUTE)));
    assert_eq!(clock.view(START).source, TimeSource::OwnClock);
    // Not even together with neighbours that are sure of today's time.
    let sure = Input::Told { peer: peer(1), time: NOON, sure: true, signed: None };
    _ = clock.handle(START, sure);
    assert!(!clock.view(START).is_sure());
    assert_eq!(clock.at(START), NOON);
}

#[test]
fn a_sure_neighbour_and_a_fresh_signature_make_a_terminal_sure() {
    let mut clock = clock(IN_2100);
    let signed = NOON.minus(4 * MINUTE);
    let outputs = clock.handle(START, told_surely(1, NOON, signed));
    assert_eq!(outputs.last(), Some(&Output::Tell { but: None }), "it says so to all");
    assert_eq!(clock.at(START), NOON);
    // It stays sure when that neighbour leaves.
    _ = clock.handle(START, Input::NeighbourLost(peer(1)));
    assert!(clock.view(after(MINUTE)).is_sure());
    assert_eq!(clock.at(after(MINUTE)), NOON.plus(MINUTE));
}

#[test]
fn a_liar_with_a_fresh_signature_is_ahead_by_minutes_at_most() {
    for lie in [IN_2100, NOON.plus(20 * MINUTE), NOON.plus(9 * MINUTE), YESTERDAY, IN_1970] {
        let mut clock = clock(NOON);
        _ = clock.handle(START, told_surely(1, lie, NOON));
        assert!(clock.at(START) <= NOON.plus(10 * MINUTE), "{lie}");
        assert!(NOON <= clock.at(START), "{lie}");
    }
}

#[test]
fn a_liar_with_an_old_signature_makes_late_until_anybody_brings_a_newer_one_and_keeps_nobody_out() {
    let old = YESTERDAY.plus(MINUTE);
    for lie in [old, old.plus(9 * MINUTE)] {
        let mut clock = clock(NOON);
        _ = clock.handle(START, told_surely(1, lie, old));
        // HQ had not been heard since: nothing here can tell. Late is lenient.
        assert_eq!((clock.at(START), clock.certain(START)), (lie, lie));
        _ = clock.handle(after(SECOND), told_surely(2, NOON.plus(SECOND), NOON));
        assert_eq!(clock.at(after(SECOND)), NOON);
    }
}

#[test]
fn what_a_liar_made_ahead_hqs_answer_puts_right() {
    let mut clock = clock(NOON);
    _ = clock.handle(START, told_surely(1, NOON.plus(10 * MINUTE), NOON));
    assert_eq!(clock.at(START), NOON.plus(10 * MINUTE));
    _ = answer(&mut clock, START, after(SECOND), NOON.plus(SECOND));
    assert_eq!(clock.at(after(SECOND)), NOON.plus(SECOND));
}

#[test]
fn liars_in_a_store_of_any_size_do_not_push_the_median_while_they_are_fewer() {
    for others in 1..50_u8 {
        // Its own clock is one of the voices.
        for liars in 0..=others / 2 {
            for lie in [IN_2100, YESTERDAY.plus(SECOND), IN_1970] {
                let mut clock = clock(NOON);
                for n in 0..others {
                    let time = if n < liars { lie } else { NOON.plus(u32::from(n) * SECOND) };
                    let sure = n < liars;
                    let input = Input::Told { peer: peer(n), time, sure, signed: None };
                    _ = clock.handle(START, input);
                }
                let honest = NOON..=NOON.plus(u32::from(others) * SECOND);
                let at = clock.at(START);
                assert!(honest.contains(&at), "{liars} of {others} say {lie}: {at}");
            }
        }
    }
}

#[test]
fn the_one_neighbour_of_a_store_of_two_cannot_push_the_time_ahead() {
    let mut liar = clock(NOON);
    _ = liar.handle(START, told(1, IN_2100));
    assert_eq!(liar.at(START), NOON);
    // An own clock that is ahead is mended by it, and one that is behind the floor has no voice.
    for wall in [IN_2100, IN_1970] {
        let mut honest = clock(wall);
        _ = honest.handle(START, told(1, NOON));
        assert_eq!(honest.at(START), NOON);
        assert!(matches!(honest.view(START).source, TimeSource::Median { .. }));
    }
}

#[test]
fn what_neighbours_say_never_becomes_the_floor() {
    let mut clock = clock(NOON);
    for n in 0..10 {
        let outputs = clock.handle(START, told(n, IN_2100));
        assert_eq!(outputs, []);
    }
    assert_eq!(clock.at(START), IN_2100, "ten against one");
    assert_eq!(clock.view(START).floor, YESTERDAY);
}

#[test]
fn a_neighbour_that_speaks_again_has_one_voice() {
    let mut clock = clock(NOON);
    _ = clock.handle(START, told(1, NOON));
    for _ in 0..5 {
        _ = clock.handle(START, told(2, IN_2100));
    }
    assert_eq!(clock.at(START), NOON);
    _ = clock.handle(START, Input::NeighbourLost(peer(2)));
    assert_eq!(clock.view(START).source, TimeSource::Median { voices: 2 });
}

#[test]
fn a_guess_shuts_nobody_out_and_a_sure_time_does() {
    let mut clock = clock(IN_2100);
    for n in 0..3 {
        _ = clock.handle(START, told(n, IN_2100));
    }
    assert_eq!(clock.at(START), IN_2100);
    assert_eq!(clock.certain(after(MINUTE)), YESTERDAY.plus(MINUTE));
    _ = answer(&mut clock, after(MINUTE), after(MINUTE), NOON);
    assert_eq!(clock.certain(after(2 * MINUTE)), NOON.plus(MINUTE));
}

#[test]
fn the_floor_is_kept_when_it_has_risen_by_half_a_minute() {
    let mut clock = clock(NOON);
    assert_eq!(kept(&clock.handle(START, Input::Signed(NOON))), Some(NOON));
    assert_eq!(kept(&clock.handle(START, Input::Signed(NOON.plus(29 * SECOND)))), None);
    let later = NOON.plus(31 * SECOND);
    assert_eq!(kept(&clock.handle(START, Input::Signed(later))), Some(later));
    assert_eq!(kept(&clock.handle(START, Input::Signed(NOON))), None, "it does not fall");
    let again = HqClock::new(IN_1970, later, YESTERDAY, START);
    assert_eq!(again.at(START), later);
}

#[test]
fn a_signed_time_is_passed_on_once_and_not_back() {
    let mut clock = clock(NOON);
    _ = answer(&mut clock, START, START, NOON);
    let newer = NOON.plus(5 * MINUTE);
    let news = told_surely(1, newer, newer);
    let outputs = clock.handle(after(5 * MINUTE), news.clone());
    assert!(outputs.contains(&Output::Tell { but: Some(peer(1)) }), "{outputs:?}");
    assert!(!tells(&clock.handle(after(5 * MINUTE), news)));
    let little = NOON.plus(5 * MINUTE + SECOND);
    assert!(!tells(&clock.handle(after(6 * MINUTE), told_surely(2, little, little))));
    assert_eq!(clock.newest().map(|newest| newest.at), Some(little), "newcomers are told of it");
}

#[test]
fn only_who_speaks_to_hq_asks_it_again_every_five_minutes() {
    let mut clock = clock(NOON);
    assert_eq!(clock.deadline(), Instant::NEVER);
    assert_eq!(clock.handle(after(10 * MINUTE), Input::Tick), []);
    _ = clock.handle(after(10 * MINUTE), Input::Greeted);
    assert_eq!(clock.handle(after(10 * MINUTE), Input::Speaks(true)), []);
    let due = after(15 * MINUTE);
    assert_eq!(clock.deadline(), due);
    assert_eq!(clock.handle(due, Input::Tick), [Output::Ask]);
    assert!(due < clock.deadline());
    _ = clock.handle(due, Input::Answered(sign(NOON.plus(15 * MINUTE))));
    assert!(clock.view(due).is_sure());
}
