//! Which releases HQ holds, and which one of each product it wants everywhere.
//!
//! A release is added once all its bytes are held and verified; its product and version name that
//! content for good. Making one wanted is an entry of HQ's control feed: here it is checked that the release
//! stands, and what the feed says is kept in mind ([`crate::feeds::hq`] keeps it on disk).

use std::collections::BTreeMap;

use storemesh_keys::{Name, Timestamp};

use super::order::{Refusal, ReleaseRow};
use crate::{
    BadRow, Rows, Save,
    content::ReleaseHead,
    feeds::{Wanted, WantedRelease},
};

pub(super) const RELEASES: &str = "releases.1";
/// Former versions kept there what was wanted.
pub(super) const FORMER_WANTED: &str = "wanted.1";

#[derive(Debug)]
pub(super) struct Releases {
    held: BTreeMap<(Name, Name), ReleaseHead>,
    wanted: BTreeMap<Name, Wanted>,
}

impl Releases {
    pub(super) fn load(rows: &Rows) -> Result<Self, BadRow> {
        let mut releases = Self { held: BTreeMap::new(), wanted: BTreeMap::new() };
        for row in rows.read::<ReleaseHead>(RELEASES) {
            let (_, release) = row?;
            releases.held.insert((release.product.clone(), release.version.clone()), release);
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

    /// The release, to be said in the control feed.
    pub(super) fn start(
        &self,
        product: &Name,
        version: &Name,
        wall: Timestamp,
    ) -> Result<WantedRelease, Refusal> {
        let Some(release) = self.held.get(&(product.clone(), version.clone())) else {
            return Err(Refusal::NoRelease { product: product.clone(), version: version.clone() });
        };
        Ok(WantedRelease { release: release.clone(), at: wall })
    }

    /// The control feed says so.
    pub(super) fn is_wanted(&mut self, wanted: Wanted) {
        let known = self.wanted.get(wanted.product());
        if known.is_none_or(|known| known.order() < wanted.order()) {
            self.wanted.insert(wanted.product().clone(), wanted);
        }
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = &Wanted> {
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
