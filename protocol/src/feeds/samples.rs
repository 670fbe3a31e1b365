//! Terminals of a small chain, and what they write, for tests.

use storemesh_keys::{Authored, Certificate, HqSigned, PeerId, Roles, SecretKey, Timestamp, Trust};

use super::{
    Author, Boot, CertificateHash, FeedId, Header, PayloadHash, Scope, Topic, entry::Proven,
};
use crate::{
    fixtures::{name, signer},
    wire,
};

pub(crate) fn trust() -> Trust {
    Trust { chain: signer().described().chain, generation_min: 0 }
}

pub(crate) fn key(n: usize) -> SecretKey {
    SecretKey::from_seed([u8::try_from(n).expect("few terminals") + 10; 32])
}

pub(crate) fn peer(n: usize) -> PeerId {
    key(n).peer_id()
}

/// HQ's word for terminal `n` of that store.
pub(crate) fn certificate(n: usize, store: &str) -> HqSigned<Certificate> {
    let certificate = Certificate {
        chain: trust().chain,
        serial: n as u64,
        peer: peer(n),
        door: None,
        name: name(&format!("till-{n}")),
        store: name(store),
        roles: Roles::TERMINAL,
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    };
    signer().sign(&certificate).into_signed()
}

/// One feed in the making.
#[derive(Clone)]
pub(crate) struct Pen {
    key: SecretKey,
    pub(crate) next: Header,
}

impl Pen {
    /// Of terminal `n` of store `s1`.
    pub(crate) fn of(n: usize, topic: &str) -> Self {
        let signed = certificate(n, "s1");
        let certificate = signed
            .verify(&trust(), Timestamp(0), storemesh_keys::Expiry::Ignored)
            .expect("a test's certificate");
        let next = Header {
            author: Author::terminal(peer(n)),
            boot: Boot(n as u64 + 1),
            topic: Topic { name: name(topic), scope: Scope::Store(name("s1")) },
            seq: 1,
            previous: None,
            certificate: CertificateHash::of(certificate.payload()),
            schema: 1,
            payload: PayloadHash::of(b""),
            length: 0,
            after: None,
        };
        Self { key: key(n), next }
    }

    pub(crate) fn feed(&self) -> FeedId {
        self.next.feed()
    }

    /// The next entry.
    pub(crate) fn write(&mut self, payload: &[u8]) -> Proven {
        self.next.payload = PayloadHash::of(payload);
        self.next.length = u32::try_from(payload.len()).expect("a test's payload");
        let sign = |header| Authored::sign(&self.key, header);
        let entry = Proven::sign(sign, self.next.clone(), payload.to_vec());
        self.next.seq += 1;
        self.next.previous = Some(entry.hash());
        self.next.after = None;
        entry
    }

    /// As it travels.
    pub(crate) fn bytes(&mut self, payload: &[u8]) -> Vec<u8> {
        wire::encode(&self.write(payload).to_entry())
    }
}
