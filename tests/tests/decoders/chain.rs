//! A small chain whose keys the tests own: what is rightly signed may be hostile too.

use std::{collections::BTreeMap, sync::Arc};

use ed25519_dalek::{Signer as _, SigningKey};
use storemesh_keys::{
    Certificate, ChainId, HqSigner, Name, OnlineKey, PeerId, PublicKey, Roles, SecretKey, Signed,
    Statement, Timestamp, Trust, Verified,
};
use storemesh_protocol::{
    Lease, Rows,
    content::{Builder, Manifest, RelPath, ReleaseHead, pack},
    terminal::Membership,
};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ROOT: [u8; 32] = [1; 32];
const ONLINE: [u8; 32] = [2; 32];

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn terminal(number: u8) -> SecretKey {
    SecretKey::from_seed([number; 32])
}

pub(crate) fn peer(number: u8) -> PeerId {
    terminal(number).peer_id()
}

pub(crate) fn chain() -> ChainId {
    ChainId::of_root(SecretKey::from_seed(ROOT).public())
}

pub(crate) fn trust() -> Trust {
    Trust { chain: chain(), generation_min: 1 }
}

pub(crate) fn hq_key() -> PublicKey {
    SecretKey::from_seed(ONLINE).public()
}

pub(crate) fn online() -> OnlineKey {
    OnlineKey {
        chain: chain(),
        name: name("acme"),
        generation: 1,
        key: hq_key(),
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    }
}

pub(crate) fn signer() -> HqSigner {
    let online = Signed::sign(&SecretKey::from_seed(ROOT), &online());
    HqSigner::new(SecretKey::from_seed(ONLINE), online, &trust()).unwrap()
}

pub(crate) fn certificate(number: u8) -> Verified<Certificate> {
    signer().sign(&Certificate {
        chain: chain(),
        serial: u64::from(number),
        peer: peer(number),
        door: None,
        name: name(&format!("till-{number}")),
        store: name("s1"),
        roles: Roles::TERMINAL,
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    })
}

pub(crate) fn lease(epoch: u64, holder: u8) -> Verified<Lease> {
    signer().sign(&Lease {
        chain: chain(),
        store: name("s1"),
        part: 0,
        generation: 1,
        epoch,
        holder: peer(holder),
        at: NOW,
    })
}

pub(crate) fn release(version: &str) -> (ReleaseHead, Arc<Manifest>) {
    let mut builder = Builder::new();
    for file in 0..9 {
        let content = format!("{version} {file}").repeat(40);
        let path = RelPath::new(format!("bin/{file}")).unwrap();
        builder.file(path, 0o755, vec![pack(content.as_bytes()).0]);
    }
    builder.folder(RelPath::new("log").unwrap(), 0o700);
    builder.symlink(RelPath::new("till").unwrap(), "bin/0");
    let (manifest, encoded) = builder.finish(name("pos"), name(version)).unwrap();
    (ReleaseHead::new(&manifest, &encoded).0, Arc::new(manifest))
}

/// A payload as HQ's own key would sign it, whatever it is: `HqSigned<T>` in bytes.
pub(crate) fn signed_by_hq<T: Statement>(payload: &[u8]) -> Vec<u8> {
    let covered = [T::CONTEXT.as_bytes(), &[0], payload].concat();
    let signature = SigningKey::from_bytes(&ONLINE).sign(&covered);
    let mut e = minicbor::Encoder::new(minicbor::to_vec([(); 0]).unwrap());
    e.writer_mut().clear();
    e.array(2).unwrap().encode(signer().online()).unwrap();
    e.array(2).unwrap().bytes(payload).unwrap().bytes(&signature.to_bytes()).unwrap();
    e.into_writer()
}

/// What a terminal that has joined keeps.
pub(crate) fn rows(number: u8) -> Rows {
    let membership = Membership {
        chain: chain(),
        certificate: certificate(number),
        hq: vec!["127.0.0.1:7400".to_owned()],
    };
    let mut rows = Rows(BTreeMap::new());
    rows.apply(&membership.save());
    rows
}
