//! A terminal's feeds: what its programs post, what its neighbours and HQ wrote, and who lacks what of it.
//!
//! It routes what comes in to the ledger (what is kept), the exchange (who has and lacks what) and the stock
//! read model, and gathers what they want said. The program on a terminal and the simulator drive this
//! same composite, beside [`crate::terminal::Terminal`], from which it hears who is gateway and what time
//! it is. A post is answered when it is on disk: outputs leave after the batch's transaction.

mod control;
mod hear;
mod io;
mod post;
mod roles;
mod status;
mod trim;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use storemesh_keys::{Certificate, Expiry, HqSigned, PeerId, SecretKey, Timestamp, Trust};

pub use self::{
    io::{
        AckLevel, Body, Event, FromFeeds, Input, KEY_MAX, Output, Post, PostError, Posted, RoomFor,
        ToFeeds,
    },
    status::{FeedStatus, Status},
};
use self::{post::Waiting, roles::Roles, trim::TRIM_EVERY};
use super::{
    Author, Boot, CertificateHash, Settings, Storage,
    exchange::Exchange,
    ledger::{self, FeedNo, Keeps, Ledger},
    stock,
};
use crate::{
    Instant,
    terminal::Source,
    wire::{
        self,
        feeds::{Cloned, FORKS_MAX, FeedFrame, Fork, Over},
    },
};

/// Every table of a terminal's feeds.
pub const TABLES: &[&str] = &[
    ledger::FEEDS,
    ledger::ENTRIES,
    ledger::ACKS,
    ledger::PROOFS,
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
    post::KEYS,
    post::POSTED,
];

/// What the driver knows at start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This terminal's identity: it signs its entries.
    pub key: SecretKey,
    /// Random, this start's own.
    pub boot: Boot,
    /// As the terminal's other composite has it.
    pub certificate: HqSigned<Certificate>,
    pub trust: Trust,
}

/// What a terminal should not have done, to be shown to everybody.
#[derive(Debug, Default)]
struct Evidence {
    /// To be shown to all who are here.
    forks: Vec<Fork>,
    clones: Vec<Cloned>,
    /// Clones that this terminal has seen, and of which HQ has not said anything yet: shown to whoever comes.
    seen: BTreeMap<Author, Cloned>,
    /// Those of which others say so. It is passed on, so that HQ hears of it; nothing else comes of it,
    /// since anybody can say so of anybody.
    claimed: BTreeMap<Author, Cloned>,
}

impl Evidence {
    fn seen(&mut self, cloned: Cloned) {
        if self.seen.len() < FORKS_MAX && self.seen.insert(cloned.author, cloned).is_none() {
            self.clones.push(cloned);
        }
    }

    /// Whether it is news.
    fn claimed(&mut self, cloned: Cloned) -> bool {
        let known = self.seen.contains_key(&cloned.author);
        // Whoever claims of many can fill this; what was seen here goes out all the same, and first.
        let news = !known
            && self.claimed.len() < FORKS_MAX
            && self.claimed.insert(cloned.author, cloned).is_none();
        if news {
            self.clones.push(cloned);
        }
        news
    }

    fn open(&self) -> Vec<Cloned> {
        self.seen.values().chain(self.claimed.values()).copied().take(FORKS_MAX).collect()
    }

    /// HQ has spoken of it.
    fn decided(&mut self, author: Author) {
        self.seen.remove(&author);
        self.claimed.remove(&author);
    }
}

#[derive(Debug)]
pub struct TerminalFeeds {
    key: SecretKey,
    /// What this terminal's entries name.
    certificate: CertificateHash,
    ledger: Ledger,
    exchange: Exchange<Source>,
    roles: Roles,
    settings: Settings,
    waiting: Vec<Waiting>,
    /// As the other composite says it, and when it did.
    hq_time: Option<(Timestamp, Instant)>,
    /// The newest time that HQ has signed in a feed.
    hq_signed: Option<Timestamp>,
    /// The boots in which each neighbour was here, in their order.
    boots: BTreeMap<PeerId, Vec<Boot>>,
    evidence: Evidence,
    trim_at: Instant,
    /// HQ tells how far it has the store's stock.
    stock_asked: bool,
    /// What is wanted or owed has changed in this batch.
    rethink: bool,
    /// Of these somebody may have more than was taken here.
    look_back: BTreeSet<FeedNo>,
}

