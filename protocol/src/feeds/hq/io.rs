//! What goes into HQ's feeds, and what comes out.

use storemesh_keys::{Name, PeerId};

use crate::{
    feeds::{Author, Boot, Control, EntryId, SchemaError, Wanted},
    hq::LinkId,
};

#[derive(Clone, Debug)]
pub enum Input {
    /// A stream for feeds stands to a terminal of `store`, admitted on this link.
    Up { link: LinkId, peer: PeerId, store: Name },
    /// The link is gone.
    Down { link: LinkId },
    /// A whole frame of that stream.
    Frame { link: LinkId, bytes: Vec<u8> },
    /// HQ has something to say to the chain; answered under the same ticket.
    Append { ticket: u64, control: Control },
    /// The [`HqFeeds::deadline`](super::HqFeeds::deadline) has come.
    Tick,
}

#[derive(Clone, Debug)]
pub enum Output {
    Send {
        link: LinkId,
        frame: Vec<u8>,
    },
    /// Hang up on the link: it breaks the protocol.
    Close {
        link: LinkId,
        why: String,
    },
    /// The entry is on disk, and on its way.
    Appended {
        ticket: u64,
        answer: Result<EntryId, AppendError>,
    },
    /// For HQ's other composite: a release is wanted, now or since before this start.
    Wanted(Wanted),
    Reject {
        link: LinkId,
        why: String,
    },
    Event(Event),
}

/// Why HQ's own order is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("schema {found} does not follow {newest}: publish version {next}", next = newest + 1)]
    Version { found: u32, newest: u32 },
    #[error("an order of {found} bytes, at most {max}")]
    TooLarge { found: usize, max: usize },
    #[error("{0}")]
    Settings(String),
}

/// What a person at HQ should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A terminal wrote two entries with one number: nothing more of it counts.
    Forked(Author),
    /// Two boots of one terminal are alive at once: somebody has to decide.
    Cloned { author: Author, boots: [Boot; 2] },
    /// Entries of this feed are missing, and its terminal no longer has them.
    Gap { author: Author, boot: Boot, topic: Name, from: u64, upto: u64 },
    /// An entry that its schema does not allow.
    Void(EntryId),
}
