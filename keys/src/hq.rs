//! What HQ says, and why it is believed.
//!
//! The chain root signs an [`OnlineKey`] for HQ's server; HQ signs with that key and attaches the
//! root's word to whatever it says ([`HqSigned`]). So a reader needs nothing but its [`Trust`]:
//! the chain it was joined to and the lowest generation it still believes.
//!
//! A generation is raised when HQ was restored from a backup; what an older one said no longer
//! counts once a reader has heard of the newer. Whether ends in time count is said at every
//! call ([`Expiry`]), and `at` is HQ time, handed in.
//!
//! [`Verified`] can only come out of [`HqSigned::verify`] or [`HqSigner::sign`], so a function that
//! takes one need not ask again, and it still has the signed bytes to pass on.

use std::{fmt, ops::Deref};

use minicbor::{Decode, Encode};

use crate::{Authored, ChainId, OnlineKey, SecretKey, Signed, Statement, Timestamp, VerifyError};

/// What a reader needs to judge HQ's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    pub chain: ChainId,
    /// The highest generation heard of.
    pub generation_min: u64,
}

/// Whether the ends of signed things count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Enforced,
    /// For what was accepted in time and is only read again, say from disk.
    Ignored,
}

/// Something HQ said, not yet believed.
#[derive(Encode, Decode)]
pub struct HqSigned<T: Statement> {
    /// The root's word for the key that signed.
    #[n(0)]
    online: Signed<OnlineKey>,
    #[cbor(n(1), bound = "T: Statement")]
    statement: Signed<T>,
}

impl<T: Statement> HqSigned<T> {
    /// The statement, if an online key of our chain signed it and it is valid at `at`.
    pub fn verify(
        &self,
        trust: &Trust,
        at: Timestamp,
        expiry: Expiry,
    ) -> Result<Verified<T>, VerifyError> {
        let online = verify_online(&self.online, trust)?;
        check_window(online.from, online.until, at, expiry)?;
        let value = self.statement.verify(&online.key)?;
        value.check(trust, at, expiry)?;
        Ok(Verified { value, online, signed: self.clone() })
    }
}

/// Something HQ said, believed, together with the signed form to pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T: Statement> {
    value: T,
    online: OnlineKey,
    signed: HqSigned<T>,
}

impl<T: Statement> Verified<T> {
    pub fn signed(&self) -> &HqSigned<T> {
        &self.signed
    }

    pub fn into_signed(self) -> HqSigned<T> {
        self.signed
    }

    /// The statement's signed bytes as they came, by whose hash others may name it.
    pub fn payload(&self) -> &[u8] {
        self.signed.statement.payload()
    }

    /// The key that signed, as the chain root described it.
    pub fn online(&self) -> &OnlineKey {
        &self.online
    }

    pub fn generation(&self) -> u64 {
        self.online.generation
    }
}

impl<T: Statement> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// HQ's pen: an online key and the root's word for it.
#[derive(Clone, Debug)]
pub struct HqSigner {
    key: SecretKey,
    online: Signed<OnlineKey>,
    described: OnlineKey,
}

impl HqSigner {
    /// Refuses a key that the chain root did not vouch for. Its end is not judged here: see
    /// [`OnlineKey::until`] in [`HqSigner::described`].
    pub fn new(
        key: SecretKey,
        online: Signed<OnlineKey>,
        trust: &Trust,
    ) -> Result<Self, VerifyError> {
        let described = verify_online(&online, trust)?;
        if described.key != key.public() {
            return Err(VerifyError::WrongKey { vouched: described.key, ours: key.public() });
        }
        Ok(Self { key, online, described })
    }

    pub fn sign<T: Statement + Clone>(&self, statement: &T) -> Verified<T> {
        Verified {
            value: statement.clone(),
            online: self.described.clone(),
            signed: HqSigned {
                online: self.online.clone(),
                statement: Signed::sign(&self.key, statement),
            },
        }
    }

    /// Without the root's word: for readers who are told of this key once, by another way.
    pub fn author<T: Statement>(&self, statement: T) -> Authored<T> {
        Authored::sign(&self.key, statement)
    }

    /// The root's word for this key, as it was signed.
    pub fn online(&self) -> &Signed<OnlineKey> {
        &self.online
    }

    /// The same, read.
    pub fn described(&self) -> &OnlineKey {
        &self.described
    }
}

fn verify_online(online: &Signed<OnlineKey>, trust: &Trust) -> Result<OnlineKey, VerifyError> {
    let online = online.verify(trust.chain.root())?;
    if online.chain != trust.chain {
        return Err(VerifyError::WrongChain { found: online.chain, ours: trust.chain });
    }
    if online.generation < trust.generation_min {
        return Err(VerifyError::OldGeneration {
            found: online.generation,
            min: trust.generation_min,
        });
    }
    Ok(online)
}

pub(crate) fn check_window(
    from: Timestamp,
    until: Timestamp,
    at: Timestamp,
    expiry: Expiry,
) -> Result<(), VerifyError> {
    match expiry {
        Expiry::Enforced if at < from => Err(VerifyError::NotYetValid { from, at }),
        Expiry::Enforced if until <= at => Err(VerifyError::Expired { until, at }),
        Expiry::Enforced | Expiry::Ignored => Ok(()),
    }
}

// By hand, since deriving would ask the same of `T`.

impl<T: Statement> Clone for HqSigned<T> {
    fn clone(&self) -> Self {
        Self { online: self.online.clone(), statement: self.statement.clone() }
    }
}

impl<T: Statement> PartialEq for HqSigned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.online == other.online && self.statement == other.statement
    }
}

impl<T: Statement> Eq for HqSigned<T> {}

