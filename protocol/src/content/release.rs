//! What HQ signs and everybody passes on: which release, and where its manifest is.
//!
//! A head is a few hundred bytes even for a release of gigabytes. The manifest is cut into pieces
//! of [`CHUNK_MAX`] and travels as chunks like any other; who has the pieces reads the manifest
//! with [`ReleaseHead::read_manifest`]. The head's figures are there so that a terminal can say
//! how much there is to do, and reserve the disk, before it has the manifest; they are believed
//! only until then.

use minicbor::{Decode, Decoder, Encode, decode};
use storemesh_keys::Name;

use super::{
    CHUNK_MAX, CHUNKS_MAX, ChunkRef, MANIFEST_MAX, Manifest, ManifestError, RELEASE_BYTES_MAX,
    hash::hash_name, list, pack,
};

/// Pieces of a manifest.
pub const MANIFEST_PIECES_MAX: usize = MANIFEST_MAX / CHUNK_MAX;

hash_name! {
    /// The BLAKE3 hash of an encoded manifest.
    ReleaseId
}

hash_name! {
    /// Which list of chunks somebody speaks of: the BLAKE3 hash of their ids.
    ListId
}

#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(map)]
pub struct ReleaseHead {
    #[n(0)]
    pub product: Name,
    #[n(1)]
    pub version: Name,
    #[n(2)]
    pub id: ReleaseId,
    /// The pieces of the encoded manifest.
    #[n(3)]
    pub manifest: Vec<ChunkRef>,
    #[n(4)]
    pub manifest_bytes: u32,
    /// The length of all files together.
    #[n(5)]
    pub plain_bytes: u64,
    /// The stored length of the files' chunks, each once; the manifest's pieces are not counted.
    #[n(6)]
    pub stored_bytes: u64,
    /// How many chunks the files have; the manifest's pieces are not counted.
    #[n(7)]
    pub chunks: u32,
}

impl ReleaseHead {
    /// The head of a manifest that [`super::Builder::finish`] gave, and the manifest's pieces in
    /// their stored form.
    pub fn new(manifest: &Manifest, encoded: &[u8]) -> (Self, Vec<(ChunkRef, Vec<u8>)>) {
        assert!(encoded.len() <= MANIFEST_MAX, "the builder refuses longer ones");
        let pieces: Vec<_> = encoded.chunks(CHUNK_MAX).map(pack).collect();
        let head = Self {
            product: manifest.product().clone(),
            version: manifest.version().clone(),
            id: ReleaseId::of(encoded),
            manifest: pieces.iter().map(|(chunk, _)| *chunk).collect(),
            manifest_bytes: u32::try_from(encoded.len()).expect("at most 64 MiB"),
            plain_bytes: manifest.plain_bytes(),
            stored_bytes: manifest.stored_bytes(),
            chunks: count(manifest),
        };
        (head, pieces)
    }

    /// Puts the manifest together from its pieces in their plain form, in order.
    pub fn read_manifest(&self, pieces: &[Vec<u8>]) -> Result<Manifest, ManifestError> {
        let bytes: usize = pieces.iter().map(Vec::len).sum();
        if bytes > MANIFEST_MAX {
            return Err(ManifestError::TooLong(bytes));
        }
        let encoded = pieces.concat();
        if ReleaseId::of(&encoded) != self.id {
            return Err(ManifestError::AnotherRelease);
        }
        let manifest = Manifest::decode(&encoded)?;
        for (what, agrees) in [
            ("product", *manifest.product() == self.product),
            ("version", *manifest.version() == self.version),
            ("manifest's length", encoded.len() == self.manifest_bytes as usize),
            ("files' length", manifest.plain_bytes() == self.plain_bytes),
            ("stored length", manifest.stored_bytes() == self.stored_bytes),
            ("number of chunks", count(&manifest) == self.chunks),
        ] {
            if !agrees {
                return Err(ManifestError::HeadDiffers(what));
            }
        }
        Ok(manifest)
    }

