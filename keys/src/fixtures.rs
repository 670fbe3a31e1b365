//! A chain for the tests of this crate: fixed keys, one HQ, one terminal.

use crate::{
    Certificate, ChainId, HqSigner, Name, OnlineKey, Roles, SecretKey, Signed, Timestamp, Trust,
};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
pub(crate) const DAY: std::time::Duration = std::time::Duration::from_hours(24);

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn root() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

pub(crate) fn chain() -> ChainId {
    ChainId::of_root(root().public())
}

pub(crate) fn trust() -> Trust {
    Trust { chain: chain(), generation_min: 3 }
}

pub(crate) fn hq_key() -> SecretKey {
    SecretKey::from_seed([2; 32])
}

pub(crate) fn terminal() -> SecretKey {
    SecretKey::from_seed([3; 32])
}

/// HQ's key for 90 days from a day ago.
pub(crate) fn online() -> OnlineKey {
    OnlineKey {
        chain: chain(),
        name: name("acme"),
        generation: 3,
        key: hq_key().public(),
        from: NOW.minus(DAY),
        until: NOW.plus(90 * DAY),
    }
}

pub(crate) fn signer() -> HqSigner {
    HqSigner::new(hq_key(), Signed::sign(&root(), &online()), &trust()).unwrap()
}

/// The terminal's certificate for a week from now.
pub(crate) fn certificate() -> Certificate {
    Certificate {
        chain: chain(),
        serial: 42,
        peer: terminal().peer_id(),
        door: None,
        name: name("till-1"),
        store: name("s1"),
        roles: Roles::TERMINAL,
        from: NOW,
        until: NOW.plus(7 * DAY),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
