//! HQ restored from a backup: what it had said and taken since comes back from the stores.

use std::slice::from_ref;

use super::{
    shop::{Office, Till, asks, control, events, haves, signed_acks},
    *,
};
use crate::{
    feeds::{Boot, FeedId},
    wire::feeds::{Ask, Batch, FeedFrame, Have},
};

fn wanted() -> Control {
    let wanted = WantedRelease { release: shop::release(), at: Timestamp(5) };
    Control { wanted: Some(wanted), ..Control::default() }
}

fn second_schema() -> Control {
    Control { schema: Some(Schema { version: 2, ..Schema::first() }), ..Control::default() }
}

/// Everything HQ had said in its first generation.
fn first_feed(office: &mut Office, till: &Till, upto: u64) -> (FeedId, Vec<Vec<u8>>) {
    let heard = office.ask(till, upto);
    (office.own_feed(), shop::entries(&heard, till))
}

#[test]
fn a_new_generation_says_again_all_that_holds() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    office.append(wanted());
    office.append(second_schema());
    let sale = till.writes("sales", b"{}");
    office.gives(&till, &till, &[sale]);
    office.end(&till, Some("sales")).unwrap();
    let (mut restored, outputs) = Office::on(office.backup(), 2);
    let told = outputs.iter().filter_map(|output| {
        if let Output::Tell(FromFeeds::Wanted(wanted)) = output {
            Some((wanted.generation, wanted.release.id))
        } else {
            None
        }
    });
    assert_eq!(told.collect::<Vec<_>>(), [(2, shop::release().id)]);

    restored.up(&till);
    let said = control(&restored.ask(&till, 5), &till);
    assert_eq!(said.len(), 5);
    let versions: Vec<u32> =
        said.iter().filter_map(|it| Some(it.schema.as_ref()?.version)).collect();
    assert_eq!(versions, [1, 2]);
    assert!(said.iter().any(|it| it.settings == Some(Settings::default())));
    assert!(said.iter().any(|it| it.end.is_some()) && said.iter().any(|it| it.wanted.is_some()));
    let before = restored.disk.0.len();
    restored.restart();
    assert_eq!(restored.disk.0.len(), before, "said once");
}

#[test]
fn what_a_lost_hq_had_said_comes_back() {
    let mut office = Office::new();
    let till = Till::new(&office, 1, "s1");
    let backup = office.backup();
    office.up(&till);
    office.append(second_schema());
    office.append(wanted());
    let (feed, said) = first_feed(&mut office, &till, 4);
    assert_eq!(said.len(), 4);

    let (mut restored, _) = Office::on(backup, 2);
    restored.up(&till);
    let have = Have { feed: feed.clone(), first: 1, last: 4, keep: false, acked: 0 };
    let heard =
        restored.hears(&till, &FeedFrame { have: Some(vec![have]), ..FeedFrame::default() });
    assert_eq!(asks(&heard, &till), [Ask { feed, from: 3, upto: 4 }]);
    let entries = said[2..].iter().cloned().map(Into::into).collect();
    let online = vec![shop::signer(1).online().clone()];
    let batch = Some(Batch { online, entries, ..Batch::default() });
    let heard = restored.hears(&till, &FeedFrame { batch, ..FeedFrame::default() });
    assert_eq!(schema(&restored.disk).unwrap().version, 2);
    assert_eq!(restored.own_feed().boot, Boot(2));
    let (product, version) = (name("pos"), name("1.0"));
    assert_eq!(events(&heard), [Event::Lost(Lost::Wanted { product, version })]);
    // Said again, for who hears the new generation alone.
    let next = Schema { version: 3, ..Schema::first() };
    restored.append(Control { schema: Some(next), ..Control::default() });
}

