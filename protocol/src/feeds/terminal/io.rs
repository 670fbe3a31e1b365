//! What goes into a terminal's feeds, and what comes out.

use std::time::Duration;

use storemesh_keys::{Certificate, HqSigned, Name, PeerId, Timestamp};

use crate::{
    feeds::{Author, Boot, Ended, EntryId, Settings, Wanted},
    terminal::Source,
};

/// An idempotency key, in bytes.
pub const KEY_MAX: usize = 255;

#[derive(Clone, Debug)]
pub enum Input {
    /// A program of this machine has something to be kept; answered under the same ticket.
    Post { ticket: u64, post: Post },
    /// A stream for feeds stands to somebody who is admitted, or to HQ; once for each.
    Up(Source),
    /// It is gone.
    Down(Source),
    /// A whole frame of that stream.
    Frame { from: Source, bytes: Vec<u8> },
    /// What the terminal's other composite says.
    Told(ToFeeds),
    /// What the disk has room for, from now on.
    Room(RoomFor),
    /// The [`TerminalFeeds::deadline`](super::TerminalFeeds::deadline) has come.
    Tick,
}

/// What a disk that gets full still has room for: what others wrote gives way first, this terminal's own
/// sales last. HQ's orders and acknowledgements always find some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomFor {
    /// Nothing that is new.
    Nothing,
    /// What is posted here. A neighbour may write as much as it likes, and that is kept nowhere else.
    OwnPosts,
    All,
}

/// What the feeds must know of the mesh.
#[derive(Clone, Debug, PartialEq)]
pub enum ToFeeds {
    /// Who speaks to HQ for the store; this terminal itself, or a neighbour.
    Gateway(Option<PeerId>),
    /// HQ time is this, as well as this terminal knows.
    HqTime(Timestamp),
    /// This terminal's certificate, renewed.
    Certificate(HqSigned<Certificate>),
}

/// An entry that a program of this machine wants kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    pub topic: Name,
    /// The same key gives the same entry; at most [`KEY_MAX`] bytes.
    pub key: Vec<u8>,
    pub body: Body,
    pub ack: AckLevel,
    /// How long to wait for that level.
    pub wait: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An event, as it is.
    Event(Vec<u8>),
    /// Stock has moved: by so many thousandths of each item.
    Moved(Vec<(String, i64)>),
    /// Stock was counted, in thousandths.
    Counted { item: String, value: i64 },
}

/// Who has an entry on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AckLevel {
    Disk,
    Neighbour,
    Hq,
}

/// Where an entry is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub id: EntryId,
    /// The highest level that was reached in time.
    pub reached: AckLevel,
}

/// Why an entry is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    #[error("there is no journal {0}: HQ's schema has {known}", known = list(.1))]
    UnknownTopic(Name, Vec<Name>),
    #[error(
        "this terminal has not heard of any journal yet: it has to reach HQ once, or a neighbour that has"
    )]
    NoSchema,
    #[error("terminals do not write topic {0}")]
    NotWritten(Name),
    #[error("a body of {found} bytes, at most {max}")]
    TooLarge { found: usize, max: u32 },
    #[error("an idempotency key of {0} bytes: from 1 to {KEY_MAX} are possible")]
    Key(usize),
    #[error("this idempotency key stands for another event")]
    Conflict(EntryId),
    #[error("{0}")]
    Body(String),
    #[error("the disk is full: nothing new is kept until there is room; what is there stays")]
    Full,
    #[error(
        "HQ has ended what this terminal writes on topic {0}, so the event is not kept: post it on another \
         terminal, and ask the head office (`storemesh-hq terminal ends` there)"
    )]
    Ended(Name),
    #[error(
        "this terminal has written two entries with one number, so nothing more of it counts: post on \
         another terminal, and join this one anew in an empty data folder"
    )]
    Forked,
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Debug)]
pub enum Output {
    Send {
        to: Source,
        frame: Vec<u8>,
    },
    /// Cut this stream: the other side breaks the protocol.
    Close {
        side: Source,
        why: String,
    },
    Posted {
        ticket: u64,
        answer: Result<Posted, PostError>,
    },
    /// For the terminal's other composite.
    Tell(FromFeeds),
    /// For the log: somebody sent what it should not.
    Reject {
        from: Source,
        why: String,
    },
    /// For the log and the shopkeeper.
    Event(Event),
}

/// What the rest of the terminal must know of feeds.
#[derive(Clone, Debug, PartialEq)]
pub enum FromFeeds {
    /// HQ wants a release.
    Wanted(Wanted),
    /// HQ signed something at this time.
    HqTime(Timestamp),
    /// Two of this terminal's boots were alive at once: nobody speaks with it until HQ has decided.
    KeepOut(PeerId),
    LetIn(PeerId),
    /// Whether there is no room for what others write: who has none should not be the gateway.
    NoRoom(bool),
    /// HQ has ended this very terminal.
    Ended(Ended),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// HQ's settings for the chain.
    Settings(Settings),
    /// HQ has published a schema.
    Schema { version: u32 },
    /// Two entries with one number: their author is believed no further.
    Forked(Author),
    /// This terminal has seen two boots of that one alive at once.
    Cloned { author: Author, boots: [Boot; 2] },
    /// A neighbour says so.
    CloneClaimed { author: Author, boots: [Boot; 2], by: PeerId },
    /// What the disk has room for is not what it was.
    Room(RoomFor),
    /// HQ was restored from a backup: all that is still here is offered to it again.
    Generation(u64),
}
