//! The stores' journals, as programs at the head office read them.
//!
//! Entries come in the order in which they arrived, each with a [`Cursor`] to go on from: a reader that
//! keeps the last one that it has worked off gets each entry at least once, and by (terminal, boot, topic,
//! seq) knows what it has already. What is void, or was written after its author's end, is left out. All is
//! read from rows, a page at a time, so any number streams through little memory.

use std::{collections::BTreeMap, ops::ControlFlow};

use storemesh_keys::{Certificate, Name, PeerId, Timestamp, Trust};

use super::{
    Boot, End, Entry, FeedId, Read, STOCK,
    hq::{Cursor, each_after, ends},
    ledger::{ENTRIES, FEEDS, Feed, FeedNo},
    names::certified,
    stock::Record,
    storage::row,
};

/// Arrivals that one page looks at: a filter may leave most of them out.
const LOOKED_AT_MAX: usize = 20_000;
/// Payloads of one page: an answer that is held in memory whole.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Go on from here for what is behind it.
    pub cursor: Cursor,
    pub store: Name,
    pub terminal: Name,
    pub peer: PeerId,
    pub boot: Boot,
    pub topic: Name,
    pub seq: u64,
    /// HQ's time.
    pub received_at: Timestamp,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// As its program posted it.
    Event(Vec<u8>),
    Stock(Record),
}

/// Which entries are of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub store: Option<Name>,
    pub topic: Option<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub lines: Vec<Line>,
    /// Go on from here, also when there were no lines.
    pub next: Cursor,
    /// There is more behind it already.
    pub more: bool,
}

/// What arrived behind `since`, which is a cursor of this HQ's, at most `limit` entries of it.
pub fn page(
    storage: &dyn Read,
    trust: &Trust,
    since: Cursor,
    filter: &Filter,
    limit: usize,
) -> Page {
    let mut book = Book::new(storage, trust);
    let mut page = Page { lines: Vec::new(), next: since, more: false };
    let (mut looked_at, mut bytes) = (0, 0);
    each_after(storage, since, &mut |cursor, arrival| {
        if page.lines.len() == limit || looked_at == LOOKED_AT_MAX || bytes >= PAGE_BYTES {
            page.more = true;
            return ControlFlow::Break(());
        }
        looked_at += 1;
        page.next = cursor;
        if arrival.counts
            && let Some(source) = book.source(arrival.feed())
            && source.fits(filter)
            && let Some((body, length)) = source.body(storage, arrival.feed(), arrival.seq)
        {
            bytes += length;
            page.lines.push(source.line(cursor, arrival.seq, arrival.at, body));
        }
        ControlFlow::Continue(())
    });
    page
}

/// Whose feeds the entries are of, looked up once a page.
struct Book<'a> {
    storage: &'a dyn Read,
    /// Of all generations: what HQ signed before it was restored names its terminals too.
    trust: Trust,
    ends: Vec<End>,
    sources: BTreeMap<FeedNo, Option<Source>>,
}

struct Source {
    id: FeedId,
    store: Name,
    terminal: Name,
    ends: Vec<End>,
}

impl<'a> Book<'a> {
    fn new(storage: &'a dyn Read, trust: &Trust) -> Self {
        let trust = Trust { generation_min: 0, ..*trust };
        Self { storage, trust, ends: ends(storage), sources: BTreeMap::new() }
    }

    fn source(&mut self, number: FeedNo) -> Option<&Source> {
        if !self.sources.contains_key(&number) {
            let source = self.look_up(number);
            self.sources.insert(number, source);
        }
        self.sources.get(&number)?.as_ref()
    }

    fn look_up(&self, number: FeedNo) -> Option<Source> {
        let feed: Feed = row(self.storage, FEEDS, &number.key())?;
        let certificate = certified(self.storage, &self.trust, &feed)?;
        let ends = self.ends.iter().filter(|end| end.author == feed.id.author).cloned().collect();
        let Certificate { store, name, .. } = certificate;
        Some(Source { id: feed.id, store, terminal: name, ends })
    }
}

impl Source {
    fn fits(&self, filter: &Filter) -> bool {
        filter.store.as_ref().is_none_or(|store| *store == self.store)
            && filter.topic.as_ref().is_none_or(|topic| *topic == self.id.topic.name)
    }

    /// With its length; none where it does not count any more.
    fn body(&self, storage: &dyn Read, number: FeedNo, seq: u64) -> Option<(Body, usize)> {
        let FeedId { boot, topic, .. } = &self.id;
        if !self.ends.iter().all(|end| end.leaves(*boot, topic, seq)) {
            return None;
        }
        let entry: Entry = row(storage, ENTRIES, &number.entry(seq))?;
        let payload = entry.payload?;
        let length = payload.len();
        let body = if topic.name.as_str() == STOCK {
            Body::Stock(Record::decode(&payload).ok()?)
        } else {
            Body::Event(payload)
        };
        Some((body, length))
    }

    fn line(&self, cursor: Cursor, seq: u64, received_at: Timestamp, body: Body) -> Line {
        Line {
            cursor,
            store: self.store.clone(),
            terminal: self.terminal.clone(),
            peer: self.id.author.peer(),
            boot: self.id.boot,
            topic: self.id.topic.name.clone(),
            seq,
            received_at,
            body,
        }
    }
}
