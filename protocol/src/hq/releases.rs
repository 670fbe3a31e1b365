//! Which releases HQ holds, and which one of each product it wants everywhere.
//!
//! A release is added once all its bytes are held and verified; its product and version name that
//! content for good. Starting it makes it wanted: a signed statement with a number of its own,
//! saved before any gateway hears of it.

use std::collections::BTreeMap;

use storemesh_keys::{Expiry, HqSigned, HqSigner, Name, Timestamp, Trust, Verified};

use super::order::{Refusal, ReleaseRow};
use crate::{BadRow, Rows, Save, Wanted, content::ReleaseHead};

pub(super) const RELEASES: &str = "releases.1";
pub(super) const WANTED: &str = "wanted.1";

#[derive(Debug)]
pub(super) struct Releases {
    held: BTreeMap<(Name, Name), ReleaseHead>,
    wanted: BTreeMap<Name, Verified<Wanted>>,
}

impl Releases {
    pub(super) fn load(rows: &Rows, trust: &Trust) -> Result<Self, BadRow> {
        let mut releases = Self { held: BTreeMap::new(), wanted: BTreeMap::new() };
        for row in rows.read::<ReleaseHead>(RELEASES) {
            let (_, release) = row?;
            releases.held.insert((release.product.clone(), release.version.clone()), release);
        }
        for row in rows.read::<HqSigned<Wanted>>(WANTED) {
            let (_, signed) = row?;
            let why = |why| BadRow { table: WANTED.to_owned(), why: format!("{why}") };
            let wanted = signed.verify(trust, Timestamp(0), Expiry::Ignored).map_err(why)?;
            releases.wanted.insert(wanted.product().clone(), wanted);
        }
        Ok(releases)
    }

    /// The save is none when the very same release stood before.
    pub(super) fn add(&mut self, release: ReleaseHead) -> Result<Option<Save>, Refusal> {
        let name = (release.product.clone(), release.version.clone());
        match self.held.get(&name) {
            Some(held) if held.id == release.id => Ok(None),
            Some(_) => {
                let (product, version) = name;
                Err(Refusal::OtherContent { product, version })
            }
            None => {
                let key = format!("{}/{}", name.0, name.1);
                let save = Save::put(RELEASES, key.as_bytes(), &release);
                self.held.insert(name, release);
                Ok(Some(save))
            }
        }
    }

    pub(super) fn start(
        &mut self,
        signer: &HqSigner,
        product: &Name,
        version: &Name,
        wall: Timestamp,
    ) -> Result<(Save, Verified<Wanted>), Refusal> {
        let Some(release) = self.held.get(&(product.clone(), version.clone())) else {
            return Err(Refusal::NoRelease { product: product.clone(), version: version.clone() });
        };
        let number = self.wanted.values().map(|wanted| wanted.number).max().unwrap_or_default() + 1;
        let wanted = signer.sign(&Wanted {
            chain: signer.described().chain,
            generation: signer.described().generation,
            number,
            release: release.clone(),
            at: wall,
        });
        let save = Save::put(WANTED, product.as_ref().as_bytes(), wanted.signed());
        self.wanted.insert(product.clone(), wanted.clone());
        Ok((save, wanted))
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = &Verified<Wanted>> {
        self.wanted.values()
    }

    pub(super) fn rows(&self) -> Vec<ReleaseRow> {
        let row = |release: &ReleaseHead| ReleaseRow {
            wanted: self.wanted.get(&release.product).is_some_and(|w| w.release.id == release.id),
            release: release.clone(),
        };
        self.held.values().map(row).collect()
    }
}
