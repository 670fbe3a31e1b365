//! A statement, and the signature that makes it worth something.
//!
//! A signature covers `CONTEXT ‖ 0x00 ‖ payload`, so one made for a kind of statement never
//! verifies as another kind. The payload is kept and verified exactly as it came, never encoded
//! again, so that fields of a newer version survive being passed on by an older one.
//!
//! [`Signed`] hides its payload: [`Signed::verify`] is the only way to it, and it checks the
//! signature before it reads a byte. Who must have signed, and whether it is still valid, is
//! for others: see [`crate::HqSigned`].

use std::{fmt, marker::PhantomData};

use ed25519_dalek::{Signature, VerifyingKey};
use minicbor::{
    Decode, Decoder, Encode, Encoder,
    bytes::{ByteArray, ByteSlice},
    decode, encode,
};
use thiserror::Error;

use crate::{Expiry, PublicKey, SecretKey, Timestamp, Trust};

/// Something that can be signed.
pub trait Statement: Encode<()> + for<'b> Decode<'b, ()> {
    /// Names the kind of statement, and no other; without a zero byte.
    const CONTEXT: &'static str;
    /// Endless data: a longer payload is refused before it is copied.
    const MAX_BYTES: usize;

    /// What [`crate::HqSigned::verify`] must ask of the statement itself once both signatures
    /// hold. A statement that names its chain or has an end of its own checks them here.
    fn check(&self, _: &Trust, _: Timestamp, _: Expiry) -> Result<(), VerifyError> {
        Ok(())
    }
}

/// Why a signed thing does not count. The peer that sent it is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// Forged, damaged, signed by another key or for another purpose; do not ask this peer again.
    #[error("the signature does not verify")]
    BadSignature,
    /// Rightly signed but not understood: this program is older than the signer's; update it.
    #[error("a signed statement that this version cannot read: {0}")]
    NotReadable(String),
    /// Of another chain; this machine has been joined elsewhere.
    #[error("signed for chain {found}, this is chain {ours}")]
    WrongChain { found: crate::ChainId, ours: crate::ChainId },
    /// From before HQ was restored from a backup; ask HQ for a new one.
    #[error("of generation {found}, at least {min}")]
    OldGeneration { found: u64, min: u64 },
    /// Made for later, or our clock is behind; try again then.
    #[error("valid from {from}, it is {at}")]
    NotYetValid { from: Timestamp, at: Timestamp },
    /// Too old; ask HQ for a new one.
    #[error("valid until {until}, it is {at}")]
    Expired { until: Timestamp, at: Timestamp },
    /// The chain root vouched for another online key than this; use the matching pair.
    #[error("the chain root vouched for online key {vouched}, this is {ours}")]
    WrongKey { vouched: PublicKey, ours: PublicKey },
}

/// A statement and its signature, not yet believed.
pub struct Signed<T> {
    payload: Vec<u8>,
    signature: [u8; 64],
    of: PhantomData<fn() -> T>,
}

impl<T: Statement> Signed<T> {
    /// # Panics
    ///
    /// When the statement is longer than its own limit: nobody could read it.
    pub fn sign(key: &SecretKey, statement: &T) -> Self {
        let payload = encode_whole(statement);
        assert!(
            payload.len() <= T::MAX_BYTES,
            "a {} of {} bytes, at most {}",
            T::CONTEXT,
            payload.len(),
            T::MAX_BYTES
        );
        let signature = key.sign(&covered::<T>(&payload));
        Self { payload, signature, of: PhantomData }
    }

    /// The bytes that the signature covers, for who has verified it: see [`crate::Authored::payload`].
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What it says, before anybody has verified it.
    pub(crate) fn claim(&self) -> Result<T, VerifyError> {
        decode_whole(&self.payload).map_err(|why| VerifyError::NotReadable(why.to_string()))
    }

    /// The statement, if `by` signed it.
    pub fn verify(&self, by: &PublicKey) -> Result<T, VerifyError> {
        let signature = Signature::from_bytes(&self.signature);
        VerifyingKey::from_bytes(by.as_bytes())
            .and_then(|key| key.verify_strict(&covered::<T>(&self.payload), &signature))
            .map_err(|_| VerifyError::BadSignature)?;
        self.claim()
    }
}

/// The bytes that a signature is made over.
fn covered<T: Statement>(payload: &[u8]) -> Vec<u8> {
    const { assert!(has_no_zero_byte(T::CONTEXT), "a zero byte ends the context") };
    [T::CONTEXT.as_bytes(), &[0], payload].concat()
}

