//! What the tills' own programs do: they post sales and stock, and post again what was not answered.
//!
//! Each post names itself in its body, so that it is known again wherever its entry turns up. A till keeps
//! its key until it has an answer; some post a second time all the same, a few with another body. What comes
//! of it is for `books` to judge.

use std::{collections::BTreeMap, time::Duration};

use storemesh_keys::Name;
use storemesh_protocol::feeds::{
    EntryId,
    terminal::{AckLevel, Body, Input, Post, PostError, Posted},
};

use crate::{
    chance::Chance,
    world::{Event, World, clock::Time, release::name},
};

/// An unanswered post is posted again after so long beyond what it waits for.
const POST_AGAIN: Duration = Duration::from_secs(2);
pub(super) const ITEMS: [&str; 4] = ["milk", "bread", "apples", "nails"];

/// All tills of the chain, and their own chance: worlds without sales are as they were.
#[derive(Debug)]
pub(in crate::world) struct Tills {
    chance: Chance,
    pub(super) posts: Vec<Made>,
    tickets: BTreeMap<u64, Attempt>,
    ticket: u64,
    /// New posts come until then.
    pub(super) open_until: Time,
}

/// One post, and what was said to it.
#[derive(Debug)]
pub(in crate::world) struct Made {
    pub(super) t: usize,
    pub(super) topic: Name,
    pub(super) body: Body,
    key: Vec<u8>,
    ack: AckLevel,
    wait: Duration,
    /// The entries that were named in answers, the newest last: one, unless the disk forgot.
    pub(super) answers: Vec<EntryId>,
}

/// A post on its way: the body as it was made, or another one under its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) post: usize,
    pub(super) forged: bool,
}

impl Made {
    pub(super) fn is_answered(&self) -> bool {
        !self.answers.is_empty()
    }
}

impl Tills {
    pub(in crate::world) fn new(seed: u64) -> Self {
        // Another seed than the world's, and as good.
        let chance = Chance::new(seed ^ 0x7111);
        Self {
            chance,
            posts: Vec::new(),
            tickets: BTreeMap::new(),
            ticket: 0,
            open_until: Time::ZERO,
        }
    }

    pub(in crate::world) fn number(&mut self) -> u64 {
        self.chance.number()
    }

    pub(in crate::world) fn hits(&mut self, per_mille: u32) -> bool {
        self.chance.hits(per_mille)
    }

    pub(in crate::world) fn below(&mut self, end: usize) -> usize {
        self.chance.below(end)
    }

    pub(super) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        self.chance.between(from, to)
    }

    /// Something that happens at a till, and how sure it must be.
    fn make(&mut self, t: usize) -> Made {
        let number = self.posts.len();
        let item = ITEMS[self.below(ITEMS.len())].to_owned();
        let thousandths = |n: usize| i64::try_from(n).expect("small") * 1000;
        let (topic, body) = match self.below(20) {
            0 => {
                // No other count finds the same.
                let value = thousandths(number);
                ("stock", Body::Counted { item, value })
            }
            1..=8 => {
                let sold = -thousandths(1 + self.below(5));
                // A line that moves nothing says whose entry it is.
                ("stock", Body::Moved(vec![(item, sold), (format!("post {number}"), 0)]))
            }
            _ => {
                let lines = if self.hits(30) { 20_000 } else { 20 + self.below(600) };
                let lines = "x".repeat(lines);
                let sale = format!("{{\"post\":{number},\"lines\":\"{lines}\"}}");
                ("sales", Body::Event(sale.into_bytes()))
            }
        };
        let ack = match self.below(4) {
            0 | 1 => AckLevel::Disk,
            2 => AckLevel::Neighbour,
            _ => AckLevel::Hq,
        };
        let wait = self.between(Duration::from_millis(200), Duration::from_secs(5));
        let key = format!("till {t} post {number}").into_bytes();
        Made { t, topic: name(topic), body, key, ack, wait, answers: Vec::new() }
    }
}

impl World {
    /// Tills of all stores are at work for so long, each posting so often a minute.
    pub fn open_tills(&mut self, span: Duration, per_minute: u32) {
        let now = self.now();
        self.tills.open_until = now + span;
        for t in 0..self.hosts.len() {
            let pace = Duration::from_mins(1) / per_minute.max(1);
            let wait = self.tills.between(Duration::ZERO, pace);
            self.agenda.at(now + wait, Event::Sell { t, pace });
        }
    }

