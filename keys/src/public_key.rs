//! Public keys that are not a peer's, and the one that names a chain.
//!
//! A [`PublicKey`] is 32 bytes of ed25519, not yet known to be a point of the curve: a signature
//! under a key that is none simply never verifies, so nothing needs to be refused earlier.
//! [`ChainId`] is the public key of the chain root; invitation codes carry it and every
//! terminal pins it. Peers have a text form of their own, in [`crate::PeerId`].

use std::fmt;

use minicbor::{Decode, Encode};

/// An ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct PublicKey(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

/// Which chain: the public key of its root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ChainId(#[n(0)] PublicKey);

impl PublicKey {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl ChainId {
    /// The chain whose root has this public key.
    pub const fn of_root(root: PublicKey) -> Self {
        Self(root)
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(PublicKey::from_bytes(bytes))
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// What the chain root's signatures are checked with.
    pub const fn root(&self) -> &PublicKey {
        &self.0
    }
}

/// Lower-case hex.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Lower-case hex.
impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hex_in_text_and_plain_bytes_on_the_wire() {
        let key = PublicKey::from_bytes([0xa5; 32]);
        assert_eq!(key.to_string(), "a5".repeat(32));
        assert_eq!(ChainId::of_root(key).to_string(), "a5".repeat(32));

        let wire = minicbor::to_vec(key).unwrap();
        assert_eq!(wire[..2], [0x58, 32]);
        assert_eq!(minicbor::to_vec(ChainId::of_root(key)).unwrap(), wire);
        assert_eq!(minicbor::decode::<PublicKey>(&wire).unwrap(), key);
    }

    #[test]
    fn a_key_of_another_length_is_not_read() {
        for length in [0, 31, 33, 64] {
            let wire = minicbor::to_vec(minicbor::bytes::ByteVec::from(vec![1; length])).unwrap();
            assert!(minicbor::decode::<PublicKey>(&wire).is_err(), "{length} bytes");
            assert!(minicbor::decode::<ChainId>(&wire).is_err(), "{length} bytes");
        }
    }
}
