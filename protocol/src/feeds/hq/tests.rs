//! A head office and its stores, without a network.

mod behind;
mod restored;
mod shop;
mod told;
mod wrong;

use std::time::Duration;

use self::shop::{Office, Till, acks, control, haves};
use super::*;
use crate::{
    feeds::{Control, Schema, Settings, WantedRelease, ledger::FeedNo},
    fixtures::{name, peer},
};

fn numbers(office: &Office) -> Vec<(FeedNo, u64)> {
    let mut arrived = Vec::new();
    each_after(&office.disk, Cursor::BEGINNING, &mut |_, arrival| {
        arrived.push((arrival.feed(), arrival.seq));
        std::ops::ControlFlow::Continue(())
    });
    arrived
}

#[test]
fn a_new_chain_begins_with_a_schema_and_settings_and_says_them_once() {
    let mut office = Office::new();
    assert_eq!(schema(&office.disk), Some(Schema::first()));
    assert_eq!(settings(&office.disk), Settings::default());
    let before = office.disk.0.clone();
    office.restart();
    assert_eq!(office.disk.0, before);
}

#[test]
fn hqs_feed_goes_to_every_link_and_what_is_new_is_pushed() {
    let mut office = Office::new();
    let (till, other) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s2"));
    for till in [&till, &other] {
        let heard = office.up(till);
        let told = haves(&heard, till);
        assert_eq!(told.len(), 1, "HQ's own feed alone: {told:?}");
        assert_eq!(told[0].last, 2);
        assert_eq!(shop::boot(&heard, till), Some(Boot(1)));
    }
    // They have what was told.
    for till in [&till, &other] {
        office.ask(till, 2);
    }
    let heard = office.append(Control {
        settings: Some(Settings { journal_copies: 3, ..Settings::default() }),
        ..Control::default()
    });
    for till in [&till, &other] {
        assert_eq!(control(&heard, till).last().unwrap().settings.unwrap().journal_copies, 3);
    }
}

#[test]
fn an_entry_counts_once_whoever_brings_it_and_is_acknowledged() {
    let mut office = Office::new();
    let (mut till, neighbour) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s1"));
    office.up(&till);
    office.up(&neighbour);
    let sale = till.writes("sales", b"{}");
    let heard = office.gives(&till, &till, std::slice::from_ref(&sale));
    let signed = acks(&heard, &till);
    assert_eq!(signed.len(), 1);
    assert_eq!((signed[0].seq, signed[0].generation), (1, 1));
    office.later(Duration::from_secs(1));
    office.gives(&neighbour, &till, &[sale]);
    assert_eq!(numbers(&office).len(), 1);
}

#[test]
fn arrivals_are_numbered_in_their_order_also_after_a_restart() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    let (one, two) = (till.writes("sales", b"1"), till.writes("returns", b"2"));
    office.gives(&till, &till, &[one, two]);
    office.restart();
    office.up(&till);
    let three = till.writes("sales", b"3");
    office.gives(&till, &till, &[three]);
    let seqs: Vec<u64> = numbers(&office).iter().map(|(_, seq)| *seq).collect();
    assert_eq!(seqs, [1, 1, 2]);
    assert_eq!(Cursor::newest(&office.disk).to_string(), "1-3");
}

#[test]
fn a_feed_is_acknowledged_at_most_once_in_fifty_milliseconds() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    let mut signed = Vec::new();
    for _ in 0..100 {
        let sale = till.writes("sales", b"{}");
        signed.extend(acks(&office.gives(&till, &till, &[sale]), &till));
        signed.extend(acks(&office.later(Duration::from_millis(1)), &till));
    }
    assert!((1..=3).contains(&signed.len()), "{} in 100 ms", signed.len());
    signed.extend(acks(&office.later(ACK_EVERY), &till));
    assert_eq!(signed.last().unwrap().seq, 100);
}