#[test]
fn entries_of_a_schema_that_was_lost_wait_for_it() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    let backup = office.backup();
    office.up(&till);
    office.append(second_schema());
    let (_, said) = first_feed(&mut office, &till, 3);
    till.schema = 2;
    let sale = till.writes("sales", b"{}");

    let (mut restored, _) = Office::on(backup, 2);
    restored.up(&till);
    restored.gives(&till, &till, from_ref(&sale));
    assert_eq!(numbers(&restored), []);
    let online = vec![shop::signer(1).online().clone()];
    let batch = Batch { entries: vec![said[2].clone().into()], online, ..Batch::default() };
    restored.hears(&till, &FeedFrame { batch: Some(batch), ..FeedFrame::default() });
    restored.gives(&till, &till, &[sale]);
    assert_eq!(numbers(&restored).len(), 1);
}

#[test]
fn an_acknowledgement_holds_only_in_its_generation() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    let backup = office.backup();
    office.up(&till);
    let sale = till.writes("sales", b"{}");
    office.gives(&till, &till, from_ref(&sale));

    let (mut restored, _) = Office::on(backup, 2);
    restored.up(&till);
    restored.tells(&till, "sales", 1, 0);
    let heard = restored.later(Duration::from_millis(300));
    assert_eq!(asks(&heard, &till).len(), 1);
    let heard = restored.gives(&till, &till, &[sale]);
    let signed = acks(&heard, &till);
    assert_eq!((signed[0].generation, signed[0].seq), (2, 1));
    assert_eq!(Cursor::newest(&restored.disk).to_string(), "2-1");
    let former = "1-1".parse::<Cursor>().unwrap();
    assert!(former.check(&restored.disk).is_err());
}

/// HQ is restored from before `lost` sales of a till, and has gone on behind them, by what a gateway brings
/// that has the rest alone.
struct Behind {
    restored: Office,
    /// Who wrote them, and is away.
    till: Till,
    gateway: Till,
    lost: Vec<Vec<u8>>,
    heard: Vec<Output>,
}

fn behind(before: usize, lost: usize) -> Behind {
    let mut office = Office::new();
    let (mut till, gateway) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s1"));
    office.up(&till);
    let mut sell =
        |count: usize| -> Vec<_> { (0..count).map(|_| till.moves(&[("apple", -1_000)])).collect() };
    let (kept, lost, new) = (sell(before), sell(lost), sell(1));
    let teller = Till::new(&office, 1, "s1");
    office.gives(&teller, &teller, &kept);
    let backup = office.backup();
    office.later(ACK_EVERY);
    let mut heard = office.gives(&teller, &teller, &lost);
    heard.extend(office.later(ACK_EVERY));
    let base = signed_acks(&heard, &teller).pop().unwrap();

    let (mut restored, _) = Office::on(backup, 2);
    restored.up(&gateway);
    let first = (before + lost.len() + 1) as u64;
    has(&mut restored, &gateway, &till, (first, first));
    let mut heard = restored.gives_behind(&gateway, &till, &new, &[base]);
    heard.extend(restored.later(ACK_EVERY));
    Behind { restored, till, gateway, lost, heard }
}

/// `side` tells which of a till's stock entries it has.
fn has(office: &mut Office, side: &Till, of: &Till, (first, last): (u64, u64)) -> Vec<Output> {
    let have = Have { feed: of.feed("stock"), first, last, keep: false, acked: 0 };
    office.hears(side, &FeedFrame { have: Some(vec![have]), ..FeedFrame::default() })
}

/// Up to where HQ signs for it, and the run behind a gap.
fn signed(heard: &[Output], side: &Till) -> Option<(u64, Option<(u64, u64)>)> {
    let ack = acks(heard, side).pop()?;
    Some((ack.seq, ack.behind.map(|run| (run.from, run.upto))))
}

fn missing(office: &Office) -> Vec<u64> {
    crate::feeds::held(&office.disk, &shop::trust(), None).iter().map(|row| row.missing).collect()
}

fn apples(office: &Office) -> i64 {
    stock::on_hand(&office.disk, &name("s1"), "apple").map_or(0, |on_hand| on_hand.quantity / 1_000)
}

