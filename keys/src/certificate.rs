//! HQ's word that a peer is a terminal of a store.
//!
//! HQ signs a [`Certificate`] when a terminal enrols. It is the first thing two nodes show each
//! other: who has none of this chain and store is not spoken to. It lives for days; checking
//! it checks both its own end and that of the online key that signed it.
//!
//! Whether the peer on the other side of a connection is the one named here is for the caller
//! to compare, who knows the connection.

use std::{fmt, ops::BitOr};

use minicbor::{Decode, Encode};

use crate::{
    ChainId, Expiry, Name, PeerId, PublicKey, Statement, Timestamp, Trust, VerifyError,
    hq::check_window,
};

/// This peer is this terminal of this store, with these roles, until then.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Certificate {
    #[n(0)]
    pub chain: ChainId,
    /// HQ counts its certificates, so that one can be named.
    #[n(1)]
    pub serial: u64,
    #[n(2)]
    pub peer: PeerId,
    /// The key that this terminal's door speaks with.
    #[n(3)]
    pub door: Option<PublicKey>,
    /// What people call the terminal.
    #[n(4)]
    pub name: Name,
    #[n(5)]
    pub store: Name,
    #[n(6)]
    pub roles: Roles,
    #[n(7)]
    pub from: Timestamp,
    /// The first moment it is no longer valid.
    #[n(8)]
    pub until: Timestamp,
}

impl Statement for Certificate {
    const CONTEXT: &'static str = "storemesh/1 certificate";
    /// Two names, three keys and five numbers make 290; the rest is room for later fields.
    const MAX_BYTES: usize = 1024;

    fn check(&self, trust: &Trust, at: Timestamp, expiry: Expiry) -> Result<(), VerifyError> {
        if self.chain != trust.chain {
            return Err(VerifyError::WrongChain { found: self.chain, ours: trust.chain });
        }
        check_window(self.from, self.until, at, expiry)
    }
}

/// What a certified peer may do. Bits of a later version are kept and mean nothing here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Roles(#[n(0)] u32);

impl Roles {
    pub const NONE: Self = Self(0);
    /// A terminal of the store: takes part in the mesh and may be its gateway.
    pub const TERMINAL: Self = Self(1);

    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u32 {
        self.0
    }

    pub const fn contains(self, roles: Self) -> bool {
        self.0 & roles.0 == roles.0
    }
}

impl BitOr for Roles {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({:#b})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Signed,
        fixtures::{DAY, NOW, certificate, chain, hex, hq_key, name, signer, trust},
        signed::{decode_whole, encode_whole},
    };

    #[test]
    fn a_certificate_counts_from_its_first_moment_to_before_its_last() {
        let said = signer().sign(&certificate());
        let at = |at, expiry| said.signed().verify(&trust(), at, expiry).err();

        let early = NOW.minus(DAY);
        let why = VerifyError::NotYetValid { from: NOW, at: early };
        assert_eq!(at(early, Expiry::Enforced), Some(why));
        assert_eq!(at(NOW, Expiry::Enforced), None);
        let late = NOW.plus(7 * DAY);
        assert_eq!(at(late.minus(DAY), Expiry::Enforced), None);
        assert_eq!(
            at(late, Expiry::Enforced),
            Some(VerifyError::Expired { until: late, at: late })
        );
        assert_eq!(at(early, Expiry::Ignored), None);
        assert_eq!(at(late, Expiry::Ignored), None);
    }

    #[test]
    fn a_certificate_that_names_another_chain_is_not_ours() {
        let other = ChainId::from_bytes([5; 32]);
        let said = signer().sign(&Certificate { chain: other, ..certificate() });
        let why = said.signed().verify(&trust(), NOW, Expiry::Ignored).unwrap_err();
        assert_eq!(why, VerifyError::WrongChain { found: other, ours: chain() });
    }

    #[test]
    fn the_bytes_of_a_certificate_stay_as_they_are() {
        let plain = certificate();
        assert_eq!(
            hex(&encode_whole(&plain)),
            concat!(
                "89",                                   // nine fields
                "58208a88e3dd7409f195fd52db2d3cba5d72", // chain
                "ca6709bf1d94121bf3748801b40f6f5c",
                "182a",                                 // serial
                "5820ed4928c628d1c2c6eae9033890599561", // peer
                "2959273a5c63f93636c14614ac8737d1",
                "f6",                 // no door
                "6674696c6c2d31",     // name
                "627331",             // store
                "01",                 // roles
                "1b000001a3185c5000", // from
                "1b000001a33c68d400", // until
            )
        );
        let signed = encode_whole(&Signed::sign(&hq_key(), &plain));
        assert_eq!(
            hex(&signed[signed.len() - 64..]),
            concat!(
                "8d0972db46b465dbd668347bd43424ae5f0deba50f2fdafd04c56fec3bb67c14",
                "faf23db358fca42f42b5511f91bf39169d889255e288b173815ee1b0f20bf30a",
            )
        );

        let door = Certificate { door: Some(PublicKey::from_bytes([4; 32])), ..plain };
        assert!(hex(&encode_whole(&door)).contains(&format!("5820{}", "04".repeat(32))));
    }

    #[test]
    fn roles_of_a_later_version_are_kept() {
        let later = Roles::TERMINAL | Roles::from_bits(1 << 31);
        let wire = encode_whole(&later);
        assert_eq!(decode_whole::<Roles>(&wire).unwrap(), later);
        assert!(later.contains(Roles::TERMINAL));
        assert!(!Roles::NONE.contains(Roles::TERMINAL));
        assert_eq!(later.bits(), 0x8000_0001);
    }

    proptest! {
        #[test]
        fn a_certificate_gives_itself_back(
            keys: [[u8; 32]; 3], with_door: bool, serial: u64, roles: u32, from: u64, until: u64,
            till in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}", store in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        ) {
            let certificate = Certificate {
                chain: ChainId::from_bytes(keys[0]),
                serial,
                peer: PeerId::from_bytes(keys[1]),
                door: with_door.then_some(PublicKey::from_bytes(keys[2])),
                name: name(&till),
                store: name(&store),
                roles: Roles::from_bits(roles),
                from: Timestamp(from),
                until: Timestamp(until),
            };
            let wire = encode_whole(&certificate);
            prop_assert!(wire.len() <= 290);
            prop_assert_eq!(decode_whole::<Certificate>(&wire).unwrap(), certificate);
        }
    }
}
