//! Two or three sides that speak of one author's feeds.

use std::collections::BTreeMap;

use super::*;
use crate::{
    feeds::{
        Boot, Schema,
        ledger::Keeps,
        samples::{Pen, certificate, peer, trust},
        storage::Memory,
    },
    wire::{
        self,
        feeds::{Ask, BATCH_BYTES, Batch, FEED_FRAME_MAX, FeedFrame, Over},
    },
};

/// Everybody may have everything, and wants all of it.
#[derive(Default)]
struct Plain {
    pushes: bool,
    /// What every side has of every feed.
    has: u64,
    /// Nobody is told of anything for nothing.
    silent: bool,
    expects: bool,
}

impl Policy<u8> for Plain {
    fn may_have(&self, _: u8, _: &FeedId) -> bool {
        true
    }

    fn has(&self, _: u8, _: &Feed) -> u64 {
        self.has
    }

    fn tells(&self, _: u8, _: &Feed) -> bool {
        !self.silent
    }

    fn pushes(&self, _: u8, _: &FeedId) -> bool {
        self.pushes
    }

    fn keeps(&self, _: u8, _: &FeedId) -> bool {
        false
    }

    fn wants(&self, _: u8, feed: &Feed, theirs: &Theirs) -> Wants {
        let from = theirs.brings_to(feed).map_or(feed.last + 1, |(from, _)| from);
        if self.expects { Wants::Soon(from) } else { Wants::From(from) }
    }
}

struct Desk {
    ledger: Ledger,
    storage: Memory,
    exchange: Exchange<u8>,
    policy: Plain,
}

const START: Instant = Instant(1_000_000);

impl Desk {
    /// With sides 1 and 2.
    fn new(policy: Plain) -> Self {
        let mut storage = Memory::default();
        let mut ledger =
            Ledger::load(trust(), Keeps::OwnOf(crate::feeds::Author::terminal(peer(3))), &storage);
        ledger.add_schema(Schema::first());
        ledger.vouch(&mut storage, &certificate(0, "s1"));
        let mut exchange = Exchange::new();
        for side in [1, 2] {
            exchange.up(START, side, ledger.feeds(), &policy);
        }
        Self { ledger, storage, exchange, policy }
    }

    fn write(&mut self, pen: &mut Pen, payload: &[u8]) -> FeedNo {
        let bytes = pen.bytes(payload);
        let taken = self.ledger.take(&mut self.storage, &bytes, |_| true, &BTreeMap::new());
        let number = taken.expect("it is the next").feed;
        self.exchange.grown(number, &self.ledger, &self.policy);
        number
    }

    fn settle(&mut self, now: Instant) -> Vec<(u8, FeedFrame)> {
        self.exchange.settle(now, &self.storage, &self.ledger, &self.policy)
    }

    /// `side` says that it has the feed so far.
    fn hear(&mut self, now: Instant, side: u8, feed: &FeedId, last: u64) {
        let number = self.exchange.hear_of(side, feed, &mut self.ledger).expect("one feed");
        let have = Have { feed: feed.clone(), first: 1, last, keep: false, acked: 0 };
        self.exchange.hear_have(now, side, number, &[have], &self.ledger);
    }

    fn asks(&mut self, now: Instant) -> Vec<(u8, Ask)> {
        let frames = self.settle(now);
        let asks = frames
            .into_iter()
            .flat_map(|(side, frame)| frame.ask.into_iter().flatten().map(move |ask| (side, ask)));
        asks.collect()
    }
}

fn entries(frames: &[(u8, FeedFrame)], to: u8) -> usize {
    let to_it = frames.iter().filter(|(side, _)| *side == to);
    to_it.filter_map(|(_, frame)| frame.batch.as_ref()).map(|batch| batch.entries.len()).sum()
}

#[test]
fn one_side_is_asked_for_a_range_and_another_when_that_one_is_silent() {
    let (mut desk, pen) = (Desk::new(Plain::default()), Pen::of(0, "sales"));
    for side in [1, 2] {
        desk.hear(START, side, &pen.feed(), 9);
    }
    let asked = desk.asks(START);
    let ask = Ask { feed: pen.feed(), from: 1, upto: 9 };
    assert_eq!(asked, [(1, ask.clone())]);
    assert_eq!(desk.asks(START + PATIENCE / 2), []);
    assert!(desk.exchange.deadline() <= START + PATIENCE);
    assert_eq!(desk.asks(START + PATIENCE), [(2, ask)]);
}

