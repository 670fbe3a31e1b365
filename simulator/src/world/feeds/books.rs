//! What the tills were told, and where each entry is: the rules for what was promised.
//!
//! - An answer speaks of what is on disk, on as many as its level says: the terminal's own, another's of
//!   the store, HQ's.
//! - The same key gives the same entry; another body under it is a conflict.
//! - Nobody keeps an entry of an honest terminal that it did not write, and nobody writes two with one
//!   number.
//! - HQ has each entry once, those of a feed in order, each one that a till posted, and each post once.
//! - An entry is dropped by its author only when HQ has it, since the retention; by another only when
//!   HQ has had it, or somebody else has it. A copy of what was promised to be on two disks is missed if it
//!   was let go of so, and the other disk went before it was back.
//!
//! A disk that was put back, lied or was copied may have forgotten what it answered ([`super::disks`]); an
//! entry that was on no other is excused then.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use storemesh_keys::PeerId;
use storemesh_protocol::feeds::{
    Author, CONTROL, EntryId,
    stock::Record,
    terminal::{AckLevel, Body, PostError, Posted},
};

use super::{
    shelf::{Changes, Found},
    tills::Attempt,
};
use crate::world::{World, clock::Time};

#[derive(Debug, Default)]
pub(in crate::world) struct Books {
    /// Every entry that an author has put on its disk, and the hash of its bytes.
    written: BTreeMap<EntryId, blake3::Hash>,
    /// On whose disks each entry ever was.
    held: BTreeMap<EntryId, BTreeSet<usize>>,
    /// Since when HQ has each.
    pub(super) at_hq: BTreeMap<EntryId, Time>,
    /// What HQ had, though it may have lost it since.
    was_at_hq: BTreeSet<EntryId>,
    /// What each till was promised most.
    pub(super) promised: BTreeMap<EntryId, AckLevel>,
    /// Lost with the only disks that had promised it.
    pub(super) excused: BTreeSet<EntryId>,
    /// The entries of each post at HQ.
    by_post: BTreeMap<usize, BTreeSet<EntryId>>,
    /// Who has dropped a copy of what HQ never had, to take it again.
    pub(super) let_go: BTreeMap<EntryId, BTreeSet<usize>>,
    /// What HQ has set.
    pub(in crate::world) retention: Option<Duration>,
    /// Whose disk HQ knows to run twice.
    pub(in crate::world) cloned: BTreeSet<Author>,
    /// HQ has ended somebody: who wrote two entries with one number, say.
    pub(super) ended: BTreeSet<Author>,
}

/// As protocol's own setting is.
const RETENTION: Duration = Duration::from_hours(14 * 24);

impl World {
    pub(super) fn judge_answer(
        &mut self,
        t: usize,
        attempt: Attempt,
        answer: Result<Posted, PostError>,
    ) {
        let hurt = self.hosts[t].feeds.hurt;
        let made = &self.tills.posts[attempt.post];
        let before = made.answers.last().cloned();
        match answer {
            Ok(Posted { id, reached }) => {
                if attempt.forged && !hurt {
                    self.break_rule(t, "takes another body under a key it has".to_owned());
                    return;
                }
                if before.as_ref().is_some_and(|before| *before != id) && !hurt {
                    self.break_rule(t, format!("answers one key with {before:?} and {id:?}"));
                    return;
                }
                if before.as_ref() != Some(&id) {
                    self.tills.posts[attempt.post].answers.push(id.clone());
                }
                self.promise(t, id, reached);
            }
            Err(PostError::Conflict(id)) => {
                if !attempt.forged || before.is_some_and(|before| before != id && !hurt) {
                    self.break_rule(
                        t,
                        format!("finds post {} in conflict with {id:?}", attempt.post),
                    );
                }
            }
            // It was not there yet, or is gone for the moment: the till posts again.
            Err(PostError::NoSchema | PostError::Full) if before.is_none() => {}
            Err(PostError::Ended(_) | PostError::Forked) if self.is_ended(t) => {}
            Err(why) => self.break_rule(t, format!("refuses post {}: {why}", attempt.post)),
        }
    }

