//! An author's end, as it reaches back: what had counted until HQ's word came does no more.

use storemesh_keys::Name;

use super::{
    End, EntryId, STOCK, Storage,
    ledger::{FeedNo, Ledger},
    stock::{self, Record},
};

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
