//! What is taken, and all that is not.

mod words;

use storemesh_keys::{SecretKey, Signed, Timestamp};

use super::*;
use crate::{
    feeds::{
        After, Boot, Entry, EntryError, Scope, ScopeKind, TopicKind, TopicRule, Writers,
        samples::{Pen, certificate, key, peer, trust},
        storage::Memory,
    },
    fixtures::{name, signer, signer_in},
    wire,
};

struct Desk {
    ledger: Ledger,
    storage: Memory,
}

impl Desk {
    /// Where terminals 0 to 3 are known, and the first schema.
    fn new() -> Self {
        Self::keeping(Keeps::OwnOf(Author::terminal(peer(3))))
    }

    fn keeping(keeps: Keeps) -> Self {
        let mut storage = Memory::default();
        let mut ledger = Ledger::load(trust(), keeps, &storage);
        ledger.add_schema(Schema::first());
        ledger.raise_generation(1);
        for n in 0..4 {
            assert!(ledger.vouch(&mut storage, &certificate(n, "s1")).is_some());
        }
        Self { ledger, storage }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<Taken, Refused> {
        self.take_from(bytes, &BTreeMap::new())
    }

    fn take_from(
        &mut self,
        bytes: &[u8],
        bases: &BTreeMap<FeedId, Verified<Ack>>,
    ) -> Result<Taken, Refused> {
        let taken = self.ledger.take(&mut self.storage, bytes, |_| true, bases);
        self.ledger.flush(&mut self.storage);
        taken
    }

    fn last(&self, feed: &FeedId) -> u64 {
        self.ledger.number(feed).map_or(0, |number| self.ledger.feed(number).last)
    }

    fn restart(&mut self) {
        let ends = std::mem::take(&mut self.ledger.ends);
        self.ledger = Ledger::load(trust(), self.ledger.keeps, &self.storage);
        self.ledger.add_schema(Schema::first());
        self.ledger.raise_generation(1);
        self.ledger.ends = ends;
    }
}

fn ack(feed: &FeedId, seq: u64, hash: HeaderHash) -> Verified<Ack> {
    let signer = signer();
    let (chain, generation) = (signer.described().chain, signer.described().generation);
    signer.sign(&Ack {
        chain,
        generation,
        feed: feed.clone(),
        seq,
        hash,
        at: Timestamp(1),
        behind: None,
    })
}

fn refused(taken: Result<Taken, Refused>) -> Refused {
    taken.expect_err("it should have been refused")
}

#[test]
fn entries_are_taken_in_order_once_and_are_there_after_a_restart() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let (one, two) = (pen.bytes(b"1"), pen.bytes(b"2"));
    assert_eq!(refused(desk.take(&two)), Refused::Gap { seq: 2, last: 0 });
    assert!(desk.take(&one).unwrap().counts);
    assert!(desk.take(&two).unwrap().counts);
    desk.restart();
    assert_eq!(desk.last(&pen.feed()), 2);
    assert_eq!(refused(desk.take(&one)), Refused::Known);
    assert_eq!(desk.take(&pen.bytes(b"3")).unwrap().seq, 3);
}

#[test]
fn a_claimed_gap_is_not_believed_and_leaves_nothing() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    _ = pen.write(b"1");
    let two = pen.bytes(b"2");
    assert_eq!(refused(desk.take(&two)), Refused::Gap { seq: 2, last: 0 });
    assert_eq!(desk.ledger.number(&pen.feed()), None);
}

#[test]
fn a_payload_that_is_not_the_one_the_header_names_is_refused() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let mut entry = pen.write(b"199").to_entry();
    entry.payload = Some(b"1.9".to_vec());
    let why = refused(desk.take(&wire::encode(&entry)));
    assert_eq!(why, Refused::Unproven(EntryError::WrongPayload));
    entry.payload = Some(b"19".to_vec());
    let why = refused(desk.take(&wire::encode(&entry)));
    assert_eq!(why, Refused::Unproven(EntryError::WrongLength { found: 2, said: 3 }));
    entry.payload = None;
    assert_eq!(refused(desk.take(&wire::encode(&entry))), Refused::NoPayload);
    assert!(why.is_the_senders_fault());
}

