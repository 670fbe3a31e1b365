//! How a terminal's feeds are, for people.

use storemesh_keys::Timestamp;

use super::{RoomFor, TerminalFeeds};
use crate::feeds::{Author, Ended, EntryId, FeedId, Settings};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// HQ's generation, 0 before the first word of it.
    pub generation: u64,
    /// The newest schema, 0 before the first.
    pub schema: u32,
    pub settings: Settings,
    /// New entries are refused.
    pub full: bool,
    /// Entries of this terminal that HQ has not acknowledged.
    pub unacked: u64,
    /// On what HQ has ended this terminal.
    pub ended: Ended,
    /// Feeds that are here, by whoever wrote them.
    pub feeds: Vec<FeedStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    pub feed: FeedId,
    /// Written by this terminal.
    pub own: bool,
    /// The oldest entry that is still here.
    pub first: u64,
    pub last: u64,
    pub acked: u64,
    /// HQ's time when it acknowledged it last.
    pub acked_at: Option<Timestamp>,
    /// Of an own feed: how many neighbours have all of it.
    pub copies: usize,
}

impl TerminalFeeds {
    pub fn status(&self) -> Status {
        let own = Author::terminal(self.roles.me);
        let generation = self.ledger.generation();
        let begun = self.ledger.feeds().filter(|(_, feed)| feed.last > 0);
        let feeds: Vec<FeedStatus> = begun
            .map(|(number, feed)| FeedStatus {
                feed: feed.id.clone(),
                own: feed.id.author == own,
                first: feed.first,
                last: feed.last,
                acked: feed.acked_in(generation),
                acked_at: feed.acked.map(|acked| acked.at),
                copies: self
                    .exchange
                    .sides()
                    .filter(|side| matches!(side, crate::terminal::Source::Neighbour(_)))
                    .filter(|side| self.exchange.has(*side, number) >= feed.last)
                    .count(),
            })
            .collect();
        // A disk that was put back may know that HQ has more than is here.
        let unacked = |feed: &FeedStatus| feed.last.saturating_sub(feed.acked);
        let unacked = feeds.iter().filter(|feed| feed.own).map(unacked).sum();
        Status {
            generation,
            schema: self.ledger.schema().map_or(0, |schema| schema.version),
            settings: self.settings,
            full: self.roles.room == RoomFor::Nothing,
            unacked,
            ended: Ended::of(&self.ledger.ends(own)),
            feeds,
        }
    }

    /// Whether an entry is on this terminal's disk.
    pub fn has(&self, entry: &EntryId) -> bool {
        let feed = self.ledger.number(&entry.feed).map(|number| self.ledger.feed(number));
        feed.is_some_and(|feed| (feed.first..=feed.last).contains(&entry.seq))
    }
}
