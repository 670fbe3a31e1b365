//! HQ's folder was put back, and nobody has said so.

use std::slice::from_ref;

use storemesh_keys::{
    Authored, ChainId, Expiry, HqSigned, HqSigner, OnlineKey, SecretKey, Signed, Trust,
};

use super::{
    shop::{Office, Till, acks, asks, entries, events, rejected, signed_acks, signer, trust},
    *,
};
use crate::{
    feeds::{Ack, Boot, Entry, FeedId, Header, storage::Memory},
    wire::{
        self,
        feeds::{Ask, Batch, FeedFrame, Fork, Have},
    },
};

fn copies(journal_copies: u32) -> Control {
    let settings = Settings { journal_copies, ..Settings::default() };
    Control { settings: Some(settings), ..Control::default() }
}

/// HQ's orders that came after a backup, as a terminal keeps them, and HQ put back to before them.
fn put_back(till: &Till, orders: u32) -> (Office, FeedId, Vec<Vec<u8>>) {
    let mut office = Office::new();
    let backup = office.backup();
    office.up(till);
    for journal_copies in 3..3 + orders {
        office.append(copies(journal_copies));
    }
    let said = entries(&office.ask(till, 2 + u64::from(orders)), till);
    let (mut restored, _) = Office::on(backup, 1);
    restored.up(till);
    (restored, office.own_feed(), said[2..].to_vec())
}

fn claims(office: &mut Office, side: &Till, feed: &FeedId, last: u64) -> Vec<Output> {
    let have = Have { feed: feed.clone(), first: 1, last, keep: false, acked: 0 };
    office.hears(side, &FeedFrame { have: Some(vec![have]), ..FeedFrame::default() })
}

fn gives(office: &mut Office, side: &Till, entries: &[Vec<u8>]) -> Vec<Output> {
    let entries = entries.iter().cloned().map(Into::into).collect();
    let online = vec![signer(1).online().clone()];
    let batch = Some(Batch { online, entries, ..Batch::default() });
    office.hears(side, &FeedFrame { batch, ..FeedFrame::default() })
}

fn shows(office: &mut Office, side: &Till, ack: &HqSigned<Ack>) -> Vec<Output> {
    let acks = Some(vec![ack.clone()]);
    office.hears(side, &FeedFrame { acks, ..FeedFrame::default() })
}

/// HQ's word for two sales, and its disk from before them.
fn lost_sales(till: &mut Till) -> (Office, Memory, HqSigned<Ack>) {
    let mut office = Office::new();
    let backup = office.backup();
    office.up(till);
    let sales = [till.writes("sales", b"{}"), till.writes("sales", b"{}")];
    let mut heard = office.gives(till, till, &sales);
    heard.extend(office.later(ACK_EVERY));
    let ack = signed_acks(&heard, till).pop().unwrap();
    (office, backup, ack)
}

#[test]
fn who_claims_more_of_what_hq_has_said_is_asked_for_it_and_believed_when_hq_has_signed_it() {
    let till = Till::new(&Office::new(), 1, "s1");
    let (mut office, feed, lost) = put_back(&till, 2);
    let heard = claims(&mut office, &till, &feed, 4);
    assert_eq!(asks(&heard, &till), [Ask { feed: feed.clone(), from: 3, upto: 4 }]);
    assert_eq!((events(&heard), behind_since(&office.disk)), (vec![], None));

    let heard = gives(&mut office, &till, &lost);
    assert_eq!(events(&heard), [Event::Behind { generation: 1, seq: 3, known: 2 }]);
    assert!(rejected(&heard).is_empty(), "it did as it was asked");
    assert_eq!(behind_since(&office.disk), Some(office.wall));
    assert_eq!(settings(&office.disk), Settings::default(), "what is lost is not taken back so");
    // That is all that was to be known.
    let mut heard = claims(&mut office, &till, &feed, 4);
    heard.extend(office.later(Duration::from_mins(1)));
    assert_eq!((asks(&heard, &till), events(&heard)), (vec![], vec![]));
}

