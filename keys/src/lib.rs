//! Who somebody is in a storemesh chain, and who vouches for it.
//!
//! A chain has one root key, kept offline. The root vouches for HQ's online keys
//! ([`OnlineKey`]), an online key vouches for whatever HQ says ([`HqSigned`]), and the first
//! thing HQ says is that a peer is a terminal of a store ([`Certificate`]). Whoever holds the
//! chain's id can check all of it without asking anybody.
//!
//! The rule: what came from outside is [`Signed`] or [`HqSigned`] and hides its content; only
//! `verify` hands it out. Machines and stores of state keep [`Verified`].
//!
//! The statements that HQ makes about releases and leases live in `protocol`, which implements
//! [`Statement`] for them. This crate has no clock and no network; it touches files only in
//! [`identity`] and [`root`], and randomness only where a key is made.

mod name;
mod timestamp;

mod peer_id;
mod public_key;
mod secret;

mod authored;
mod signed;

mod online_key;

mod hq;

mod certificate;
mod enrolment;
mod invitation;

pub mod identity;
mod key_file;
pub mod root;

#[cfg(test)]
mod fixtures;

pub use authored::Authored;
pub use certificate::{Certificate, Roles};
pub use enrolment::Enrolment;
pub use hq::{Expiry, HqSigned, HqSigner, Trust, Verified};
pub use invitation::{CodeError, InvitationCode};
pub use key_file::FileError;
pub use name::{Name, NameError};
pub use online_key::OnlineKey;
pub use peer_id::{PeerId, PeerIdError};
pub use public_key::{ChainId, PublicKey};
pub use secret::SecretKey;
pub use signed::{Signed, Statement, VerifyError};
pub use timestamp::Timestamp;