const fn has_no_zero_byte(text: &str) -> bool {
    let mut at = 0;
    while at < text.len() {
        if text.as_bytes()[at] == 0 {
            return false;
        }
        at += 1;
    }
    true
}

pub(crate) fn encode_whole<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("a vector takes all bytes and our encoders refuse nothing")
}

/// Decodes a value that fills `bytes` to the end.
pub(crate) fn decode_whole<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, decode::Error> {
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode()?;
    if decoder.position() < bytes.len() {
        return Err(decode::Error::message("bytes after the end").at(decoder.position()));
    }
    Ok(value)
}

/// The wire form, borrowed, so that lengths are checked before anything is copied.
#[derive(Encode, Decode)]
struct Wire<'a> {
    #[b(0)]
    payload: &'a ByteSlice,
    #[n(1)]
    signature: ByteArray<64>,
}

impl<T: Statement, C> Encode<C> for Signed<T> {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let signature = ByteArray::from(self.signature);
        Wire { payload: self.payload.as_slice().into(), signature }.encode(e, ctx)
    }
}

impl<T: Statement, C> Decode<'_, C> for Signed<T> {
    fn decode(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let Wire { payload, signature } = Wire::decode(d, ctx)?;
        if payload.len() > T::MAX_BYTES {
            let why =
                format!("a {} of {} bytes, at most {}", T::CONTEXT, payload.len(), T::MAX_BYTES);
            return Err(decode::Error::message(why).at(at));
        }
        Ok(Self { payload: payload.to_vec(), signature: signature.into(), of: PhantomData })
    }
}

// By hand, since deriving would ask the same of `T`.

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { payload: self.payload.clone(), signature: self.signature, of: PhantomData }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.payload == other.payload && self.signature == other.signature
    }
}

impl<T> Eq for Signed<T> {}

