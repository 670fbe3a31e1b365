//! `DATA/releases/P`: the folder of one product, its names and the order of its changes.
//!
//! | name | what |
//! | --- | --- |
//! | `V-<hash8>` | a complete release: only ever the new name of a finished tree |
//! | `.V-<hash8>.manifest` | its head and manifest, there before it is |
//! | `.V-<hash8>.staging` | a tree that is not finished, or was replaced |
//! | `.V-<hash8>.removed` | a release that is being removed |
//! | `current` | symlink to the release that runs |
//!
//! The rule: whatever the moment of a crash, `current` leads to a complete release, and what is
//! left over is known by its name and removed at the next start. Versions cannot begin with a dot.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context as _;
use storemesh_host::files;
use storemesh_protocol::content::{ReleaseHead, dir_name};
use tracing::warn;

use super::{
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

impl Product {
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
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        let removed = self.beside(name, REMOVED);
        tree::remove(&removed)?;
        fs::rename(path, &removed)?;
        tree::remove(&self.beside(name, MANIFEST))?;
        tree::remove(&removed)
    }

    /// What stands here, after removing what a crash left, what is incomplete or unknown, and
    /// all but the current release and the one before. Of what is current nothing is removed.
    pub(super) fn open(folder: PathBuf) -> anyhow::Result<Vec<Standing>> {
        let product = Self { folder };
        let describe = || format!("reading `{}`", product.folder.display());
        let current = product.current();
        let mut standing = Vec::new();
        for entry in fs::read_dir(&product.folder).with_context(describe)? {
            let path = entry.with_context(describe)?.path();
            let name = path.file_name().unwrap_or_default();
            if product.is_left_over(name) {
                tree::remove(&path).with_context(|| format!("removing `{}`", path.display()))?;
                continue;
            }
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if hidden || !fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                continue;
            }
            let is_current = current.as_ref() == Some(&path);
            match Standing::read(path.clone(), product.beside(name, MANIFEST)) {
                Ok(found) if found.complete || is_current => standing.push(found),
                Ok(_) => product.drop_at_start(&path, "files are missing"),
                Err(why) if is_current => {
                    warn!(release = %path.display(), "the running release is not known: {why:#}");
                }
                Err(why) => product.drop_at_start(&path, &format!("{why:#}")),
            }
        }
        // The last switched to comes first; the current one before all.
        standing.sort_by_key(|found| {
            let rank = current.as_ref() != Some(&found.tree);
            (rank, std::cmp::Reverse(product.kept_since(found)))
        });
        for older in standing.split_off(standing.len().min(2)) {
            product.drop_at_start(&older.tree, "two newer ones stand");
        }
        Ok(standing)
    }

    fn is_left_over(&self, name: &OsStr) -> bool {
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix('.')) else {
            return false;
        };
        match name.strip_suffix(MANIFEST) {
            Some(release) => !self.folder.join(release).is_dir(),
            None => [STAGING, REMOVED, tree::NEW].iter().any(|end| name.ends_with(end)),
        }
    }

    fn drop_at_start(&self, path: &Path, why: &str) {
        warn!(release = %path.display(), why, "removing a release");
        if let Err(error) = self.remove(path) {
            warn!(release = %path.display(), %error, "the release cannot be removed");
        }
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
