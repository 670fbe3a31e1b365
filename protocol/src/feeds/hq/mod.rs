//! HQ's feeds: the journals of all stores, each entry once, and HQ's own word to the chain.
//!
//! Every terminal that is admitted has a link; HQ asks on it for what it lacks of that store, takes each
//! entry once and in order, gives it an arrival number, and acknowledges each feed that has grown, signed,
//! at most once per [`ACK_EVERY`]. What it says itself goes to every link.
//!
//! It routes: what a frame says is `hear`'s, who may have what `reach`'s, HQ's own orders `own`'s. A terminal
//! that breaks the protocol loses its link and nothing else; what is wrong with a feed is noted for people,
//! and the feed goes on. What a program at the head office reads comes from rows, by [`super::export`] and the
//! functions here: never from this composite.

mod arrivals;
mod behind;
mod boots;
mod clones;
mod hear;
mod io;
mod notes;
mod own;
mod reach;
mod say;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use storemesh_keys::{HqSigner, Name, Timestamp, Trust};

use self::{
    arrivals::Arrivals,
    boots::Boots,
    clones::told_of,
    own::Own,
    reach::{Member, Reach, is_control},
};
pub(crate) use self::{arrivals::each_after, notes::voids, own::ends};
pub use self::{
    arrivals::{Cursor, CursorError},
    behind::behind_since,
    clones::{Claim, clone_claims, clones},
    io::{AppendError, Event, FromFeeds, Input, Lost, Output},
    own::{ended, schema, settings, topics},
};
use super::{
    Author, Boot, CertificateHash, Storage,
    exchange::Exchange,
    ledger::{self, FeedNo, Keeps, Ledger},
    stock,
};
use crate::{
    Instant,
    hq::LinkId,
    wire::feeds::{FeedFrame, Over},
};

/// Every table of HQ's feeds.
pub const TABLES: &[&str] = &[
    ledger::FEEDS,
    ledger::ENTRIES,
    ledger::ACKS,
    ledger::CERTIFICATES,
    ledger::ONLINE,
    ledger::FORKS,
    stock::ITEMS,
    stock::MOVEMENTS,
    stock::COUNTS,
    stock::WAITING,
    stock::MENTIONED,
    stock::UNSEEN,
    stock::SEEN,
    arrivals::ARRIVALS,
    notes::VOIDS,
    behind::BEHIND,
    own::WANTED,
    own::SCHEMAS,
    own::SETTINGS,
    own::ENDS,
    own::CLONES,
    clones::CLAIMS,
];

/// Design: each feed at most once per 50 ms.
const ACK_EVERY: Duration = Duration::from_millis(50);
/// Feeds that are acknowledged at once: what an HQ that was restored signs anew leaves it time for what comes.
const ACKS_AT_ONCE: usize = 256;

#[derive(Debug)]
pub struct HqFeeds {
    signer: HqSigner,
    trust: Trust,
    author: Author,
    generation: u64,
    /// What HQ's own entries name.
    online: CertificateHash,
    ledger: Ledger,
    /// One for each store: what one store lacks and has is nothing to another.
    exchanges: BTreeMap<Name, Exchange<LinkId>>,
    reach: Reach,
    own: Own,
    arrivals: Arrivals,
    boots: Boots,
    /// The boot in which each link's terminal runs, as its first frame says.
    running: BTreeMap<LinkId, Boot>,
    /// Feeds that have grown since they were last acknowledged.
    grown: BTreeSet<FeedNo>,
    /// Nothing is acknowledged before.
    ack_at: Instant,
}

