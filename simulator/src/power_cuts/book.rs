//! What a till has answered, kept beside its disk, and the rules that what is found on the disk must keep.
//!
//! Whatever was answered is there, by its id and with its body, once; or it was trimmed, and HQ has it. The
//! feeds go as far as they did, without a gap; every header is signed and names the one before it. What is on
//! hand is what the posts come to. What is found once is found the same for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use storemesh_keys::Authored;
use storemesh_protocol::{
    feeds::{
        After, Author, CONTROL, Entry, EntryId, Header, HeaderHash,
        stock::Record,
        terminal::{Body, Post, PostError, Posted, Status},
    },
    wire,
};

use super::office;

/// What is to be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Book {
    /// By their keys, those whose entries are kept.
    posts: BTreeMap<Vec<u8>, Kept>,
    status: Status,
    /// Dropped since the disk was looked at.
    trimmed: BTreeMap<EntryId, Body>,
    accepted: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) post: Post,
    pub(super) id: EntryId,
    /// Stock is moved and counted in this order.
    order: u64,
}

/// Every entry that was ever found, on the disk or at HQ.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// By the hash of all of it.
    entries: BTreeMap<[u8; 32], Arc<Seen>>,
    ids: BTreeMap<EntryId, Arc<Seen>>,
}

pub(super) struct Seen {
    pub(super) id: EntryId,
    hash: HeaderHash,
    header: Header,
}

/// What is on the disk.
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    pub(super) status: Status,
}

impl Book {
    /// With one batch more: what was posted in it and answered, and what it leaves of the feeds.
    pub(super) fn with(
        &self,
        posts: &[Post],
        answers: Vec<(u64, Result<Posted, PostError>)>,
        status: Status,
    ) -> anyhow::Result<Self> {
        let mut book = self.clone();
        ensure!(posts.len() == answers.len(), "{} of {} answered", answers.len(), posts.len());
        for (ticket, answer) in answers {
            let post = &posts[usize::try_from(ticket)?];
            let Posted { id, .. } = answer.with_context(|| format!("post {ticket}"))?;
            if let Some(kept) = book.posts.get(&post.key) {
                ensure!(kept.id == id, "a key names {:?}, and then {id:?}", kept.id);
                continue;
            }
            let (post, order) = (post.clone(), book.accepted);
            book.posts.insert(post.key.clone(), Kept { post, id, order });
            book.accepted += 1;
        }
        for feed in &status.feeds {
            let dropped = |kept: &Kept| kept.id.feed == feed.feed && kept.id.seq < feed.first;
            for (_, Kept { id, post, .. }) in book.posts.extract_if(.., |_, kept| dropped(kept)) {
                book.trimmed.insert(id, post.body);
            }
        }
        book.status = status;
        Ok(book)
    }

    pub(super) fn posts(&self) -> impl Iterator<Item = &Kept> {
        self.posts.values()
    }

    pub(super) fn has_schema(&self) -> bool {
        self.status.schema > 0
    }

    /// Entries that were answered, since the life began.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    pub(super) fn trimmed(&self) -> u64 {
        self.accepted - self.posts.len() as u64
    }

    /// Whether this is what was found, as far as numbers say.
    pub(super) fn is(&self, found: &Found, ids: &BTreeSet<EntryId>) -> bool {
        self.status == found.status && self.ids() == *ids
    }

    fn ids(&self) -> BTreeSet<EntryId> {
        self.posts.values().map(|kept| kept.id.clone()).collect()
    }

    /// The entries of the till itself are those that were answered, whole.
    pub(super) fn check(
        &mut self,
        found: &BTreeMap<EntryId, Vec<u8>>,
        status: &Status,
        at_hq: impl FnOnce() -> anyhow::Result<BTreeMap<EntryId, Option<Vec<u8>>>>,
    ) -> anyhow::Result<()> {
        let lost = self.posts.values().filter(|kept| !found.contains_key(&kept.id)).count();
        let more = found.len() + lost - self.posts.len();
        ensure!(
            lost == 0 && more == 0,
            "of {} acknowledged entries {lost} are gone; {more} are there that nobody knows",
            self.posts.len()
        );
        for Kept { post, id, .. } in self.posts.values() {
            let same = says(&found[id], &post.body);
            ensure!(same, "{id:?} does not say what was posted");
        }
        ensure!(self.ids().len() == self.posts.len(), "two keys name one entry");
        ensure!(
            *status == self.status,
            "acknowledged feeds are gone: {status:?} and not {:?}",
            self.status
        );
        if self.trimmed.is_empty() {
            return Ok(());
        }
        let held = at_hq()?;
        for (id, body) in std::mem::take(&mut self.trimmed) {
            let held = held.get(&id).and_then(Option::as_ref);
            let same = held.is_some_and(|payload| says(payload, &body));
            ensure!(same, "{id:?} was trimmed, and HQ does not have it");
        }
        Ok(())
    }

    /// What the kept posts come to.
    pub(super) fn on_hand(&self) -> BTreeMap<&str, i64> {
        let mut posts: Vec<&Kept> = self.posts.values().collect();
        posts.sort_by_key(|kept| kept.order);
        let mut on_hand = BTreeMap::new();
        for kept in posts {
            match &kept.post.body {
                Body::Event(_) => {}
                Body::Moved(moved) => {
                    for (item, by) in moved {
                        *on_hand.entry(item.as_str()).or_default() += by;
                    }
                }
                Body::Counted { item, value } => {
                    on_hand.insert(item, *value);
                }
            }
        }
        on_hand
    }
}