    fn check(&self) -> Result<(), &'static str> {
        let pieces: u64 = self.manifest.iter().map(|chunk| u64::from(chunk.plain)).sum();
        if self.manifest.is_empty() || pieces != u64::from(self.manifest_bytes) {
            return Err("pieces of the manifest do not make its length");
        }
        if self.chunks as usize > CHUNKS_MAX {
            return Err("release of too many chunks");
        }
        // Stored forms are longer than plain ones by a byte at most.
        if self.plain_bytes > RELEASE_BYTES_MAX
            || self.stored_bytes > self.plain_bytes.saturating_add(u64::from(self.chunks))
        {
            return Err("release is too large");
        }
        Ok(())
    }
}

/// The name of the release's folder: `V-<hash8>`.
pub fn dir_name(release: &ReleaseHead) -> String {
    format!("{}-{}", release.version, release.id.hash8())
}

pub fn list_id(chunks: &[ChunkRef]) -> ListId {
    let mut hasher = blake3::Hasher::new();
    for chunk in chunks {
        hasher.update(&chunk.id.0);
    }
    ListId(*hasher.finalize().as_bytes())
}

impl ReleaseId {
    pub fn of(encoded: &[u8]) -> Self {
        Self(*blake3::hash(encoded).as_bytes())
    }

    /// The first 8 of its hex digits.
    pub fn hash8(&self) -> String {
        format!("{self:.8}")
    }
}

impl<Ctx> Decode<'_, Ctx> for ReleaseHead {
    fn decode(d: &mut Decoder<'_>, _: &mut Ctx) -> Result<Self, decode::Error> {
        let at = d.position();
        let fields: Fields = d.decode()?;
        let head = Self {
            product: fields.product,
            version: fields.version,
            id: fields.id,
            manifest: fields.manifest,
            manifest_bytes: fields.manifest_bytes,
            plain_bytes: fields.plain_bytes,
            stored_bytes: fields.stored_bytes,
            chunks: fields.chunks,
        };
        head.check().map_err(|why| decode::Error::message(why).at(at))?;
        Ok(head)
    }
}

/// A [`ReleaseHead`] that nobody has looked at yet.
#[derive(Decode)]
#[cbor(map)]
struct Fields {
    #[n(0)]
    product: Name,
    #[n(1)]
    version: Name,
    #[n(2)]
    id: ReleaseId,
    #[cbor(n(3), decode_with = "list::pieces")]
    manifest: Vec<ChunkRef>,
    #[n(4)]
    manifest_bytes: u32,
    #[n(5)]
    plain_bytes: u64,
    #[n(6)]
    stored_bytes: u64,
    #[n(7)]
    chunks: u32,
}