impl HqFeeds {
    /// Goes on from what storage holds; a new chain's first schema is written here, and what a new
    /// generation begins with.
    pub fn load(signer: HqSigner, trust: Trust, storage: &mut dyn Storage) -> (Self, Vec<Output>) {
        let author = Author::hq(trust.chain);
        let generation = signer.described().generation;
        let mut ledger = Ledger::load(trust, Keeps::All, storage);
        let online = ledger.vouch_online(storage, signer.online());
        let online = online.expect("the chain root vouches for HQ's own key");
        ledger.raise_generation(generation);
        let behind = behind::still_behind(storage, generation);
        let mut reach = Reach::new(author, generation, behind);
        for certificate in ledger.certificates() {
            reach.certified(certificate);
        }
        for (number, feed) in ledger.feeds() {
            reach.begun(number, &feed.id);
        }
        let own = Own::load(storage);
        for schema in own.schemas() {
            ledger.add_schema(schema.clone());
        }
        for end in own.ends() {
            ledger.add_end(end.clone());
        }
        let mut feeds = Self {
            author,
            generation,
            online,
            ledger,
            exchanges: BTreeMap::new(),
            reach,
            own,
            arrivals: Arrivals::load(storage, generation),
            boots: Boots::default(),
            running: BTreeMap::new(),
            grown: BTreeSet::new(),
            ack_at: Instant::default(),
            signer,
            trust,
        };
        let mut outputs = Vec::new();
        feeds.begin(storage, &mut outputs);
        // It was killed before it signed for them, or has not signed in this generation.
        let held = feeds.ledger.feeds().filter(|(_, feed)| !is_control(&feed.id));
        let owed = held.filter(|(_, feed)| feed.last > 0 && !feed.is_signed_for(generation));
        feeds.grown = owed.map(|(number, _)| number).collect();
        feeds.ledger.flush(storage);
        outputs.retain(|output| !matches!(output, Output::Tell(_)));
        let wanted = feeds.own.wanted().cloned().map(FromFeeds::Wanted);
        let clones = feeds.own.all_clones().filter(|clones| !clones.settled).map(told_of);
        outputs.extend(wanted.chain(clones).map(Output::Tell));
        (feeds, outputs)
    }

    /// Takes a batch of inputs, and returns what must be done once `storage` is committed; `wall` is HQ's
    /// own clock, the chain's time.
    #[must_use]
    pub fn handle(
        &mut self,
        now: Instant,
        wall: Timestamp,
        storage: &mut dyn Storage,
        inputs: Vec<Input>,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        for input in inputs {
            self.route(now, wall, storage, input, &mut outputs);
        }
        self.acknowledge(now, wall, storage);
        self.ledger.flush(storage);
        self.settle(now, storage, &mut outputs);
        outputs
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let acks = if self.grown.is_empty() { Instant::NEVER } else { self.ack_at };
        self.exchanges.values().map(Exchange::deadline).fold(acks, Instant::min)
    }

    fn route(
        &mut self,
        now: Instant,
        wall: Timestamp,
        storage: &mut dyn Storage,
        input: Input,
        outputs: &mut Vec<Output>,
    ) {
        match input {
            Input::Up { link, peer, store } => {
                self.up(now, link, Member { peer, store, told_of_stock: false }, outputs);
            }
            Input::Down { link } => self.down(link),
            Input::Frame { link, bytes } => self.frame(now, wall, storage, link, &bytes, outputs),
            Input::Append { ticket, control } => {
                let answer = self.own.check(&control);
                let answer = answer.and_then(|()| self.append(storage, control, outputs));
                outputs.push(Output::Appended { ticket, answer });
            }
            Input::End { ticket, author, topic } => {
                let answer = self.end(storage, author, topic, outputs);
                outputs.push(Output::Appended { ticket, answer });
            }
            Input::Settle { ticket, author } => {
                let answer = self.settle_clones(storage, author, outputs);
                outputs.push(Output::Appended { ticket, answer });
            }
            Input::Tick => {}
        }
    }

    fn up(&mut self, now: Instant, link: LinkId, member: Member, outputs: &mut Vec<Output>) {
        self.down(link);
        let store = member.store.clone();
        self.reach.links.insert(link, member);
        let exchange = self.exchanges.entry(store).or_insert_with(Exchange::new);
        // It asks for more where it wants to know more: of what other stores have there may be millions.
        exchange.up(now, link, self.ledger.of(self.author), &self.reach);
        let boot = Some(Boot(self.generation));
        let frame = FeedFrame { boot, ..FeedFrame::default() };
        outputs.push(Output::Send { link, frame: frame.write(Over::Wan) });
    }

    fn down(&mut self, link: LinkId) {
        self.running.remove(&link);
        let Some(Member { store, .. }) = self.reach.links.remove(&link) else { return };
        let Some(exchange) = self.exchanges.get_mut(&store) else { return };
        exchange.down(link);
        exchange.forget_orphans(&mut self.ledger);
        if exchange.sides().next().is_none() {
            self.exchanges.remove(&store);
        }
    }
}
