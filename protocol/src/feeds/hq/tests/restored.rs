//! HQ restored from a backup: what it had said and taken since comes back from the stores.

use std::slice::from_ref;

use super::{
    shop::{Office, Till, asks, control, haves, signed_acks},
    *,
};
use crate::{
    feeds::{Boot, FeedId},
    wire::feeds::{Ask, Batch, FeedFrame, Have},
};

fn events(outputs: &[Output]) -> Vec<Event> {
    let events = outputs.iter().filter_map(|output| {
        if let Output::Event(event) = output { Some(event.clone()) } else { None }
    });
    events.collect()
}

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
        if let Output::Wanted(wanted) = output {
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

#[test]
fn what_nobody_has_any_more_is_a_gap_that_is_recorded_and_gone_behind() {
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
    let [kept] = gaps(&restored.disk, numbers(&restored)[0].0)[..] else { panic!() };
    assert_eq!((kept.from, kept.upto), (1, 5));
    assert_eq!(acks(&heard, &till)[0].seq, 6);
    assert_eq!(haves(&restored.later(ACK_EVERY), &till).last().map(|have| have.last), Some(6));
}

#[test]
fn an_hq_that_was_restored_and_does_not_know_it_is_told_of() {
    let mut office = Office::new();
    let till = Till::new(&office, 1, "s1");
    let backup = office.backup();
    office.append(wanted());
    let (mut restored, _) = Office::on(backup, 1);
    restored.up(&till);
    let have = Have { feed: office.own_feed(), first: 1, last: 3, keep: false, acked: 0 };
    let frame = FeedFrame { have: Some(vec![have]), ..FeedFrame::default() };
    let behind = Event::Behind { generation: 1, seq: 3, known: 2 };
    assert_eq!(events(&restored.hears(&till, &frame)), [behind]);
    assert_eq!(events(&restored.hears(&till, &frame)), [], "once");
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