#[test]
fn what_nobody_near_has_is_a_gap_that_hq_goes_on_behind_and_does_not_sign_for() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    let backup = office.backup();
    office.up(&till);
    let old: Vec<_> = (0..5).map(|_| till.writes("sales", b"{}")).collect();
    let heard = office.gives(&till, &till, &old);
    let base = signed_acks(&heard, &till).pop().unwrap();
    // The terminal has dropped what was acknowledged, and sells on.
    let new = till.writes("sales", b"{}");

    let (mut restored, _) = Office::on(backup, 2);
    restored.up(&till);
    restored.gives(&till, &till, from_ref(&new));
    assert_eq!(numbers(&restored), [], "without HQ's word for what is missing it is not taken");
    restored.gives_behind(&till, &till, from_ref(&new), from_ref(&base));
    assert_eq!(numbers(&restored), [], "a terminal that has all of it is asked for all of it");
    let have = Have { feed: till.feed("sales"), first: 6, last: 6, keep: false, acked: 0 };
    restored.hears(&till, &FeedFrame { have: Some(vec![have]), ..FeedFrame::default() });
    let heard = restored.gives_behind(&till, &till, &[new], &[base]);
    let author = Author::terminal(till.key.peer_id());
    let gap = Event::Gap { author, boot: till.boot, topic: name("sales"), from: 1, upto: 5 };
    assert_eq!(events(&heard), [gap]);
    assert_eq!(missing(&restored), [5]);
    assert_eq!(signed(&heard, &till), Some((0, Some((6, 6)))));
    let told = haves(&restored.later(ACK_EVERY), &till);
    assert_eq!(told.last().map(|have| (have.first, have.last)), Some((6, 6)));
    // It goes on as ever, and signs for what follows.
    let next = till.writes("sales", b"{}");
    let mut heard = restored.gives(&till, &till, &[next]);
    heard.extend(restored.later(ACK_EVERY));
    assert_eq!(signed(&heard, &till), Some((0, Some((6, 7)))));
}

#[test]
fn whoever_has_what_hq_lacks_is_asked_for_it_and_it_counts_once() {
    let Behind { mut restored, till, lost, heard, .. } = behind(2, 4);
    assert_eq!(signed(&heard, &till), None);
    assert_eq!((apples(&restored), missing(&restored)), (-3, vec![4]));
    restored.up(&till);
    let heard = has(&mut restored, &till, &till, (1, 7));
    assert_eq!(asks(&heard, &till), [Ask { feed: till.feed("stock"), from: 3, upto: 6 }]);
    assert_eq!(signed(&heard, &till), Some((2, Some((7, 7)))), "it may not drop what HQ lacks");

    let mut heard = restored.gives(&till, &till, &lost[..3]);
    heard.extend(restored.later(ACK_EVERY));
    assert_eq!(signed(&heard, &till), Some((5, Some((7, 7)))));
    assert_eq!((apples(&restored), missing(&restored)), (-6, vec![1]));
    restored.restart();
    restored.up(&till);
    let mut heard = restored.gives(&till, &till, &lost);
    heard.extend(restored.later(ACK_EVERY));
    let author = Author::terminal(till.key.peer_id());
    let filled = Event::Filled { author, boot: till.boot, topic: name("stock"), upto: 6 };
    assert_eq!(events(&heard), [filled]);
    assert_eq!(signed(&heard, &till), Some((7, None)));
    assert_eq!((apples(&restored), missing(&restored)), (-7, vec![0]));
    let seqs: Vec<u64> = numbers(&restored).iter().map(|(_, seq)| *seq).collect();
    assert_eq!(seqs, [1, 2, 7, 3, 4, 5, 6], "exported as it came");
}