#[test]
fn an_entry_that_another_signed_is_refused() {
    let (mut desk, pen) = (Desk::new(), Pen::of(0, "sales"));
    let payload = b"1".to_vec();
    let header = crate::feeds::Header {
        payload: crate::feeds::PayloadHash::of(&payload),
        length: 1,
        ..pen.next.clone()
    };
    for forger in [key(1), SecretKey::from_seed([200; 32])] {
        let entry =
            Entry { header: Signed::sign(&forger, &header), payload: Some(payload.clone()) };
        let why = refused(desk.take(&wire::encode(&entry)));
        assert!(matches!(why, Refused::Unproven(EntryError::Unsigned(_))), "{why}");
    }
}

#[test]
fn an_entry_under_anothers_certificate_or_none_is_refused() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    pen.next.certificate = Pen::of(1, "sales").next.certificate;
    assert_eq!(refused(desk.take(&pen.clone().bytes(b"1"))), Refused::Unvouched);
    pen.next.certificate = CertificateHash([9; 32]);
    assert_eq!(refused(desk.take(&pen.bytes(b"1"))), Refused::Unvouched);
}

#[test]
fn a_terminal_has_no_feed_for_another_store_or_for_the_chain() {
    for scope in [Scope::Store(name("s2")), Scope::Chain, Scope::Region(name("north"))] {
        let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
        pen.next.topic.scope = scope.clone();
        assert_eq!(refused(desk.take(&pen.bytes(b"1"))), Refused::NoRight, "{scope:?}");
        assert_eq!(desk.ledger.feeds().count(), 0);
    }
}

#[test]
fn a_wrong_predecessor_is_refused() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    desk.take(&pen.bytes(b"1")).unwrap();
    let mut other = pen.clone();
    other.next.previous = Some(HeaderHash([1; 32]));
    assert_eq!(refused(desk.take(&other.bytes(b"2"))), Refused::Unlinked);
    // A new boot must name what its author wrote.
    let mut later = pen.clone();
    later.next.boot = Boot(77);
    later.next.seq = 1;
    later.next.after = Some(After { boot: pen.next.boot, seq: 1 });
    let mut wrong = later.clone();
    wrong.next.previous = Some(HeaderHash([1; 32]));
    assert_eq!(refused(desk.take(&wrong.bytes(b"2"))), Refused::Unlinked);
    assert!(desk.take(&later.bytes(b"2")).unwrap().counts);
}

#[test]
fn what_its_schema_does_not_allow_is_void_and_the_feed_goes_on() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "cash"));
    let long = vec![0; 16 * 1024 + 1];
    let taken = desk.take(&pen.bytes(&long)).unwrap();
    assert!(!taken.counts);
    assert_eq!(taken.entry.payload(), None, "what is too long is not kept");
    assert!(desk.take(&pen.bytes(b"1")).unwrap().counts);

    let mut unknown = Pen::of(1, "salads");
    assert!(!desk.take(&unknown.bytes(b"1")).unwrap().counts);
    let mut stock = Pen::of(2, "stock");
    let taken = desk.take(&stock.bytes(b"no record")).unwrap();
    assert!(!taken.counts);
    assert!(taken.entry.payload().is_some(), "its payload is what shows that it is void");
}

#[test]
fn a_void_entry_is_given_on_without_its_payload_and_judged_alike() {
    let (mut here, mut there) = (Desk::new(), Desk::new());
    let mut pen = Pen::of(0, "cash");
    let number = here.take(&pen.bytes(&vec![0; 17_000])).unwrap().feed;
    let given = here.ledger.give(&here.storage, number, (1, 1), 1 << 20, 10);
    assert!(given.bytes < 1000);
    assert!(!there.take(&given.entries[0]).unwrap().counts);
    assert_eq!(refused(there.take(&given.entries[0])), Refused::Known);
}

