//! A terminal whose disk was put back, and what it wrote in a boot that it has forgotten the end of.

use super::*;
use crate::{
    feeds::{FeedId, HeaderHash, Run, exchange::PUSH_WAIT},
    fixtures::signer_in,
    wire::feeds::{Ask, Have},
};

/// What a terminal wrote in a boot that is over.
struct Written {
    feed: FeedId,
    bytes: Vec<Vec<u8>>,
    hashes: Vec<HeaderHash>,
}

fn written(author: usize, entries: usize) -> Written {
    let mut pen = Pen::of(author, "sales");
    pen.next.boot = Boot(9);
    let all: Vec<_> = (0..entries).map(|_| pen.write(b"{}")).collect();
    let bytes = all.iter().map(|it| wire::encode(&it.to_entry())).collect();
    Written { feed: pen.feed(), bytes, hashes: all.iter().map(Proven::hash).collect() }
}

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

fn have(feed: &FeedId, first: u64, last: u64, acked: u64) -> FeedFrame {
    let have = Have { feed: feed.clone(), first, last, keep: false, acked };
    FeedFrame { have: Some(vec![have]), ..FeedFrame::default() }
}

fn acks(ack: HqSigned<Ack>) -> FeedFrame {
    FeedFrame { acks: Some(vec![ack]), ..FeedFrame::default() }
}

/// The entries that HQ is given, each with the word that comes with it.
fn given(outputs: &[Output]) -> Vec<(Vec<u8>, Option<HqSigned<Ack>>)> {
    let sent = outputs.iter().filter_map(|output| {
        let Output::Send { to: Source::Hq, frame } = output else { return None };
        FeedFrame::read(frame).unwrap().batch
    });
    let given = sent.flat_map(|batch| {
        let base = batch.bases.first().cloned();
        batch.entries.into_iter().map(move |entry| (entry.to_vec(), base.clone()))
    });
    given.collect()
}

#[test]
fn it_keeps_what_it_has_and_brings_hq_the_end_that_a_neighbour_had() {
    let mut table = Table::open(2);
    let Written { feed, bytes, hashes } = written(0, 4);
    let hash = |seq: usize| hashes[seq - 1];
    let neighbour = Source::Neighbour(peer(1));
    let (now, till) = (table.now, &mut table.tills[0]);
    hear(now, till, neighbour, entries(&bytes[..2], Vec::new()));

    // HQ has acknowledged the third, which nobody near has.
    let told = have(&feed, 4, 4, 3);
    assert_eq!(asks(&hear(now, till, neighbour, told)), [(neighbour, 4, 4)]);
    let word = ack(1, &feed, (3, hash(3)), None);
    hear(now, till, neighbour, entries(&bytes[3..], vec![word.clone()]));
    let held = |till: &Till| {
        let feeds = till.feeds.status().feeds;
        let held = feeds.iter().find(|held| held.feed == feed).unwrap();
        (held.first, held.last, till.feeds.status().unacked)
    };
    assert_eq!(held(till), (1, 4, 1));

    // HQ was restored, and has lost it: it goes on behind the gap, as the terminal does.
    hear(now, till, Source::Hq, acks(ack(2, &feed, (2, hash(2)), None)));
    let ask = Ask { feed: feed.clone(), from: 3, upto: 4 };
    let asked = FeedFrame { ask: Some(vec![ask]), ..FeedFrame::default() };
    let given = given(&hear(now, till, Source::Hq, asked));
    assert_eq!(given, [(bytes[3].clone(), Some(word))]);
    let behind = Some(Run { from: 4, upto: 4, hash: hash(4) });
    hear(now, till, Source::Hq, acks(ack(2, &feed, (2, hash(2)), behind)));
    assert_eq!(held(till), (1, 4, 0));
}

