//! What goes into one terminal's composite, and what comes out.

use core::net::SocketAddr;
use std::sync::Arc;

use storemesh_keys::{Name, PeerId, PublicKey};

use crate::{
    Save,
    content::{Bits, ChunkId, ChunkRef, ListId, Manifest, ReleaseHead, ReleaseId},
    finder::FoundBy,
    install::Room,
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

/// Why this terminal's disk did not do as it was asked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DiskError {
    /// What is there is kept, and it goes on when there is room.
    #[error("the disk is full")]
    NoRoom,
    /// For a person.
    #[error("{0}")]
    Failed(String),
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

    /// A release's directory stands complete on disk, found at start.
    Standing {
        release: ReleaseHead,
        manifest: Arc<Manifest>,
        current: bool,
    },
    /// All that stands has been named, and the disk is ready for work.
    DiskReady,
    /// A file of a standing release is no longer what it was.
    Damaged {
        release: ReleaseId,
    },
    /// Answers [`Output::Check`]: which of the list's chunks are on this disk.
    Checked {
        list: ListId,
        have: Bits,
    },
    /// Answers [`Output::ReadManifest`]; the error is for a person.
    ManifestRead {
        release: ReleaseId,
        manifest: Result<Arc<Manifest>, String>,
    },
    /// Answers [`Output::Measure`]; the error is for a person.
    Measured {
        release: ReleaseId,
        room: Result<Room, String>,
    },
    /// Answers [`Output::Stage`]: which chunks of the content are in the staged tree, written from
    /// what the disk already held.
    Staged {
        release: ReleaseId,
        have: Result<Bits, DiskError>,
    },
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
    /// Answers [`Output::Activate`]. Rows that must change with the switch are saved by the machine.
    Activated {
        release: ReleaseId,
        done: Result<(), DiskError>,
    },
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

    /// Look which of these chunks are on disk, verifying them.
    Check {
        list: ListId,
        chunks: Arc<[ChunkRef]>,
    },
    /// All pieces of the release's manifest are on disk: read it.
    ReadManifest {
        release: ReleaseHead,
    },
    /// Say what room the release takes and what there is; of its manifest nothing is known where its
    /// own pieces found no room.
    Measure {
        release: ReleaseHead,
        manifest: Option<Arc<Manifest>>,
    },
    /// Remove this release: it is the one before the running one, and its room is needed.
    GiveUp {
        release: ReleaseHead,
    },
    /// Lay out the tree, and fill in what the disk already holds. From now on fetched
    /// chunks of this release are also written into the tree.
    Stage {
        release: ReleaseHead,
        manifest: Arc<Manifest>,
    },
    /// Nothing is lacking: sync the tree, switch to it, and drop what only the download needed.
    Activate {
        release: ReleaseHead,
        manifest: Arc<Manifest>,
    },
    /// Another release is wanted now: drop what this one has staged.
    Abandon {
        release: ReleaseHead,
    },
    /// Nothing is on its way: drop every chunk that is kept for a download.
    Sweep,

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
    /// HQ cannot be reached, or hung up.
    Unreachable {
        why: String,
    },
    /// HQ refuses this terminal.
    Refused {
        why: String,
    },
}
