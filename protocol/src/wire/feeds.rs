//! The stream that carries feeds: between two neighbours, and between a terminal and HQ.
//!
//! Both sides speak alike. Each says how far it has each feed ([`Have`]), asks for ranges ([`Ask`]) and
//! gives entries ([`Batch`]), asked for or not; HQ's acknowledgements are passed on as they came. All of
//! it is safe to repeat and may be lost.

use minicbor::{Decode, Decoder, Encode, bytes::ByteVec, decode};
use storemesh_keys::{Certificate, HqSigned, OnlineKey, Signed};

use crate::{
    feeds::{Ack, Boot, ENTRY_MAX, FeedId, Header, SEQ_MAX},
    wire,
};

/// The first byte of such a stream.
pub const FEEDS_STREAM: u8 = 2;
/// Feeds that one frame tells of, or asks for.
pub const FEEDS_MAX: usize = 512;
/// Entries that one frame gives.
pub const BATCH_MAX: usize = 512;
/// Their bytes: at 5 Mbit/s what is new waits for a tenth of a second behind one frame.
pub const BATCH_BYTES: usize = 64 * 1024;
/// What vouches for the entries of one batch, of each kind.
pub const VOUCHERS_MAX: usize = 64;
pub const ACKS_MAX: usize = 128;
pub const FORKS_MAX: usize = 16;
/// One entry more than [`BATCH_BYTES`], and what vouches for a batch.
pub const FEED_FRAME_MAX: usize = BATCH_BYTES + ENTRY_MAX + 256 * 1024;

#[derive(Clone, Debug, Default, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct FeedFrame {
    /// The sender's boot, in its first frame.
    #[n(0)]
    pub boot: Option<Boot>,
    #[n(1)]
    pub have: Option<Vec<Have>>,
    #[n(2)]
    pub ask: Option<Vec<Ask>>,
    #[n(3)]
    pub batch: Option<Batch>,
    #[n(4)]
    pub acks: Option<Vec<HqSigned<Ack>>>,
    /// Feeds of which the sender cannot give what it was asked for.
    #[n(5)]
    pub lacks: Option<Vec<FeedId>>,
    #[n(6)]
    pub forks: Option<Vec<Fork>>,
    /// Authors whose disk was seen to be cloned.
    #[n(7)]
    pub clones: Option<Vec<Cloned>>,
    /// In the place of `batch`, where the line is worth the work.
    #[n(8)]
    pub packed: Option<Packed>,
    /// The sender, a gateway, wants to be told on this stream how far HQ has its store's stock.
    #[n(9)]
    pub stock: Option<bool>,
}

/// A [`Batch`], compressed: its encoding as one zstd frame (RFC 8878).
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Packed {
    /// Of the encoding.
    #[n(0)]
    pub length: u32,
    #[n(1)]
    pub bytes: ByteVec,
}

/// What a frame crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A store's network, where bytes cost less than the work of packing them.
    Lan,
    /// The line to HQ.
    Wan,
}

/// How far the sender has a feed; replaces what it said of that feed before.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Have {
    #[n(0)]
    pub feed: FeedId,
    /// The oldest entry it can give.
    #[n(1)]
    pub first: u64,
    #[n(2)]
    pub last: u64,
    /// The sender wrote the feed, and wants the receiver to keep a copy.
    #[n(3)]
    pub keep: bool,
    /// The last that HQ has acknowledged, in the highest generation that the sender knows.
    #[n(4)]
    pub acked: u64,
}

/// Give me these entries, `from` to `upto`, both included.
#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Ask {
    #[n(0)]
    pub feed: FeedId,
    #[n(1)]
    pub from: u64,
    #[n(2)]
    pub upto: u64,
}

