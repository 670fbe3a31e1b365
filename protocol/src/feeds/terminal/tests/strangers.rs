//! What a neighbour cannot do to others by what it says.

use super::*;
use crate::{
    feeds::{LastCounted, exchange::PUSH_WAIT},
    wire::feeds::{Cloned, Fork, Have},
};

fn kept_out(table: &Table, n: usize) -> Vec<PeerId> {
    let told = table.tills[n]
        .told
        .iter()
        .filter_map(|told| if let FromFeeds::KeepOut(peer) = told { Some(*peer) } else { None });
    told.collect()
}

fn boot(from: usize, boot: u64) -> Input {
    let frame = FeedFrame { boot: Some(Boot(boot)), ..FeedFrame::default() };
    Input::Frame { from: Source::Neighbour(peer(from)), bytes: wire::encode(&frame) }
}

/// The clones that `side` is told of.
fn shown(outputs: &[Output], side: Source) -> Option<Vec<Cloned>> {
    outputs.iter().find_map(|output| {
        let Output::Send { to, frame } = output else { return None };
        FeedFrame::read(frame).unwrap().clones.filter(|_| *to == side)
    })
}

#[test]
fn a_claim_that_a_disk_was_cloned_goes_on_to_hq_and_keeps_nobody_out() {
    let mut table = Table::open(3);
    let author = Author::terminal(peer(2));
    let word = Cloned { author, boots: [Boot(5), Boot(6)] };
    let frame = FeedFrame { clones: Some(vec![word]), ..FeedFrame::default() };
    let from = Source::Neighbour(peer(1));
    let till = &mut table.tills[0];
    let input = Input::Frame { from, bytes: wire::encode(&frame) };
    let outputs = till.feeds.handle(table.now, &mut till.storage, vec![input]);
    assert_eq!(shown(&outputs, Source::Hq), Some(vec![word]));
    let claimed = |output: &Output| matches!(output, Output::Event(Event::CloneClaimed { .. }));
    assert_eq!(outputs.iter().filter(|output| claimed(output)).count(), 1);
    let told = |output: &Output| matches!(output, Output::Tell(_));
    assert!(!outputs.iter().any(told), "{outputs:?}");
}

#[test]
fn claims_on_many_do_not_keep_what_was_seen_here_from_being_told() {
    let mut table = Table::open(3);
    let word =
        |n: usize| Cloned { author: Author::terminal(peer(10 + n)), boots: [Boot(5), Boot(6)] };
    let clones = Some((0..FORKS_MAX).map(word).collect());
    let frame = FeedFrame { clones, ..FeedFrame::default() };
    let from = Source::Neighbour(peer(1));
    table.input(0, Input::Frame { from, bytes: wire::encode(&frame) });
    // The boot in which it was first, another one, and the first again.
    table.input(0, boot(2, 77));
    table.input(0, boot(2, 3));
    assert_eq!(kept_out(&table, 0), [peer(2)]);
    let till = &mut table.tills[0];
    let side = Source::Neighbour(peer(HQ));
    let outputs = till.feeds.handle(table.now, &mut till.storage, vec![Input::Up(side)]);
    let author = Author::terminal(peer(2));
    assert!(shown(&outputs, side).unwrap().iter().any(|cloned| cloned.author == author));
}

#[test]
fn a_disk_that_gets_full_takes_own_sales_and_hqs_orders_and_nothing_that_others_wrote() {
    let mut table = Table::open(3);
    // All of it goes to the gateway, and a stock movement to every terminal.
    let moved = || Body::Moved(vec![("milk".to_owned(), -1_000)]);
    table.input(0, Input::Room(RoomFor::OwnPosts));
    table.post(0, "stock", "own", moved(), AckLevel::Disk);
    table.sale(1, "sale of another", AckLevel::Disk);
    table.post(1, "stock", "stock of another", moved(), AckLevel::Disk);
    let settings = Some(Settings { journal_copies: 1, ..Settings::default() });
    let schema = Some(Schema::first());
    let orders =
        [Control { schema, ..Control::default() }, Control { settings, ..Control::default() }];
    table.input(0, Input::Frame { from: Source::Hq, bytes: control_batch(&orders) });
    table.run(Duration::from_secs(15));
    let authors = |table: &Table| {
        let feeds = table.tills[0].feeds.status().feeds.into_iter();
        let written = feeds.filter(|feed| feed.feed.topic.name.as_str() != CONTROL);
        written.map(|feed| feed.feed.author.peer()).collect::<Vec<_>>()
    };
    assert_eq!(authors(&table), [peer(0)]);
    assert_eq!(table.tills[0].feeds.status().settings.journal_copies, 1);
    assert!(table.tills[0].answers[0].1.is_ok());
    assert_eq!(table.tills[0].rejected, Vec::<String>::new(), "nobody is to blame");

    table.input(0, Input::Room(RoomFor::Nothing));
    table.post(0, "stock", "refused", moved(), AckLevel::Disk);
    assert_eq!(table.tills[0].answers[1].1, Err(PostError::Full));
    table.input(0, Input::Room(RoomFor::All));
    table.run(Duration::from_secs(15));
    assert_eq!(authors(&table).len(), 3, "and it is made up for when there is room");
    let told = table.tills[0].told.iter().filter_map(|told| {
        if let FromFeeds::NoRoom(no_room) = told { Some(*no_room) } else { None }
    });
    assert!(told.eq([true, false]), "{:?}", table.tills[0].told);
}

#[test]
fn what_hq_lets_count_of_one_that_has_forked_is_fetched() {
    let mut table = Table::open(2);
    let mut pen = Pen::of(1, "stock");
    let (feed, moved) = (pen.feed(), b"\xa0");
    let one = pen.bytes(moved);
    let mut twin = pen.clone();
    let (two, other) = (pen.write(moved).to_entry().header, twin.write(b"x").to_entry().header);
    let (now, till, author) = (table.now, &mut table.tills[0], Source::Neighbour(peer(1)));
    hear(now, till, author, entries(&[one], Vec::new()));
    let have = Have { feed: feed.clone(), first: 1, last: 2, keep: false, acked: 0 };
    let (forks, have) = (Some(vec![Fork { one: two, other }]), Some(vec![have]));
    let outputs = hear(now, till, author, FeedFrame { have, forks, ..FeedFrame::default() });
    assert_eq!(asks(&outputs), []);
    let outputs = till.feeds.handle(now + PUSH_WAIT, &mut till.storage, vec![Input::Tick]);
    assert_eq!(asks(&outputs), [], "nothing that it writes is believed");

    let (schema, boot) = (Some(Schema::first()), feed.boot);
    let last = vec![LastCounted { boot, topic: feed.topic.clone(), seq: 2 }];
    let end = End { author: feed.author, topic: None, last, after: None, upto: None };
    let orders = [
        Control { schema, ..Control::default() },
        Control { end: Some(end), ..Control::default() },
    ];
    let input = Input::Frame { from: Source::Hq, bytes: control_batch(&orders) };
    let outputs = till.feeds.handle(now + PUSH_WAIT, &mut till.storage, vec![input]);
    assert_eq!(asks(&outputs), [(author, 2, 2)]);
}
