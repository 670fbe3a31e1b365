//! An author's end: on what it is ended, for people, and how that reaches back. What had counted until HQ's
//! word came does no more.

use std::collections::BTreeSet;

use storemesh_keys::Name;

use super::{
    End, EntryId, STOCK, Storage,
    ledger::{FeedNo, Ledger},
    stock::{self, Record},
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

/// Takes a stock feed's entries back that counted by `before` and do no more.
pub(crate) fn take_back(
    ledger: &Ledger,
    storage: &mut dyn Storage,
    number: FeedNo,
    before: &[End],
    store: &Name,
) {
    let feed = ledger.feed(number).clone();
    if feed.id.topic.name.as_str() != STOCK {
        return;
    }
    for seq in feed.first..=feed.last {
        let id = EntryId { feed: feed.id.clone(), seq };
        let counted = before.iter().all(|end| end.leaves(id.feed.boot, &id.feed.topic, seq));
        if !counted || ledger.counts(&id) {
            continue;
        }
        let entry = ledger.entry(storage, number, seq);
        let record = entry.as_ref().and_then(|entry| Record::decode(entry.payload()?).ok());
        if let Some(record) = record {
            let of = |number| ledger.feed(number).id.clone();
            stock::take_back(storage, store, number, seq, &record, of);
        }
    }
}
