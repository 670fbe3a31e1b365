//! `DATA/releases/P`: the folder of one product, its names and the order of its changes.
//!
//! | name | what |
//! | --- | --- |
//! | `V-<hash8>` | a complete release: only ever the new name of a finished tree |
//! | `.V-<hash8>.manifest` | head and manifest of a release that stands or is staged |
//! | `.V-<hash8>.staging` | a tree that is not finished, or was replaced |
//! | `.V-<hash8>.removed` | a release that is being removed |
//! | `current` | symlink to the release that runs |
//!
//! The rule: whatever the moment of a crash, `current` leads to a complete release, and what is
//! left over is known by its name ([`Product::garbage`]) and removed at the next start, but for
//! staged trees, which may be gone on with. Versions cannot begin with a dot.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context as _;
use storemesh_host::files;
use storemesh_keys::Name;
use storemesh_protocol::content::{ReleaseHead, dir_name};
use tracing::warn;

use super::{
    garbage::{Garbage, Why},
    standing::{self, Standing},
    tree,
};

const CURRENT: &str = "current";
const MANIFEST: &str = ".manifest";
const STAGING: &str = ".staging";
const REMOVED: &str = ".removed";

#[derive(Clone, Debug)]
pub(super) struct Product {
    folder: PathBuf,
}

/// What was found in a product's folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) standing: Vec<Standing>,
    /// Staged trees that somebody may go on with.
    pub(super) left: Vec<Standing>,
}

