//! An author's end: on what it is ended, for people, and how that reaches back. What had counted until HQ's
//! word came does no more.

use std::collections::BTreeSet;

use storemesh_keys::Name;

use super::{
    End, EntryId, FeedId, STOCK, Scope, Storage, Topic,
    ledger::{FeedNo, Ledger},
    stock::{self, At, Record, TakenBack},
};

/// On what HQ has ended an author: nothing that it writes there from now on counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// On every topic.
    pub all: bool,
    /// On these, each by an order of its own.
    pub topics: BTreeSet<Name>,
}

impl Ended {
    /// What an author's ends come to.
    pub fn of<'a>(ends: impl IntoIterator<Item = &'a End>) -> Self {
        let mut ended = Self::default();
        for end in ends {
            match &end.topic {
                None => ended.all = true,
                Some(topic) => _ = ended.topics.insert(topic.clone()),
            }
        }
        ended
    }

    pub fn is_on(&self, topic: &Name) -> bool {
        self.all || self.topics.contains(topic)
    }

    pub fn is_any(&self) -> bool {
        self.all || !self.topics.is_empty()
    }
}

/// Takes HQ's word; `store_of` says whose stock a feed is.
pub(crate) fn end(
    ledger: &mut Ledger,
    storage: &mut dyn Storage,
    end: End,
    store_of: impl Fn(&FeedId) -> Option<Name>,
) {
    let author = end.author;
    let feeds: Vec<FeedNo> = ledger
        .of(author)
        .filter(|(_, feed)| feed.id.topic.name.as_str() == STOCK)
        .map(|(number, _)| number)
        .collect();
    let before = ledger.ends(author);
    ledger.add_end(end);
    for number in feeds {
        if let Some(store) = store_of(&ledger.feed(number).id) {
            take_back(ledger, storage, number, &before, &store);
        }
    }
    stock::wake(storage, author, &|store, at| is_ended(ledger, store, at));
}

/// Whether what stands at that place of a store's stock counts no more, or never will.
pub(crate) fn is_ended(ledger: &Ledger, store: &Name, at: &At) -> bool {
    let name = STOCK.parse().expect("it is a name");
    let topic = Topic { name, scope: Scope::Store(store.clone()) };
    let feed = FeedId { author: at.author, boot: at.boot, topic };
    !ledger.counts(&EntryId { feed, seq: at.seq })
}

/// Takes a stock feed's entries back that counted by `before` and do no more.
fn take_back(
    ledger: &Ledger,
    storage: &mut dyn Storage,
    number: FeedNo,
    before: &[End],
    store: &Name,
) {
    let feed = ledger.feed(number).clone();
    let (author, boot) = (feed.id.author, feed.id.boot);
    let mut back = TakenBack::default();
    for seq in feed.first..=feed.last {
        let id = EntryId { feed: feed.id.clone(), seq };
        let counted = before.iter().all(|end| end.leaves(boot, &id.feed.topic, seq));
        if !counted || ledger.counts(&id) {
            continue;
        }
        let entry = ledger.entry(storage, number, seq);
        let record = entry.as_ref().and_then(|entry| Record::decode(entry.payload()?).ok());
        if let Some(record) = record {
            back.entry(storage, store, At { author, boot, seq }, &record);
        }
    }
    back.settle(storage, store, &|at| is_ended(ledger, store, at));
}
