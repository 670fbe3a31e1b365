//! HQ's words: what they stand in for, and which one counts.

use std::time::Duration;

use super::*;

#[test]
fn hqs_word_stands_in_for_what_was_trimmed() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let (_, two) = (pen.write(b"1"), pen.write(b"2"));
    let three = pen.bytes(b"3");
    let of = |seq, hash| BTreeMap::from([(pen.feed(), ack(&pen.feed(), seq, hash))]);
    let wrong = of(2, HeaderHash([3; 32]));
    assert!(matches!(refused(desk.take_from(&three, &wrong)), Refused::Gap { .. }));
    let taken = desk.take_from(&three, &of(2, two.hash())).unwrap();
    let feed = desk.ledger.feed(taken.feed);
    assert_eq!((feed.first, feed.last), (3, 3));
}

#[test]
fn what_is_behind_a_gap_is_given_with_hqs_word_however_often_hq_was_restored() {
    let mut desk = Desk::keeping(Keeps::OwnOf(Author::terminal(peer(0))));
    let mut pen = Pen::of(0, "sales");
    let (one, two, three) = (pen.write(b"1"), pen.write(b"2"), pen.write(b"3"));
    let last = wire::encode(&three.to_entry());
    let word = ack(&pen.feed(), 2, two.hash());
    let number = desk.take(&wire::encode(&one.to_entry())).unwrap().feed;
    desk.take_from(&last, &BTreeMap::from([(pen.feed(), word)])).unwrap();
    assert_eq!(desk.ledger.feed(number).runs().collect::<Vec<_>>(), [(1, 1), (3, 3)]);

    // A restored HQ has taken it so, and a later one has lost that.
    let signer = signer_in(2);
    let (chain, at, feed) = (signer.described().chain, Timestamp(2), pen.feed());
    let behind = Some(crate::feeds::Run { from: 3, upto: 3, hash: three.hash() });
    let second =
        signer.sign(&Ack { chain, generation: 2, feed, seq: 1, hash: one.hash(), at, behind });
    assert_eq!(desk.ledger.acked(&mut desk.storage, &second), Some(number));
    let given = desk.ledger.give(&desk.storage, number, (2, 3), 1 << 20, 2);
    assert_eq!((given.from, given.entries), (3, vec![last.clone()]));
    let base = desk.ledger.verify_ack(&given.base.unwrap()).unwrap();
    let mut hq = Desk::keeping(Keeps::All);
    hq.ledger.raise_generation(3);
    hq.take(&wire::encode(&one.to_entry())).unwrap();
    assert!(hq.take_from(&last, &BTreeMap::from([(pen.feed(), base)])).unwrap().opens.is_some());
}

#[test]
fn what_hq_said_before_it_was_restored_removes_nothing() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    desk.take(&pen.bytes(b"1")).unwrap();
    let two = pen.write(b"2");
    let three = pen.bytes(b"3");
    desk.ledger.raise_generation(2);
    let former = BTreeMap::from([(pen.feed(), ack(&pen.feed(), 2, two.hash()))]);
    assert!(matches!(refused(desk.take_from(&three, &former)), Refused::Gap { .. }));
    // HQ itself goes on behind the gap: nobody has what it lost.
    let mut hq = Desk::keeping(Keeps::All);
    hq.ledger.raise_generation(2);
    assert_eq!(hq.take_from(&three, &former).unwrap().seq, 3);
}

#[test]
fn an_acknowledgement_counts_when_it_is_newer_and_of_what_is_here() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let (one, two) = (pen.write(b"1"), pen.write(b"2"));
    for entry in [&one, &two] {
        desk.take(&wire::encode(&entry.to_entry())).unwrap();
    }
    let heard = |desk: &mut Desk, seq, hash| {
        desk.ledger.acked(&mut desk.storage, &ack(&pen.feed(), seq, hash)).is_some()
    };
    assert!(!heard(&mut desk, 2, one.hash()), "HQ has another second entry");
    assert!(heard(&mut desk, 2, two.hash()));
    assert!(!heard(&mut desk, 1, one.hash()), "it is older");
    desk.ledger.flush(&mut desk.storage);
    desk.restart();
    let number = desk.ledger.number(&pen.feed()).unwrap();
    assert_eq!(desk.ledger.feed(number).acked_in(1), 2);
    assert_eq!(desk.ledger.feed(number).acked_in(2), 0);
}