#[test]
fn an_entry_of_a_later_schema_waits_for_it() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "vouchers"));
    pen.next.schema = 2;
    let bytes = pen.bytes(b"1");
    let why = refused(desk.take(&bytes));
    assert_eq!(why, Refused::Later { schema: 2 });
    assert!(!why.is_the_senders_fault());
    let vouchers = TopicRule {
        name: name("vouchers"),
        kind: TopicKind::Journal,
        scope: ScopeKind::Store,
        writers: Writers::Terminals,
        bytes_max: 10,
    };
    let mut topics = Schema::first().topics;
    topics.push(vouchers);
    desk.ledger.add_schema(Schema { version: 2, topics });
    assert!(desk.take(&bytes).unwrap().counts);
    // What was written by the older one is judged by the older one.
    let mut old = Pen::of(1, "vouchers");
    assert!(!desk.take(&old.bytes(b"1")).unwrap().counts);
}

#[test]
fn a_fork_is_kept_as_evidence_and_ends_its_author() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let mut twin = pen.clone();
    desk.take(&pen.bytes(b"1")).unwrap();
    let author = pen.next.author;
    assert!(matches!(refused(desk.take(&twin.bytes(b"one"))), Refused::Forked(_)));
    assert!(desk.ledger.is_forked(&author));
    assert_eq!(refused(desk.take(&pen.bytes(b"2"))), Refused::AuthorForked);
    let evidence = Ledger::fork_of(&desk.storage, author).unwrap();

    let mut elsewhere = Desk::new();
    assert_eq!(elsewhere.ledger.hear_fork(&mut elsewhere.storage, &evidence), Some(author));
    assert_eq!(elsewhere.ledger.hear_fork(&mut elsewhere.storage, &evidence), None);
    elsewhere.restart();
    assert!(elsewhere.ledger.is_forked(&author));
}

#[test]
fn two_headers_that_are_no_fork_prove_nothing() {
    let mut desk = Desk::new();
    let (mut one, mut other) = (Pen::of(0, "sales"), Pen::of(1, "sales"));
    let (first, second) = (one.write(b"1"), one.write(b"2"));
    let pairs = [
        (first.signed(), first.signed()),
        (first.signed(), second.signed()),
        (first.signed(), other.write(b"1").signed()),
    ]
    .map(|(one, other)| Fork { one: one.clone(), other: other.clone() });
    for fork in pairs {
        assert_eq!(desk.ledger.hear_fork(&mut desk.storage, &fork), None);
    }
}

#[test]
fn stock_is_never_left_out() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "stock"));
    let movement = crate::feeds::stock::Movement { item: "milk".to_owned(), quantity: -1 };
    let record = crate::feeds::stock::Record { movements: vec![movement], count: None };
    let record = wire::encode(&record);
    let (_, two) = (pen.write(&record), pen.write(&record));
    let three = pen.bytes(&record);
    let base = BTreeMap::from([(pen.feed(), ack(&pen.feed(), 2, two.hash()))]);
    assert!(matches!(refused(desk.take_from(&three, &base)), Refused::Gap { .. }));
}

#[test]
fn a_feed_that_nobody_gave_can_be_forgotten_at_any_time() {
    let (mut desk, pen) = (Desk::new(), Pen::of(0, "sales"));
    let number = desk.ledger.intern(&pen.feed());
    assert!(desk.ledger.is_unbegun(number));
    assert!(desk.ledger.forget_unbegun(number));
    assert!(!desk.ledger.is_unbegun(number));
    desk.ledger.flush(&mut desk.storage);
    // One of which HQ has spoken stays.
    let number = desk.ledger.intern(&pen.feed());
    let word = ack(&pen.feed(), 5, HeaderHash([1; 32]));
    assert_eq!(desk.ledger.acked(&mut desk.storage, &word), Some(number));
    assert!(!desk.ledger.forget_unbegun(number));
    desk.ledger.flush(&mut desk.storage);
}