impl TerminalFeeds {
    /// Goes on from what storage holds; the outputs are to be carried out like any others.
    pub fn load(setup: Setup, storage: &mut dyn Storage, now: Instant) -> (Self, Vec<Output>) {
        let certificate = setup.certificate.verify(&setup.trust, Timestamp(0), Expiry::Ignored);
        let certificate = certificate.expect("the terminal's other composite has verified it");
        let me = setup.key.peer_id();
        let settings = Settings::default();
        let roles = Roles {
            me,
            store: certificate.store.clone(),
            boot: setup.boot,
            hq: Author::hq(setup.trust.chain),
            gateway: None,
            neighbours: BTreeSet::new(),
            copies: settings.journal_copies as usize,
            generation: 0,
            room: RoomFor::All,
        };
        let mut feeds = Self {
            key: setup.key,
            certificate: CertificateHash::of(certificate.payload()),
            ledger: Ledger::load(setup.trust, Keeps::OwnOf(Author::terminal(me)), storage),
            exchange: Exchange::new(),
            roles,
            settings,
            waiting: Vec::new(),
            hq_time: None,
            hq_signed: None,
            boots: BTreeMap::new(),
            evidence: Evidence::default(),
            trim_at: now + TRIM_EVERY,
            stock_asked: false,
            rethink: false,
            look_back: BTreeSet::new(),
        };
        feeds.ledger.vouch(storage, &setup.certificate);
        let mut outputs = Vec::new();
        feeds.read_control(now, storage, &mut outputs);
        (feeds, outputs)
    }

    /// What HQ has said until now, generation after generation.
    fn read_control(&mut self, now: Instant, storage: &mut dyn Storage, outputs: &mut Vec<Output>) {
        let own = self.ledger.of(self.roles.hq).map(|(number, feed)| (number, feed.clone()));
        let own: Vec<_> = own.filter(|(_, feed)| roles::is_control(&feed.id)).collect();
        for (number, feed) in own {
            for seq in feed.first..=feed.last {
                let Some(entry) = self.ledger.entry(storage, number, seq) else { continue };
                if let Some(payload) = entry.payload()
                    && wire::decode::<super::Control>(payload).is_ok()
                {
                    self.control(now, storage, entry.header(), payload, outputs);
                }
            }
        }
    }

    /// Takes a batch of inputs, and returns what must be done once `storage` is committed.
    #[must_use]
    pub fn handle(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        inputs: Vec<Input>,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        for input in inputs {
            self.route(now, storage, input, &mut outputs);
        }
        self.exchange.forget_orphans(&mut self.ledger);
        self.trim(now, storage);
        if std::mem::take(&mut self.rethink) {
            self.exchange.rethink(now, &self.ledger, &self.roles);
            self.look_back = self.ledger.feeds().map(|(number, _)| number).collect();
            self.ask_for_stock(&mut outputs);
        }
        self.look_back(now);
        self.ledger.flush(storage);
        self.show_evidence(&mut outputs);
        for (to, frame) in self.exchange.settle(now, storage, &self.ledger, &self.roles) {
            outputs.push(Output::Send { to, frame: frame.write(over(to)) });
        }
        self.answer_posts(now, &mut outputs);
        outputs
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let posts = self.waiting.iter().map(|post| post.until);
        posts.fold(self.exchange.deadline().min(self.trim_at), Instant::min)
    }

    fn route(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        input: Input,
        outputs: &mut Vec<Output>,
    ) {
        match input {
            Input::Post { ticket, post } => self.post(now, storage, ticket, post, outputs),
            Input::Up(side) => self.up(now, storage, side, outputs),
            Input::Down(side) => self.down(now, side),
            Input::Frame { from, bytes } => self.frame(now, storage, from, &bytes, outputs),
            Input::Told(ToFeeds::Gateway(gateway)) => {
                self.rethink |= self.roles.gateway != gateway;
                self.roles.gateway = gateway;
            }
            Input::Told(ToFeeds::HqTime(time)) => self.hq_time = Some((time, now)),
            Input::Told(ToFeeds::Certificate(certificate)) => {
                if let Some(hash) = self.ledger.vouch(storage, &certificate) {
                    self.certificate = hash;
                }
            }
            Input::Room(room) => self.has_room(room, outputs),
            Input::Tick => {}
        }
    }

