//! What programs of this machine post: kept once, whatever happens to the answer.
//!
//! An idempotency key names one entry for as long as that is kept: the same key with the same body gives
//! the same entry again, also after a restart; with another body it is refused.

use minicbor::{Decode, Encode};
use storemesh_keys::Name;

use super::{AckLevel, Body, KEY_MAX, Output, Post, PostError, Posted, RoomFor, TerminalFeeds};
use crate::{
    Instant,
    feeds::{
        Author, EntryId, FeedId, Header, PayloadHash, STOCK, Scope, ScopeKind, Storage, Topic,
        TopicRule, Writers,
        ended::is_ended,
        entry::Proven,
        ledger::{FeedNo, Taken},
        stock::{self, At, Movement, Record},
        storage::{put, row},
    },
    terminal::Source,
    wire,
};

pub(super) const KEYS: &str = "keys.1";
/// The key of each own entry, so that it goes with it.
pub(super) const POSTED: &str = "posted.1";
/// Posts that wait for a neighbour or for HQ; more are answered with what they have.
const WAITING_MAX: usize = 4096;
/// A count without what it lists, and one place that it lists: an item, a key and numbers, encoded.
const COUNT_BYTES_MAX: usize = 256;
const AT_BYTES_MAX: usize = 56;

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
struct Known {
    #[n(0)]
    feed: u32,
    #[n(1)]
    seq: u64,
    #[n(2)]
    body: PayloadHash,
}

/// Somebody waits for an entry to be kept elsewhere too.
#[derive(Debug)]
pub(super) struct Waiting {
    ticket: u64,
    feed: FeedNo,
    seq: u64,
    level: AckLevel,
    pub(super) until: Instant,
}

impl TerminalFeeds {
    pub(super) fn post(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        ticket: u64,
        post: Post,
        outputs: &mut Vec<Output>,
    ) {
        match self.kept(now, storage, &post) {
            Ok((feed, seq)) => {
                let until = now + post.wait;
                self.waiting.push(Waiting { ticket, feed, seq, level: post.ack, until });
            }
            Err(why) => outputs.push(Output::Posted { ticket, answer: Err(why) }),
        }
    }

    /// The entry of this post: the one there is already, or a new one.
    fn kept(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        post: &Post,
    ) -> Result<(FeedNo, u64), PostError> {
        if post.key.is_empty() || post.key.len() > KEY_MAX {
            return Err(PostError::Key(post.key.len()));
        }
        let key = blake3::hash(&post.key);
        let body = fingerprint(post);
        if let Some(known) = row::<Known>(storage, KEYS, key.as_bytes()) {
            let feed = FeedNo::of(known.feed);
            if known.body == body {
                return Ok((feed, known.seq));
            }
            let id = self.ledger.feed(feed).id.clone();
            return Err(PostError::Conflict(EntryId { feed: id, seq: known.seq }));
        }
        if self.roles.room == RoomFor::Nothing {
            return Err(PostError::Full);
        }
        let rule = self.rule(&post.topic)?;
        let scope = match rule.scope {
            ScopeKind::Terminal => Scope::Terminal(self.roles.me),
            ScopeKind::Store | ScopeKind::Chain | ScopeKind::Region => {
                Scope::Store(self.roles.store.clone())
            }
        };
        let topic = Topic { name: rule.name.clone(), scope };
        let (max, schema) =
            (rule.bytes_max, self.ledger.schema().map_or(0, |schema| schema.version));
        // All of it or nothing: a part that stands alone is of no use.
        let payloads = self.payloads(storage, &topic, &post.body, max)?;
        if let Some(long) = payloads.iter().find(|payload| payload.len() > max as usize) {
            return Err(PostError::TooLarge { found: long.len(), max });
        }
        let author = Author::terminal(self.roles.me);
        let (seq, ..) = self.ledger.next(author, self.roles.boot, &topic);
        let feed = FeedId { author, boot: self.roles.boot, topic: topic.clone() };
        if !self.ledger.counts(&EntryId { feed, seq }) {
            return Err(PostError::Ended(topic.name));
        }
        if self.ledger.is_forked(&author) {
            return Err(PostError::Forked);
        }
        let mut last = None;
        for payload in payloads {
            last = Some(self.write(now, storage, &topic, schema, payload)?);
        }
        let (feed, seq) = last.expect("there is one payload at least");
        put(storage, KEYS, key.as_bytes(), &Known { feed: feed.number(), seq, body });
        storage.put(POSTED, &feed.entry(seq), key.as_bytes());
        Ok((feed, seq))
    }

    /// One entry more of this boot's feed.
    fn write(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        topic: &Topic,
        schema: u32,
        payload: Vec<u8>,
    ) -> Result<(FeedNo, u64), PostError> {
        let (author, boot) = (Author::terminal(self.roles.me), self.roles.boot);
        let (seq, previous, after) = self.ledger.next(author, boot, topic);
        let header = Header {
            author,
            boot,
            topic: topic.clone(),
            seq,
            previous,
            certificate: self.certificate,
            schema,
            payload: PayloadHash::of(&payload),
            length: u32::try_from(payload.len()).expect("at most what the topic allows"),
            after,
        };
        let sign = |header| storemesh_keys::Authored::sign(&self.key, header);
        let entry = Proven::sign(sign, header, payload);
        let taken = self.ledger.append(storage, entry);
        let taken = taken.map_err(|why| PostError::Body(why.to_string()))?;
        let (feed, seq) = (taken.feed, taken.seq);
        self.taken(now, storage, None, taken, &mut Vec::new());
        Ok((feed, seq))
    }

