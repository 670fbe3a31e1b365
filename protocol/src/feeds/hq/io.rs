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
    /// Nothing that this author writes after what HQ holds is to count, on this topic or on all;
    /// answered like [`Input::Append`].
    End { ticket: u64, author: Author, topic: Option<Name> },
    /// Of a cloned terminal one disk is left, or it never was cloned: it is let in again; answered like
    /// [`Input::Append`].
    Settle { ticket: u64, author: Author },
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
    /// For HQ's other composite.
    Tell(FromFeeds),
    Reject {
        link: LinkId,
        why: String,
    },
    Event(Event),
}

/// What HQ's other composite must know of its feeds, now or since before this start.
#[derive(Clone, Debug, PartialEq)]
pub enum FromFeeds {
    /// A release is wanted.
    Wanted(Wanted),
    /// Two boots of this terminal were alive at once: it is not let in until somebody has decided.
    KeepOut(PeerId),
    LetIn(PeerId),
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
    #[error("HQ holds nothing that {0:?} wrote{on}", on = on(.1.as_ref()))]
    Nothing(Author, Option<Name>),
    #[error("no two boots of {0:?} were seen alive at once: there is nothing to settle")]
    NotCloned(Author),
}

fn on(topic: Option<&Name>) -> String {
    topic.map_or_else(String::new, |topic| format!(" on topic {topic}"))
}

/// What a person at HQ should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A terminal wrote two entries with one number: nothing more of it counts.
    Forked(Author),
    /// Two boots of one terminal are alive at once: somebody has to decide.
    Cloned { author: Author, boots: [Boot; 2] },
    /// A terminal says so of another: somebody should look.
    CloneClaimed { author: Author, boots: [Boot; 2], by: PeerId },
    /// Entries of this feed are missing, and who brings what follows does not have them.
    Gap { author: Author, boot: Boot, topic: Name, from: u64, upto: u64 },
    /// The last that was missing of a gap has come: all entries of it up to this one are here.
    Filled { author: Author, boot: Boot, topic: Name, upto: u64 },
    /// An entry that its schema does not allow, the first of its feed.
    Void(EntryId),
    /// HQ was restored from a backup, and reads what it had said since: somebody has to say it again.
    Lost(Lost),
    /// HQ is shown what it has signed, and does not know of: it was restored, and goes on as if it was not.
    Behind { generation: u64, seq: u64, known: u64 },
    /// Something was about to leave for a terminal that is not for it, and did not: a bug of ours.
    OutOfScope { bytes: u64 },
}

/// An order that HQ had given and lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// This release was wanted.
    Wanted {
        product: Name,
        version: Name,
    },
    Settings,
    /// Another schema has its version now: entries that were written by the lost one are judged by that.
    Schema {
        version: u32,
    },
}
