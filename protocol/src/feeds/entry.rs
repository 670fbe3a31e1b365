//! One record of a feed, and the header that is the same on every disk for ever.
//!
//! A feed is what one author wrote in one boot on one topic, numbered from 1 without a gap. Each header
//! names the hash of the one before, so that whoever trusts the last trusts all; a boot's first header
//! names the last entry that its author knew of the boot before. The header is signed, and names its
//! payload by hash and length: a payload may be absent, a header never.
//!
//! A header cannot be changed once shops have it on their disks: what it does not say is said in
//! payloads. Readers skip parts they do not know, and hash the bytes as they came.

use minicbor::{Decode, Encode};
use storemesh_keys::{Authored, ChainId, Name, PeerId, Signed, Statement, VerifyError};

use crate::content::hash_name;

/// The largest payload that any schema may allow.
pub const PAYLOAD_MAX: usize = 64 * 1024;
/// No feed is longer: at a thousand entries a second it is 9,000 years'.
pub const SEQ_MAX: u64 = 1 << 48;
/// A payload and a header, with what frames them.
pub const ENTRY_MAX: usize = PAYLOAD_MAX + 1024;

hash_name! {
    /// A header, by the BLAKE3 hash of its signed bytes.
    HeaderHash
}

hash_name! {
    /// A payload's bytes.
    PayloadHash
}

hash_name! {
    /// What gives an author the right to write: a terminal's [`Certificate`](storemesh_keys::Certificate),
    /// or the [`OnlineKey`](storemesh_keys::OnlineKey) that HQ signs with; the hash of its signed bytes.
    CertificateHash
}

impl HeaderHash {
    /// Of no header.
    pub const NONE: Self = Self([0; 32]);

    pub(super) fn of(header: &Authored<Header>) -> Self {
        Self(*blake3::hash(header.payload()).as_bytes())
    }
}

impl PayloadHash {
    pub fn of(payload: &[u8]) -> Self {
        Self(*blake3::hash(payload).as_bytes())
    }
}

impl CertificateHash {
    /// Of the signed bytes of a certificate, or of an online key.
    pub fn of(signed: &[u8]) -> Self {
        Self(*blake3::hash(signed).as_bytes())
    }
}