#[test]
fn a_terminal_that_missed_an_acknowledgement_hears_it_when_it_tells_what_it_has() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    let sale = till.writes("sales", b"{}");
    office.gives(&till, &till, &[sale]);
    office.down(&till);
    office.up(&till);
    let heard = office.tells(&till, "sales", 1, 0);
    assert_eq!(acks(&heard, &till)[0].seq, 1);
    assert!(acks(&office.tells(&till, "sales", 1, 1), &till).is_empty());
}

#[test]
fn stock_is_counted_from_what_arrives() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    let moved = till.moves(&[("apple", -2_000), ("pear", -1_000)]);
    office.gives(&till, &till, std::slice::from_ref(&moved));
    office.gives(&till, &till, &[moved]);
    let on_hand = |store: &str, item| {
        stock::on_hand(&office.disk, &name(store), item).map(|on_hand| on_hand.quantity)
    };
    assert_eq!(on_hand("s1", "apple"), Some(-2_000));
    assert_eq!(on_hand("s2", "apple"), None);
}

#[test]
fn a_release_is_wanted_from_when_it_is_on_disk_and_after_every_start() {
    let mut office = Office::new();
    let release = shop::release();
    let wanted = WantedRelease { release: release.clone(), at: office.wall };
    let outputs = office.append(Control { wanted: Some(wanted), ..Control::default() });
    let told = |outputs: &[Output]| -> Vec<u64> {
        let wanted = outputs.iter().filter_map(|output| {
            let Output::Tell(FromFeeds::Wanted(wanted)) = output else { return None };
            Some(wanted.number)
        });
        wanted.collect()
    };
    assert_eq!(told(&outputs), [3]);
    assert_eq!(told(&office.restart()), [3]);
}

#[test]
fn an_order_that_is_none_is_refused() {
    let mut office = Office::new();
    let mut schema = Schema::first();
    schema.version = 3;
    let why = office.refused(Control { schema: Some(schema), ..Control::default() });
    assert_eq!(why, AppendError::Version { found: 3, newest: 1 });
    let copies = Settings { journal_copies: 99, ..Settings::default() };
    let why = office.refused(Control { settings: Some(copies), ..Control::default() });
    assert!(why.to_string().contains("journal.copies"), "{why}");
    let soon = Settings { journal_retention_s: 60, ..Settings::default() };
    let why = office.refused(Control { settings: Some(soon), ..Control::default() });
    assert!(why.to_string().contains("journal.retention"), "{why}");
}

#[test]
fn an_author_is_ended_at_what_hq_holds() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    let (one, two) = (till.moves(&[("apple", -1_000)]), till.moves(&[("apple", -1_000)]));
    office.gives(&till, &till, &[one]);
    let ended = office.end(&till, None).unwrap();
    assert_eq!(ended.seq, 3);
    office.gives(&till, &till, &[two]);
    let apples = stock::on_hand(&office.disk, &name("s1"), "apple").unwrap();
    assert_eq!(apples.quantity, -1_000);
    let nobody = Input::End { ticket: 0, author: Author::terminal(peer(9)), topic: None };
    assert!(matches!(office.answer(nobody), Err(AppendError::Nothing(..))));
}

#[test]
fn a_cursor_that_this_hq_did_not_give_is_told_from_one_that_it_did() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    for _ in 0..5 {
        let sale = till.writes("sales", b"{}");
        office.gives(&till, &till, &[sale]);
    }
    let check = |text: &str| text.parse::<Cursor>().unwrap().check(&office.disk);
    for good in ["0-0", "1-1", "1-5"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for (bad, last) in [("1-6", "1-5"), ("2-3", "1-3"), ("0-3", "0-0")] {
        let Err(CursorError::NotOurs(_, from)) = check(bad) else { panic!("{bad} is good") };
        assert_eq!(from.to_string(), last, "{bad}");
    }
    for none in ["", "1", "1-", "-1", "1-+2", "a-b", "1-2-3"] {
        assert!(none.parse::<Cursor>().is_err(), "{none}");
    }
}
