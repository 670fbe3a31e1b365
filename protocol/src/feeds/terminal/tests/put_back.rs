//! A terminal whose disk was put back, and what it wrote in a boot that it has forgotten the end of.

use super::*;
use crate::{
    feeds::{FeedId, HeaderHash, Run, exchange::PUSH_WAIT},
    fixtures::signer_in,
    wire::feeds::Have,
};

fn ack(
    generation: u64,
    feed: &FeedId,
    (seq, hash): (u64, HeaderHash),
    behind: Option<Run>,
) -> HqSigned<Ack> {
    let (chain, at, feed) = (trust().chain, Timestamp(5), feed.clone());
    let signer = signer_in(generation);
    signer.sign(&Ack { chain, generation, feed, seq, hash, at, behind }).into_signed()
}

#[test]
fn it_keeps_what_it_has_and_gets_what_is_between_from_hq() {
    let mut table = Table::open(2);
    let mut pen = Pen::of(0, "sales");
    pen.next.boot = Boot(9);
    let all: Vec<_> = (0..3).map(|_| pen.bytes(b"{}")).collect();
    let hash = pen.next.previous.unwrap();
    let last = pen.bytes(b"{}");
    let (now, till) = (table.now, &mut table.tills[0]);
    let neighbour = Source::Neighbour(peer(1));
    hear(now, till, Source::Hq, FeedFrame { boot: Some(Boot(1)), ..FeedFrame::default() });
    hear(now, till, neighbour, entries(&all[..2], Vec::new()));

    // A copy's first entries are gone, and HQ has acknowledged them.
    let have = Have { feed: pen.feed(), first: 4, last: 4, keep: false, acked: 3 };
    let outputs =
        hear(now, till, neighbour, FeedFrame { have: Some(vec![have]), ..FeedFrame::default() });
    assert_eq!(asks(&outputs), []);
    let ack = ack(1, &pen.feed(), (3, hash), None);
    let outputs = hear(now, till, neighbour, entries(std::slice::from_ref(&last), vec![ack]));
    assert_eq!(asks(&outputs), [(Source::Hq, 3, 3)]);
    let outputs = hear(now, till, Source::Hq, entries(&all[2..], Vec::new()));
    assert_eq!(asks(&outputs), [(neighbour, 4, 4)]);
    hear(now, till, neighbour, entries(&[last], Vec::new()));
    let feeds = till.feeds.status().feeds;
    let own = feeds.iter().find(|feed| feed.feed == pen.feed()).unwrap();
    assert_eq!((own.first, own.last), (1, 4));
}

#[test]
fn a_gateway_that_has_the_end_of_its_journal_lets_go_of_it_when_hq_has_that_and_lacks_what_is_before()
 {
    let mut table = Table::open(2);
    let mut pen = Pen::of(1, "sales");
    pen.next.boot = Boot(9);
    let (feed, author) = (pen.feed(), Source::Neighbour(peer(1)));
    let entries_of: Vec<_> = (0..4).map(|_| pen.write(b"{}")).collect();
    let bytes: Vec<_> = entries_of.iter().map(|it| wire::encode(&it.to_entry())).collect();
    let hash = |seq: usize| entries_of[seq - 1].hash();
    let (now, till) = (table.now, &mut table.tills[0]);
    hear(now, till, author, entries(&bytes[3..], vec![ack(1, &feed, (3, hash(3)), None)]));
    let have = Have { feed: feed.clone(), first: 1, last: 3, keep: false, acked: 1 };
    let outputs =
        hear(now, till, author, FeedFrame { have: Some(vec![have]), ..FeedFrame::default() });
    assert_eq!(asks(&outputs), [], "HQ has it all, in the generation that is known here");

    // HQ was restored, has lost the second and the third, and has taken the fourth.
    let behind = |upto| (upto > 0).then(|| Run { from: 4, upto, hash: hash(4) });
    let acks = |upto| {
        let acks = Some(vec![ack(2, &feed, (1, hash(1)), behind(upto))]);
        FeedFrame { acks, ..FeedFrame::default() }
    };
    assert_eq!(asks(&hear(now, till, Source::Hq, acks(0))), [], "HQ lacks the fourth, too");
    hear(now, till, Source::Hq, acks(4));
    let outputs = till.feeds.handle(now + PUSH_WAIT, &mut till.storage, vec![Input::Tick]);
    assert_eq!(asks(&outputs), [(author, 2, 3)]);
    hear(now, till, author, entries(&bytes[1..3], vec![ack(2, &feed, (1, hash(1)), behind(4))]));
    let feeds = till.feeds.status().feeds;
    let held = feeds.iter().find(|held| held.feed == feed).unwrap();
    assert_eq!((held.first, held.last), (2, 3));
}
