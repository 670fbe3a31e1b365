//! For whom HQ has vouched: certificates of terminals, and HQ's own online keys.
//!
//! They are judged without their ends: an entry keeps its right for ever, or a late one would count on one
//! machine and not on another. Whether a terminal may still speak is admission's business.

use storemesh_keys::{
    Certificate, Expiry, HqSigned, OnlineKey, PeerId, Signed, Timestamp, Verified,
};

use super::{CERTIFICATES, Ledger, ONLINE};
use crate::feeds::{
    Ack, Author, CertificateHash, FeedId, Header, Storage,
    storage::{Read, put, row},
};

impl Ledger {
    /// Takes note of a certificate that came along; its name, if it is HQ's word.
    pub(crate) fn vouch(
        &mut self,
        storage: &mut dyn Storage,
        signed: &HqSigned<Certificate>,
    ) -> Option<CertificateHash> {
        let known = self.certificates.len();
        let hash = self.vouched(signed)?;
        if self.certificates.len() > known {
            put(storage, CERTIFICATES, &hash.0, signed);
        }
        Some(hash)
    }

    /// The same for a key of HQ's.
    pub(crate) fn vouch_online(
        &mut self,
        storage: &mut dyn Storage,
        signed: &Signed<OnlineKey>,
    ) -> Option<CertificateHash> {
        let known = self.online.len();
        let hash = self.vouched_online(signed)?;
        if self.online.len() > known {
            put(storage, ONLINE, &hash.0, signed);
        }
        Some(hash)
    }

    pub(super) fn vouched(&mut self, signed: &HqSigned<Certificate>) -> Option<CertificateHash> {
        let certificate = signed.verify(&self.trust, Timestamp(0), Expiry::Ignored).ok()?;
        let hash = CertificateHash::of(certificate.payload());
        self.certificates.entry(hash).or_insert_with(|| (*certificate).clone());
        Some(hash)
    }

    pub(super) fn vouched_online(&mut self, signed: &Signed<OnlineKey>) -> Option<CertificateHash> {
        let root = PeerId::from(*self.trust.chain.root());
        let online = storemesh_keys::Authored::verify(root, signed.clone()).ok()?;
        if online.statement().chain != self.trust.chain {
            return None;
        }
        let hash = CertificateHash::of(online.payload());
        self.online.entry(hash).or_insert_with(|| online.statement().clone());
        Some(hash)
    }

    /// HQ's word on a feed, of whichever generation: it stays a proof of what there was.
    pub(crate) fn verify_ack(&self, ack: &HqSigned<Ack>) -> Result<Verified<Ack>, String> {
        let verified = ack.verify(&self.trust, Timestamp(0), Expiry::Ignored);
        let ack = verified.map_err(|why| why.to_string())?;
        if ack.generation == ack.online().generation {
            Ok(ack)
        } else {
            Err("an acknowledgement of another generation than its key".to_owned())
        }
    }

    /// Whose key must have signed this header; none when nobody has vouched for it.
    pub(crate) fn signer(&self, header: &Header) -> Option<PeerId> {
        if header.author == Author::hq(self.trust.chain) {
            self.online.get(&header.certificate).map(|online| PeerId::from(online.key))
        } else {
            let certificate = self.certificates.get(&header.certificate)?;
            (certificate.peer == header.author.peer()).then_some(certificate.peer)
        }
    }

    pub(crate) fn certificate(&self, hash: &CertificateHash) -> Option<&Certificate> {
        self.certificates.get(hash)
    }

    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.values()
    }

    /// What vouches for a feed's entries, to be sent with them.
    pub(crate) fn vouchers(
        &self,
        storage: &dyn Read,
        feed: &FeedId,
        names: &[CertificateHash],
    ) -> (Vec<HqSigned<Certificate>>, Vec<Signed<OnlineKey>>) {
        if feed.author == Author::hq(self.trust.chain) {
            (Vec::new(), names.iter().filter_map(|hash| row(storage, ONLINE, &hash.0)).collect())
        } else {
            let of = |hash: &CertificateHash| row(storage, CERTIFICATES, &hash.0);
            (names.iter().filter_map(of).collect(), Vec::new())
        }
    }
}