    fn is_ended(&self, t: usize) -> bool {
        self.books.ended.contains(&Author::terminal(self.hosts[t].peer))
    }

    /// The till takes it that its entry is as safe as that.
    fn promise(&mut self, t: usize, id: EntryId, level: AckLevel) {
        let at_hq = self.books.was_at_hq.contains(&id);
        let held = self.books.held.get(&id);
        // A box that lies may say that it has it: nobody's word is better than its disk.
        let store = &self.stores[self.hosts[t].store];
        let liar = store.terminals.iter().any(|other| self.hosts[*other].feeds.hostile);
        let elsewhere = liar || held.is_some_and(|held| held.iter().any(|other| *other != t));
        let kept = match level {
            AckLevel::Disk => self.hosts[t].feeds.shelf.has(&id) || at_hq,
            AckLevel::Neighbour => elsewhere || at_hq,
            AckLevel::Hq => at_hq,
        };
        if !kept {
            self.break_rule(t, format!("says that {id:?} is safe: {level:?}, and it is not"));
        }
        let most = self.books.promised.entry(id).or_insert(level);
        *most = level.max(*most);
    }

    /// A terminal's feeds commit.
    pub(super) fn shelve(&mut self, t: usize, changes: Changes) {
        let committed = self.hosts[t].feeds.shelf.commit(changes);
        let me = self.hosts[t].peer;
        for found in &committed.came {
            self.keeps(t, me, found);
        }
        if let Some(id) = committed.doubled.first() {
            self.break_rule(t, format!("keeps {id:?} twice"));
        }
        for id in committed.went {
            self.drops(t, me, &id);
        }
    }

    fn keeps(&mut self, t: usize, me: PeerId, found: &Found) {
        let (id, hash) = (found.id(), blake3::hash(&found.bytes));
        let author = found.header.author;
        if author.peer() == me {
            if self.books.written.insert(id.clone(), hash).is_some_and(|before| before != hash) {
                self.break_rule(t, format!("writes {id:?} twice"));
            }
            if self.post_of(found).is_none() {
                self.break_rule(t, format!("writes {id:?}, which nobody posted"));
            }
        } else {
            self.hosts[t].feeds.lacked += found.bytes.len() as u64;
            self.watch_author(&self.hosts[t].label.clone(), found, hash);
        }
        if let Some(gone) = self.books.let_go.get_mut(&id) {
            gone.remove(&t);
        }
        self.books.held.entry(id).or_default().insert(t);
    }

    /// Whether the author wrote it so.
    fn watch_author(&mut self, who: &str, found: &Found, hash: blake3::Hash) {
        let author = found.header.author;
        let hostile = |host: &&super::super::Host| host.peer == author.peer() && host.feeds.hostile;
        if self.hosts.iter().any(|host| hostile(&host)) {
            return;
        }
        let id = found.id();
        if self.books.written.get(&id) != Some(&hash) {
            let rule = format!("{who} keeps {id:?}, which its author did not write so");
            self.break_with(rule, vec![who.to_owned()]);
        }
    }

    fn drops(&mut self, t: usize, me: PeerId, id: &EntryId) {
        if id.feed.author.peer() != me {
            // A copy may be taken again from further back, of somebody who has all of it.
            let elsewhere = self.hosts.iter().any(|host| host.feeds.shelf.has(id));
            if !elsewhere && !self.books.was_at_hq.contains(id) {
                self.break_rule(t, format!("drops {id:?}, which HQ never had, and nobody has"));
            }
            if !self.books.was_at_hq.contains(id) {
                self.books.let_go.entry(id.clone()).or_default().insert(t);
            }
            return;
        }
        let since = self.books.at_hq.get(id).copied();
        let age = since.map(|since| self.now().saturating_sub(since));
        let retention = self.books.retention.unwrap_or(RETENTION);
        if age.is_none_or(|age| age < retention) {
            self.break_rule(t, format!("drops its own {id:?}: at HQ since {age:?}"));
        }
    }