impl<T: Statement> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({}, {} bytes)", T::CONTEXT, self.payload.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::hex;

    #[derive(Clone, Debug, PartialEq, Encode, Decode)]
    struct Price {
        #[n(0)]
        cents: u64,
    }

    /// What a later version makes of the same statement.
    #[derive(Encode, Decode)]
    struct LaterPrice {
        #[n(0)]
        cents: u64,
        #[n(2)]
        currency: String,
    }

    /// The same bytes with another meaning.
    #[derive(Debug, Encode, Decode)]
    struct Refund {
        #[n(0)]
        cents: u64,
    }

    impl Statement for Price {
        const CONTEXT: &'static str = "test price";
        const MAX_BYTES: usize = 64;
    }

    impl Statement for LaterPrice {
        const CONTEXT: &'static str = Price::CONTEXT;
        const MAX_BYTES: usize = 1024;
    }

    impl Statement for Refund {
        const CONTEXT: &'static str = "test refund";
        const MAX_BYTES: usize = 64;
    }

    fn key() -> SecretKey {
        SecretKey::from_seed([9; 32])
    }

    /// Signs what no honest signer would.
    fn sign_bytes<T: Statement>(payload: &[u8]) -> Signed<T> {
        let signature = key().sign(&covered::<T>(payload));
        Signed { payload: payload.to_vec(), signature, of: PhantomData }
    }

    fn reread<A: Statement, B: Statement>(signed: &Signed<A>) -> Result<Signed<B>, decode::Error> {
        decode_whole(&encode_whole(signed))
    }

    #[test]
    fn a_signed_statement_comes_back_whole() {
        let signed = Signed::sign(&key(), &Price { cents: 199 });
        let received: Signed<Price> = reread(&signed).unwrap();
        assert_eq!(received, signed);
        assert_eq!(received.verify(&key().public()), Ok(Price { cents: 199 }));
    }

    #[test]
    fn the_bytes_on_the_wire_stay_as_they_are() {
        let signed = Signed::sign(&key(), &Price { cents: 199 });
        assert_eq!(
            hex(&encode_whole(&signed)),
            concat!(
                "82",       // two fields
                "438118c7", // three bytes of payload: [199]
                "5840",     // 64 bytes of signature
                "a6f750935344995fceb9dac2b02cb73a737fbca12ec6f50892a8eaeeb4ee5891",
                "9bd69c914c9c7e5295637117ea522ca1102fca8e6894c9db256bf20a9a99760e",
            )
        );
    }

    #[test]
    fn a_signature_for_one_kind_of_statement_never_verifies_as_another() {
        let price = Signed::sign(&key(), &Price { cents: 199 });
        let refund: Signed<Refund> = reread(&price).unwrap();
        assert_eq!(refund.verify(&key().public()).unwrap_err(), VerifyError::BadSignature);
    }

    #[test]
    fn another_key_never_signed_it() {
        let signed = Signed::sign(&key(), &Price { cents: 199 });
        let other = SecretKey::from_seed([8; 32]).public();
        assert_eq!(signed.verify(&other), Err(VerifyError::BadSignature));
        // 32 bytes that are no point of the curve.
        let mut none = [0; 32];
        none[0] = 2;
        assert_eq!(signed.verify(&PublicKey::from_bytes(none)), Err(VerifyError::BadSignature));
    }

    #[test]
    fn a_key_that_would_verify_anything_verifies_nothing() {
        // The neutral point, under which a lax check accepts one signature for all messages.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let payload = encode_whole(&Price { cents: 0 });
        let signed: Signed<Price> = Signed { payload, signature, of: PhantomData };
        assert_eq!(signed.verify(&PublicKey::from_bytes(neutral)), Err(VerifyError::BadSignature));
    }

    #[test]
    fn no_flipped_bit_passes() {
        let signed = Signed::sign(&key(), &Price { cents: 199 });
        let wire = encode_whole(&signed);
        for bit in 0..wire.len() * 8 {
            let mut flipped = wire.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(received) = decode_whole::<Signed<Price>>(&flipped) else { continue };
            assert_eq!(
                received.verify(&key().public()),
                Err(VerifyError::BadSignature),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn fields_of_a_later_version_are_skipped_and_passed_on() {
        let later = LaterPrice { cents: 199, currency: "EUR".into() };
        let wire = encode_whole(&Signed::sign(&key(), &later));
        let received: Signed<Price> = decode_whole(&wire).unwrap();
        assert_eq!(received.verify(&key().public()), Ok(Price { cents: 199 }));
        assert_eq!(encode_whole(&received), wire);
    }

    #[test]
    fn what_is_rightly_signed_but_makes_no_sense_is_not_readable() {
        for payload in [&b""[..], b"\xff", b"\x80", b"\x81\x61x", b"\x81\x01\x00"] {
            let why = sign_bytes::<Price>(payload).verify(&key().public()).unwrap_err();
            assert!(matches!(why, VerifyError::NotReadable(_)), "{payload:02x?}: {why}");
        }
    }

    #[test]
    fn an_endless_payload_is_refused_before_it_is_copied() {
        let most: Signed<Price> = sign_bytes(&[0; Price::MAX_BYTES]);
        assert!(reread::<Price, Price>(&most).is_ok());
        let more: Signed<Price> = sign_bytes(&[0; Price::MAX_BYTES + 1]);
        let why = reread::<Price, Price>(&more).unwrap_err().to_string();
        assert!(why.contains("a test price of 65 bytes, at most 64"), "{why}");
        // A length that lies: four gigabytes are announced, none follow.
        let lie = [0x82, 0x5a, 0xff, 0xff, 0xff, 0xff];
        assert!(decode_whole::<Signed<Price>>(&lie).is_err());
    }

    #[test]
    #[should_panic(expected = "a test price of 1")]
    fn a_statement_above_its_own_limit_is_never_signed() {
        struct Long;
        impl<C> Encode<C> for Long {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&[0; 100])?.ok()
            }
        }
        impl<C> Decode<'_, C> for Long {
            fn decode(_: &mut Decoder<'_>, _: &mut C) -> Result<Self, decode::Error> {
                Ok(Self)
            }
        }
        impl Statement for Long {
            const CONTEXT: &'static str = "test price";
            const MAX_BYTES: usize = 64;
        }
        _ = Signed::sign(&key(), &Long);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_signed_thing_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(signed) = decode_whole::<Signed<Price>>(&bytes) {
                prop_assert_eq!(signed.verify(&key().public()), Err(VerifyError::BadSignature));
            }
        }

        #[test]
        fn any_rightly_signed_bytes_are_a_statement_or_an_error(
            payload in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            _ = sign_bytes::<Price>(&payload).verify(&key().public());
            _ = sign_bytes::<crate::Certificate>(&payload).verify(&key().public());
        }
    }
}
