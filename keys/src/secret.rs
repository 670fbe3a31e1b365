//! The half of a key that must not leave its machine.
//!
//! A [`SecretKey`] is wiped from memory when it is dropped, is never printed (its `Debug` shows
//! the public half), and cannot be encoded by accident: only the key files and invitation
//! codes of this crate write its seed. Whoever needs the seed for another library asks for it
//! by name, with [`SecretKey::seed`], and gets a copy that wipes itself too.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use zeroize::Zeroizing;

use crate::{PeerId, PublicKey};

/// An ed25519 secret key.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).expect("the operating system gives randomness");
        Self(SigningKey::from_bytes(&seed))
    }

    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&Zeroizing::new(seed)))
    }

    /// The 32 bytes that the key is made from.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    pub fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    pub fn peer_id(&self) -> PeerId {
        PeerId::from(self.public())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// How key files and invitation codes write a secret key: its seed, as bytes.
pub(crate) struct Seed(pub(crate) SecretKey);

impl<C> Encode<C> for Seed {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(self.0.seed().as_ref())?.ok()
    }
}

impl<C> Decode<'_, C> for Seed {
    fn decode(d: &mut Decoder<'_>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let seed: &[u8; 32] = d
            .bytes()?
            .try_into()
            .map_err(|_| decode::Error::message("a seed is 32 bytes").at(at))?;
        Ok(Self(SecretKey(SigningKey::from_bytes(seed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_key_again() {
        let key = SecretKey::generate();
        let again = SecretKey::from_seed(*key.seed());
        assert_eq!(again.public(), key.public());
        assert_eq!(again.peer_id(), PeerId::from(key.public()));
        assert_ne!(SecretKey::generate().public(), key.public());
    }

    #[test]
    fn the_public_half_is_ed25519s() {
        // RFC 8032, section 7.1, test 1.
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec,
            0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03,
            0x1c, 0xae, 0x7f, 0x60,
        ];
        assert_eq!(
            SecretKey::from_seed(seed).public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let key = SecretKey::from_seed([7; 32]);
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("SecretKey(of {})", key.public()));
        assert!(!shown.contains(&"07".repeat(4)));
    }
}
