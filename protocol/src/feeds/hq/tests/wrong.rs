//! Terminals that do what they should not.

use std::slice::from_ref;

use super::{
    shop::{Office, Till, asks, entries, events, haves, rejected},
    *,
};
use crate::{
    feeds::{
        Boot, Control, END_FEEDS_MAX, End, Entry, EntryId, LastCounted, PAYLOAD_MAX, Scope, Topic,
    },
    wire::{
        self,
        feeds::{Ask, Cloned, FEEDS_MAX, FeedFrame, Fork, Have},
    },
};

#[test]
fn nothing_of_one_store_is_told_or_given_to_another_or_taken_from_it() {
    let mut office = Office::new();
    let (mut till, mut other) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s2"));
    office.up(&till);
    office.up(&other);
    let (sale, moved) = (till.writes("sales", b"{}"), till.moves(&[("apple", -1)]));
    let mut heard = office.gives(&till, &till, &[sale, moved]);
    heard.extend(office.later(ACK_EVERY));
    assert!(haves(&heard, &other).is_empty() && entries(&heard, &other).is_empty());
    office.down(&other);
    assert_eq!(haves(&office.up(&other), &other).len(), 1, "HQ's own");

    // It brings the other store's, tells of it, and asks for it.
    let (stolen, own) = (till.writes("sales", b"{}"), other.writes("sales", b"{}"));
    assert_eq!(rejected(&office.gives(&other, &till, &[stolen])).len(), 1);
    assert!(rejected(&office.gives(&other, &other, &[own])).is_empty());
    assert_eq!(numbers(&office).len(), 3);
    let have = Have { feed: till.feed("sales"), first: 1, last: 9, keep: false, acked: 0 };
    let heard = office.hears(&other, &FeedFrame { have: Some(vec![have]), ..FeedFrame::default() });
    assert!(asks(&heard, &other).is_empty() && rejected(&heard).len() == 1);
    let ask = Ask { feed: till.feed("stock"), from: 1, upto: 1 };
    let heard = office.hears(&other, &FeedFrame { ask: Some(vec![ask]), ..FeedFrame::default() });
    assert!(entries(&heard, &other).is_empty() && rejected(&heard).len() == 1);
}

#[test]
fn an_entry_that_its_schema_does_not_allow_is_noted_once_and_the_feed_goes_on() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    let (void, again) = (till.writes("stock", b"no record"), till.writes("stock", b"nor this"));
    let good = till.moves(&[("apple", 1_000)]);
    let outputs = office.gives(&till, &till, &[void, again, good]);
    let id = EntryId { feed: till.feed("stock"), seq: 1 };
    assert_eq!(events(&outputs), [Event::Void(id)]);
    assert_eq!(voids(&office.disk, FeedNo::of(1)).unwrap().count, 2);
    assert_eq!(stock::on_hand(&office.disk, &name("s1"), "apple").unwrap().quantity, 1_000);
}

#[test]
fn an_entry_that_does_not_follow_is_asked_for_from_where_hq_is() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    let one = till.writes("sales", b"1");
    let (_, three) = (till.writes("sales", b"2"), till.writes("sales", b"3"));
    office.gives(&till, &till, &[one]);
    office.gives(&till, &till, &[three]);
    let heard = office.later(Duration::from_millis(300));
    let asked = asks(&heard, &till);
    assert_eq!(asked.iter().map(|ask| (ask.from, ask.upto)).collect::<Vec<_>>(), [(2, 3)]);
}

#[test]
fn who_writes_one_number_twice_is_ended_at_what_hq_holds() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    let mut twin = till.clone();
    office.up(&till);
    let (one, other) = (till.writes("sales", b"1"), twin.writes("sales", b"one"));
    office.gives(&till, &till, from_ref(&one));
    let outputs = office.gives(&till, &till, from_ref(&other));
    let author = Author::terminal(till.key.peer_id());
    assert_eq!(events(&outputs), [Event::Forked(author)]);
    let end = ends(&office.disk).pop().unwrap();
    assert_eq!((end.author, end.topic, end.last[0].seq), (author, None, 1));

    // Others may show it too: it is known.
    let header = |entry: &[u8]| wire::decode::<Entry>(entry).unwrap().header;
    let fork = Fork { one: header(&one), other: header(&other) };
    let shown = FeedFrame { forks: Some(vec![fork]), ..FeedFrame::default() };
    assert!(events(&office.hears(&till, &shown)).is_empty());
    assert_eq!(ends(&office.disk).len(), 1);
    office.restart();
    office.up(&till);
    let two = till.writes("sales", b"2");
    office.gives(&till, &till, &[two]);
    assert_eq!(numbers(&office).len(), 1, "believed no further");
}