    fn has_room(&mut self, room: RoomFor, outputs: &mut Vec<Output>) {
        let before = std::mem::replace(&mut self.roles.room, room);
        if before == room {
            return;
        }
        outputs.push(Output::Event(Event::Room(room)));
        if (before == RoomFor::All) != (room == RoomFor::All) {
            outputs.push(Output::Tell(FromFeeds::NoRoom(room < RoomFor::All)));
            self.rethink = true;
        }
    }

    fn up(&mut self, now: Instant, storage: &dyn Storage, side: Source, outputs: &mut Vec<Output>) {
        if let Source::Neighbour(peer) = side {
            self.roles.neighbours.insert(peer);
        }
        self.exchange.up(now, side, self.ledger.feeds(), &self.roles);
        self.rethink = true;
        self.stock_asked &= side != Source::Hq;
        let boot = Some(self.roles.boot);
        // What was seen while it was away, HQ's say on it above all.
        let forks = Some(Ledger::forks(storage)).filter(|forks| !forks.is_empty());
        let clones = Some(self.evidence.open()).filter(|clones| !clones.is_empty());
        // An HQ that was put back, and was not told so, sees it by its own last word.
        let word = (side == Source::Hq).then(|| self.ledger.last_word(storage)).flatten();
        let acks = word.map(|word| vec![word]);
        let frame = FeedFrame { boot, acks, forks, clones, ..FeedFrame::default() };
        outputs.push(Output::Send { to: side, frame: frame.write(over(side)) });
    }

    fn down(&mut self, _: Instant, side: Source) {
        if let Source::Neighbour(peer) = side {
            self.roles.neighbours.remove(&peer);
        }
        self.exchange.down(side);
        self.rethink = true;
    }

    /// An HQ that was restored wants what it had acknowledged before, and a gateway takes journals from there on
    /// only. What somebody has from further back, it takes from that one.
    fn look_back(&mut self, now: Instant) {
        let look_back = std::mem::take(&mut self.look_back);
        let generation = self.ledger.generation();
        if generation <= 1 || self.roles.room < RoomFor::All || !self.roles.is_gateway() {
            return;
        }
        for number in look_back {
            // What only a side that is gone told of is forgotten.
            let Some(feed) = self.ledger.get(number) else { continue };
            let (whole, first) = (feed.acked_whole(generation), feed.first);
            let elsewhere = || self.exchange.is_elsewhere(number, whole, first, Source::Hq);
            if whole + 1 < first && !roles::is_control(&feed.id) && elsewhere() {
                self.ledger.reopen(number);
                self.exchange.reopened(now, number);
            }
        }
    }

    /// Of a store's terminals the gateway alone takes what HQ has of its stock, and wants to be told of that.
    fn ask_for_stock(&mut self, outputs: &mut Vec<Output>) {
        let asks = self.roles.is_gateway() && self.exchange.is_up(Source::Hq);
        if asks && !self.stock_asked {
            let frame = FeedFrame { stock: Some(true), ..FeedFrame::default() };
            outputs.push(Output::Send { to: Source::Hq, frame: frame.write(Over::Wan) });
        }
        self.stock_asked = asks;
    }

    /// Forks and clones are shown to whoever is here; HQ decides what comes of them.
    fn show_evidence(&mut self, outputs: &mut Vec<Output>) {
        let Evidence { forks, clones, .. } = &mut self.evidence;
        if forks.is_empty() && clones.is_empty() {
            return;
        }
        forks.truncate(FORKS_MAX);
        clones.truncate(FORKS_MAX);
        let frame = FeedFrame {
            forks: Some(std::mem::take(forks)),
            clones: Some(std::mem::take(clones)),
            ..FeedFrame::default()
        };
        for to in self.exchange.sides() {
            outputs.push(Output::Send { to, frame: frame.clone().write(over(to)) });
        }
    }
}

fn over(to: Source) -> Over {
    match to {
        Source::Hq => Over::Wan,
        Source::Neighbour(_) => Over::Lan,
    }
}
