//! What a terminal keeps of having joined: its certificate, the chain it trusts, where HQ is.

use minicbor::{Decode, Encode};
use storemesh_keys::{Certificate, ChainId, Expiry, HqSigned, Timestamp, Trust, Verified};

use super::LoadError;
use crate::{Rows, Save};

pub(super) const MEMBERSHIP: &str = "membership.1";

#[derive(Clone, Debug)]
pub struct Membership {
    /// What the invitation code pinned.
    pub chain: ChainId,
    pub certificate: Verified<Certificate>,
    /// HQ's addresses, from the code.
    pub hq: Vec<String>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Row {
    #[n(0)]
    chain: ChainId,
    #[n(1)]
    certificate: HqSigned<Certificate>,
    #[n(2)]
    hq: Vec<String>,
}

impl Membership {
    /// None when this folder has not joined.
    ///
    /// # Errors
    /// The row does not read, or no longer verifies.
    pub fn load(rows: &Rows) -> Result<Option<Self>, LoadError> {
        let Some(row) = rows.one::<Row>(MEMBERSHIP, b"")? else { return Ok(None) };
        let trust = Trust { chain: row.chain, generation_min: 0 };
        // Whether it has run out is judged where it is shown.
        let certificate = row.certificate.verify(&trust, Timestamp(0), Expiry::Ignored)?;
        Ok(Some(Self { chain: row.chain, certificate, hq: row.hq }))
    }

    pub fn save(&self) -> Save {
        let row = Row {
            chain: self.chain,
            certificate: self.certificate.signed().clone(),
            hq: self.hq.clone(),
        };
        Save::put(MEMBERSHIP, b"", &row)
    }

    pub fn trust(&self) -> Trust {
        Trust { chain: self.chain, generation_min: self.certificate.generation() }
    }
}
