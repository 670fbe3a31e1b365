//! Where the symlinks of a release lead.
//!
//! The rule: whoever follows a symlink of a release, by whatever route, stays in the release's
//! folder. Looking at one symlink is not enough: `a/b/up -> ../..` stays inside, and so does, by
//! its letters, `a/b/up/../x`; together they lead out. So each is walked as the kernel would walk
//! it, through the other symlinks of the tree. A name that is not there counts as a folder: what
//! it may become, it stays inside too.
//!
//! A forged tree may make the walk long: one counts at most [`LINKS_FOLLOWED_MAX`] symlinks, all
//! together at most [`LINK_STEPS_MAX`] steps.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Entry, Kind, ManifestError, PATH_MAX, RelPath};

/// Linux takes no longer one.
pub const TARGET_MAX: usize = 4095;
/// Parts of paths that are walked for all symlinks of a release. Software has some ten thousand
/// symlinks of some ten parts.
pub const LINK_STEPS_MAX: usize = 4_000_000;
/// Linux gives up here.
const LINKS_FOLLOWED_MAX: usize = 40;

/// What is wrong with a symlink: it .. . Change or remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    #[error("has no target")]
    Empty,
    #[error("has a target of {0} bytes, at most {TARGET_MAX}")]
    TooLong(usize),
    #[error("has a target with a zero byte")]
    Zero,
    #[error("leads to an absolute path")]
    Absolute,
    #[error("leads out of the release")]
    LeadsOut,
    #[error("leads in a circle, or through more than {LINKS_FOLLOWED_MAX} others")]
    TooManyLinks,
    #[error("leads to a path of more than {PATH_MAX} bytes")]
    PathTooLong,
    #[error("is one too many: following all takes more than {LINK_STEPS_MAX} steps")]
    TooManySteps,
}

/// All symlinks of a release, by path.
pub(super) struct Links<'a> {
    targets: BTreeMap<&'a str, (&'a RelPath, &'a str)>,
    steps_left: usize,
}

impl<'a> Links<'a> {
    pub(super) fn of(entries: &'a [Entry]) -> Self {
        let links = entries.iter().filter_map(|Entry { path, kind }| match kind {
            Kind::Symlink { target } => Some((path.as_str(), (path, target.as_str()))),
            Kind::File { .. } | Kind::Folder { .. } => None,
        });
        Self { targets: links.collect(), steps_left: LINK_STEPS_MAX }
    }

    pub(super) fn check(mut self) -> Result<(), ManifestError> {
        let links: Vec<_> = self.targets.values().copied().collect();
        for (path, target) in links {
            let folder = path.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
            let walk = self.walk(folder, target);
            walk.map_err(|why| ManifestError::Link { path: path.clone(), why })?;
        }
        Ok(())
    }

    /// Goes from a folder, which itself is reached by no symlink, to where the target leads.
    fn walk(&mut self, folder: &str, target: &'a str) -> Result<(), LinkError> {
        let mut at = folder.to_owned();
        let mut followed = 0;
        // What is still to walk, the next last: the rests of the targets we are in.
        let mut rests = vec![parts(target)?];
        while let Some(rest) = rests.last_mut() {
            let Some(part) = rest.next() else {
                rests.pop();
                continue;
            };
            self.steps_left = self.steps_left.checked_sub(1).ok_or(LinkError::TooManySteps)?;
            match part {
                "" | "." => continue,
                ".." if at.is_empty() => return Err(LinkError::LeadsOut),
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                name => {
                    if !at.is_empty() {
                        at.push('/');
                    }
                    at.push_str(name);
                }
            }
            if let Some((_, target)) = self.targets.get(at.as_str()) {
                followed += 1;
                if followed > LINKS_FOLLOWED_MAX {
                    return Err(LinkError::TooManyLinks);
                }
                at.truncate(at.rfind('/').unwrap_or(0));
                rests.push(parts(target)?);
            } else if at.len() > PATH_MAX {
                return Err(LinkError::PathTooLong);
            }
        }
        Ok(())
    }
}

fn parts(target: &str) -> Result<std::str::Split<'_, char>, LinkError> {
    if target.is_empty() {
        return Err(LinkError::Empty);
    }
    if target.len() > TARGET_MAX {
        return Err(LinkError::TooLong(target.len()));
    }
    if target.contains('\0') {
        return Err(LinkError::Zero);
    }
    if target.starts_with('/') {
        return Err(LinkError::Absolute);
    }
    Ok(target.split('/'))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use crate::content::{
        Builder,
        samples::{name, noise, path},
    };

    /// The walk is ours, the truth is the kernel's: some thousand small trees of symlinks, each
    /// really made, and of those we accept none leads out.
    #[test]
    fn the_kernel_agrees_that_accepted_symlinks_stay_inside() {
        const FOLDERS: [&str; 3] = ["a", "a/b", "a/b/c"];
        const PLACES: [&str; 7] = ["l", "m", "a/l", "a/m", "a/b/l", "a/b/m", "a/b/c/l"];
        const PARTS: [&str; 8] = ["..", "..", "..", "a", "b", "c", "l", "m"];

        let outer = std::env::temp_dir().join(format!("storemesh-links-{}", std::process::id()));
        let (mut accepted, mut resolved) = (0, 0);
        for seed in 0..3_000 {
            let dice = noise(seed, 64);
            let links: Vec<_> = PLACES
                .iter()
                .zip(dice.chunks(7))
                .filter(|(_, dice)| dice[0] % 2 == 0)
                .map(|(at, dice)| {
                    let parts = dice[2..].iter().take(1 + dice[1] as usize % 5);
                    (*at, parts.map(|die| PARTS[*die as usize % 8]).collect::<Vec<_>>().join("/"))
                })
                .collect();
            let mut builder = Builder::new();
            for folder in FOLDERS {
                builder.folder(path(folder), 0o755);
            }
            for (at, target) in &links {
                builder.symlink(path(at), target);
            }
            if builder.finish(name("p"), name("v")).is_err() {
                continue;
            }
            accepted += 1;
            let inside = outer.join("x/y/z/release");
            fs::create_dir_all(inside.join("a/b/c")).unwrap();
            for (at, target) in &links {
                symlink(target, inside.join(at)).unwrap();
            }
            let root = fs::canonicalize(&inside).unwrap();
            for (at, target) in &links {
                let Ok(end) = fs::canonicalize(inside.join(at)) else { continue };
                resolved += 1;
                assert!(end.starts_with(&root), "seed {seed}: {at} -> {target} ends at {end:?}");
            }
            fs::remove_dir_all(&outer).unwrap();
        }
        assert!(accepted > 300 && resolved > 300, "{accepted} accepted, {resolved} resolved");
    }
}