fn count(manifest: &Manifest) -> u32 {
    u32::try_from(manifest.chunks().len()).expect("a manifest has at most 131,072")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::{
        Builder,
        samples::{build, chunk, finish, name, path, trees},
        unpack,
    };

    fn unpacked(pieces: &[(ChunkRef, Vec<u8>)]) -> Vec<Vec<u8>> {
        let plain = |(chunk, stored): &(ChunkRef, Vec<u8>)| unpack(chunk, stored).unwrap().into();
        pieces.iter().map(plain).collect()
    }

    fn small() -> (ReleaseHead, Vec<Vec<u8>>) {
        let mut builder = Builder::new();
        builder.file(path("a"), 0o644, vec![chunk(1), chunk(2), chunk(1)]);
        let (manifest, encoded) = finish(builder);
        let (head, pieces) = ReleaseHead::new(&manifest, &encoded);
        (head, unpacked(&pieces))
    }

    #[test]
    fn a_head_counts_files_whole_and_chunks_once() {
        let (head, _) = small();
        assert_eq!(head.plain_bytes, u64::from(2 * chunk(1).plain + chunk(2).plain));
        assert_eq!(head.stored_bytes, u64::from(chunk(1).stored + chunk(2).stored));
        assert_eq!(head.chunks, 2);
        assert_eq!(dir_name(&head), format!("1.0.0-{}", &head.id.to_string()[..8]));
    }

    #[test]
    fn a_large_manifest_travels_in_pieces() {
        let mut builder = Builder::new();
        for number in 0..60_000 {
            builder.file(path(&format!("f{number}")), 0o644, vec![chunk(number)]);
        }
        let (manifest, encoded) = finish(builder);
        let (head, pieces) = ReleaseHead::new(&manifest, &encoded);
        assert!(head.manifest.len() > 2);
        let head: ReleaseHead = decode(&minicbor::to_vec(&head).unwrap()).unwrap();
        let mut pieces = unpacked(&pieces);
        assert_eq!(head.read_manifest(&pieces), Ok(manifest));

        pieces.swap(0, 1);
        assert_eq!(head.read_manifest(&pieces), Err(ManifestError::AnotherRelease));
        pieces.pop();
        assert_eq!(head.read_manifest(&pieces), Err(ManifestError::AnotherRelease));
    }

    #[test]
    fn head_of_another_product() {
        let (head, pieces) = small();
        let lie = ReleaseHead { product: name("other"), ..head.clone() };
        assert_eq!(lie.read_manifest(&pieces), Err(ManifestError::HeadDiffers("product")));
        let lie = ReleaseHead { version: name("2.0.0"), ..head };
        assert_eq!(lie.read_manifest(&pieces), Err(ManifestError::HeadDiffers("version")));
    }

    #[test]
    fn head_with_lying_sums() {
        let (head, pieces) = small();
        for (lie, what) in [
            (ReleaseHead { manifest_bytes: 1, ..head.clone() }, "manifest's length"),
            (ReleaseHead { plain_bytes: 1, ..head.clone() }, "files' length"),
            (ReleaseHead { stored_bytes: 1, ..head.clone() }, "stored length"),
            (ReleaseHead { chunks: 1, ..head.clone() }, "number of chunks"),
        ] {
            assert_eq!(lie.read_manifest(&pieces), Err(ManifestError::HeadDiffers(what)));
        }
    }

    #[test]
    fn head_with_impossible_sums() {
        let (head, _) = small();
        let many = vec![head.manifest[0]; MANIFEST_PIECES_MAX + 1];
        for lie in [
            ReleaseHead { manifest_bytes: head.manifest_bytes + 1, ..head.clone() },
            ReleaseHead { manifest: vec![], manifest_bytes: 0, ..head.clone() },
            ReleaseHead { manifest: many, ..head.clone() },
            ReleaseHead { chunks: u32::MAX, ..head.clone() },
            ReleaseHead { plain_bytes: u64::MAX, ..head.clone() },
            ReleaseHead { stored_bytes: head.plain_bytes + 3, ..head.clone() },
        ] {
            let encoded = minicbor::to_vec(&lie).unwrap();
            assert!(decode::<ReleaseHead>(&encoded).is_err(), "{lie:?}");
        }
    }

    #[test]
    fn a_list_is_named_by_its_chunks_and_their_order() {
        let (one, two) = (chunk(1), chunk(2));
        assert_ne!(list_id(&[one, two]), list_id(&[two, one]));
        assert_eq!(list_id(&[one]), ListId(*blake3::hash(&one.id.0).as_bytes()));
    }

    #[test]
    fn a_hash_reads_as_it_is_written() {
        let id = ReleaseId::of(b"x");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("12ab".parse::<ReleaseId>().is_err());
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(tree in trees()) {
            let (manifest, encoded) = finish(build(&tree));
            let (head, pieces) = ReleaseHead::new(&manifest, &encoded);
            let read: ReleaseHead = decode(&minicbor::to_vec(&head).unwrap()).unwrap();
            prop_assert_eq!(&read, &head);
            prop_assert_eq!(read.read_manifest(&unpacked(&pieces)), Ok(manifest));
        }

        #[test]
        fn damaged_bytes_never_panic(at in any::<usize>(), byte in any::<u8>()) {
            let (head, pieces) = small();
            let mut encoded = minicbor::to_vec(&head).unwrap();
            let at = at % encoded.len();
            encoded[at] = byte;
            if let Ok(other) = decode::<ReleaseHead>(&encoded) {
                let read = other.read_manifest(&pieces);
                prop_assert!(read.is_err() || other.id == head.id);
            }
        }
    }
}
