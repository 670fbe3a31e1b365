//! Whether two directories hold the same, byte for byte: kinds, names, permission bits, contents.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Folder { mode: u32 },
    File { mode: u32, bytes: u64 },
    Symlink { target: PathBuf },
    Other,
}

/// Says in words the first thing that differs.
pub fn difference(published: &Path, arrived: &Path) -> Result<Option<String>> {
    let (wanted, found) = (walk(published)?, walk(arrived)?);
    if let Some(path) = wanted.keys().find(|path| !found.contains_key(*path)) {
        return Ok(Some(format!("`{}` is missing", path.display())));
    }
    for (path, found) in &found {
        let Some(wanted) = wanted.get(path) else {
            return Ok(Some(format!("`{}` was never published", path.display())));
        };
        if wanted != found {
            return Ok(Some(format!("`{}` is {found:?} and should be {wanted:?}", path.display())));
        }
        let is_file = matches!(wanted, Kind::File { .. });
        if is_file && !same_bytes(&published.join(path), &arrived.join(path))? {
            return Ok(Some(format!("`{}` has other bytes", path.display())));
        }
    }
    Ok(None)
}

/// Everything below the folder, by its path from there.
fn walk(top: &Path) -> Result<BTreeMap<PathBuf, Kind>> {
    let mut entries = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let reading = || format!("reading `{}`", top.join(&folder).display());
        for entry in fs::read_dir(top.join(&folder)).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let path = folder.join(entry.file_name());
            let metadata = entry.metadata().with_context(reading)?;
            let mode = metadata.permissions().mode() & 0o7777;
            let kind = if metadata.is_dir() {
                folders.push(path.clone());
                Kind::Folder { mode }
            } else if metadata.is_file() {
                Kind::File { mode, bytes: metadata.len() }
            } else if metadata.is_symlink() {
                Kind::Symlink { target: fs::read_link(entry.path()).with_context(reading)? }
            } else {
                Kind::Other
            };
            entries.insert(path, kind);
        }
    }
    Ok(entries)
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool> {
    let open = |path: &Path| {
        let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
        anyhow::Ok(BufReader::with_capacity(1 << 20, file).bytes())
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        match (one.next().transpose()?, other.next().transpose()?) {
            (None, None) => return Ok(true),
            (one, other) if one == other => {}
            _ => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::symlink};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let top = tree.path();
        fs::create_dir_all(top.join("bin")).unwrap();
        fs::create_dir_all(top.join("empty")).unwrap();
        fs::write(top.join("bin/pos"), "program").unwrap();
        fs::set_permissions(top.join("bin/pos"), Permissions::from_mode(0o755)).unwrap();
        symlink("bin/pos", top.join("pos")).unwrap();
        tree
    }

    #[test]
    fn equal_trees_have_no_difference() {
        assert_eq!(difference(tree().path(), tree().path()).unwrap(), None);
    }

    #[test]
    fn every_difference_is_found_and_named() {
        type Spoil = fn(&Path);
        let spoilers: [(Spoil, &str); 7] = [
            (|top| fs::write(top.join("bin/pos"), "progrAm").unwrap(), "`bin/pos` has other bytes"),
            (|top| fs::write(top.join("bin/pos"), "longer program").unwrap(), "`bin/pos` is File"),
            (
                |top| {
                    let mode = Permissions::from_mode(0o700);
                    fs::set_permissions(top.join("bin/pos"), mode).unwrap();
                },
                "`bin/pos` is File",
            ),
            (|top| fs::remove_dir(top.join("empty")).unwrap(), "`empty` is missing"),
            (|top| fs::write(top.join("new"), "").unwrap(), "`new` was never published"),
            (
                |top| {
                    fs::remove_file(top.join("pos")).unwrap();
                    symlink("bin/other", top.join("pos")).unwrap();
                },
                "`pos` is Symlink",
            ),
            (
                |top| {
                    fs::remove_file(top.join("pos")).unwrap();
                    fs::copy(top.join("bin/pos"), top.join("pos")).unwrap();
                },
                "`pos` is File",
            ),
        ];
        for (spoil, words) in spoilers {
            let (published, arrived) = (tree(), tree());
            spoil(arrived.path());
            let found = difference(published.path(), arrived.path()).unwrap().unwrap();
            assert!(found.starts_with(words), "{found}");
        }
    }
}