#[test]
fn a_side_that_goes_leaves_its_range_to_the_other() {
    let (mut desk, pen) = (Desk::new(Plain::default()), Pen::of(0, "sales"));
    for side in [1, 2] {
        desk.hear(START, side, &pen.feed(), 9);
    }
    let (asked, _) = desk.asks(START)[0].clone();
    desk.exchange.down(asked);
    assert_eq!(desk.asks(START)[0].0, 3 - asked);
}

#[test]
fn who_may_expect_a_push_waits_before_it_asks() {
    let expects = Plain { expects: true, ..Plain::default() };
    let (mut desk, pen) = (Desk::new(expects), Pen::of(0, "sales"));
    desk.hear(START, 1, &pen.feed(), 1);
    assert_eq!(desk.asks(START), []);
    assert_eq!(desk.exchange.deadline(), START + PUSH_WAIT);
    assert_eq!(desk.asks(START + PUSH_WAIT).len(), 1);
}

#[test]
fn how_far_a_feed_is_is_told_at_most_once_in_fifty_milliseconds() {
    let (mut desk, mut pen) = (Desk::new(Plain::default()), Pen::of(0, "sales"));
    let mut told = Vec::new();
    for ms in 0..200 {
        let now = START + Duration::from_millis(ms);
        desk.write(&mut pen, b"1");
        let frames = desk.settle(now);
        told.extend(frames.iter().filter(|(side, f)| *side == 1 && f.have.is_some()).map(|_| ms));
    }
    assert_eq!(told, [0, 50, 100, 150]);
}

#[test]
fn what_is_new_is_pushed_once_and_told_to_nobody_twice() {
    let pushes = Plain { pushes: true, ..Plain::default() };
    let (mut desk, mut pen) = (Desk::new(pushes), Pen::of(0, "sales"));
    desk.write(&mut pen, b"1");
    let frames = desk.settle(START);
    assert_eq!((entries(&frames, 1), entries(&frames, 2)), (1, 1));
    let batch = frames[0].1.batch.clone().unwrap();
    assert_eq!(batch.certificates.len(), 1, "its author is vouched for");
    desk.write(&mut pen, b"2");
    let frames = desk.settle(START + TELL_EVERY);
    assert_eq!(entries(&frames, 1), 1);
    let batch = frames[0].1.batch.clone().unwrap();
    assert_eq!(batch.certificates.len(), 0, "it has been shown");
    assert_eq!(desk.settle(START + 2 * TELL_EVERY), []);
}

#[test]
fn a_side_that_brought_an_entry_is_not_given_it_back() {
    let pushes = Plain { pushes: true, ..Plain::default() };
    let (mut desk, mut pen) = (Desk::new(pushes), Pen::of(0, "sales"));
    let number = desk.write(&mut pen, b"1");
    desk.exchange.taken(START, 1, number, 1);
    let frames = desk.settle(START);
    assert_eq!((entries(&frames, 1), entries(&frames, 2)), (0, 1));
}

#[test]
fn what_a_side_has_for_certain_is_not_pushed_to_it() {
    let pushes = Plain { pushes: true, has: 2, ..Plain::default() };
    let (mut desk, mut pen) = (Desk::new(pushes), Pen::of(0, "sales"));
    for new in [0, 0, 1] {
        desk.write(&mut pen, b"1");
        assert_eq!(entries(&desk.settle(START), 1), new);
    }
}

#[test]
fn a_side_that_is_told_of_nothing_else_is_told_that_what_it_brought_arrived() {
    let silent = Plain { silent: true, ..Plain::default() };
    let (mut desk, mut pen) = (Desk::new(silent), Pen::of(0, "sales"));
    let number = desk.write(&mut pen, b"1");
    assert_eq!(desk.settle(START), []);
    desk.exchange.taken(START, 1, number, 1);
    let frames = desk.settle(START);
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].0, frames[0].1.have.as_ref().map(Vec::len)), (1, Some(1)));
}

