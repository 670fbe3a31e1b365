//! Stock: movements and counts, and what is on hand.
//!
//! A movement says by how much an item's stock changed; a count says how much there was, and which
//! movements it had seen. The rule: on hand is the last count plus the movements that it had not seen; of
//! the counts that no other count has seen, the one with the highest (author, boot, seq) is the last. So
//! the same entries give the same number on every machine, in whatever order they came.
//!
//! A count names the count before it that it had seen, and lists only what it has seen since: what the
//! earlier one had seen, it has seen too. One that has seen what is not here yet waits for it (`counts`).
//!
//! Quantities are thousandths, so that what is weighed is counted exactly. The read model is rows in
//! storage, written in the transaction that takes the entry: each is applied once.

mod counts;
mod record;
mod rows;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use minicbor::{Decode, Encode};
use storemesh_keys::Name;

pub use self::record::{
    At, Count, ITEM_MAX, MOVEMENTS_MAX, Movement, Record, RecordError, SEEN_MAX,
};
pub(crate) use self::rows::{COUNTS, ITEMS, MENTIONED, MOVEMENTS, SEEN, UNSEEN, WAITING};
use self::{
    counts::{Counts, LISTED_MAX},
    rows::{Chain, CountRow, ItemKey, Waits, at_key, feed_key, item_key, places, read_waiting_key},
};
use super::{
    Author, Boot, EntryId, Storage,
    storage::{Read, decode, put, row},
};

/// What is on hand of one item.
#[derive(Clone, Copy, Debug, Default, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct OnHand {
    /// In thousandths.
    #[n(0)]
    pub quantity: i64,
    /// The last count, where there was one.
    #[n(1)]
    pub counted: Option<At>,
    /// What it found, in thousandths.
    #[n(2)]
    pub count: Option<i64>,
}

/// What is on hand of `item` in `store`; none where nobody ever moved or counted it.
pub fn on_hand(storage: &dyn Read, store: &Name, item: &str) -> Option<OnHand> {
    row(storage, ITEMS, &item_key(store, item))
}

/// Too many starts of terminals have moved the item; a checkpoint will put an end to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} starts of terminals have moved this item, at most {LISTED_MAX} can be counted")]
pub(crate) struct TooLong(usize);

/// A count of `item` by who has seen what is here, to be written from `next` on: one entry, or where it
/// lists more than `most` feeds, parts of it before the last.
pub(crate) fn count_now(
    storage: &dyn Read,
    store: &Name,
    (item, value): (&str, i64),
    next: At,
    most: usize,
) -> Result<Vec<Count>, TooLong> {
    let key = item_key(store, item);
    let last = on_hand(storage, store, item).and_then(|on_hand| on_hand.counted);
    let mut all = BTreeMap::<(Author, Boot), u64>::new();
    for table in [MOVEMENTS, COUNTS] {
        places(storage, table, &key, &mut |At { author, boot, seq }| {
            let upto = all.entry((author, boot)).or_default();
            *upto = seq.max(*upto);
        });
    }
    let all: Vec<At> =
        all.into_iter().map(|((author, boot), seq)| At { author, boot, seq }).collect();
    let unseen = |at: &&At| {
        let seen: u64 = row(storage, SEEN, &feed_key(&key, at)).unwrap_or(0);
        seen < at.seq && Some(**at) != last
    };
    let news: Vec<At> = all.iter().filter(unseen).copied().collect();
    let most = most.clamp(1, SEEN_MAX);
    let with = |before: Chain, listed: &[At]| Chain {
        counts: before.counts + listed.len().div_ceil(most).max(1) as u64,
        listed: before.listed + listed.len() as u64,
    };
    let before = last.and_then(|last| row::<CountRow>(storage, COUNTS, &at_key(&key, &last)));
    let before = before.and_then(|row| row.chain).unwrap_or_default();
    let (mut base, listed) = if with(before, &news).fits() { (last, news) } else { (None, all) };
    if !with(Chain::default(), &listed).fits() {
        return Err(TooLong(listed.len()));
    }
    let mut parts: Vec<Vec<At>> = listed.chunks(most).map(<[At]>::to_vec).collect();
    let seen = parts.pop().unwrap_or_default();
    let mut counts = Vec::new();
    let mut place = next;
    let count = |base, seen, part| Count { item: item.to_owned(), value, base, seen, part };
    for part in parts {
        counts.push(count(base, part, true));
        base = Some(place);
        place.seq += 1;
    }
    counts.push(count(base, seen, false));
    Ok(counts)
}