impl Product {
    /// All that have a folder here.
    pub(super) fn all(releases: &Path) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(releases)? {
            let entry = entry?;
            let is_product = entry.file_name().to_str().is_some_and(|n| n.parse::<Name>().is_ok());
            if is_product && entry.file_type()?.is_dir() {
                all.push(Self { folder: entry.path() });
            }
        }
        Ok(all)
    }

    pub(super) fn of(releases: &Path, head: &ReleaseHead) -> Self {
        Self { folder: releases.join(head.product.as_str()) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn tree(&self, head: &ReleaseHead) -> PathBuf {
        self.folder.join(dir_name(head))
    }

    pub(super) fn kept(&self, head: &ReleaseHead) -> PathBuf {
        self.beside(dir_name(head).as_ref(), MANIFEST)
    }

    pub(super) fn staging(&self, head: &ReleaseHead) -> PathBuf {
        self.beside(dir_name(head).as_ref(), STAGING)
    }

    /// Makes the folder, for good.
    pub(super) fn create(&self) -> io::Result<()> {
        if self.folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        files::sync_folder_of(&self.folder)
    }

    /// The path of the release that `current` leads to.
    pub(super) fn current(&self) -> Option<PathBuf> {
        let target = fs::read_link(self.folder.join(CURRENT)).ok()?;
        Some(self.folder.join(target))
    }

    /// Keeps what a release is, before it stands and each time it is switched to: the files' times
    /// tell in which order that was.
    pub(super) fn keep(&self, head: &ReleaseHead, manifest: &[u8]) -> anyhow::Result<()> {
        files::replace(&self.kept(head), &standing::encode(head, manifest))
    }

    /// Gives a finished tree its name. What stood there, damaged, is removed.
    pub(super) fn stand(&self, head: &ReleaseHead) -> io::Result<()> {
        let staging = self.staging(head);
        tree::exchange(&staging, &self.tree(head))?;
        self.sync()?;
        if let Err(error) = tree::remove(&staging) {
            // It stands. What it has replaced is removed at the next start.
            warn!(tree = %staging.display(), %error, "a replaced tree cannot be removed");
        }
        Ok(())
    }

    /// From now on this release runs.
    pub(super) fn switch(&self, head: &ReleaseHead) -> io::Result<()> {
        let current = self.folder.join(CURRENT);
        let beside = self.beside(CURRENT.as_ref(), tree::NEW);
        tree::remove(&beside)?;
        symlink(dir_name(head), &beside)?;
        fs::rename(beside, current)?;
        self.sync()
    }

    /// Removes a release; one that is half removed no longer has its name.
    pub(super) fn remove(path: &Path) -> io::Result<()> {
        let product = Self { folder: path.parent().unwrap_or(Path::new("")).to_owned() };
        let name = path.file_name().unwrap_or_default();
        let removed = product.beside(name, REMOVED);
        tree::remove(&removed)?;
        fs::rename(path, &removed)?;
        // That of a download of the same release stays with it.
        if !product.beside(name, STAGING).exists() {
            tree::remove(&product.beside(name, MANIFEST))?;
        }
        tree::remove(&removed)
    }

    /// What stands and what is left here, after removing what a crash left, what is incomplete or
    /// unknown, and all but the current release and the one before. Of what is current nothing is
    /// removed, and no staged tree.
    pub(super) fn open(&self) -> anyhow::Result<Found> {
        let describe = || format!("reading `{}`", self.folder.display());
        let current = self.current();
        let mut found = Found::default();
        let mut keep = HashSet::new();
        for path in self.paths().with_context(describe)? {
            let name = path.file_name().unwrap_or_default();
            if let Some(release) = hidden(name).and_then(|name| name.strip_suffix(STAGING)) {
                let kept = self.beside(release.as_ref(), MANIFEST);
                if let Ok(left) = Standing::read(path.clone(), kept, release.as_ref()) {
                    found.left.push(left);
                }
                keep.insert(path);
            } else if is_release(&path) {
                let is_current = current.as_ref() == Some(&path);
                match Standing::read(path.clone(), self.beside(name, MANIFEST), name) {
                    Ok(release) if release.complete || is_current => found.standing.push(release),
                    Ok(_) => warn!(release = %path.display(), "files are missing"),
                    Err(why) => warn!(release = %path.display(), "not known: {why:#}"),
                }
            }
        }
        // The last switched to comes first; the current one before all.
        found.standing.sort_by_key(|release| {
            let rank = current.as_ref() != Some(&release.tree);
            (rank, std::cmp::Reverse(self.kept_since(release)))
        });
        found.standing.truncate(2);
        keep.extend(found.standing.iter().map(|release| release.tree.clone()));
        for garbage in self.garbage(&keep).with_context(describe)? {
            garbage.delete();
        }
        Ok(found)
    }

    /// What is here beside the trees to keep, what belongs to them, `current` and where it leads.
    /// Names that are not ours are nobody's garbage.
    pub(super) fn garbage(&self, keep: &HashSet<PathBuf>) -> io::Result<Vec<Garbage>> {
        let current = self.current();
        let keeps = |path: &PathBuf| keep.contains(path) || current.as_ref() == Some(path);
        let mut garbage = Vec::new();
        for path in self.paths()? {
            let name = path.file_name().unwrap_or_default();
            let why = if let Some(name) = hidden(name) {
                if let Some(release) = name.strip_suffix(MANIFEST) {
                    let staging = self.beside(release.as_ref(), STAGING);
                    let used = keeps(&self.folder.join(release)) || keeps(&staging);
                    (!used).then_some(Why::LeftOver)
                } else if name.ends_with(STAGING) {
                    (!keeps(&path)).then_some(Why::GivenUp)
                } else {
                    [REMOVED, tree::NEW]
                        .iter()
                        .any(|end| name.ends_with(end))
                        .then_some(Why::LeftOver)
                }
            } else {
                (is_release(&path) && !keeps(&path)).then_some(Why::OldRelease)
            };
            garbage.extend(why.map(|why| Garbage::new(path, why)));
        }
        Ok(garbage)
    }

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn kept_since(&self, found: &Standing) -> Option<SystemTime> {
        fs::metadata(self.kept(&found.head)).ok()?.modified().ok()
    }

    fn beside(&self, name: &OsStr, end: &str) -> PathBuf {
        let mut beside = OsStr::new(".").to_owned();
        beside.push(name);
        beside.push(end);
        self.folder.join(beside)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

/// The rest of a name that begins with a dot.
fn hidden(name: &OsStr) -> Option<&str> {
    name.to_str()?.strip_prefix('.')
}

fn is_release(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}