    fn rule(&self, topic: &Name) -> Result<&TopicRule, PostError> {
        let schema = self.ledger.schema().ok_or(PostError::NoSchema)?;
        let written = |rule: &&TopicRule| rule.writers == Writers::Terminals;
        match schema.topic(topic) {
            Some(rule) if written(&rule) => Ok(rule),
            Some(_) => Err(PostError::NotWritten(topic.clone())),
            None => {
                let known = schema.topics.iter().filter(written).map(|rule| rule.name.clone());
                Err(PostError::UnknownTopic(topic.clone(), known.collect()))
            }
        }
    }

    /// Of one entry, or of several: what an item's count has seen may be too long for one.
    fn payloads(
        &self,
        storage: &dyn Storage,
        topic: &Topic,
        body: &Body,
        max: u32,
    ) -> Result<Vec<Vec<u8>>, PostError> {
        let records = match body {
            Body::Event(_) if topic.name.as_str() == STOCK => {
                let why = "the stock topic takes movements or a count".to_owned();
                return Err(PostError::Body(why));
            }
            Body::Event(bytes) => return Ok(vec![bytes.clone()]),
            Body::Moved(_) | Body::Counted { .. } if topic.name.as_str() != STOCK => {
                let why = format!("movements and counts are posted to topic {STOCK}");
                return Err(PostError::Body(why));
            }
            Body::Moved(moved) => {
                let movement = |(item, quantity): &(String, i64)| Movement {
                    item: item.clone(),
                    quantity: *quantity,
                };
                vec![Record { movements: moved.iter().map(movement).collect(), count: None }]
            }
            Body::Counted { item, value } => {
                let (author, boot) = (Author::terminal(self.roles.me), self.roles.boot);
                let (seq, ..) = self.ledger.next(author, boot, topic);
                let (store, next) = (&self.roles.store, At { author, boot, seq });
                let room = (max as usize).saturating_sub(COUNT_BYTES_MAX) / AT_BYTES_MAX;
                let counts = stock::count_now(storage, store, (item, *value), next, room);
                let counts = counts.map_err(|why| PostError::Body(why.to_string()))?;
                let record = |count| Record { movements: Vec::new(), count: Some(count) };
                counts.into_iter().map(record).collect()
            }
        };
        for record in &records {
            record.check().map_err(|why| PostError::Body(why.to_string()))?;
        }
        Ok(records.iter().map(wire::encode).collect())
    }

    /// An entry is here that was not before: whoever should know is told, and what it says is done.
    pub(super) fn taken(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        from: Option<Source>,
        taken: Taken,
        outputs: &mut Vec<Output>,
    ) {
        let Taken { feed, seq, counts, entry, .. } = taken;
        if let Some(side) = from {
            self.exchange.taken(now, side, feed, seq);
        }
        self.exchange.grown(feed, &self.ledger, &self.roles);
        let (Some(payload), true) = (entry.payload(), counts) else { return };
        let id = self.ledger.feed(feed).id.clone();
        if super::roles::is_control(&id) {
            self.control(now, storage, entry.header(), payload, outputs);
        } else if super::roles::is_stock(&id) {
            let record = Record::decode(payload).expect("one that does not read does not count");
            let store = &self.roles.store;
            let ended = |at: &At| is_ended(&self.ledger, store, at);
            stock::apply(storage, store, &EntryId { feed: id, seq }, &record, &ended);
        }
    }

    /// Answers the posts that have waited for what is reached, or long enough.
    pub(super) fn answer_posts(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let too_many = waiting.len().saturating_sub(WAITING_MAX);
        let mut turn = 0;
        waiting.retain(|post| {
            turn += 1;
            let reached = self.reached(post.feed, post.seq);
            if reached < post.level && now < post.until && turn > too_many {
                return true;
            }
            let id = EntryId { feed: self.ledger.feed(post.feed).id.clone(), seq: post.seq };
            let answer = Ok(Posted { id, reached });
            outputs.push(Output::Posted { ticket: post.ticket, answer });
            false
        });
        self.waiting = waiting;
    }

    /// Where an own entry is kept.
    fn reached(&self, feed: FeedNo, seq: u64) -> AckLevel {
        let neighbours = self.exchange.sides().filter(|side| matches!(side, Source::Neighbour(_)));
        if seq <= self.ledger.feed(feed).acked_in(self.ledger.generation()) {
            AckLevel::Hq
        } else if neighbours.into_iter().any(|side| seq <= self.exchange.has(side, feed)) {
            AckLevel::Neighbour
        } else {
            AckLevel::Disk
        }
    }
}

/// What a second post under the same key must be the same in.
fn fingerprint(post: &Post) -> PayloadHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(post.topic.as_str().as_bytes()).update(&[0]);
    match &post.body {
        Body::Event(bytes) => hasher.update(b"event").update(bytes),
        Body::Moved(moved) => {
            hasher.update(b"moved");
            for (item, quantity) in moved {
                hasher.update(&(item.len() as u64).to_le_bytes());
                hasher.update(item.as_bytes()).update(&quantity.to_le_bytes());
            }
            &mut hasher
        }
        Body::Counted { item, value } => {
            hasher.update(b"count").update(item.as_bytes()).update(&value.to_le_bytes())
        }
    };
    PayloadHash(*hasher.finalize().as_bytes())
}
