//! What the terminal's feeds are told, and what their word does.

use super::*;
use crate::{
    feeds::terminal::{FromFeeds, ToFeeds},
    fixtures::release,
    wire::uplink::{FromHq, Welcome},
};

fn told(outputs: &[Output]) -> Vec<ToFeeds> {
    let told = |output: &Output| {
        let Output::Feeds(told) = output else { return None };
        Some(told.clone())
    };
    outputs.iter().filter_map(told).collect()
}

fn granted(to: PeerId) -> Frame {
    Frame { lease: Some(lease(1, to).into_signed()), ..Frame::default() }
}

#[test]
fn the_feeds_hear_who_the_gateway_is_once() {
    let (mut one, two) = met();
    let heard = say(&mut one, two.me, &granted(two.me));
    assert_eq!(told(&heard), [ToFeeds::Gateway(Some(two.me))]);
    assert!(told(&say(&mut one, two.me, &granted(two.me))).is_empty(), "it is no news");
}

#[test]
fn the_feeds_hear_hqs_time_once_it_is_sure_and_when_it_jumps() {
    let (mut one, at_start) = started(1, "s1");
    assert_eq!(told(&at_start), [], "a guess is not told");
    let (early, late) = (Timestamp(1_000_000_000), Timestamp(2_000_000_000));
    let heard = one.handle(NOW, Input::Feeds(FromFeeds::HqTime(early)));
    assert_eq!(told(&heard), [], "what HQ signed once does not say what time it is");

    let due = one.deadline(NOW);
    _ = one.handle(due, Input::Tick);
    _ = one.handle(due, Input::UplinkUp { hq: signer().described().key });
    let welcome = Some(Welcome { online: signer().online().clone(), terminals: Vec::new() });
    let hq_time = HqTime { chain: signer().described().chain, at: late };
    let time = Some(signer().sign(&hq_time).into_signed());
    let frame = FromHq { welcome, time, ..FromHq::default() };
    let heard = one.handle(due, Input::UplinkFrame(wire::encode(&frame)));
    assert_eq!(told(&heard), [ToFeeds::HqTime(late)]);
    let hours = due + Duration::from_hours(5);
    assert!(told(&one.handle(hours, Input::Tick)).is_empty(), "it went on as it should");
}

#[test]
fn the_stream_to_hq_is_opened_once_this_terminal_speaks_for_its_store() {
    let mut one = terminal(1, "s1");
    let due = one.deadline(NOW);
    let called = one.handle(due, Input::Tick);
    let opens = |output: &Output| matches!(output, Output::OpenUplink { .. });
    assert!(called.iter().any(opens), "{called:?}");
    let hq = signer().described().key;
    let mut outputs = one.handle(due, Input::UplinkUp { hq });
    let hear = |one: &mut Terminal, frame: &FromHq| {
        one.handle(due, Input::UplinkFrame(wire::encode(frame)))
    };
    let welcome = Some(Welcome { online: signer().online().clone(), terminals: Vec::new() });
    outputs.extend(hear(&mut one, &FromHq { welcome, ..FromHq::default() }));
    let feeds = |output: &Output| matches!(output, Output::OpenFeeds);
    assert!(!outputs.iter().any(feeds), "it is not the gateway yet: {outputs:?}");
    let lease = Some(lease(1, one.me).into_signed());
    let outputs = hear(&mut one, &FromHq { lease, ..FromHq::default() });
    assert_eq!(outputs.iter().filter(|output| feeds(output)).count(), 1, "{outputs:?}");
}

#[test]
fn whom_the_feeds_keep_out_is_sent_away_till_they_let_it_in() {
    let (mut one, two) = met();
    let sent = one.handle(NOW, Input::Feeds(FromFeeds::KeepOut(two.me)));
    let closed = |output: &Output| matches!(output, Output::Close { peer, .. } if *peer == two.me);
    assert!(sent.iter().any(closed), "{sent:?}");
    let hello = |one: &mut Terminal| {
        let mut two = terminal(2, "s1");
        let hello = connect(&mut two, one.me);
        _ = connect(one, two.me);
        say(one, two.me, &hello)
    };
    let refused = hello(&mut one);
    assert!(refused.iter().any(closed) && !one.is_admitted(&two.me), "{refused:?}");
    _ = one.handle(NOW, Input::Feeds(FromFeeds::LetIn(two.me)));
    _ = hello(&mut one);
    assert!(one.is_admitted(&two.me));
}

#[test]
fn a_terminal_without_room_for_what_others_sell_tells_its_neighbours_so() {
    let (mut one, _) = met();
    let mut said = |no_room| -> Vec<bool> {
        let outputs = one.handle(NOW, Input::Feeds(FromFeeds::NoRoom(no_room)));
        let candidates = frames(&outputs).into_iter().filter_map(|frame| frame.candidate);
        candidates.map(|candidate| candidate.no_room).collect()
    };
    assert_eq!(said(true), [true]);
    assert_eq!(said(true), []);
    assert_eq!(said(false), [false]);
}

#[test]
fn a_release_that_hq_wants_is_kept_and_an_older_order_is_no_news() {
    let (mut one, _) = met();
    let wanted = |version| Input::Feeds(FromFeeds::Wanted(release(version).0));
    let saved = |outputs: &[Output]| outputs.iter().filter_map(Output::as_save).count();
    let outputs = one.handle(NOW, wanted("2"));
    assert_eq!(saved(&outputs), 1, "{outputs:?}");
    for old in ["2", "1"] {
        assert!(one.handle(NOW, wanted(old)).is_empty(), "{old}");
    }
    let view = |one: &Terminal| one.status(NOW).releases[0].wanted.clone();
    assert_eq!(view(&one), Some(name("2")));

    let mut rows = rows(1, "s1");
    for save in outputs.iter().filter_map(Output::as_save) {
        rows.apply(save);
    }
    assert_eq!(view(&load(1, &rows)), Some(name("2")), "also after a restart");
}
