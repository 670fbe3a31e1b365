//! Whether the data folder is this terminal's alone.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use super::{Finding, facts::Facts};
use crate::{membership, run};

const CHECK: &str = "folder";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if !facts.data.exists() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    findings.extend(private(&facts.data, 0o700));
    for file in [membership::KEY, run::TOKEN_FILE] {
        findings.extend(private(&facts.data.join(file), 0o600));
    }
    findings.extend(owned(&facts.data));
    if findings.is_empty() {
        let says = format!("`{}` can be read by its owner alone", facts.data.display());
        findings.push(Finding::ok(CHECK, says));
    }
    findings
}

/// What is not there yet is made with the right permissions.
fn private(path: &Path, should_be: u32) -> Option<Finding> {
    let found = fs::metadata(path).ok()?;
    let mode = found.permissions().mode() & 0o777;
    if mode & !should_be == 0 {
        return None;
    }
    let path = path.display();
    let says = format!("`{path}` can be read by others (mode {mode:03o})");
    Some(Finding::fail(CHECK, says, format!("chmod {should_be:o} {path}")))
}

/// A key that belongs to another user than the folder was once copied here, or root ran something.
fn owned(data: &Path) -> Option<Finding> {
    let folder = fs::metadata(data).ok()?;
    let key = fs::metadata(data.join(membership::KEY)).ok()?;
    if folder.uid() == key.uid() {
        return None;
    }
    let says = format!(
        "`{}` belongs to user {}, the key in it to user {}",
        data.display(),
        folder.uid(),
        key.uid()
    );
    let fix = format!("chown -R --reference={0} {0}", data.display());
    Some(Finding::fail(CHECK, says, fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_read_fails_with_the_command_that_mends_it() {
        let outer = tempfile::tempdir().unwrap();
        let key = outer.path().join("identity.key");
        fs::write(&key, "").unwrap();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            let finding = private(&key, 0o600);
            assert_eq!(finding.is_none(), good, "{mode:o}: {finding:?}");
            if let Some(finding) = finding {
                let fix = finding.fix.unwrap();
                assert_eq!(fix, format!("chmod 600 {}", key.display()));
            }
        }
        assert!(private(&outer.path().join("absent"), 0o600).is_none());
    }
}
