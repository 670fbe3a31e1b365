//! Whom HQ tells how far it has what.

use super::{
    shop::{Office, Till, haves},
    *,
};
use crate::{feeds::exchange::TELL_EVERY, wire::feeds::Have};

/// A feed's author, its boot and topic, and how far HQ has it.
type Told = (Author, Boot, String, u64);

fn stock_and_journals(outputs: &[Output], till: &Till) -> Vec<Told> {
    let told = haves(outputs, till).into_iter();
    let told = told.map(|Have { feed, last, .. }| {
        (feed.author, feed.boot, feed.topic.name.as_str().to_owned(), last)
    });
    told.filter(|(author, ..)| *author != Author::hq(shop::trust().chain)).collect()
}

fn is(till: &Till, topic: &str, last: u64) -> Told {
    let feed = till.feed(topic);
    (feed.author, feed.boot, topic.to_owned(), last)
}

impl Office {
    fn speaks(&mut self, till: &Till) -> Vec<Output> {
        self.hears(till, &FeedFrame { stock: Some(true), ..FeedFrame::default() })
    }

    fn brings(&mut self, bringer: &Till, author: &mut Till, topic: &str) -> Vec<Output> {
        let entry = match topic {
            "stock" => author.moves(&[("apple", -1_000)]),
            _ => author.writes(topic, b"{}"),
        };
        let mut outputs = self.gives(bringer, author, &[entry]);
        outputs.extend(self.later(TELL_EVERY));
        outputs
    }
}

#[test]
fn who_speaks_for_the_store_is_told_of_its_stock_and_nobody_else() {
    let mut office = Office::new();
    let (mut till, gateway) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s1"));
    let mut other = Till::new(&office, 3, "s2");
    for till in [&till, &gateway, &other] {
        office.up(till);
    }
    office.brings(&gateway, &mut till, "stock");
    office.brings(&gateway, &mut till, "sales");
    let elsewhere = office.speaks(&other);
    assert_eq!(stock_and_journals(&elsewhere, &other), [], "another store's");
    office.brings(&other.clone(), &mut other, "stock");

    office.restart();
    for till in [&till, &gateway, &other] {
        let heard = office.up(till);
        assert_eq!(stock_and_journals(&heard, till), []);
    }
    office.later(TELL_EVERY);
    let heard = office.speaks(&gateway);
    assert_eq!(stock_and_journals(&heard, &gateway), [is(&till, "stock", 1)]);
    assert_eq!(stock_and_journals(&heard, &till), []);
    office.later(TELL_EVERY);
    let again = office.speaks(&gateway);
    assert_eq!(stock_and_journals(&again, &gateway), [], "it knows");

    let grown = office.brings(&till.clone(), &mut till, "stock");
    for told in [&till, &gateway] {
        assert_eq!(stock_and_journals(&grown, told), [is(&till, "stock", 2)]);
    }
}

#[test]
fn of_a_journal_who_brought_it_is_told_that_it_arrived_and_nobody_else() {
    let mut office = Office::new();
    let (mut till, gateway) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s1"));
    let idle = Till::new(&office, 3, "s1");
    for till in [&till, &gateway, &idle] {
        office.up(till);
    }
    let sale = till.writes("sales", b"{}");
    let mut heard = office.gives(&gateway, &till, std::slice::from_ref(&sale));
    heard.extend(office.later(TELL_EVERY));
    assert_eq!(stock_and_journals(&heard, &gateway), [is(&till, "sales", 1)]);
    assert_eq!(stock_and_journals(&heard, &idle), []);
    // What it has on its way counts as on its way until HQ says so.
    let mut late = office.gives(&idle, &till, &[sale]);
    late.extend(office.later(TELL_EVERY));
    assert_eq!(stock_and_journals(&late, &idle), [is(&till, "sales", 1)]);
}

#[test]
fn a_stores_stock_stays_its_own_when_a_terminal_moves() {
    let mut office = Office::new();
    let (mut till, gateway) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s1"));
    office.up(&till);
    office.brings(&till.clone(), &mut till, "stock");
    office.down(&till);
    let moved = Till::new(&office, 1, "s2").started_as(Boot(9));
    for (till, told) in [(&moved, vec![]), (&gateway, vec![is(&till, "stock", 1)])] {
        office.up(till);
        office.later(TELL_EVERY);
        let heard = office.speaks(till);
        assert_eq!(stock_and_journals(&heard, till), told);
    }
}

#[test]
fn for_a_link_hq_looks_at_its_own_feeds_and_for_a_gateway_at_its_stores_stock() {
    let mut office = Office::new();
    let (mut till, mut other) = (Till::new(&office, 1, "s1"), Till::new(&office, 2, "s2"));
    for till in [&mut till, &mut other] {
        for boot in 0..20 {
            *till = till.started_as(Boot(boot));
            office.up(till);
            office.brings(&till.clone(), till, "stock");
            office.brings(&till.clone(), till, "sales");
            office.down(till);
        }
    }
    office.up(&till);
    let looked_at = |office: &Office| office.feeds.exchanges[&name("s1")].looked_at;
    assert_eq!(looked_at(&office), 1);
    office.speaks(&till);
    assert_eq!(looked_at(&office), 21);
    office.brings(&till.clone(), &mut till, "stock");
    office.speaks(&till);
    assert_eq!(looked_at(&office), 21);
}