/// Applies an entry that counts; to be called once for each. `ended` says whether HQ has ended an author of
/// this store's stock before a place.
pub(crate) fn apply(
    storage: &mut dyn Storage,
    store: &Name,
    entry: &EntryId,
    record: &Record,
    ended: &dyn Fn(&At) -> bool,
) {
    let at = At { author: entry.feed.author, boot: entry.feed.boot, seq: entry.seq };
    let mut moved = BTreeMap::<&str, i64>::new();
    for movement in &record.movements {
        *moved.entry(&movement.item).or_default() += movement.quantity;
    }
    for (item, quantity) in moved {
        let key = item_key(store, item);
        put(storage, MOVEMENTS, &at_key(&key, &at), &quantity);
        let mut on_hand: OnHand = row(storage, ITEMS, &key).unwrap_or_default();
        let seen: u64 = row(storage, SEEN, &feed_key(&key, &at)).unwrap_or(0);
        if seen < at.seq {
            // Nonsense that a terminal posts without end goes round, the same way on every machine.
            on_hand.quantity = on_hand.quantity.wrapping_add(quantity);
        }
        put(storage, ITEMS, &key, &on_hand);
        Counts { storage: &mut *storage, store, key, ended }.came(at);
    }
    if let Some(count) = &record.count {
        let key = item_key(store, &count.item);
        let counted = CountRow { count: count.clone(), chain: None, told: false };
        put(storage, COUNTS, &at_key(&key, &at), &counted);
        if row::<OnHand>(storage, ITEMS, &key).is_none() {
            put(storage, ITEMS, &key, &OnHand::default());
        }
        Counts { storage, store, key, ended }.came(at);
    }
}

/// Items that are to be found out again.
#[derive(Debug, Default)]
pub(crate) struct TakenBack(BTreeSet<ItemKey>);

impl TakenBack {
    /// HQ has ended the author before this entry: it no longer counts.
    pub(crate) fn entry(
        &mut self,
        storage: &mut dyn Storage,
        store: &Name,
        at: At,
        record: &Record,
    ) {
        let counted = record.count.iter().map(|count| &count.item);
        for item in record.movements.iter().map(|movement| &movement.item).chain(counted) {
            let key = item_key(store, item);
            let place = at_key(&key, &at);
            for table in [MOVEMENTS, COUNTS] {
                if storage.get(table, &place).is_some() {
                    storage.delete(table, &place);
                    self.0.insert(key);
                }
            }
        }
    }

    pub(crate) fn settle(
        self,
        storage: &mut dyn Storage,
        store: &Name,
        ended: &dyn Fn(&At) -> bool,
    ) {
        for key in self.0 {
            Counts { storage: &mut *storage, store, key, ended }.again();
        }
    }
}

/// HQ has ended `author`: counts that wait for what will not come wait no more. `ended` is about one store's
/// stock each.
pub(crate) fn wake(storage: &mut dyn Storage, author: Author, ended: &dyn Fn(&Name, &At) -> bool) {
    let mut woken = BTreeSet::new();
    storage.scan(WAITING, &[], &[u8::MAX; 17], &mut |key, waits| {
        if let Some((key, on, _)) = read_waiting_key(key)
            && on.author == author
            && let Some(Waits { store, .. }) = decode::<Waits>(storage, WAITING, waits)
            && ended(&store, &on)
        {
            woken.insert((store, key, on));
        }
        ControlFlow::Continue(())
    });
    for (store, key, on) in woken {
        let ended = |at: &At| ended(&store, at);
        Counts { storage: &mut *storage, store: &store, key, ended: &ended }.wake(on);
    }
}
