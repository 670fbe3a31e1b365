//! What is signed, or says who somebody is.

use bech32::{Bech32m, Hrp};
use storemesh_keys::{
    Certificate, Expiry, HqSigned, InvitationCode, PeerId, SecretKey, Statement, Timestamp,
};
use storemesh_protocol::{Lease, content::ReleaseHead};
use storemesh_tests::fuzz::Target;

use crate::{
    MEMORY,
    chain::{NOW, certificate, chain, lease, release, signed_by_hq, trust},
};

/// What a statement's payload may take, read: lists of addresses or of pieces.
const TIMES: usize = 32;

fn code() -> InvitationCode {
    let addresses = vec!["hq.acme.example:7400".to_owned(), "[2001:db8::1]:7400".to_owned()];
    InvitationCode::new(addresses, chain(), SecretKey::from_seed([9; 32])).unwrap()
}

/// The fixed statements' own bytes.
fn payload<T: minicbor::Encode<()>>(statement: &T) -> Vec<u8> {
    minicbor::to_vec(statement).unwrap()
}

/// As HQ would send it after a break-in: rightly signed.
fn judged<T>(input: &[u8]) -> String
where
    T: Statement + Clone + PartialEq + std::fmt::Debug,
{
    let bytes = signed_by_hq::<T>(input);
    let signed: HqSigned<T> = match minicbor::decode(&bytes) {
        Ok(signed) => signed,
        Err(why) => {
            assert!(input.len() > T::MAX_BYTES, "{why}");
            return "too long".to_owned();
        }
    };
    match signed.verify(&trust(), NOW, Expiry::Enforced) {
        Ok(verified) => {
            let value: &T = &verified;
            let again: T = minicbor::decode(&payload(value)).unwrap();
            assert_eq!(again, *value);
            "verified".to_owned()
        }
        Err(why) => why.to_string(),
    }
}

fn try_out(name: &'static str, seeds: Vec<Vec<u8>>, run: fn(&[u8]) -> String) {
    let memory_max = |bytes: usize| TIMES * bytes.min(64 << 10);
    Target { name, seeds, memory_max, mutations: 1500, memory: &MEMORY, run }.try_out();
}

#[test]
fn a_certificate_that_hq_signed() {
    let certificate: &Certificate = &certificate(4);
    let mut ended = certificate.clone();
    ended.until = Timestamp(5);
    try_out("certificate", vec![payload(certificate), payload(&ended)], judged::<Certificate>);
}

#[test]
fn a_lease_that_hq_signed() {
    let lease: &Lease = &lease(3, 4);
    try_out("lease", vec![payload(lease)], judged::<Lease>);
}

#[test]
fn a_signed_thing_that_nobody_may_have_signed() {
    let seeds = vec![payload(lease(1, 4).signed()), payload(certificate(4).signed())];
    try_out("signed", seeds, |input| {
        let read = |why: minicbor::decode::Error| why.to_string();
        let lease = minicbor::decode::<HqSigned<Lease>>(input).map_err(read);
        let certificate = minicbor::decode::<HqSigned<Certificate>>(input).map_err(read);
        let lease = lease.map(|it| it.verify(&trust(), NOW, Expiry::Enforced).map(|_| ()));
        let certificate =
            certificate.map(|it| it.verify(&trust(), NOW, Expiry::Enforced).map(|_| ()));
        format!("{lease:?} {certificate:?}")
    });
}

#[test]
fn the_head_of_a_release() {
    let (head, _) = release("1");
    try_out("release_head", vec![payload(&head)], |input| {
        match minicbor::decode::<ReleaseHead>(input) {
            Ok(head) => {
                let again: ReleaseHead = minicbor::decode(&payload(&head)).unwrap();
                assert_eq!(again, head);
                format!("read {:?}", head.read_manifest(&[input.to_vec()]).err())
            }
            Err(why) => format!("{why} {:?}", std::error::Error::source(&why)),
        }
    });
}

#[test]
fn an_invitation_code_as_it_is_typed() {
    let text = code().to_text().as_bytes().to_vec();
    try_out("invitation", vec![text.to_ascii_uppercase(), text], |input| {
        match String::from_utf8_lossy(input).parse::<InvitationCode>() {
            Ok(code) => {
                let again: InvitationCode = code.to_text().parse().unwrap();
                assert_eq!(again.addresses(), code.addresses());
                "a code".to_owned()
            }
            Err(why) => why.to_string(),
        }
    });
}

/// With a checksum that is right: who makes a code up can do that too.
#[test]
fn an_invitation_code_that_somebody_made_up() {
    let text = code().to_text();
    let (_, payload) = bech32::decode(&text).unwrap();
    try_out("invitation_payload", vec![payload], |input| {
        let prefix = Hrp::parse("storemesh").unwrap();
        let Ok(text) = bech32::encode::<Bech32m>(prefix, input) else {
            return "too long".to_owned();
        };
        match text.parse::<InvitationCode>() {
            Ok(code) => {
                let again: InvitationCode = code.to_text().parse().unwrap();
                assert_eq!(again.addresses(), code.addresses());
                assert_eq!(again.chain(), code.chain());
                "a code".to_owned()
            }
            Err(why) => why.to_string(),
        }
    });
}

#[test]
fn a_peer_id_as_text() {
    let text = crate::chain::peer(4).to_string().into_bytes();
    try_out("peer_id", vec![text], |input| {
        match String::from_utf8_lossy(input).parse::<PeerId>() {
            Ok(peer) => {
                assert_eq!(peer.to_string().parse(), Ok(peer));
                "a peer".to_owned()
            }
            Err(why) => why.to_string(),
        }
    });
}
