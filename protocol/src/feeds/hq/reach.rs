//! Whom HQ serves, and with what.
//!
//! A link is a terminal of one store: it may have what its own store writes, and HQ's control feed, and
//! nothing else. HQ wants every feed of the link's store, and of its own control feed what it had signed in
//! a former generation and lost. A side that claims more of this generation is asked for it too, as a proof
//! that HQ was restored and does not know it; once it does know, no more.

use std::collections::{BTreeMap, BTreeSet};

use storemesh_keys::{Authored, Certificate, Name, PeerId};

use crate::{
    feeds::{
        Author, CONTROL, Entry, FeedId, Header, STOCK, Scope,
        exchange::{Policy, Theirs, Wants},
        ledger::{Feed, FeedNo},
    },
    hq::LinkId,
    wire::{self, feeds::FeedFrame},
};

/// A feed that lacks no more than this is pushed by the store's gateway, unasked.
const LIVE: u64 = 256;

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) peer: PeerId,
    pub(super) store: Name,
    /// It speaks for its store, and wants to know how far HQ has the store's stock.
    pub(super) told_of_stock: bool,
}

#[derive(Debug)]
pub(super) struct Reach {
    pub(super) hq: Author,
    pub(super) generation: u64,
    /// It is proved that HQ has lost some of what it said in this generation.
    pub(super) behind: bool,
    pub(super) links: BTreeMap<LinkId, Member>,
    /// The store of each terminal that HQ has certified, by its newest certificate.
    homes: BTreeMap<PeerId, (u64, Name)>,
    /// The feeds of each store's stock.
    stock: BTreeMap<Name, BTreeSet<FeedNo>>,
}

impl Reach {
    pub(super) fn new(hq: Author, generation: u64, behind: bool) -> Self {
        Self {
            hq,
            generation,
            behind,
            links: BTreeMap::new(),
            homes: BTreeMap::new(),
            stock: BTreeMap::new(),
        }
    }

    /// HQ has entries of that feed.
    pub(super) fn begun(&mut self, number: FeedNo, feed: &FeedId) {
        if let (true, Scope::Store(store)) = (is_stock(feed), &feed.topic.scope) {
            self.stock.entry(store.clone()).or_default().insert(number);
        }
    }

    /// What its terminals wrote while they were that store's.
    pub(super) fn stock_of(&self, store: &Name) -> impl Iterator<Item = FeedNo> {
        self.stock.get(store).into_iter().flatten().copied()
    }

    pub(super) fn certified(&mut self, certificate: &Certificate) {
        let Certificate { peer, serial, store, .. } = certificate;
        if self.homes.get(peer).is_none_or(|(known, _)| known < serial) {
            self.homes.insert(*peer, (*serial, store.clone()));
        }
    }

    pub(super) fn home(&self, peer: &PeerId) -> Option<&Name> {
        self.homes.get(peer).map(|(_, store)| store)
    }

    /// Whose feed it is: none for HQ's own.
    pub(super) fn store_of<'a>(&'a self, feed: &'a FeedId) -> Option<&'a Name> {
        match &feed.topic.scope {
            Scope::Store(store) => Some(store),
            Scope::Terminal(peer) => self.home(peer),
            Scope::Chain | Scope::Region(_) => None,
        }
    }

    /// Whether an entry may be taken from that side at all.
    pub(super) fn is_welcome(&self, link: LinkId, feed: &FeedId) -> bool {
        self.may_have(link, feed) && !self.is_said_now(feed)
    }

    /// HQ says it itself, in this generation: nobody can have more of it, unless HQ was put back.
    pub(super) fn is_said_now(&self, feed: &FeedId) -> bool {
        feed.author == self.hq && feed.boot.0 >= self.generation
    }

    /// Bytes of a frame that are not for that side; 0, or there is a bug.
    pub(super) fn out_of_scope(&self, link: LinkId, frame: &FeedFrame) -> u64 {
        let stray = |feed: &FeedId| !self.may_have(link, feed);
        let haves = frame.have.iter().flatten().map(|have| &have.feed);
        let asks = frame.ask.iter().flatten().map(|ask| &ask.feed);
        let told = haves.chain(asks).filter(|feed| stray(feed)).count();
        let entries = frame.batch.iter().flat_map(|batch| &batch.entries);
        let given = entries.filter(|entry| claimed(entry).is_none_or(|feed| stray(&feed)));
        let given: usize = given.map(|entry| entry.len()).sum();
        (told * size_of::<FeedId>() + given) as u64
    }
}

/// The feed that an entry says it is of.
fn claimed(entry: &[u8]) -> Option<FeedId> {
    let entry: Entry = wire::decode(entry).ok()?;
    let mut feed = None;
    // Nobody is asked whether it is signed: it was, when it was taken.
    _ = Authored::verify_claim(entry.header, |header: &Header| {
        feed = Some(header.feed());
        None
    });
    feed
}

impl Policy<LinkId> for Reach {
    fn may_have(&self, side: LinkId, feed: &FeedId) -> bool {
        let Some(member) = self.links.get(&side) else { return false };
        match &feed.topic.scope {
            Scope::Chain => feed.author == self.hq,
            Scope::Region(_) => false,
            Scope::Store(store) => *store == member.store,
            // One that HQ has not heard of yet may be that store's.
            Scope::Terminal(peer) => self.home(peer).is_none_or(|home| *home == member.store),
        }
    }

    fn has(&self, _: LinkId, _: &Feed) -> u64 {
        0
    }

    /// How far HQ has a journal is told by what it acknowledges, to those who have some of it.
    fn tells(&self, side: LinkId, feed: &Feed) -> bool {
        let told_of_stock = || self.links.get(&side).is_some_and(|member| member.told_of_stock);
        is_control(&feed.id) || (is_stock(&feed.id) && told_of_stock())
    }

    fn pushes(&self, _: LinkId, feed: &FeedId) -> bool {
        is_control(feed) && feed.boot.0 == self.generation
    }

    fn keeps(&self, _: LinkId, _: &FeedId) -> bool {
        false
    }

    fn wants(&self, side: LinkId, feed: &Feed, theirs: &Theirs) -> Wants {
        let of_use = !self.behind || !self.is_said_now(&feed.id);
        let wanted = of_use && self.may_have(side, &feed.id);
        let Some((from, upto)) = theirs.brings_to(feed).filter(|_| wanted) else {
            return Wants::No;
        };
        // Nobody pushes what is behind the last that HQ has.
        let is_gap = from <= feed.last;
        if is_gap || is_control(&feed.id) || upto - from > LIVE {
            Wants::From(from)
        } else {
            Wants::Soon(from)
        }
    }
}

fn is_stock(feed: &FeedId) -> bool {
    feed.topic.name.as_str() == STOCK
}

pub(super) fn is_control(feed: &FeedId) -> bool {
    feed.topic.name.as_str() == CONTROL
}