/// Who writes a feed: a terminal, by its identity, or HQ, by the chain.
#[derive(Clone, Copy, Encode, Decode, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cbor(transparent)]
pub struct Author(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl Author {
    pub const fn hq(chain: ChainId) -> Self {
        Self(*chain.as_bytes())
    }

    pub const fn terminal(peer: PeerId) -> Self {
        Self(*peer.as_bytes())
    }

    /// The terminal that this is, unless it is the chain.
    pub fn peer(&self) -> PeerId {
        PeerId::from_bytes(self.0)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Author {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.peer(), f)
    }
}

/// 64 random bits that a node draws at every start; for HQ's own feeds, its generation.
#[derive(Clone, Copy, Encode, Decode, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cbor(transparent)]
pub struct Boot(#[n(0)] pub u64);

/// As people and the API write it.
impl std::fmt::Display for Boot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::fmt::Debug for Boot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// What a feed is about, and for whom it is.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq, PartialOrd, Ord)]
#[cbor(map)]
pub struct Topic {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub scope: Scope,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    #[n(0)]
    Chain,
    #[n(1)]
    Region(#[n(0)] Name),
    #[n(2)]
    Store(#[n(0)] Name),
    #[n(3)]
    Terminal(#[n(0)] PeerId),
}

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq, PartialOrd, Ord)]
#[cbor(map)]
pub struct FeedId {
    #[n(0)]
    pub author: Author,
    #[n(1)]
    pub boot: Boot,
    #[n(2)]
    pub topic: Topic,
}

impl FeedId {
    /// No feed of this author comes before it.
    pub(crate) fn lowest(author: Author) -> Self {
        let name = "0".parse().expect("it is a name, and none is lower");
        Self { author, boot: Boot(0), topic: Topic { name, scope: Scope::Chain } }
    }
}

/// One entry, anywhere in the chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    pub feed: FeedId,
    pub seq: u64,
}

/// An entry of the same author and topic in a former boot.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq, PartialOrd, Ord)]
#[cbor(map)]
pub struct After {
    #[n(0)]
    pub boot: Boot,
    #[n(1)]
    pub seq: u64,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Header {
    #[n(0)]
    pub author: Author,
    #[n(1)]
    pub boot: Boot,
    #[n(2)]
    pub topic: Topic,
    /// From 1.
    #[n(3)]
    pub seq: u64,
    /// The header before; in a boot's first, the one that `after` names; none where there is none.
    #[n(4)]
    pub previous: Option<HeaderHash>,
    #[n(5)]
    pub certificate: CertificateHash,
    /// The version by which the author wrote it; 0 in HQ's control feed, which carries the schema.
    #[n(6)]
    pub schema: u32,
    #[n(7)]
    pub payload: PayloadHash,
    #[n(8)]
    pub length: u32,
    /// In a boot's first entry: the last one that the author knew, where it knew one.
    #[n(9)]
    pub after: Option<After>,
}

impl Statement for Header {
    const CONTEXT: &'static str = "storemesh/1 entry";
    /// Five hashes and keys, two names and five numbers make 400; the rest is room for later parts.
    const MAX_BYTES: usize = 512;
}

impl Header {
    pub fn feed(&self) -> FeedId {
        FeedId { author: self.author, boot: self.boot, topic: self.topic.clone() }
    }

    /// What can be said without knowing anything else: the numbers fit together.
    fn is_sound(&self) -> bool {
        let first = self.seq == 1;
        let linked = if first {
            self.previous.is_some() == self.after.is_some()
                && self.after.is_none_or(|after| after.seq > 0 && after.boot != self.boot)
        } else {
            self.previous.is_some() && self.after.is_none()
        };
        (1..=SEQ_MAX).contains(&self.seq) && linked
    }
}

/// An entry as it travels and lies on disk.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Entry {
    #[n(0)]
    pub header: Signed<Header>,
    /// Absent where it is void.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub payload: Option<Vec<u8>>,
}

/// An entry whose header its author has signed, and whose payload is the one that the header names.
/// Only [`Proven::verify`] and [`Proven::sign`] make one.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    header: Authored<Header>,
    hash: HeaderHash,
    payload: Option<Vec<u8>>,
}

/// Why an entry does not count: whoever sent it is not to be asked for it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error(transparent)]
    Unsigned(#[from] VerifyError),
    #[error("a header whose numbers do not fit together")]
    Unsound,
    #[error("a payload of {found} bytes, the header says {said}")]
    WrongLength { found: usize, said: u32 },
    #[error("a payload that is not the one its header names")]
    WrongPayload,
}

impl Proven {
    /// `sign` is the terminal's pen, or HQ's.
    pub(crate) fn sign(
        sign: impl FnOnce(Header) -> Authored<Header>,
        header: Header,
        payload: Vec<u8>,
    ) -> Self {
        debug_assert!(header.is_sound() && header.payload == PayloadHash::of(&payload));
        let header = sign(header);
        Self { hash: HeaderHash::of(&header), header, payload: Some(payload) }
    }

    /// `signer` finds the key that a header must be signed with: its author's, or the online key that its
    /// certificate names; none where there is none.
    pub(crate) fn verify(
        entry: Entry,
        signer: impl FnOnce(&Header) -> Option<PeerId>,
    ) -> Result<Self, EntryError> {
        let header = Authored::verify_claim(entry.header, signer)?;
        let said = header.statement();
        if !said.is_sound() {
            return Err(EntryError::Unsound);
        }
        if let Some(payload) = &entry.payload {
            let (found, said_length) = (payload.len(), said.length);
            if u32::try_from(found) != Ok(said_length) {
                return Err(EntryError::WrongLength { found, said: said_length });
            }
            if PayloadHash::of(payload) != said.payload {
                return Err(EntryError::WrongPayload);
            }
        }
        Ok(Self { hash: HeaderHash::of(&header), header, payload: entry.payload })
    }

    pub(crate) fn header(&self) -> &Header {
        self.header.statement()
    }

    pub(crate) fn hash(&self) -> HeaderHash {
        self.hash
    }

    pub(crate) fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    /// The payload is of no use to anybody: kept is the header alone.
    pub(crate) fn drop_payload(&mut self) {
        self.payload = None;
    }

    /// To pass it on, and to keep it.
    pub(crate) fn to_entry(&self) -> Entry {
        Entry { header: self.header.signed().clone(), payload: self.payload.clone() }
    }

    pub(crate) fn signed(&self) -> &Signed<Header> {
        self.header.signed()
    }
}
