//! A small chain for the tests of this crate.

use std::sync::Arc;

use storemesh_keys::{
    ChainId, HqSigner, Name, OnlineKey, PeerId, SecretKey, Signed, Timestamp, Trust, Verified,
};

use crate::{
    Lease,
    content::{Builder, Manifest, RelPath, ReleaseHead, pack},
    feeds::Wanted,
};

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from_bytes([n; 32])
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a test's names are good")
}

/// HQ's pen.
pub(crate) fn signer() -> HqSigner {
    signer_in(1)
}

/// The same in another generation.
pub(crate) fn signer_in(generation: u64) -> HqSigner {
    let (root, key) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
    let chain = ChainId::of_root(root.public());
    let online = OnlineKey {
        chain,
        name: name("acme"),
        generation,
        key: key.public(),
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    };
    let trust = Trust { chain, generation_min: 0 };
    HqSigner::new(key, Signed::sign(&root, &online), &trust).expect("the root vouches for it")
}

/// HQ's word that `holder` is the gateway of the store.
pub(crate) fn lease(epoch: u64, holder: PeerId) -> Verified<Lease> {
    lease_of(0, epoch, holder)
}

/// The same for a part of it.
pub(crate) fn lease_of(part: u32, epoch: u64, holder: PeerId) -> Verified<Lease> {
    let signer = signer();
    let described = signer.described();
    signer.sign(&Lease {
        chain: described.chain,
        store: name("s1"),
        part,
        generation: described.generation,
        epoch,
        holder,
        at: Timestamp(1),
    })
}

/// A release of one file with one chunk, and HQ's wish for it.
pub(crate) fn release(version: &str) -> (Wanted, Arc<Manifest>) {
    let mut builder = Builder::new();
    let path = RelPath::new("pos").expect("a good path");
    builder.file(path, 0o755, vec![pack(version.as_bytes()).0]);
    let (manifest, encoded) = builder.finish(name("pos"), name(version)).expect("a good release");
    let (release, _) = ReleaseHead::new(&manifest, &encoded);
    let number = u64::from(version.as_bytes()[0]);
    let wanted = Wanted { generation: 1, number, release, at: Timestamp(1) };
    (wanted, Arc::new(manifest))
}
