//! What goes into one terminal's composite, and what comes out.

use core::net::SocketAddr;
use std::time::Duration;

use storemesh_keys::{Name, PeerId, PublicKey};

use crate::{
    Save,
    content::{ChunkId, ChunkRef},
    disk::{DiskAnswer, DiskJob},
    feeds::terminal::{FromFeeds, ToFeeds},
    finder::FoundBy,
};

/// Where a chunk comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Hq,
    Neighbour(PeerId),
}

/// Why a fetch brought no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The source answered that it does not have it.
    Missing,
    /// The source answered with something else: wrong bytes, wrong length, bad framing.
    Wrong,
    /// The stream or the connection ended first.
    Lost,
    /// This terminal could not write it down.
    Disk,
    /// This terminal has no room for it.
    NoRoom,
}

/// What the machine is connected to; decides, before all else, which terminal should be the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// The store's network is reached by cable.
    pub wired: bool,
    /// It does not run on a battery.
    pub mains: bool,
}

/// What most terminals are, and what a machine is taken for that does not say.
impl Default for Hardware {
    fn default() -> Self {
        Self { wired: true, mains: true }
    }
}

#[derive(Clone, Debug)]
pub enum Input {
    /// The program listens on these addresses; replaces what was said before.
    Listening(Vec<SocketAddr>),
    /// At start and whenever it changes.
    Hardware(Hardware),
    /// Somebody announced `peer` at `address`.
    Discovered {
        peer: PeerId,
        address: SocketAddr,
        by: FoundBy,
    },
    /// A connection stands, whoever dialled, and the handshake proved `peer`. Once per neighbour.
    Connected {
        peer: PeerId,
        address: SocketAddr,
    },
    /// The last connection to `peer` is gone, or no longer answers.
    Disconnected {
        peer: PeerId,
    },
    /// A dial we asked for was answered by `peer`, whether or not that connection stays.
    Answered {
        peer: PeerId,
        address: SocketAddr,
    },
    /// A dial we asked for came to nothing.
    DialFailed {
        address: SocketAddr,
        peer: Option<PeerId>,
    },
    /// A whole frame of `peer`'s control stream.
    Frame {
        peer: PeerId,
        bytes: Vec<u8>,
    },

    /// The uplink's handshake is done; `hq` is the key it proved.
    UplinkUp {
        hq: PublicKey,
    },
    UplinkFrame(Vec<u8>),
    /// The uplink could not be opened, or ended.
    UplinkDown {
        why: String,
    },

    /// The disk has something to tell: at start, and of each job.
    Disk(DiskAnswer),
    /// `chunk` was verified and written where it belongs; `bytes` is what crossed the wire.
    Fetched {
        from: Source,
        chunk: ChunkId,
        bytes: u32,
    },
    NotFetched {
        from: Source,
        chunk: ChunkId,
        why: FetchError,
    },
    /// What the terminal's feeds say.
    Feeds(FromFeeds),
    /// The program is to end, once what this brings has been sent.
    Stopping,
    /// The [`super::Terminal::deadline`] has come.
    Tick,
}

#[derive(Clone, Debug)]
pub enum Output {
    Save(Save),

    /// Connect to this address; `peer`, where known, must be who answers.
    Dial {
        address: SocketAddr,
        peer: Option<PeerId>,
    },
    /// Cut the connection to `peer`, and forget its streams.
    Close {
        peer: PeerId,
        why: String,
    },
    Send {
        peer: PeerId,
        frame: Vec<u8>,
    },
    /// `peer`'s certificate is good: it may fetch chunks.
    Admitted {
        peer: PeerId,
        name: Name,
    },

    /// Open the uplink to the first of these that answers. Ignored when it is open.
    OpenUplink {
        addresses: Vec<String>,
    },
    CloseUplink,
    SendUp(Vec<u8>),
    /// This terminal speaks to HQ for its store: open the stream for feeds.
    OpenFeeds,
    /// For the terminal's feeds.
    Feeds(ToFeeds),

    /// Ask `from` for this chunk, verify it, write it down, and say so.
    Fetch {
        from: Source,
        chunk: ChunkRef,
    },
    /// The chunk came from elsewhere: drop the request where it has not been sent.
    Cancel {
        from: Source,
        chunk: ChunkId,
    },

    /// Work for the disk, in this order.
    Disk(DiskJob),

    /// For the log: a neighbour or HQ sent what it should not.
    Reject {
        from: Source,
        why: String,
    },
    /// For the log and the shopkeeper.
    Event(Event),
}

impl Output {
    pub fn as_save(&self) -> Option<&Save> {
        if let Self::Save(save) = self { Some(save) } else { None }
    }
}

/// What a shopkeeper would notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Gateway {
        peer: PeerId,
        name: Option<Name>,
        epoch: u64,
        me: bool,
    },
    Wanted {
        product: Name,
        version: Name,
    },
    Complete {
        product: Name,
        version: Name,
        chunks: u32,
    },
    Running {
        product: Name,
        version: Name,
        took_ms: u64,
    },
    /// The release cannot be installed for now.
    Failed {
        product: Name,
        version: Name,
        why: String,
    },
    /// There is no room for the release; it waits.
    NoRoom {
        product: Name,
        version: Name,
        why: String,
    },
    /// A terminal of the store sends what it should not: somebody should look at it.
    Shunned {
        peer: PeerId,
        name: Option<Name>,
        why: String,
    },
    /// The machine's own clock is wrong by so much.
    ClockOff {
        by: Duration,
        ahead: bool,
    },
    /// HQ cannot be reached, or hung up.
    Unreachable {
        why: String,
    },
    /// HQ refuses this terminal.
    Refused {
        why: String,
    },
}
