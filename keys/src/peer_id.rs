//! Who a node is to its neighbours.
//!
//! A terminal's identity is its ed25519 public key. In text it looks like every libp2p peer id:
//! base58 of the key wrapped as libp2p wraps it, which is why all of them begin with `12D3KooW`.
//! On the wire and on disk it is the bare 32 bytes. The order of two ids, which decides who
//! dials whom, is the order of these bytes.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::PublicKey;

/// What libp2p puts before an ed25519 key: an identity multihash (00) of 36 bytes (24) holding
/// the protobuf "key type 1, 32 bytes of data".
const WRAPPING: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
const WRAPPED: usize = WRAPPING.len() + 32;
/// Base58 makes 52 letters of a wrapped key. Longer text is refused unread, since decoding
/// base58 takes time with the square of the length.
const TEXT_MAX: usize = 64;

/// A node's identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct PeerId(#[n(0)] PublicKey);

/// The text names no peer; ask for it again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a peer id: one is 52 letters and digits that begin with `12D3KooW`")]
pub struct PeerIdError;

impl PeerId {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(PublicKey::from_bytes(bytes))
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// What the peer's signatures are checked with.
    pub const fn public(&self) -> &PublicKey {
        &self.0
    }
}

impl From<PublicKey> for PeerId {
    fn from(key: PublicKey) -> Self {
        Self(key)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut wrapped = [0; WRAPPED];
        wrapped[..WRAPPING.len()].copy_from_slice(&WRAPPING);
        wrapped[WRAPPING.len()..].copy_from_slice(self.as_bytes());
        f.pad(&bs58::encode(wrapped).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        if text.len() > TEXT_MAX {
            return Err(PeerIdError);
        }
        let wrapped = bs58::decode(text).into_vec().map_err(|_| PeerIdError)?;
        let key = wrapped.strip_prefix(&WRAPPING).ok_or(PeerIdError)?;
        Ok(Self::from_bytes(key.try_into().map_err(|_| PeerIdError)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SecretKey;

    #[test]
    fn the_text_is_the_one_that_libp2p_prints() {
        // The key is the one of the test vectors in libp2p's specification of peer ids.
        let key = [
            0x1e, 0xd1, 0xe8, 0xfa, 0xe2, 0xc4, 0xa1, 0x44, 0xb8, 0xbe, 0x8f, 0xd4, 0xb4, 0x7b,
            0xf3, 0xd3, 0xb3, 0x4b, 0x87, 0x1c, 0x3c, 0xac, 0xf6, 0x01, 0x0f, 0x0e, 0x42, 0xd4,
            0x74, 0xfc, 0xe2, 0x7e,
        ];
        let text = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
        let parsed = text.parse::<PeerId>();
        assert_eq!(PeerId::from_bytes(key).to_string(), text);
        assert_eq!(parsed, Ok(PeerId::from_bytes(key)));
    }

    #[test]
    fn text_that_is_no_peer_id_is_refused() {
        let good = SecretKey::from_seed([1; 32]).peer_id().to_string();
        let cut = &good[..good.len() - 1];
        // A peer id of an RSA key, an empty text, letters base58 does not have, endless text.
        let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
        for text in [cut, rsa, "", "12D3KooW0OIl", &"1".repeat(10_000)] {
            assert_eq!(text.parse::<PeerId>(), Err(PeerIdError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_wire_give_the_same_peer_back(bytes: [u8; 32]) {
            let peer = PeerId::from_bytes(bytes);
            prop_assert!(peer.to_string().starts_with("12D3KooW"));
            prop_assert_eq!(peer.to_string().parse::<PeerId>(), Ok(peer));
            let wire = minicbor::to_vec(peer).unwrap();
            prop_assert_eq!(wire.len(), 34);
            prop_assert_eq!(minicbor::decode::<PeerId>(&wire).unwrap(), peer);
        }
    }
}
