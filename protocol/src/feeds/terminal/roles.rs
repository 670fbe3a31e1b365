//! What this terminal wants of the store's feeds, and who should have what from it.
//!
//! HQ's control feed and the store's stock go to every terminal; a journal goes to the gateway, which takes
//! it to HQ, and to some neighbours as copies. Those are chosen by a hash of both names, so the author and
//! the gateway think of the same ones as long as they see the same neighbours.

use std::collections::BTreeSet;

use storemesh_keys::{Name, PeerId};

use super::RoomFor;
use crate::{
    feeds::{
        Author, Boot, CONTROL, FeedId, STOCK, Scope,
        exchange::{Policy, Theirs, Wants},
        ledger::Feed,
    },
    terminal::Source,
};

/// A feed that lacks no more than this gets what is new pushed.
const LIVE: u64 = 256;

#[derive(Debug)]
pub(super) struct Roles {
    pub(super) me: PeerId,
    pub(super) store: Name,
    pub(super) boot: Boot,
    /// HQ's author.
    pub(super) hq: Author,
    pub(super) gateway: Option<PeerId>,
    pub(super) neighbours: BTreeSet<PeerId>,
    pub(super) copies: usize,
    /// HQ's generation.
    pub(super) generation: u64,
    pub(super) room: RoomFor,
}

impl Roles {
    pub(super) fn is_gateway(&self) -> bool {
        self.gateway == Some(self.me)
    }

    /// The gateway is somebody else, and near.
    fn has_gateway(&self) -> bool {
        self.gateway.is_some_and(|gateway| self.neighbours.contains(&gateway))
    }

    /// Which neighbours keep a copy of what `author` writes.
    fn is_copy_holder(&self, author: PeerId, neighbour: PeerId) -> bool {
        let rank = |peer: &PeerId| mix(author, *peer);
        let others = self.neighbours.iter().copied().chain([self.me]);
        let others = others.filter(|peer| *peer != author && Some(*peer) != self.gateway);
        let before = others.filter(|peer| rank(peer) < rank(&neighbour)).take(self.copies).count();
        Some(neighbour) != self.gateway && before < self.copies
    }

    /// This terminal is writing it, and nobody else can be.
    pub(super) fn is_being_written(&self, feed: &FeedId) -> bool {
        self.is_own(feed) && feed.boot == self.boot
    }

    /// For what others bring of it. What HQ orders is kept on the fullest disk.
    pub(super) fn has_room_for(&self, feed: &FeedId) -> bool {
        self.room == RoomFor::All || is_control(feed)
    }

    fn is_own(&self, feed: &FeedId) -> bool {
        feed.author == Author::terminal(self.me)
    }
}

impl Policy<Source> for Roles {
    fn may_have(&self, _: Source, feed: &FeedId) -> bool {
        match &feed.topic.scope {
            Scope::Chain => feed.author == self.hq,
            Scope::Region(_) => false,
            Scope::Store(store) => *store == self.store,
            Scope::Terminal(_) => true,
        }
    }

    fn has(&self, side: Source, feed: &Feed) -> u64 {
        match side {
            Source::Hq => feed.acked_in(self.generation),
            Source::Neighbour(_) => 0,
        }
    }

    fn tells(&self, side: Source, feed: &Feed) -> bool {
        match side {
            // What HQ has acknowledged it knows better; of its own word it may have lost some.
            Source::Hq => is_control(&feed.id) || feed.acked_in(self.generation) < feed.last,
            Source::Neighbour(_) => true,
        }
    }

    fn pushes(&self, side: Source, feed: &FeedId) -> bool {
        let (control, stock) = (is_control(feed), is_stock(feed));
        match side {
            Source::Hq => self.is_gateway() && !control,
            Source::Neighbour(peer) if self.is_own(feed) => {
                Some(peer) == self.gateway || self.is_copy_holder(self.me, peer)
            }
            Source::Neighbour(peer) => {
                let author = feed.author.peer();
                let has_it = peer == author || self.is_copy_holder(author, peer);
                self.is_gateway() && (control || (stock && !has_it))
            }
        }
    }

    fn keeps(&self, side: Source, feed: &FeedId) -> bool {
        match side {
            Source::Hq => false,
            Source::Neighbour(peer) => self.is_own(feed) && self.is_copy_holder(self.me, peer),
        }
    }

    fn wants(&self, side: Source, feed: &Feed, theirs: &Theirs) -> Wants {
        // Nobody has more than this terminal of what it is writing.
        if !self.may_have(side, &feed.id) || self.is_being_written(&feed.id) {
            return Wants::No;
        }
        if !self.has_room_for(&feed.id) {
            return Wants::No;
        }
        let whole = feed.last + 1;
        let author = Source::Neighbour(feed.id.author.peer());
        let expected = |from: u64, pushed: bool| {
            if pushed && theirs.last.saturating_sub(from) < LIVE {
                Wants::Soon(from)
            } else {
                Wants::From(from)
            }
        };
        if is_control(&feed.id) {
            let former = feed.id.boot.0 < self.generation;
            return match (former, self.is_gateway()) {
                (true, false) => Wants::No,
                // HQ may ask for what it has said before it was restored.
                (true, true) => Wants::From(whole),
                (false, _) => expected(whole, self.has_gateway()),
            };
        }
        if is_stock(&feed.id) {
            return match side {
                Source::Hq if !self.is_gateway() => Wants::No,
                Source::Hq | Source::Neighbour(_) => expected(whole, self.has_gateway()),
            };
        }
        // What HQ has acknowledged need not be brought to it.
        let acked = theirs.acked.max(feed.acked_in(self.generation));
        let at_hq = feed.acked_whole(self.generation);
        let unacked = match theirs.brings_behind(feed, at_hq) {
            // Of a gap, what HQ lacks.
            Some((from, _)) if from <= feed.last => from.max(at_hq + 1),
            Some(_) | None => feed.last.max(acked) + 1,
        };
        let author_is_near = self.neighbours.contains(&feed.id.author.peer());
        if side == Source::Hq || theirs.last < unacked {
            Wants::No
        } else if self.is_gateway() {
            expected(unacked, author_is_near)
        } else if theirs.keep && side == author {
            expected(unacked, true)
        } else {
            Wants::No
        }
    }
}

pub(super) fn is_control(feed: &FeedId) -> bool {
    feed.topic.name.as_str() == CONTROL
}

pub(super) fn is_stock(feed: &FeedId) -> bool {
    feed.topic.name.as_str() == STOCK
}

/// A number of two names, the same everywhere and as good as any.
fn mix(author: PeerId, other: PeerId) -> (u64, PeerId) {
    let word = |peer: &PeerId| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&peer.as_bytes()[8..16]);
        u64::from_le_bytes(bytes)
    };
    // The finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
    let mut mixed = word(&author).rotate_left(32) ^ word(&other);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31), other)
}