#[test]
fn a_gap_that_grew_smaller_from_above_is_news() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let all: Vec<_> = (0..4).map(|_| pen.write(b"1")).collect();
    let mut number = None;
    for entry in &all {
        number = Some(desk.take(&wire::encode(&entry.to_entry())).unwrap().feed);
    }
    let number = number.unwrap();
    for (from, acked) in [(4, 1), (3, 1), (2, 4)] {
        let (chain, feed) = (signer().described().chain, pen.feed());
        let run = crate::feeds::Run { from, upto: 4, hash: all[3].hash() };
        // HQ signs for all of it when nothing is missing.
        let (behind, upto) = if from == 2 { (None, 4) } else { (Some(run), 1) };
        let (hash, at) = (all[upto - 1].hash(), Timestamp(1));
        let seq = upto as u64;
        let word = signer().sign(&Ack { chain, generation: 1, feed, seq, hash, at, behind });
        assert_eq!(desk.ledger.acked(&mut desk.storage, &word), Some(number), "from {from}");
        assert_eq!(desk.ledger.feed(number).acked_in(1), acked);
        assert_eq!(desk.ledger.acked(&mut desk.storage, &word), None, "again");
    }
}

#[test]
fn how_old_an_entry_was_in_a_lost_generation_says_nothing() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let entry = pen.write(b"1");
    let number = desk.take(&wire::encode(&entry.to_entry())).unwrap().feed;
    let days = |days: u64| Timestamp(1).plus(Duration::from_hours(24 * days));
    let old = ack(&pen.feed(), 1, entry.hash());
    assert_eq!(desk.ledger.acked(&mut desk.storage, &old), Some(number));
    let retention = Duration::from_hours(14 * 24);
    assert_eq!(desk.ledger.aged(1, days(13), retention), []);
    assert_eq!(desk.ledger.aged(1, days(15), retention), [(number, 1)]);

    // HQ was restored, and has it since today.
    let signer = signer_in(2);
    let chain = signer.described().chain;
    let (feed, hash, at) = (pen.feed(), entry.hash(), days(15));
    let new = signer.sign(&Ack { chain, generation: 2, feed, seq: 1, hash, at, behind: None });
    desk.ledger.raise_generation(2);
    assert_eq!(desk.ledger.aged(2, days(16), retention), [], "HQ has not got it yet");
    assert_eq!(desk.ledger.acked(&mut desk.storage, &new), Some(number));
    assert_eq!(desk.ledger.aged(2, days(28), retention), []);
    assert_eq!(desk.ledger.aged(2, days(30), retention), [(number, 1)]);
}

#[test]
fn the_end_of_a_feed_is_given_with_hqs_older_word_when_its_newest_no_longer_reaches_so_far() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let (one, two) = (pen.write(b"1"), pen.write(b"2"));
    let three = pen.bytes(b"3");
    let word = ack(&pen.feed(), 2, two.hash());
    let base = BTreeMap::from([(pen.feed(), word.clone())]);
    let number = desk.take_from(&three, &base).unwrap().feed;
    assert_eq!(desk.ledger.acked(&mut desk.storage, &word), Some(number));
    let given =
        |desk: &Desk| desk.ledger.give(&desk.storage, number, (3, 3), 1 << 20, 1).base.unwrap();
    assert_eq!(given(&desk), *word.signed());

    // HQ was restored and has lost the second; HQ, which has not got the third, takes it so.
    let signer = signer_in(2);
    let newer = |seq, hash| {
        let (chain, feed) = (signer.described().chain, pen.feed());
        let at = Timestamp(2);
        signer.sign(&Ack { chain, generation: 2, feed, seq, hash, at, behind: None })
    };
    desk.ledger.raise_generation(2);
    let first = newer(1, one.hash());
    assert_eq!(desk.ledger.acked(&mut desk.storage, &first), Some(number));
    desk.ledger.flush(&mut desk.storage);
    desk.restart();
    assert_eq!(given(&desk), *word.signed());
    let mut hq = Desk::keeping(Keeps::All);
    hq.ledger.raise_generation(2);
    hq.take(&wire::encode(&one.to_entry())).unwrap();
    assert!(hq.take_from(&three, &base).unwrap().opens.is_some());

    // It has the second again.
    desk.ledger.raise_generation(2);
    let second = newer(2, two.hash());
    assert_eq!(desk.ledger.acked(&mut desk.storage, &second), Some(number));
    assert_eq!(given(&desk), *second.signed());
    assert_eq!(desk.storage.get(PROOFS, &number.key()), None);
}