#[test]
fn it_takes_the_beginning_again_when_hq_lacks_that() {
    let mut table = Table::open(2);
    let Written { feed, bytes, hashes } = written(0, 3);
    let neighbour = Source::Neighbour(peer(1));
    let (now, till) = (table.now, &mut table.tills[0]);
    let word = ack(1, &feed, (2, hashes[1]), None);
    hear(now, till, neighbour, entries(&bytes[2..], vec![word]));
    let told = have(&feed, 1, 3, 2);
    assert_eq!(asks(&hear(now, till, neighbour, told)), [], "HQ has it");

    // HQ was restored, and has the first one only.
    let first = acks(ack(2, &feed, (1, hashes[0]), None));
    assert_eq!(asks(&hear(now, till, Source::Hq, first)), [(neighbour, 2, 2)]);
    hear(now, till, neighbour, entries(&bytes[1..2], Vec::new()));
    let outputs = till.feeds.handle(now, &mut till.storage, vec![Input::Up(Source::Hq)]);
    let have = outputs.iter().find_map(|output| {
        let Output::Send { frame, .. } = output else { return None };
        FeedFrame::read(frame).unwrap().have
    });
    let runs = have.into_iter().flatten().filter(|have| have.feed == feed);
    assert_eq!(runs.map(|run| (run.first, run.last)).collect::<Vec<_>>(), [(2, 3)]);
}

#[test]
fn a_gateway_that_has_the_end_of_a_journal_takes_what_is_before_it_when_hq_lacks_that() {
    let mut table = Table::open(2);
    let Written { feed, bytes, hashes } = written(1, 4);
    let hash = |seq: usize| hashes[seq - 1];
    let author = Source::Neighbour(peer(1));
    let (now, till) = (table.now, &mut table.tills[0]);
    let word = ack(1, &feed, (3, hash(3)), None);
    hear(now, till, author, entries(&bytes[3..], vec![word.clone()]));
    let told = have(&feed, 1, 3, 1);
    assert_eq!(asks(&hear(now, till, author, told)), [], "HQ has it, as far as is known here");

    // HQ was restored, and has lost the second and the third.
    hear(now, till, Source::Hq, acks(ack(2, &feed, (1, hash(1)), None)));
    let outputs = till.feeds.handle(now + PUSH_WAIT, &mut till.storage, vec![Input::Tick]);
    assert_eq!(asks(&outputs), [(author, 2, 3)]);
    hear(now, till, author, entries(&bytes[1..3], Vec::new()));
    let feeds = till.feeds.status().feeds;
    let held = feeds.iter().find(|held| held.feed == feed).unwrap();
    assert_eq!((held.first, held.last, held.acked), (1, 4, 1));
    let ask = Ask { feed, from: 2, upto: 4 };
    let asked = FeedFrame { ask: Some(vec![ask]), ..FeedFrame::default() };
    let given: Vec<_> = given(&hear(now, till, Source::Hq, asked));
    assert_eq!(
        given.iter().map(|(entry, _)| entry).collect::<Vec<_>>(),
        [&bytes[1], &bytes[2], &bytes[3]]
    );
}

#[test]
fn a_gap_that_hq_has_does_not_hide_a_later_one_that_it_lacks() {
    let mut table = Table::open(3);
    let Written { feed, bytes, hashes } = written(1, 6);
    let hash = |seq: usize| hashes[seq - 1];
    let [one, other] = [1, 2].map(|n| Source::Neighbour(peer(n)));
    let (now, till) = (table.now, &mut table.tills[0]);
    hear(now, till, one, entries(&bytes[5..], vec![ack(1, &feed, (5, hash(5)), None)]));
    hear(now, till, Source::Hq, acks(ack(2, &feed, (2, hash(2)), None)));
    hear(now, till, one, have(&feed, 3, 4, 2));
    let outputs = till.feeds.handle(now + PUSH_WAIT, &mut till.storage, vec![Input::Tick]);
    assert_eq!(asks(&outputs), [(one, 3, 4)]);
    hear(now, till, one, entries(&bytes[2..4], Vec::new()));

    // The other has what is missing in the middle, and what HQ has.
    hear(now + PUSH_WAIT, till, other, have(&feed, 1, 5, 2));
    let later = now + PUSH_WAIT + PUSH_WAIT;
    let outputs = till.feeds.handle(later, &mut till.storage, vec![Input::Tick]);
    assert_eq!(asks(&outputs), [(other, 5, 5)]);
}