#[test]
fn of_an_author_that_forked_only_what_hq_lets_count_is_taken() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let mut twin = pen.clone();
    desk.take(&pen.bytes(b"1")).unwrap();
    assert!(matches!(refused(desk.take(&twin.bytes(b"one"))), Refused::Forked(_)));
    let (two, three) = (pen.bytes(b"2"), pen.bytes(b"3"));
    assert_eq!(refused(desk.take(&two)), Refused::AuthorForked);
    let feed = pen.feed();
    let (boot, topic) = (feed.boot, feed.topic.clone());
    let last = vec![crate::feeds::LastCounted { boot, topic, seq: 2 }];
    desk.ledger.add_end(End { author: feed.author, topic: None, last, after: None, upto: None });
    assert!(desk.take(&two).unwrap().counts);
    assert_eq!(refused(desk.take(&three)), Refused::AuthorForked);
}

#[test]
fn what_is_dropped_is_not_given_any_more_and_not_taken_again() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let entries: Vec<_> = (0..5_u8).map(|n| pen.bytes(&[n])).collect();
    let number = entries.iter().map(|bytes| desk.take(bytes).unwrap().feed).last().unwrap();
    assert_eq!(desk.ledger.trim(&mut desk.storage, number, 3), 3);
    let given = desk.ledger.give(&desk.storage, number, (1, 9), 1 << 20, 10);
    assert_eq!(given.entries, entries[3..]);
    assert_eq!(refused(desk.take(&entries[0])), Refused::Known);
    assert_eq!(desk.ledger.trim(&mut desk.storage, number, 99), 2);
    assert_eq!(desk.take(&pen.bytes(b"5")).unwrap().seq, 6);
}

#[test]
fn a_batch_is_as_long_as_it_may_be_and_never_empty() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    let entries: Vec<_> = (0..5_u8).map(|n| pen.bytes(&[n; 100])).collect();
    let number = entries.iter().map(|bytes| desk.take(bytes).unwrap().feed).last().unwrap();
    let give = |bytes, count| desk.ledger.give(&desk.storage, number, (2, 5), bytes, count).entries;
    assert_eq!(give(1, 9), entries[1..2]);
    assert_eq!(give(entries[1].len() * 2, 9).len(), 2);
    assert_eq!(give(1 << 20, 3), entries[1..4]);
    assert_eq!(give(1 << 20, 9), entries[1..]);
}

#[test]
fn after_its_end_an_author_does_not_count() {
    let (mut desk, mut pen) = (Desk::new(), Pen::of(0, "sales"));
    desk.take(&pen.bytes(b"1")).unwrap();
    let feed = pen.feed();
    let last = |seq| crate::feeds::LastCounted { boot: feed.boot, topic: feed.topic.clone(), seq };
    let end =
        End { author: feed.author, topic: None, last: vec![last(1)], after: None, upto: None };
    desk.ledger.add_end(end);
    assert!(!desk.take(&pen.bytes(b"2")).unwrap().counts);
    assert!(desk.ledger.counts(&EntryId { feed: feed.clone(), seq: 1 }));
    let other = EntryId { feed: FeedId { boot: Boot(500), ..feed.clone() }, seq: 1 };
    assert!(!desk.ledger.counts(&other), "a boot that is not listed");
}

#[test]
fn any_bytes_are_an_entry_or_refused() {
    let mut desk = Desk::new();
    let good = Pen::of(0, "sales").bytes(b"199");
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(desk.take(&bad).is_err(), "byte {at}, bit {bit}");
        }
        assert!(desk.take(&good[..at]).is_err());
    }
    let long = vec![0; crate::feeds::ENTRY_MAX + 1];
    assert_eq!(refused(desk.take(&long)), Refused::TooLarge(long.len()));
}
