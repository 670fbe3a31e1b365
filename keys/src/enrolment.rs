//! A terminal's request to be let into a store.
//!
//! Signed with the one-time secret of an invitation code, whose public half HQ kept: so HQ
//! knows which invitation is used, and the code itself never travels. The peer named here
//! must be the one that HQ is connected to; HQ compares, and answers with a certificate.
//!
//! Sent twice it does nothing twice: HQ answers the same peer with the same store, and anybody
//! else is told that the code is used up.

use minicbor::{Decode, Encode};

use crate::{ChainId, Name, PeerId, Statement};

/// This peer wants to be the terminal of this name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Enrolment {
    #[n(0)]
    pub chain: ChainId,
    #[n(1)]
    pub peer: PeerId,
    #[n(2)]
    pub name: Name,
}

impl Statement for Enrolment {
    const CONTEXT: &'static str = "storemesh/1 enrolment";
    /// A name and two keys make 135; the rest is room for later fields.
    const MAX_BYTES: usize = 1024;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        SecretKey, Signed, VerifyError,
        fixtures::{chain, hex, name, terminal},
        signed::{decode_whole, encode_whole},
    };

    fn enrolment() -> Enrolment {
        Enrolment { chain: chain(), peer: terminal().peer_id(), name: name("till-1") }
    }

    #[test]
    fn only_the_invitations_secret_can_ask() {
        let invitation = SecretKey::from_seed([6; 32]);
        let asked = Signed::sign(&invitation, &enrolment());
        assert_eq!(asked.verify(&invitation.public()), Ok(enrolment()));

        // The terminal's own key, without a code.
        let uninvited = Signed::sign(&terminal(), &enrolment());
        assert_eq!(uninvited.verify(&invitation.public()), Err(VerifyError::BadSignature));
    }

    #[test]
    fn the_bytes_of_an_enrolment_stay_as_they_are() {
        assert_eq!(
            hex(&encode_whole(&enrolment())),
            concat!(
                "83",                                   // three fields
                "58208a88e3dd7409f195fd52db2d3cba5d72", // chain
                "ca6709bf1d94121bf3748801b40f6f5c",
                "5820ed4928c628d1c2c6eae9033890599561", // peer
                "2959273a5c63f93636c14614ac8737d1",
                "6674696c6c2d31", // name
            )
        );
        let signed = encode_whole(&Signed::sign(&SecretKey::from_seed([6; 32]), &enrolment()));
        assert_eq!(
            hex(&signed[signed.len() - 64..]),
            concat!(
                "3b4605e5b9e5b35793876029f9fe397f52d8a67d7de682a038bdfb24f3ad5184",
                "fe1d4802de193f03db0aab1a43b7419245248f88b131dda1d4760e2c08180704",
            )
        );
    }

    proptest! {
        #[test]
        fn an_enrolment_gives_itself_back(
            chain: [u8; 32], peer: [u8; 32], text in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        ) {
            let enrolment = Enrolment {
                chain: ChainId::from_bytes(chain),
                peer: PeerId::from_bytes(peer),
                name: name(&text),
            };
            let wire = encode_whole(&enrolment);
            prop_assert!(wire.len() <= 135);
            prop_assert_eq!(decode_whole::<Enrolment>(&wire).unwrap(), enrolment);
        }
    }
}
