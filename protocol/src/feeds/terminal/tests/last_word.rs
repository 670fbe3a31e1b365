//! What a terminal shows of HQ's acknowledgements, and to whom.

use std::slice::from_ref;

use storemesh_keys::HqSigned;

use super::*;

/// HQ's word for what till `n` has sold.
fn word(table: &Table, n: usize, at: u64) -> HqSigned<Ack> {
    let ledger = &table.tills[n].feeds.ledger;
    let (_, feed) = ledger.of(Author::terminal(peer(n))).next().unwrap();
    let (seq, hash, feed) = (feed.last, feed.hash.unwrap(), feed.id.clone());
    let (chain, at) = (trust().chain, Timestamp(at));
    signer().sign(&Ack { chain, generation: 1, feed, seq, hash, at, behind: None }).into_signed()
}

fn hears(table: &mut Table, from: Source, word: &HqSigned<Ack>) -> Vec<Output> {
    let acks = Some(vec![word.clone()]);
    let bytes = wire::encode(&FeedFrame { acks, ..FeedFrame::default() });
    let till = &mut table.tills[0];
    till.feeds.handle(table.now, &mut till.storage, vec![Input::Frame { from, bytes }])
}

fn shown(outputs: &[Output], side: Source) -> Vec<HqSigned<Ack>> {
    let frames = outputs.iter().filter_map(|output| {
        let Output::Send { to, frame } = output else { return None };
        (*to == side).then(|| FeedFrame::read(frame).unwrap())
    });
    frames.flat_map(|frame| frame.acks.unwrap_or_default()).collect()
}

#[test]
fn a_terminal_that_calls_hq_shows_it_its_own_last_word() {
    let mut table = Table::open(3);
    let call = |table: &mut Table| {
        let till = &mut table.tills[0];
        let outputs = till.feeds.handle(table.now, &mut till.storage, vec![Input::Up(Source::Hq)]);
        shown(&outputs, Source::Hq)
    };
    assert_eq!(call(&mut table), []);
    table.post(1, "stock", "a", Body::Moved(vec![("milk".to_owned(), 1)]), AckLevel::Disk);
    table.post(2, "stock", "b", Body::Moved(vec![("milk".to_owned(), 1)]), AckLevel::Disk);
    table.run(Duration::from_secs(2));
    let (newer, older) = (word(&table, 1, 9), word(&table, 2, 8));
    for word in [&newer, &older] {
        hears(&mut table, Source::Hq, word);
    }
    assert_eq!(call(&mut table), from_ref(&newer));
    let till = &mut table.tills[0];
    (till.feeds, _) = TerminalFeeds::load(setup(0, 9), &mut till.storage, table.now);
    assert_eq!(call(&mut table), [newer], "it has it on its disk");
}

#[test]
fn what_hq_has_acknowledged_is_told_to_all_but_who_said_so() {
    let mut table = Table::open(2);
    table.sale(1, "a", AckLevel::Disk);
    table.run(Duration::from_secs(2));
    let first = word(&table, 1, 8);
    let outputs = hears(&mut table, Source::Hq, &first);
    assert_eq!(shown(&outputs, Source::Neighbour(peer(1))), [first]);
    assert_eq!(shown(&outputs, Source::Hq), []);
    table.sale(1, "b", AckLevel::Disk);
    table.run(Duration::from_secs(2));
    let second = word(&table, 1, 9);
    let outputs = hears(&mut table, Source::Neighbour(peer(1)), &second);
    assert_eq!(shown(&outputs, Source::Neighbour(peer(1))), []);
}
