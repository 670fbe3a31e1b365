//! What HQ's control feed says to every terminal of the chain.
//!
//! One entry carries one order, in one of [`Control`]'s parts; a part that a reader does not know is
//! passed on and means nothing to it. Of two orders about the same thing the later entry counts, and a
//! higher generation's before a lower one's.

use minicbor::{Decode, Encode};
use storemesh_keys::{Name, Timestamp};

use super::{
    entry::{Author, Boot, FeedId, Topic},
    schema::Schema,
};
use crate::content::ReleaseHead;

/// Feeds that one [`End`] lists, so that it fits into an entry however long their names are; of an author with
/// more there are several.
pub const END_FEEDS_MAX: usize = 256;
/// As many neighbours as a store could have.
pub const COPIES_MAX: u32 = 16;

#[derive(Clone, Debug, Default, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Control {
    #[n(0)]
    pub wanted: Option<WantedRelease>,
    #[n(1)]
    pub schema: Option<Schema>,
    #[n(2)]
    pub settings: Option<Settings>,
    #[n(3)]
    pub end: Option<End>,
    #[n(4)]
    pub clones: Option<Clones>,
}

/// HQ wants every terminal to run this release of its product.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct WantedRelease {
    #[n(0)]
    pub release: ReleaseHead,
    /// HQ's time when it was ordered.
    #[n(1)]
    pub at: Timestamp,
}

/// The same, and by which of two orders for one product the newer one is told.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Wanted {
    /// HQ's, raised when it is restored from a backup.
    #[n(0)]
    pub generation: u64,
    /// The entry's number in HQ's control feed.
    #[n(1)]
    pub number: u64,
    #[n(2)]
    pub release: ReleaseHead,
    #[n(3)]
    pub at: Timestamp,
}

impl Wanted {
    pub fn product(&self) -> &Name {
        &self.release.product
    }

    pub fn order(&self) -> (u64, u64) {
        (self.generation, self.number)
    }
}

/// What holds for the whole chain.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Settings {
    /// `journal.copies`: neighbours, besides the gateway, that keep a copy of each journal.
    #[n(0)]
    pub journal_copies: u32,
    /// `journal.retention`: how long an entry stays on a terminal after HQ has acknowledged it.
    #[n(1)]
    pub journal_retention_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { journal_copies: 2, journal_retention_s: 14 * 86_400 }
    }
}

/// From here on an author's entries do not count, on any machine.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct End {
    #[n(0)]
    pub author: Author,
    /// On this topic, or on all.
    #[n(1)]
    pub topic: Option<Name>,
    /// The last entry that counts of each feed; a feed that is not here does not count.
    #[n(2)]
    pub last: Vec<LastCounted>,
    /// It is about the feeds after this one, in their order; about the first ones too where there is none.
    #[n(3)]
    pub after: Option<FeedId>,
    /// And up to this one; about all that come where there is none.
    #[n(4)]
    pub upto: Option<FeedId>,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct LastCounted {
    #[n(0)]
    pub boot: Boot,
    #[n(1)]
    pub topic: Topic,
    #[n(2)]
    pub seq: u64,
}

/// A terminal's disk was cloned: two of its boots were alive at once.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Clones {
    #[n(0)]
    pub author: Author,
    /// Those that were alive at once.
    #[n(1)]
    pub boots: Vec<Boot>,
    /// HQ has decided: the terminal is let in again.
    #[n(2)]
    pub settled: bool,
}

impl End {
    /// Ends the author after these entries, in the order of its feeds; none where there are none.
    pub(super) fn all(author: Author, topic: Option<&Name>, last: &[LastCounted]) -> Vec<Self> {
        let mut after = None;
        let mut ends = Vec::new();
        let mut parts = last.chunks(END_FEEDS_MAX).peekable();
        while let Some(part) = parts.next() {
            let upto = parts.peek().and(part.last()).map(|last| last.feed(author));
            let end = Self {
                author,
                topic: topic.cloned(),
                last: part.to_vec(),
                after: std::mem::replace(&mut after, upto.clone()),
                upto,
            };
            ends.push(end);
        }
        ends
    }

    /// Whether entry `seq` of that feed still counts.
    pub fn leaves(&self, boot: Boot, topic: &Topic, seq: u64) -> bool {
        if self.topic.as_ref().is_some_and(|ended| *ended != topic.name) {
            return true;
        }
        if self.after.is_some() || self.upto.is_some() {
            let feed = Some(FeedId { author: self.author, boot, topic: topic.clone() });
            if feed <= self.after || (self.upto.is_some() && feed > self.upto) {
                return true;
            }
        }
        let listed = self.last.iter().find(|last| last.boot == boot && last.topic == *topic);
        listed.is_some_and(|last| seq <= last.seq)
    }
}

impl LastCounted {
    fn feed(&self, author: Author) -> FeedId {
        FeedId { author, boot: self.boot, topic: self.topic.clone() }
    }
}
