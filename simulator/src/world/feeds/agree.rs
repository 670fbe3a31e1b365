//! What must be so once there is peace, and has been for a while.
//!
//! Every post of a till that still stands is answered; HQ has every entry that is on any disk, and all that
//! was promised and is not excused, and tells each once; every terminal has all the store's stock, knows that HQ has what it
//! wrote, and reckons on hand what the entries say, as HQ does.

use std::collections::{BTreeMap, BTreeSet};

use storemesh_protocol::feeds::{
    Author, CONTROL, EntryId, FeedId, STOCK,
    export::{self, Filter, Line},
    hq::{self, Cursor},
    stock, terminal,
};

use super::{stock::Reckoning, terminal::Mind, tills::ITEMS};
use crate::world::World;

/// Entries that are read at once.
const PAGE: usize = 1000;

impl World {
    /// Why the feeds of the chain are not where they should be yet.
    pub fn feeds_disagreement(&self) -> Option<String> {
        let unanswered = |post: &super::tills::Made| {
            !post.is_answered() && !self.is_gone(post.t) && !self.has_end(post.t)
        };
        if let Some(number) = self.tills.posts.iter().position(unanswered) {
            let label = &self.hosts[self.tills.posts[number].t].label;
            return Some(format!("{label} has not answered post {number}"));
        }
        let hq = &self.hq.feeds.shelf;
        // A box that is taken out of the shop takes along what is on no other disk.
        let taken = |id: &EntryId| {
            let mut holders = self.hosts.iter().filter(|host| host.feeds.shelf.has(id)).peekable();
            holders.peek().is_some() && holders.all(|host| host.program.is_none())
        };
        let lost = |id: &&EntryId| {
            let excused = self.books.excused.contains(*id) || taken(id);
            !excused && !hq.has(id) && !self.is_of_ended(id)
        };
        if let Some((id, level)) = self.books.promised.iter().find(|(id, _)| lost(id)) {
            return Some(format!("HQ has not {id:?}, which was promised: {level:?}"));
        }
        let stores = 0..self.stores.len();
        self.export_disagreement()
            .or_else(|| stores.into_iter().find_map(|store| self.feeds_disagreement_of(store)))
    }

    /// Programs at HQ read each entry once, and in its feed's order.
    fn export_disagreement(&self) -> Option<String> {
        let (books, trust) = (self.hq.feeds.shelf.batch(hq::TABLES), self.hq.signs().1);
        let mut last = BTreeMap::new();
        let mut told = BTreeSet::new();
        let (mut since, mut more) = (Cursor::BEGINNING, true);
        while more {
            let page = export::page(&books, &trust, since, &Filter::default(), PAGE);
            (since, more) = (page.next, page.more);
            for Line { peer, boot, topic, seq, .. } in page.lines {
                let before = last.insert((peer, boot, topic.clone()), seq).unwrap_or(0);
                // What HQ had lost when it was restored comes behind what it had not.
                if seq <= before && !self.hq.feeds.restored {
                    return Some(format!("HQ tells entry {seq} of {topic} behind entry {before}"));
                }
                if !told.insert((peer, boot, topic.clone(), seq)) {
                    return Some(format!("HQ tells entry {seq} of {topic} twice"));
                }
            }
        }
        let untold = |id: &&EntryId| {
            let EntryId { feed: FeedId { author, boot, topic }, seq } = id;
            !self.is_of_ended(id)
                && self.hq.feeds.shelf.has(id)
                && !told.contains(&(author.peer(), *boot, topic.name.clone(), *seq))
        };
        let promised = self.books.promised.keys();
        promised.into_iter().find(untold).map(|id| format!("HQ has {id:?}, and tells it nobody"))
    }

    fn feeds_disagreement_of(&self, store: usize) -> Option<String> {
        let hq = &self.hq.feeds.shelf;
        let ours = self.stores[store].terminals.iter().copied();
        let ours: Vec<usize> = ours.filter(|t| !self.is_gone(*t)).collect();
        for t in &ours {
            let (label, side) = (&self.hosts[*t].label, &self.hosts[*t].feeds);
            for id in side.shelf.ids() {
                let counts = id.feed.topic.name.as_str() != CONTROL && !self.is_of_ended(id);
                if counts && !hq.has(id) {
                    return Some(format!("{label} has {id:?}, and HQ has not"));
                }
            }
            if let Some(Mind::Honest(feeds)) = side.program.as_ref().map(|program| &program.mind)
                && !self.has_end(*t)
            {
                let status = feeds.status();
                if status.unacked > 0 {
                    return Some(format!("{label} waits for HQ: {status:?}"));
                }
            }
        }
        let is_stock = |id: &&EntryId| {
            let author = id.feed.author.peer();
            let here = self.hosts.iter().any(|host| host.peer == author && host.store == store);
            here && id.feed.topic.name.as_str() == STOCK && !self.is_of_ended(id)
        };
        for id in hq.ids().filter(is_stock) {
            if let Some(t) = ours.iter().find(|t| !self.hosts[**t].feeds.shelf.has(id)) {
                return Some(format!("{} has not {id:?} of the stock", self.hosts[*t].label));
            }
        }
        self.stock_disagreement(store, &ours)
    }

    fn stock_disagreement(&self, store: usize, terminals: &[usize]) -> Option<String> {
        let name = &self.stores[store].name;
        let hq = self.hq.feeds.shelf.batch(hq::TABLES);
        let reckoning = Reckoning::of(&self.hq.feeds.shelf, name);
        for item in ITEMS {
            let quantity = |on_hand: Option<stock::OnHand>| on_hand.map(|is| is.quantity);
            let at_hq = quantity(stock::on_hand(&hq, name, item));
            let reckoned = reckoning.on_hand(item);
            // Whose entries HQ has ended count no more, and are still there.
            if at_hq != reckoned && self.books.ended.is_empty() {
                return Some(format!("{name} has {reckoned:?} of {item}, and HQ says {at_hq:?}"));
            }
            for t in terminals {
                let here = self.hosts[*t].feeds.shelf.batch(terminal::TABLES);
                let here = quantity(stock::on_hand(&here, name, item));
                if here != at_hq {
                    let label = &self.hosts[*t].label;
                    return Some(format!("{label} has {here:?} of {item}, and HQ says {at_hq:?}"));
                }
            }
        }
        None
    }

    /// Off for good, or not one of ours.
    fn is_gone(&self, t: usize) -> bool {
        let host = &self.hosts[t];
        host.feeds.destroyed || host.feeds.hostile || host.program.is_none()
    }

    fn has_end(&self, t: usize) -> bool {
        self.books.ended.contains(&Author::terminal(self.hosts[t].peer))
    }

    fn is_of_ended(&self, id: &EntryId) -> bool {
        self.books.ended.contains(&id.feed.author)
    }
}