#[test]
fn a_gap_is_filled_from_its_middle_by_who_has_no_more() {
    let Behind { mut restored, till, gateway, lost, .. } = behind(0, 6);
    let heard = has(&mut restored, &gateway, &till, (3, 7));
    assert_eq!(asks(&heard, &gateway), [Ask { feed: till.feed("stock"), from: 3, upto: 6 }]);
    restored.gives(&gateway, &till, &lost[2..4]);
    assert_eq!(missing(&restored), [4]);
    // One has what is before, and another what is behind.
    let other = Till::new(&restored, 3, "s1");
    restored.up(&other);
    let heard = has(&mut restored, &other, &till, (1, 4));
    assert_eq!(asks(&heard, &other), [], "the gateway has been asked, and is giving");
    restored.gives(&gateway, &till, &lost[4..]);
    let heard = restored.gives(&other, &till, &lost[..2]);
    assert_eq!(missing(&restored), [0]);
    let mut heard = heard;
    heard.extend(restored.later(ACK_EVERY));
    assert_eq!(signed(&heard, &other), Some((7, None)));
    assert_eq!(apples(&restored), -7);
}

#[test]
fn what_does_not_fit_to_either_side_of_a_gap_is_not_taken() {
    let Behind { mut restored, till, gateway, lost, .. } = behind(1, 2);
    let mut twin = Till::new(&restored, 1, "s1");
    // Another history of the same author: its second entry does not follow HQ's first.
    twin.moves(&[("pear", 1_000)]);
    let (second, third) = (twin.moves(&[("pear", 1_000)]), twin.moves(&[("pear", 1_000)]));
    restored.gives(&gateway, &till, &[second]);
    assert_eq!(missing(&restored), [2]);
    // The fourth names another.
    restored.gives(&gateway, &till, &[third]);
    assert_eq!(missing(&restored), [2]);
    restored.gives(&gateway, &till, &lost);
    assert_eq!(missing(&restored), [0]);
}

#[test]
fn a_range_that_hq_lacks_it_does_not_give() {
    let Behind { mut restored, till, lost, .. } = behind(1, 2);
    let other = Till::new(&restored, 3, "s1");
    restored.up(&other);
    let ask = |from, upto| {
        let ask = Some(vec![Ask { feed: till.feed("stock"), from, upto }]);
        FeedFrame { ask, ..FeedFrame::default() }
    };
    assert_eq!(shop::entries(&restored.hears(&other, &ask(1, 4)), &other).len(), 1);
    assert!(shop::entries(&restored.hears(&other, &ask(2, 4)), &other).is_empty());
    assert_eq!(shop::entries(&restored.hears(&other, &ask(4, 4)), &other).len(), 1);
    restored.gives(&other, &till, &lost);
    assert_eq!(shop::entries(&restored.hears(&other, &ask(1, 4)), &other).len(), 4);
}

#[test]
fn what_hq_holds_is_acknowledged_in_the_new_generation_too() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    let sale = till.writes("sales", b"{}");
    office.gives(&till, &till, &[sale]);
    office.later(ACK_EVERY);
    let (mut restored, _) = Office::on(office.backup(), 2);
    restored.later(ACK_EVERY);
    restored.up(&till);
    let told = restored.tells(&till, "sales", 1, 0);
    let acks = acks(&told, &till);
    assert_eq!(acks.iter().map(|ack| (ack.generation, ack.seq)).collect::<Vec<_>>(), [(2, 1)]);
}

#[test]
fn an_hq_that_was_killed_before_it_signed_does_so_when_it_runs_again() {
    let mut office = Office::new();
    let mut till = Till::new(&office, 1, "s1");
    office.up(&till);
    let entries = [till.writes("sales", b"{}"), till.writes("sales", b"{}")];
    office.gives(&till, &till, &entries[..1]);
    office.gives(&till, &till, &entries[1..]);
    office.restart();
    office.later(ACK_EVERY);
    office.up(&till);
    let acks = acks(&office.tells(&till, "sales", 2, 0), &till);
    assert_eq!(acks.iter().map(|ack| ack.seq).collect::<Vec<_>>(), [2]);
}