impl Found {
    /// The till's own entries by their ids; the headers of all are signed, and follow each other.
    pub(super) fn prove(&self, known: &mut Known) -> anyhow::Result<BTreeMap<EntryId, Vec<u8>>> {
        let (mut own, mut seen) = (BTreeMap::new(), BTreeMap::new());
        for entry in &self.entries {
            let proven = known.read(entry)?;
            let id = proven.id.clone();
            ensure!(seen.insert(id.clone(), proven).is_none(), "{id:?} is there twice");
            if id.feed.topic.name.as_str() != CONTROL {
                let payload = entry.payload.clone();
                own.insert(id, payload.context("an entry without its payload")?);
            }
        }
        let listed = self.status.feeds.iter().flat_map(|feed| {
            (feed.first..=feed.last).map(|seq| EntryId { feed: feed.feed.clone(), seq })
        });
        let listed: BTreeSet<_> = listed.collect();
        ensure!(listed.iter().eq(seen.keys()), "a feed has a gap, or another length than it says");
        for seen in seen.values() {
            known.follows(seen)?;
        }
        Ok(own)
    }
}

impl Known {
    /// An entry whose header its author has signed; the one that it always was.
    pub(super) fn read(&mut self, entry: &Entry) -> anyhow::Result<Arc<Seen>> {
        let whole = *blake3::hash(&wire::encode(entry)).as_bytes();
        if let Some(seen) = self.entries.get(&whole) {
            return Ok(seen.clone());
        }
        let hq = Author::hq(office::trust().chain);
        let signed = Authored::verify_claim(entry.header.clone(), |header| {
            Some(if header.author == hq { office::online() } else { office::till() }.peer_id())
        })?;
        let header = signed.statement().clone();
        let id = EntryId { feed: header.feed(), seq: header.seq };
        let hash = HeaderHash(*blake3::hash(signed.payload()).as_bytes());
        let seen = Arc::new(Seen { id: id.clone(), hash, header });
        self.entries.insert(whole, seen.clone());
        ensure!(self.ids.insert(id, seen.clone()).is_none(), "{:?} was another before", seen.id);
        Ok(seen)
    }

    /// Whether an entry names the one before it, where that one was ever seen.
    fn follows(&self, Seen { id, header, .. }: &Seen) -> anyhow::Result<()> {
        let EntryId { mut feed, seq } = id.clone();
        let before = match header.after {
            Some(After { boot, seq }) => {
                feed.boot = boot;
                seq
            }
            None => seq - 1,
        };
        let before = self.ids.get(&EntryId { feed, seq: before }).map(|seen| seen.hash);
        let follows = before.is_none_or(|before| header.previous == Some(before));
        ensure!(follows, "{id:?} does not follow the entry before it");
        Ok(())
    }
}

fn says(payload: &[u8], body: &Body) -> bool {
    match body {
        Body::Event(bytes) => payload == bytes,
        Body::Moved(_) | Body::Counted { .. } => {
            Record::decode(payload).is_ok_and(|record| match body {
                Body::Event(_) => false,
                Body::Moved(moved) => {
                    let found = record.movements.iter().map(|it| (&it.item, it.quantity));
                    found.eq(moved.iter().map(|(item, by)| (item, *by)))
                }
                Body::Counted { item, value } => {
                    record.count.is_some_and(|count| count.item == *item && count.value == *value)
                }
            })
        }
    }
}