    /// HQ's feeds commit.
    pub(super) fn shelve_hq(&mut self, changes: Changes) {
        let committed = self.hq.feeds.shelf.commit(changes);
        for id in committed.went.iter().chain(&committed.doubled).take(1) {
            self.break_hq_rule(format!("drops {id:?}, or has it twice"));
        }
        for found in &committed.came {
            let (id, hash) = (found.id(), blake3::hash(&found.bytes));
            if id.feed.topic.name.as_str() == CONTROL {
                self.books.written.insert(id, hash);
                continue;
            }
            self.watch_author("hq", found, hash);
            let before = EntryId { feed: id.feed.clone(), seq: id.seq - 1 };
            if id.seq > 1 && !self.hq.feeds.shelf.has(&before) && !self.hq.feeds.restored {
                self.break_hq_rule(format!("takes {id:?} without the one before"));
            }
            self.books.was_at_hq.insert(id.clone());
            self.books.at_hq.entry(id.clone()).or_insert(self.agenda.now());
            self.hq_has_post(found, id);
        }
    }

    /// HQ is as it was once.
    pub(super) fn forget_of_hq(&mut self) {
        let hq = &self.hq.feeds.shelf;
        self.books.at_hq.retain(|id, _| hq.has(id));
        for entries in self.books.by_post.values_mut() {
            entries.retain(|id| hq.has(id));
        }
    }

    fn hq_has_post(&mut self, found: &Found, id: EntryId) {
        let Some(author) = self.hosts.iter().position(|h| h.peer == found.header.author.peer())
        else {
            self.break_hq_rule(format!("has {id:?} of nobody"));
            return;
        };
        if self.hosts[author].feeds.hostile {
            return;
        }
        let Some(post) = self.post_of(found) else {
            self.break_hq_rule(format!("has {id:?}, which nobody posted"));
            return;
        };
        let entries = self.books.by_post.entry(post).or_default();
        entries.insert(id);
        if entries.len() > 1 && !self.hosts[self.tills.posts[post].t].feeds.hurt {
            let entries = entries.clone();
            self.break_hq_rule(format!("has post {post} more than once: {entries:?}"));
        }
    }

    /// The post that an entry is of, with the very body.
    fn post_of(&self, found: &Found) -> Option<usize> {
        let payload = found.payload.as_deref()?;
        let number = match Record::decode(payload) {
            Ok(Record { count: Some(count), .. }) => usize::try_from(count.value / 1000).ok()?,
            Ok(Record { movements, .. }) => {
                movements.last()?.item.strip_prefix("post ")?.parse().ok()?
            }
            Err(_) => {
                let text = std::str::from_utf8(payload).ok()?;
                let rest = text.strip_prefix("{\"post\":")?;
                rest.split([',', '}']).next()?.parse().ok()?
            }
        };
        let made = self.tills.posts.get(number)?;
        let same_peer = self.hosts[made.t].peer == found.header.author.peer();
        let same_topic = made.topic == found.header.topic.name;
        (same_peer && same_topic && is_same(&made.body, payload)).then_some(number)
    }
}

fn is_same(body: &Body, payload: &[u8]) -> bool {
    let record = || Record::decode(payload).ok();
    match body {
        Body::Event(bytes) => bytes == payload,
        Body::Moved(moved) => record().is_some_and(|record| {
            let lines = record.movements.iter().map(|line| (line.item.clone(), line.quantity));
            record.count.is_none() && lines.eq(moved.iter().cloned())
        }),
        Body::Counted { item, value } => record()
            .and_then(|record| record.count)
            .is_some_and(|count| count.item == *item && count.value == *value),
    }
}