/// Entries, those of one feed in order.
#[derive(Clone, Debug, Default, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Batch {
    /// Of feeds that begin here after their first entry: HQ's word for all before.
    #[cbor(n(0), decode_with = "at_most::<_, _, VOUCHERS_MAX>")]
    pub bases: Vec<HqSigned<Ack>>,
    /// Those that the entries name, and the sender has not sent on this stream before.
    #[cbor(n(1), decode_with = "at_most::<_, _, { 2 * VOUCHERS_MAX }>")]
    pub certificates: Vec<HqSigned<Certificate>>,
    /// Likewise, for HQ's own entries.
    #[cbor(n(2), decode_with = "at_most::<_, _, { 2 * VOUCHERS_MAX }>")]
    pub online: Vec<Signed<OnlineKey>>,
    /// Each an encoded [`Entry`](crate::feeds::Entry), as it came.
    #[cbor(n(3), decode_with = "at_most::<_, _, BATCH_MAX>")]
    pub entries: Vec<ByteVec>,
}

/// Two entries with one number: their author, or somebody who has its key, wrote both.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
#[cbor(map)]
pub struct Fork {
    #[n(0)]
    pub one: Signed<Header>,
    #[n(1)]
    pub other: Signed<Header>,
}

/// Two boots of one terminal that were alive at once.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Cloned {
    #[n(0)]
    pub author: crate::feeds::Author,
    #[n(1)]
    pub boots: [Boot; 2],
}

/// Smaller batches are hardly made smaller.
const PACKED_MIN: usize = 512;
/// zstd's own default: journals become a third, at some hundred MB/s.
const LEVEL: i32 = 3;

impl FeedFrame {
    /// The frame in `bytes`, with its lists within their limits, and its batch unpacked.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > FEED_FRAME_MAX {
            return Err(format!("frame of {} bytes, at most {FEED_FRAME_MAX}", bytes.len()));
        }
        let mut frame: Self = wire::decode(bytes).map_err(|why| why.to_string())?;
        if let Some(packed) = frame.packed.take() {
            frame.batch = Some(packed.unpack()?);
        }
        frame.within_limits()?;
        Ok(frame)
    }

    pub fn write(mut self, line: Over) -> Vec<u8> {
        if let (Over::Wan, Some(batch)) = (line, &self.batch) {
            self.packed = Packed::pack(batch);
            if self.packed.is_some() {
                self.batch = None;
            }
        }
        wire::encode(&self)
    }

    /// Whether a stranger's lists are as short as ours; those of a batch are, or they were not read.
    fn within_limits(&self) -> Result<(), String> {
        fn length<T>(list: Option<&Vec<T>>) -> usize {
            list.map_or(0, Vec::len)
        }
        let counted = [
            ("feeds told of", length(self.have.as_ref()), FEEDS_MAX),
            ("ranges asked for", length(self.ask.as_ref()), FEEDS_MAX),
            ("feeds that lack", length(self.lacks.as_ref()), FEEDS_MAX),
            ("acknowledgements", length(self.acks.as_ref()), ACKS_MAX),
            ("forks", length(self.forks.as_ref()), FORKS_MAX),
            ("clones", length(self.clones.as_ref()), FORKS_MAX),
        ];
        if let Some((what, found, most)) = counted.into_iter().find(|(_, found, most)| found > most)
        {
            return Err(format!("{found} {what} in one frame, at most {most}"));
        }
        let unsound = self.have.iter().flatten().any(|have| !have.is_sound());
        if unsound {
            Err("told of a feed that ends before it begins, or never".to_owned())
        } else {
            Ok(())
        }
    }
}

impl Packed {
    /// None where that saves nothing.
    fn pack(batch: &Batch) -> Option<Self> {
        let plain = wire::encode(batch);
        if plain.len() < PACKED_MIN {
            return None;
        }
        let bytes = zstd::bulk::compress(&plain, LEVEL).ok()?;
        let length = u32::try_from(plain.len()).ok()?;
        (bytes.len() < plain.len()).then(|| Self { length, bytes: bytes.into() })
    }

    fn unpack(&self) -> Result<Batch, String> {
        let length = self.length as usize;
        if length > FEED_FRAME_MAX {
            return Err(format!("a batch of {length} bytes, at most {FEED_FRAME_MAX}"));
        }
        // It writes no more than it is given room for.
        let plain = zstd::bulk::decompress(&self.bytes, length).map_err(|why| why.to_string())?;
        if plain.len() != length {
            return Err(format!("a batch of {} bytes that says {length}", plain.len()));
        }
        wire::decode(&plain).map_err(|why| why.to_string())
    }
}

