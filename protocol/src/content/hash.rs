//! Names that are BLAKE3 hashes: 32 bytes on the wire, 64 hex digits for people.
//!
//! Each use is a type of its own, so that a chunk cannot be asked for by the name of a release.

use thiserror::Error;

/// The text is no hash; give 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a hash: expected 64 hex digits")]
pub struct NotAHash;

macro_rules! hash_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode,
        )]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }

        impl std::fmt::Debug for $name {
            /// The first digits are enough to follow one through a trace.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex()[..8])
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::content::NotAHash;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let hash = blake3::Hash::from_hex(text);
                hash.map(|hash| Self(*hash.as_bytes())).map_err(|_| crate::content::NotAHash)
            }
        }
    };
}

pub(crate) use hash_name;