impl<T: Statement> fmt::Debug for HqSigned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hq{:?}", self.statement)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Certificate,
        fixtures::{
            DAY, NOW, certificate, chain, hq_key, name, online, root, signer, terminal, trust,
        },
        signed::{decode_whole, encode_whole},
    };

    /// A pen of HQ whose online key is as `change` makes it.
    fn signer_of(change: impl FnOnce(&mut OnlineKey)) -> HqSigner {
        let mut described = online();
        change(&mut described);
        let online = Signed::sign(&root(), &described);
        HqSigner { key: hq_key(), online, described }
    }

    fn verify(signed: &HqSigned<Certificate>) -> Result<Verified<Certificate>, VerifyError> {
        signed.verify(&trust(), NOW, Expiry::Enforced)
    }

    #[test]
    fn what_hq_said_is_believed_on_the_other_side_of_the_wire() {
        let said = signer().sign(&certificate());
        let received: HqSigned<Certificate> = decode_whole(&encode_whole(said.signed())).unwrap();
        let verified = verify(&received).unwrap();
        assert_eq!(verified, said);
        assert_eq!(*verified, certificate());
        assert_eq!(verified.signed(), &received);
        assert_eq!(verified.generation(), 3);
        assert_eq!(verified.online().name, name("acme"));
    }

    #[test]
    fn another_chains_hq_is_not_ours() {
        let said = signer().sign(&certificate());
        let theirs = Trust { chain: ChainId::of_root(terminal().public()), generation_min: 0 };
        let why = said.signed().verify(&theirs, NOW, Expiry::Enforced).unwrap_err();
        assert_eq!(why, VerifyError::BadSignature);

        // One root key that was used for two chains keeps them apart all the same.
        let other = ChainId::from_bytes([5; 32]);
        let said = signer_of(|online| online.chain = other).sign(&certificate());
        let why = verify(said.signed()).unwrap_err();
        assert_eq!(why, VerifyError::WrongChain { found: other, ours: chain() });
    }

    #[test]
    fn a_key_the_root_did_not_vouch_for_says_nothing() {
        let thief = HqSigner { key: terminal(), ..signer() };
        let said = thief.sign(&certificate());
        assert_eq!(verify(said.signed()).unwrap_err(), VerifyError::BadSignature);

        let pair = HqSigner::new(terminal(), signer().online().clone(), &trust());
        let why = VerifyError::WrongKey { vouched: hq_key().public(), ours: terminal().public() };
        assert_eq!(pair.unwrap_err(), why);
    }

    #[test]
    fn an_online_key_that_another_key_vouched_for_is_refused() {
        let online = Signed::sign(&hq_key(), &online());
        let why = HqSigner::new(hq_key(), online, &trust()).unwrap_err();
        assert_eq!(why, VerifyError::BadSignature);
    }

    #[test]
    fn what_was_said_before_the_restore_no_longer_counts() {
        let old = signer_of(|online| online.generation = 2).sign(&certificate());
        let why = verify(old.signed()).unwrap_err();
        assert_eq!(why, VerifyError::OldGeneration { found: 2, min: 3 });
        // Nor when ends in time do not count.
        assert!(old.signed().verify(&trust(), NOW, Expiry::Ignored).is_err());

        let newer = signer_of(|online| online.generation = 4).sign(&certificate());
        assert_eq!(verify(newer.signed()).unwrap().generation(), 4);
    }

    #[test]
    fn an_online_key_counts_from_its_first_moment_to_before_its_last() {
        let said = signer_of(|online| {
            online.from = NOW.plus(DAY);
            online.until = NOW.plus(2 * DAY);
        });
        let said = said.sign(&certificate());
        let at = |at, expiry| said.signed().verify(&trust(), at, expiry).err();

        let early = NOW.plus(DAY).minus(std::time::Duration::from_millis(1));
        let why = VerifyError::NotYetValid { from: NOW.plus(DAY), at: early };
        assert_eq!(at(early, Expiry::Enforced), Some(why));
        assert_eq!(at(NOW.plus(DAY), Expiry::Enforced), None);
        let late = NOW.plus(2 * DAY);
        assert_eq!(
            at(late, Expiry::Enforced),
            Some(VerifyError::Expired { until: late, at: late })
        );
        assert_eq!(at(early, Expiry::Ignored), None);
        assert_eq!(at(late, Expiry::Ignored), None);
    }

    #[test]
    fn no_flipped_bit_passes() {
        let said = signer().sign(&certificate());
        let wire = encode_whole(said.signed());
        for bit in 0..wire.len() * 8 {
            let mut flipped = wire.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(received) = decode_whole::<HqSigned<Certificate>>(&flipped) else { continue };
            assert_eq!(verify(&received).unwrap_err(), VerifyError::BadSignature, "bit {bit}");
        }
    }

    #[test]
    fn a_certificate_is_no_online_key_though_the_root_itself_signed_it() {
        let mixed: Signed<OnlineKey> =
            decode_whole(&encode_whole(&Signed::sign(&root(), &certificate()))).unwrap();
        let why = HqSigner::new(hq_key(), mixed, &trust()).unwrap_err();
        assert_eq!(why, VerifyError::BadSignature);
    }

    #[test]
    fn a_pen_is_printed_without_its_secret() {
        let shown = format!("{:?}", signer());
        assert!(shown.contains("Signed(storemesh/1 online key"), "{shown}");
        // In hex and in decimal.
        assert!(!shown.contains("0202") && !shown.contains("2, 2"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_something_hq_said_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            if let Ok(received) = decode_whole::<HqSigned<Certificate>>(&bytes) {
                prop_assert!(verify(&received).is_err());
            }
        }
    }
}
