//! A terminal that writes what a test likes.

use std::collections::BTreeMap;

use storemesh_keys::{
    Authored, Certificate, ChainId, Expiry, HqSigned, HqSigner, Roles, SecretKey, Timestamp, Trust,
};
use storemesh_protocol::{
    feeds::{
        Author, Boot, CertificateHash, Entry, Header, HeaderHash, PayloadHash, Scope, Topic,
        stock::{Movement, Record},
    },
    wire::{
        self,
        feeds::{Batch, FeedFrame},
    },
};

#[derive(Debug)]
pub(crate) struct Till {
    pub(crate) key: SecretKey,
    pub(crate) store: &'static str,
    pub(crate) certificate: HqSigned<Certificate>,
    chain: ChainId,
    hash: CertificateHash,
    /// The last entry of each topic.
    last: BTreeMap<String, (u64, HeaderHash)>,
}

impl Till {
    pub(crate) fn new(signer: &HqSigner, name: &str, store: &'static str) -> Self {
        let key = SecretKey::generate();
        let certificate = signer.sign(&Certificate {
            chain: signer.described().chain,
            serial: 1,
            peer: key.peer_id(),
            door: None,
            name: name.parse().unwrap(),
            store: store.parse().unwrap(),
            roles: Roles::TERMINAL,
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
        });
        let hash = CertificateHash::of(certificate.payload());
        let certificate = certificate.into_signed();
        let chain = signer.described().chain;
        Self { key, store, certificate, chain, hash, last: BTreeMap::new() }
    }

    /// The same as another terminal, one that HQ has enrolled.
    pub(crate) fn with(self, key: &SecretKey, certificate: HqSigned<Certificate>) -> Self {
        let trust = Trust { chain: self.chain, generation_min: 0 };
        let read = certificate.verify(&trust, Timestamp(0), Expiry::Ignored).unwrap();
        let hash = CertificateHash::of(read.payload());
        Self { key: key.clone(), certificate, hash, ..self }
    }

    /// A frame with its next entry.
    pub(crate) fn writes(&mut self, topic: &str, payload: &[u8]) -> Vec<u8> {
        let last = self.last.get(topic).copied();
        let header = Header {
            author: Author::terminal(self.key.peer_id()),
            boot: Boot(1),
            topic: Topic {
                name: topic.parse().unwrap(),
                scope: Scope::Store(self.store.parse().unwrap()),
            },
            seq: last.map_or(1, |(seq, _)| seq + 1),
            previous: last.map(|(_, hash)| hash),
            certificate: self.hash,
            schema: 1,
            payload: PayloadHash::of(payload),
            length: u32::try_from(payload.len()).unwrap(),
            after: None,
        };
        let seq = header.seq;
        let header = Authored::sign(&self.key, header);
        self.last.insert(topic.to_owned(), (seq, HeaderHash(PayloadHash::of(header.payload()).0)));
        let entry = Entry { header: header.signed().clone(), payload: Some(payload.to_vec()) };
        let batch = Batch {
            certificates: vec![self.certificate.clone()],
            entries: vec![wire::encode(&entry).into()],
            ..Batch::default()
        };
        let boot = Some(Boot(1));
        wire::encode(&FeedFrame { boot, batch: Some(batch), ..FeedFrame::default() })
    }

    pub(crate) fn moves(&mut self, item: &str, quantity: i64) -> Vec<u8> {
        let movements = vec![Movement { item: item.to_owned(), quantity }];
        self.writes("stock", &wire::encode(&Record { movements, count: None }))
    }
}