#[test]
fn a_fork_whose_other_branch_an_honest_terminal_brings_is_found() {
    let mut office = Office::new();
    let (mut till, other) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s1"));
    let mut twin = till.clone();
    office.up(&till);
    office.up(&other);
    let one = till.writes("sales", b"1");
    office.gives(&till, &till, &[one]);
    let branch = [twin.writes("sales", b"one"), twin.writes("sales", b"two")];
    let have = Have { feed: till.feed("sales"), first: 1, last: 2, keep: false, acked: 0 };
    let have = FeedFrame { have: Some(vec![have]), ..FeedFrame::default() };
    office.hears(&other, &have);
    let asked = |outputs: &[Output]| {
        asks(outputs, &other).iter().map(|ask| (ask.from, ask.upto)).collect::<Vec<_>>()
    };
    assert_eq!(asked(&office.later(Duration::from_secs(1))), [(2, 2)]);
    let outputs = office.gives(&other, &till, &branch[1..]);
    assert!(rejected(&outputs).is_empty(), "it is not to blame");
    // It may be, so it rests.
    assert_eq!(asked(&office.later(Duration::from_secs(5))), []);
    assert_eq!(asked(&office.later(Duration::from_secs(6))), [(1, 2)]);
    let outputs = office.gives(&other, &till, &branch);
    assert_eq!(events(&outputs), [Event::Forked(Author::terminal(till.key.peer_id()))]);
}

#[test]
fn a_cloned_terminal_is_named_once_and_waits_for_a_person() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    let author = Author::terminal(till.key.peer_id());
    // HQ knows whose it is once it has seen its certificate.
    office.up(&till);
    let sale = till.writes("sales", b"{}");
    office.gives(&till, &till, &[sale]);
    let mut twin = till.clone();
    (twin.boot, twin.link) = (Boot(77), 8);
    office.up(&twin);
    office.down(&till);
    let outputs = office.up(&till);
    let boots = [Boot(1), Boot(77)];
    assert_eq!(events(&outputs), [Event::Cloned { author, boots }]);
    let told = |outputs: &[Output], told: FromFeeds| {
        outputs.iter().any(|output| matches!(output, Output::Tell(it) if *it == told))
    };
    let peer = author.peer();
    assert!(told(&outputs, FromFeeds::KeepOut(peer)));
    assert!(told(&office.restart(), FromFeeds::KeepOut(peer)), "also after a start");
    let known = clones(&office.disk).pop().unwrap();
    assert!(!known.settled && known.boots == boots, "{known:?}");

    let neighbour = Till::new(&office, 2, "s1");
    office.up(&neighbour);
    let word = FeedFrame { clones: Some(vec![Cloned { author, boots }]), ..FeedFrame::default() };
    assert!(events(&office.hears(&neighbour, &word)).is_empty());
    assert!(told(&office.handle(Input::Settle { ticket: 1, author }), FromFeeds::LetIn(peer)));
    assert!(!told(&office.restart(), FromFeeds::KeepOut(peer)));
    office.up(&neighbour);
    assert!(clones(&office.disk).pop().unwrap().settled);
    assert!(events(&office.hears(&neighbour, &word)).is_empty(), "old news");
    let again = office.answer(Input::Settle { ticket: 1, author });
    assert_eq!(again, Err(AppendError::NotCloned(author)));
}