#[test]
fn who_claims_what_hq_never_said_accuses_itself_alone() {
    let mut office = Office::new();
    let (mut liar, honest) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s1"));
    office.up(&liar);
    office.up(&honest);
    let own = office.own_feed();
    let later = FeedId { boot: Boot(7), ..own.clone() };
    for feed in [&own, &later] {
        let mut heard = claims(&mut office, &liar, feed, 9);
        assert_eq!(asks(&heard, &liar).len(), 1);
        heard.extend(office.later(Duration::from_secs(5)));
        assert_eq!(events(&heard), [], "it gives nothing");
    }
    // Its own word, in HQ's name.
    let said = entries(&office.ask(&honest, 2), &honest);
    let entry: Entry = wire::decode(&said[1]).unwrap();
    let header = Header { seq: 3, ..header_of(&entry) };
    let header = Authored::sign(&liar.key, header).signed().clone();
    let forged = Entry { header: header.clone(), ..entry.clone() };
    let heard = gives(&mut office, &liar, &[wire::encode(&forged)]);
    assert_eq!((rejected(&heard).len(), events(&heard)), (1, vec![]));
    let fork = Fork { one: entry.header.clone(), other: header };
    let heard = office.hears(&liar, &FeedFrame { forks: Some(vec![fork]), ..FeedFrame::default() });
    assert_eq!(events(&heard), []);
    // What HQ has said indeed, and knows.
    let heard = gives(&mut office, &liar, &said);
    assert_eq!((rejected(&heard).len(), events(&heard)), (2, vec![]));
    // An acknowledgement by another chain's root.
    let sale = liar.writes("sales", b"{}");
    let mut heard = office.gives(&liar, &liar, from_ref(&sale));
    heard.extend(office.later(ACK_EVERY));
    let [ack] = &acks(&heard, &liar)[..] else { panic!("one sale, one acknowledgement") };
    let key = SecretKey::from_seed([9; 32]);
    let chain = ChainId::of_root(key.public());
    let online = OnlineKey { chain, key: key.public(), ..signer(1).described().clone() };
    let theirs = Trust { chain, generation_min: 0 };
    let pen = HqSigner::new(key.clone(), Signed::sign(&key, &online), &theirs).unwrap();
    for chain in [chain, trust().chain] {
        let more = Ack { chain, seq: 9, ..ack.clone() };
        assert_eq!(events(&shows(&mut office, &liar, pen.sign(&more).signed())), []);
    }
    assert_eq!(behind_since(&office.disk), None);
}

#[test]
fn hqs_own_acknowledgement_of_what_it_lacks_proves_it_until_the_next_generation() {
    let mut till = Till::new(&Office::new(), 1, "s1");
    let (mut office, backup, ack) = lost_sales(&mut till);
    assert_eq!(events(&shows(&mut office, &till, &ack)), [], "it knows");

    let (mut restored, _) = Office::on(backup, 1);
    restored.up(&till);
    let behind = Event::Behind { generation: 1, seq: 2, known: 0 };
    assert_eq!(events(&shows(&mut restored, &till, &ack)), [behind]);
    restored.restart();
    restored.up(&till);
    assert!(behind_since(&restored.disk).is_some());
    assert_eq!(events(&shows(&mut restored, &till, &ack)), [], "once");

    let (mut said, _) = Office::on(restored.backup(), 2);
    said.up(&till);
    assert_eq!(behind_since(&said.disk), None);
    assert_eq!(events(&shows(&mut said, &till, &ack)), []);
}

#[test]
fn a_word_that_comes_along_with_entries_proves_it_too() {
    let mut till = Till::new(&Office::new(), 1, "s1");
    let (_, backup, ack) = lost_sales(&mut till);
    let third = till.writes("sales", b"{}");
    let (mut restored, _) = Office::on(backup, 1);
    restored.up(&till);
    let heard = restored.gives_behind(&till, &till, &[third], &[ack]);
    let behind = Event::Behind { generation: 1, seq: 2, known: 0 };
    let (author, boot) = (Author::terminal(till.key.peer_id()), till.boot);
    let gap = Event::Gap { author, boot, topic: name("sales"), from: 1, upto: 2 };
    assert_eq!(events(&heard), [behind, gap]);
}

#[test]
fn an_order_in_the_place_of_a_lost_one_proves_it_once_both_are_shown() {
    let till = Till::new(&Office::new(), 1, "s1");
    let (mut office, feed, lost) = put_back(&till, 1);
    office.append(copies(7));
    // There are as many as the terminal has.
    let heard = claims(&mut office, &till, &feed, 3);
    assert_eq!((asks(&heard, &till), events(&heard)), (vec![], vec![]));
    let other = entries(&office.ask(&till, 3), &till).pop().unwrap();
    let header = |entry: &[u8]| wire::decode::<Entry>(entry).unwrap().header;
    let fork = Fork { one: header(&other), other: header(&lost[0]) };
    let frame = FeedFrame { forks: Some(vec![fork]), ..FeedFrame::default() };
    let heard = office.hears(&till, &frame);
    assert_eq!(events(&heard), [Event::Behind { generation: 1, seq: 3, known: 3 }]);
    assert_eq!(events(&office.hears(&till, &frame)), [], "once");
}

#[test]
fn an_hq_that_lost_whole_generations_is_behind_until_it_has_passed_them() {
    let mut till = Till::new(&Office::new(), 1, "s1");
    let (_, backup, ack) = lost_sales(&mut till);
    let Ok(ack) = ack.verify(&trust(), Timestamp(0), Expiry::Ignored) else { panic!("HQ's own") };
    let third = signer(3).sign(&Ack { generation: 3, ..(*ack).clone() });
    let (mut restored, _) = Office::on(backup, 1);
    restored.up(&till);
    let behind = Event::Behind { generation: 3, seq: 2, known: 0 };
    assert_eq!(events(&shows(&mut restored, &till, third.signed())), [behind]);
    for (generation, still) in [(2, true), (3, true), (4, false)] {
        restored = Office::on(restored.backup(), generation).0;
        assert_eq!(behind_since(&restored.disk).is_some(), still, "{generation}");
    }
}

fn header_of(entry: &Entry) -> Header {
    let mut claimed = None;
    _ = Authored::verify_claim(entry.header.clone(), |header: &Header| {
        claimed = Some(header.clone());
        None
    });
    claimed.unwrap()
}