#[test]
fn in_a_new_generation_everybody_is_told_anew_what_hq_has_not_acknowledged_in_it() {
    let (mut desk, mut pen) = (Desk::new(Plain::default()), Pen::of(0, "sales"));
    desk.write(&mut pen, b"1");
    desk.settle(START);
    desk.exchange.forget_acks(&desk.ledger, &desk.policy);
    desk.hear(START, 1, &pen.feed(), 1);
    let told =
        desk.settle(START + TELL_EVERY).into_iter().filter(|(_, frame)| frame.have.is_some());
    assert_eq!(told.map(|(side, _)| side).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_backlog_goes_a_window_at_a_time_and_leaves_room_for_what_is_new() {
    let pushes = Plain { pushes: true, ..Plain::default() };
    let (mut desk, mut pen) = (Desk::new(pushes), Pen::of(0, "sales"));
    desk.exchange.down(2);
    desk.exchange.down(1);
    let mut number = None;
    for _ in 0..2000 {
        number = Some(desk.write(&mut pen, &[7; 500]));
    }
    let number = number.unwrap();
    desk.exchange.up(START, 1, desk.ledger.feeds(), &desk.policy);
    desk.settle(START);
    desk.exchange.hear_ask(1, number, 1, 2000, &desk.ledger);

    let (mut now, mut has) = (START, 0);
    while has < 2000 {
        let frames = desk.settle(now);
        let mut bytes = 0;
        for (_, frame) in &frames {
            assert!(wire::encode(frame).len() <= FEED_FRAME_MAX);
            let batch = frame.batch.clone().unwrap_or_default();
            let in_frame: usize = batch.entries.iter().map(|entry| entry.len()).sum();
            assert!(in_frame <= BATCH_BYTES + 1000, "{in_frame}");
            bytes += in_frame;
        }
        assert!(bytes <= GIVE_WINDOW + BATCH_BYTES, "{bytes} bytes at once");
        assert!(bytes > 0, "it stands still at {has}");
        has += entries(&frames, 1) as u64;

        let mut other = Pen::of(0, "returns");
        other.next.boot = Boot(1000 + has);
        desk.write(&mut other, b"new");
        let new = desk.settle(now);
        assert_eq!(entries(&new, 1), 1, "what is new does not wait for the backlog");

        now = now + TELL_EVERY;
        desk.hear(now, 1, &pen.feed(), has);
    }
    assert_eq!(has, 2000);
}

#[test]
fn what_cannot_be_given_is_said() {
    let (mut desk, mut pen) = (Desk::new(Plain::default()), Pen::of(0, "sales"));
    let number = desk.write(&mut pen, b"1");
    desk.write(&mut pen, b"2");
    desk.ledger.trim(&mut desk.storage, number, 1);
    desk.exchange.hear_ask(1, number, 1, 2, &desk.ledger);
    let frames = desk.settle(START);
    assert_eq!(frames[0].1.lacks, Some(vec![pen.feed()]));
    assert_eq!(entries(&frames, 1), 0);
}

#[test]
fn what_somebody_has_from_further_back_is_not_given_from_the_middle() {
    let (mut desk, mut pen) = (Desk::new(Plain::default()), Pen::of(0, "sales"));
    let mut number = None;
    for _ in 0..4 {
        number = Some(desk.write(&mut pen, b"1"));
    }
    let number = number.unwrap();
    desk.ledger.trim(&mut desk.storage, number, 2);
    desk.hear(START, 1, &pen.feed(), 4);
    desk.settle(START);
    desk.exchange.hear_ask(2, number, 1, 4, &desk.ledger);
    let frames = desk.settle(START);
    // Nor is it denied: who asked may ask again, and is not to forget that it is here.
    assert!(frames.iter().all(|(_, frame)| frame.lacks.is_none() && frame.batch.is_none()));
    assert!(desk.exchange.is_elsewhere(number, 0, 3, 9));

    desk.ledger.reopen(number);
    desk.exchange.reopened(START, number);
    assert_eq!(desk.asks(START), [(1, Ask { feed: pen.feed(), from: 1, upto: 2 })]);
}

#[test]
fn a_feed_that_one_says_it_lacks_after_all_is_forgotten_without_harm() {
    let (mut desk, pen) = (Desk::new(Plain::default()), Pen::of(0, "sales"));
    for side in [1, 2] {
        desk.hear(START, side, &pen.feed(), 9);
    }
    let number = desk.ledger.number(&pen.feed()).unwrap();
    desk.exchange.hear_lacks(START, 2, number);
    desk.exchange.down(1);
    desk.exchange.forget_orphans(&mut desk.ledger);
    assert_eq!(desk.ledger.number(&pen.feed()), None);
    for boot in 0..=UNBEGUN_MAX as u64 {
        let feed = FeedId { boot: Boot(boot), ..pen.feed() };
        if let Some(number) = desk.exchange.hear_of(2, &feed, &mut desk.ledger) {
            let have = Have { feed, first: 1, last: 9, keep: false, acked: 0 };
            desk.exchange.hear_have(START, 2, number, &[have], &desk.ledger);
            // Taken back at once, it is told of all the same.
            desk.exchange.hear_lacks(START, 2, number);
        }
    }
    desk.settle(START);
}

#[test]
fn who_cannot_give_is_left_alone_for_a_while() {
    let (mut desk, pen) = (Desk::new(Plain::default()), Pen::of(0, "sales"));
    desk.hear(START, 1, &pen.feed(), 9);
    assert_eq!(desk.asks(START).len(), 1);
    let number = desk.ledger.number(&pen.feed()).unwrap();
    desk.exchange.hear_lacks(START, 1, number);
    desk.hear(START, 1, &pen.feed(), 9);
    assert_eq!(desk.asks(START), []);
    assert_eq!(desk.asks(START + REST).len(), 1);
}

#[test]
fn lists_longer_than_their_limits_are_refused() {
    let entries = vec![minicbor::bytes::ByteVec::from(vec![0]); wire::feeds::BATCH_MAX + 1];
    let batch = Some(Batch { entries, ..Batch::default() });
    let bytes = FeedFrame { batch, ..FeedFrame::default() }.write(Over::Lan);
    let why = FeedFrame::read(&bytes).unwrap_err();
    assert!(why.contains("a list of more than 512"), "{why}");
    assert!(FeedFrame::read(&wire::encode(&FeedFrame::default())).is_ok());
}

#[test]
fn a_side_that_is_asked_enough_already_is_waited_for_and_not_looked_for_all_the_time() {
    let mut desk = Desk::new(Plain::default());
    for n in 0..=u64::try_from(ASKS_MAX).unwrap() {
        let feed = FeedId { boot: Boot(100 + n), ..Pen::of(0, "sales").feed() };
        desk.hear(START, 1, &feed, 9);
    }
    assert_eq!(desk.asks(START).len(), ASKS_MAX, "one feed more lacks entries");
    let later = START + PUSH_WAIT;
    _ = desk.settle(later);
    assert!(desk.exchange.deadline() > later, "it spins");
}

#[test]
fn a_feed_without_end_is_none() {
    for (last, acked) in [(u64::MAX, 0), (9, u64::MAX)] {
        let feed = Pen::of(0, "sales").feed();
        let have = Some(vec![Have { feed, first: 1, last, keep: true, acked }]);
        let bytes = FeedFrame { have, ..FeedFrame::default() }.write(Over::Lan);
        assert!(FeedFrame::read(&bytes).is_err(), "{last} {acked}");
    }
}

#[test]
fn a_side_that_tells_of_feeds_without_end_uses_up_its_own_room_and_is_forgotten_with_it() {
    let mut desk = Desk::new(Plain::default());
    let mut victim = Pen::of(0, "sales");
    let made_up = |n: usize| FeedId { boot: Boot(1_000 + n as u64), ..Pen::of(0, "sales").feed() };
    for n in 0..UNBEGUN_MAX {
        desk.hear(START, 1, &made_up(n), 9);
    }
    let one_more = made_up(UNBEGUN_MAX);
    assert_eq!(desk.exchange.hear_of(1, &one_more, &mut desk.ledger), None);
    assert!(desk.exchange.hear_of(2, &victim.feed(), &mut desk.ledger).is_some());
    desk.write(&mut victim, b"a sale");
    desk.exchange.down(1);
    desk.exchange.forget_orphans(&mut desk.ledger);
    assert_eq!(desk.ledger.feeds().count(), 1, "the one that has begun");
    assert_eq!(desk.exchange.deadline(), START, "what is left is to tell of it");
}