#[test]
fn what_a_terminal_says_of_a_clone_keeps_nobody_out_and_waits_for_a_person() {
    let mut office = Office::new();
    let (mut till, other) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s2"));
    office.up(&till);
    let sale = till.writes("sales", b"{}");
    office.gives(&till, &till, &[sale]);
    office.up(&other);
    let (by, author) = (till.key.peer_id(), Author::terminal(till.key.peer_id()));
    let boots = [Boot(5), Boot(6)];
    let word =
        |boots| FeedFrame { clones: Some(vec![Cloned { author, boots }]), ..FeedFrame::default() };
    let of_another_store = office.hears(&other, &word(boots));
    assert!(of_another_store.is_empty() && clone_claims(&office.disk).is_empty());
    assert!(office.hears(&till, &word([Boot(5); 2])).is_empty(), "one boot is no clone");
    let outputs = office.hears(&till, &word(boots));
    assert_eq!(events(&outputs), [Event::CloneClaimed { author, boots, by }]);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Tell(_))), "{outputs:?}");
    assert_eq!(clone_claims(&office.disk), [Claim { author, boots, by }]);
    assert!(clones(&office.disk).is_empty());
    assert!(events(&office.hears(&till, &word([Boot(7), Boot(8)]))).is_empty(), "one at a time");

    let outputs = office.handle(Input::Settle { ticket: 1, author });
    let let_in =
        |output: &Output| matches!(output, Output::Tell(FromFeeds::LetIn(peer)) if *peer == by);
    assert!(outputs.iter().any(let_in), "{outputs:?}");
    assert!(clone_claims(&office.disk).is_empty());
    assert!(events(&office.hears(&till, &word(boots))).is_empty(), "old news");
}

#[test]
fn nonsense_ends_the_link_and_nothing_else() {
    let mut office = Office::new();
    let (till, other) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s1"));
    let closed = |outputs: &[Output]| {
        outputs.iter().filter(|output| matches!(output, Output::Close { .. })).count()
    };
    let have = Have { feed: till.feed("sales"), first: 1, last: 1, keep: false, acked: 0 };
    let many = FeedFrame { have: Some(vec![have; FEEDS_MAX + 1]), ..FeedFrame::default() };
    for bytes in
        [b"nonsense".to_vec(), vec![0; wire::feeds::FEED_FRAME_MAX + 1], wire::encode(&many)]
    {
        office.up(&till);
        office.up(&other);
        let outputs = office.handle(Input::Frame { link: till.link, bytes: bytes.clone() });
        assert_eq!(closed(&outputs), 1);
        let after = office.handle(Input::Frame { link: till.link, bytes });
        assert!(after.is_empty(), "{after:?}");
    }
    let mut other = other;
    let sale = other.writes("sales", b"{}");
    let teller = other.clone();
    office.gives(&teller, &teller, &[sale]);
    assert_eq!(numbers(&office).len(), 1);
}

#[test]
fn an_author_of_very_many_starts_is_ended_on_all_of_them_and_on_those_to_come() {
    const STARTS: u64 = 2 * END_FEEDS_MAX as u64 + 1;
    let mut office = Office::new();
    let till = Till::new(&office, 1, "s1");
    office.up(&till);
    for start in (1..=STARTS).map(|n| Boot(10 * n)) {
        let mut started = till.started_as(start);
        let sale = started.writes("sales", b"{}");
        office.gives(&till, &started, &[sale]);
    }
    assert_eq!(numbers(&office).len() as u64, STARTS);
    office.end(&till, None).unwrap();
    let ends = ends(&office.disk);
    assert_eq!(ends.len(), 3);
    let topic = till.feed("sales").topic;
    let leaves = |boot, seq| ends.iter().all(|end| end.leaves(Boot(boot), &topic, seq));
    for boot in (1..=STARTS).map(|n| 10 * n) {
        assert!(leaves(boot, 1) && !leaves(boot, 2) && !leaves(boot - 5, 1), "boot {boot}");
    }
    assert!(!leaves(10 * STARTS + 5, 1));
}

#[test]
fn an_end_fits_into_an_entry_however_long_the_names_are() {
    let long = name(&"x".repeat(Name::MAX_BYTES));
    let topic = Topic { name: long.clone(), scope: Scope::Store(long.clone()) };
    let author = Author::terminal(peer(1));
    let last = |n| LastCounted { boot: Boot(u64::MAX - n), topic: topic.clone(), seq: u64::MAX };
    let last: Vec<_> = (0..3 * END_FEEDS_MAX as u64).rev().map(last).collect();
    for end in End::all(author, Some(&long), &last) {
        let control = Control { end: Some(end), ..Control::default() };
        assert!(wire::encode(&control).len() <= PAYLOAD_MAX);
    }
}
