//! The chain root's word for a key of HQ's server.
//!
//! The root stays offline, so it signs, once in many months, a key that HQ's server may hold:
//! with the chain's name, an end, and the generation. The generation is raised whenever HQ was
//! restored from a backup, so that what the lost HQ said after the backup was made is told
//! from what the restored one says. A stolen online key is good until its end, or until the
//! root vouches for another in a higher generation.

use minicbor::{Decode, Encode};

use crate::{ChainId, Name, PublicKey, Statement, Timestamp};

/// The chain root's word: HQ signs with this key, in this generation, until then.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OnlineKey {
    #[n(0)]
    pub chain: ChainId,
    /// What people call the chain.
    #[n(1)]
    pub name: Name,
    #[n(2)]
    pub generation: u64,
    #[n(3)]
    pub key: PublicKey,
    #[n(4)]
    pub from: Timestamp,
    /// The first moment it is no longer valid.
    #[n(5)]
    pub until: Timestamp,
}

impl Statement for OnlineKey {
    const CONTEXT: &'static str = "storemesh/1 online key";
    /// A name, two keys and three numbers make 162; the rest is room for later fields.
    const MAX_BYTES: usize = 1024;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Signed,
        fixtures::{hex, name, online, root},
        signed::{decode_whole, encode_whole},
    };

    #[test]
    fn the_bytes_of_an_online_key_stay_as_they_are() {
        assert_eq!(
            hex(&encode_whole(&online())),
            concat!(
                "86",                                   // six fields
                "58208a88e3dd7409f195fd52db2d3cba5d72", // chain
                "ca6709bf1d94121bf3748801b40f6f5c",
                "6461636d65",                           // name
                "03",                                   // generation
                "58208139770ea87d175f56a35466c34c7ecc", // key
                "cb8d8a91b4ee37a25df60f5b8fc9b394",
                "1b000001a31335f400", // from
                "1b000001a4e7d8a800", // until
            )
        );
        let signed = encode_whole(&Signed::sign(&root(), &online()));
        assert_eq!(
            hex(&signed[signed.len() - 64..]),
            concat!(
                "222c3a6ecd5de9526f11d5ea7217ba44fc978c9bcefd87827d801734171c4192",
                "60cde4e4c411b50c607c57a8e915df95284f89444fca4cc789e85e5144c05e05",
            )
        );
    }

    proptest! {
        #[test]
        fn an_online_key_gives_itself_back(
            root: [u8; 32], key: [u8; 32], generation: u64, from: u64, until: u64,
            text in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        ) {
            let online = OnlineKey {
                chain: ChainId::from_bytes(root),
                name: name(&text),
                generation,
                key: PublicKey::from_bytes(key),
                from: Timestamp(from),
                until: Timestamp(until),
            };
            let wire = encode_whole(&online);
            prop_assert!(wire.len() <= 162);
            prop_assert_eq!(decode_whole::<OnlineKey>(&wire).unwrap(), online);
        }
    }
}