    pub(in crate::world) fn sell(&mut self, t: usize, pace: Duration) {
        if self.now() >= self.tills.open_until || self.hosts[t].feeds.destroyed {
            return;
        }
        let post = self.post_something(t);
        // A nervous cashier.
        if self.tills.hits(100) {
            self.later_post(post, Duration::from_millis(300), false);
        }
        if self.tills.hits(50) {
            self.later_post(post, Duration::from_secs(3), true);
        }
        let wait = self.tills.between(pace / 4, pace * 7 / 4);
        self.agenda.after(wait, Event::Sell { t, pace });
    }

    pub(in crate::world) fn post_something(&mut self, t: usize) -> usize {
        let made = self.tills.make(t);
        self.post(made)
    }

    /// A sale, to be kept by whom the level says.
    #[cfg(test)]
    pub(in crate::world) fn sell_now(&mut self, t: usize, ack: AckLevel) -> usize {
        let number = self.tills.posts.len();
        let mut made = self.tills.make(t);
        made.topic = name("sales");
        made.body = Body::Event(format!("{{\"post\":{number}}}").into_bytes());
        (made.ack, made.wait) = (ack, Duration::from_secs(5));
        self.post(made)
    }

    /// How safe the till was told that its post is.
    #[cfg(test)]
    pub(in crate::world) fn reached(&self, post: usize) -> Option<AckLevel> {
        self.books.promised.get(self.tills.posts[post].answers.last()?).copied()
    }

    #[cfg(test)]
    pub(in crate::world) fn is_at_hq(&self, post: usize) -> bool {
        let entry = self.tills.posts[post].answers.last();
        entry.is_some_and(|entry| self.hq.feeds.shelf.has(entry))
    }

    fn post(&mut self, made: Made) -> usize {
        let post = self.tills.posts.len();
        self.tills.posts.push(made);
        self.try_post(post, false);
        post
    }

    fn later_post(&mut self, post: usize, wait: Duration, forged: bool) {
        let boot = self.hosts[self.tills.posts[post].t].boot;
        self.agenda.after(wait, Event::PostAgain { post, boot, forged });
    }

    pub(in crate::world) fn post_again(&mut self, post: usize, boot: u32, forged: bool) {
        let made = &self.tills.posts[post];
        let host = &self.hosts[made.t];
        // Another body would be taken where the first has never come, or was forgotten.
        if host.boot == boot && (!forged || (made.is_answered() && !host.feeds.hurt)) {
            self.try_post(post, forged);
        }
    }

    /// Tries until there is an answer; another body is tried once.
    pub(in crate::world) fn try_post(&mut self, post: usize, forged: bool) {
        self.tills.ticket += 1;
        let ticket = self.tills.ticket;
        let Made { t, topic, body, key, ack, wait, answers } = &self.tills.posts[post];
        let (t, again) = (*t, *wait + POST_AGAIN);
        if self.hosts[t].feeds.destroyed {
            return;
        }
        let body = if forged { other(body) } else { body.clone() };
        let (topic, key) = (topic.clone(), key.clone());
        let input = Post { topic, key, body, ack: *ack, wait: *wait };
        let open = answers.is_empty() && !forged;
        self.tills.tickets.insert(ticket, Attempt { post, forged });
        self.push_feeds(t, Input::Post { ticket, post: input });
        if open {
            self.agenda.after(again, Event::Unanswered { post });
        }
    }

    pub(in crate::world) fn unanswered(&mut self, post: usize) {
        if !self.tills.posts[post].is_answered() {
            self.try_post(post, false);
        }
    }

    pub(super) fn answer_till(&mut self, t: usize, ticket: u64, answer: Result<Posted, PostError>) {
        let Some(attempt) = self.tills.tickets.remove(&ticket) else {
            self.break_rule(t, format!("answers ticket {ticket} again, or unasked"));
            return;
        };
        self.judge_answer(t, attempt, answer);
    }
}

/// Another body of the same kind.
fn other(body: &Body) -> Body {
    match body {
        Body::Event(bytes) => Body::Event([bytes, &b" "[..]].concat()),
        Body::Moved(moved) => {
            Body::Moved(moved.iter().map(|(item, by)| (item.clone(), by - 1)).collect())
        }
        Body::Counted { item, value } => Body::Counted { item: item.clone(), value: value + 1 },
    }
}