/// A list that is read no further than it may be: packed, an entry of nothing costs its sender a thousandth of
/// a byte, and whoever unpacks it some tens of them.
fn at_most<'b, C, T: Decode<'b, C>, const MAX: usize>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<T>, decode::Error> {
    let mut list = Vec::new();
    for item in decoder.array_iter_with(context)? {
        if list.len() == MAX {
            return Err(decode::Error::message(format!("a list of more than {MAX} in a batch")));
        }
        list.push(item?);
    }
    Ok(list)
}

impl Have {
    fn is_sound(&self) -> bool {
        let within = self.last.max(self.acked) <= SEQ_MAX;
        within && self.first > 0 && self.last > 0 && self.first <= self.last + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(entry: Vec<u8>) -> FeedFrame {
        let batch = Some(Batch { entries: vec![entry.into()], ..Batch::default() });
        FeedFrame { batch, ..FeedFrame::default() }
    }

    #[test]
    fn a_batch_is_smaller_on_the_line_to_hq_and_the_same_when_it_arrives() {
        let frame = frame(vec![7; 4000]);
        let (lan, wan) = (frame.clone().write(Over::Lan), frame.clone().write(Over::Wan));
        assert!(wan.len() * 10 < lan.len(), "{} of {}", wan.len(), lan.len());
        assert_eq!(FeedFrame::read(&lan), Ok(frame.clone()));
        assert_eq!(FeedFrame::read(&wan), Ok(frame));
    }

    #[test]
    fn what_packing_does_not_make_smaller_goes_as_it_is() {
        let small = frame(vec![7; 10]);
        assert_eq!(small.clone().write(Over::Wan), small.write(Over::Lan));
        let mut noise = Vec::new();
        blake3::Hasher::new().finalize_xof().fill({
            noise.resize(4000, 0);
            &mut noise
        });
        let noise = frame(noise);
        assert_eq!(noise.clone().write(Over::Wan), noise.write(Over::Lan));
    }

    #[test]
    fn a_batch_of_very_many_entries_of_nothing_is_read_no_further_than_its_limit() {
        let batch = |entries| Batch { entries: vec![vec![].into(); entries], ..Batch::default() };
        let frame = |entries| FeedFrame { batch: Some(batch(entries)), ..FeedFrame::default() };
        let bytes = frame(390_000).write(Over::Wan);
        assert!(bytes.len() < 100, "{}", bytes.len());
        for line in [Over::Wan, Over::Lan] {
            // What stands at its end was never looked at.
            let mut hostile = wire::encode(&batch(BATCH_MAX + 1));
            *hostile.last_mut().unwrap() = 0xff;
            let found = wire::decode::<Batch>(&hostile).unwrap_err().to_string();
            let why = FeedFrame::read(&frame(390_000).write(line)).unwrap_err();
            assert!([found, why].iter().all(|why| why.contains("more than 512")), "{line:?}");
            assert_eq!(FeedFrame::read(&frame(BATCH_MAX).write(line)), Ok(frame(BATCH_MAX)));
        }
    }

    #[test]
    fn a_batch_that_swells_is_refused_before_it_does() {
        let plain = wire::encode(&frame(vec![0; 8 << 20]).batch.expect("it has one"));
        let bytes = zstd::bulk::compress(&plain, 19).expect("memory");
        let says = |length: usize| {
            let length = u32::try_from(length).expect("some MiB");
            let packed = Some(Packed { length, bytes: bytes.clone().into() });
            wire::encode(&FeedFrame { packed, ..FeedFrame::default() })
        };
        let why = FeedFrame::read(&says(plain.len())).unwrap_err();
        assert!(why.contains("at most"), "{why}");
        // One that lies about it gets no more room than it asked for.
        assert!(FeedFrame::read(&says(1000)).is_err());
    }
}
