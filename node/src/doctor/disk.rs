//! Whether the disk has room for what is wanted, takes writes, and syncs them in time.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Finding, facts::Facts};
use crate::views::Release;

const CHECK: &str = "disk";
/// Each file of a release takes one; a release has some thousands at most.
const FILES_MIN: u64 = 10_000;
/// A disk that is slower makes every release wait for it: it is worn out, or busy.
const SYNC_SLOW: Duration = Duration::from_millis(100);
const SYNCS: usize = 5;
const SYNC_BYTES: usize = 4096;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if !facts.data.exists() {
        return Vec::new();
    }
    vec![room(facts), speed(&facts.data)]
}

fn room(facts: &Facts) -> Finding {
    let found = match rustix::fs::statvfs(&facts.data) {
        Ok(found) => found,
        Err(why) => return unreadable(&facts.data, &why.into()),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let releases = facts.node.iter().flat_map(|node| &node.status.releases);
    if let Some(finding) = releases.clone().find_map(|release| refused(&facts.data, release)) {
        return finding;
    }
    let lacking = |release: &Release| {
        if release.running == release.wanted {
            0
        } else {
            release.bytes_total.saturating_sub(release.bytes_have)
        }
    };
    let needed = releases.map(lacking).sum();
    // Some file systems do not count files, and say 0 of 0.
    let files = (found.f_files > 0).then_some(found.f_favail);
    judge(&facts.data, free, needed, facts.settings.disk.reserve_bytes, files)
}

/// The node has measured already, and stopped.
fn refused(data: &Path, release: &Release) -> Option<Finding> {
    let lacking = release.bytes_lacking?;
    let product = &release.product;
    if release.lacking_on.as_deref() == Some("quota") {
        let says = format!("{} of the quota lack for the wanted {product}", mib(lacking));
        return Some(Finding::fail(CHECK, says, "raise disk_quota_bytes in storemesh.toml"));
    }
    let says = format!("{} lack for the wanted {product}", mib(lacking));
    Some(Finding::fail(CHECK, says, make_room(data)))
}

fn make_room(data: &Path) -> String {
    let data = data.display();
    format!("storemesh --data {data} gc, and delete what is not storemesh's from that disk")
}

fn judge(data: &Path, free: u64, needed: u64, reserve: u64, files: Option<u64>) -> Finding {
    let (at, fix) = (data.display(), make_room(data));
    let says = format!("{} free for {at}", mib(free));
    if free < needed {
        let says = format!("{says}, {} lack for the wanted release", mib(needed - free));
        return Finding::fail(CHECK, says, fix);
    }
    if free - needed < reserve {
        let says =
            format!("{says}, less than the reserve of {} beyond what is wanted", mib(reserve));
        return Finding::warn(CHECK, says, fix);
    }
    if let Some(files) = files.filter(|files| *files < FILES_MIN) {
        let says = format!("{says}, but only {files} more files can be made on it");
        return Finding::warn(CHECK, says, fix);
    }
    let wanted = if needed == 0 { String::new() } else { format!(", {} wanted", mib(needed)) };
    Finding::ok(CHECK, format!("{says}{wanted}"))
}

fn speed(data: &Path) -> Finding {
    let took = match sync_times(data) {
        Ok(took) => took,
        Err(why) => return unreadable(data, &why),
    };
    let ms = took.as_micros() / 100;
    let says = format!("a sync takes {}.{} ms", ms / 10, ms % 10);
    if took > SYNC_SLOW {
        let fix = "find what else writes to that disk (iotop), or replace it";
        return Finding::warn(CHECK, format!("{says}: slow"), fix);
    }
    Finding::ok(CHECK, says)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds have no end")]
fn unreadable(data: &Path, why: &io::Error) -> Finding {
    let says = format!("`{}` takes no writes: {why}", data.display());
    let fix = match why.kind() {
        ErrorKind::ReadOnlyFilesystem => {
            "mount -o remount,rw, and look into dmesg for why it is not"
        }
        ErrorKind::StorageFull => "make room on that disk",
        ErrorKind::PermissionDenied => "run this as root, or as the user that owns the folder",
        _ => "look into dmesg: the disk may be failing",
    };
    Finding::fail(CHECK, says, fix)
}

/// The median of some small writes.
fn sync_times(data: &Path) -> io::Result<Duration> {
    let scratch = Scratch::make(data)?;
    let mut file = &scratch.file;
    let mut took = Vec::new();
    for _ in 0..SYNCS {
        file.write_all(&[0; SYNC_BYTES])?;
        let begun = Instant::now();
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took[SYNCS / 2])
}

/// A file that is gone when this is.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn make(data: &Path) -> io::Result<Self> {
        let path = data.join(format!(".doctor-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is empty enough to be left, if it must.
        _ = fs::remove_file(&self.path);
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};

    const MIB: u64 = 1 << 20;

    fn with(free: u64, needed: u64, files: Option<u64>) -> Finding {
        judge(Path::new("/data"), free, needed, 256 * MIB, files)
    }

    #[test]
    fn room_is_judged_by_what_is_wanted_and_the_reserve() {
        assert_eq!(with(1000 * MIB, 700 * MIB, None).outcome, Outcome::Ok);
        assert_eq!(with(1000 * MIB, 800 * MIB, None).outcome, Outcome::Warn);
        let full = with(300 * MIB, 1500 * MIB, None);
        assert_eq!(full.outcome, Outcome::Fail);
        assert_eq!(full.says, "300 MiB free for /data, 1200 MiB lack for the wanted release");
        assert!(full.fix.unwrap().starts_with("storemesh --data /data gc"));
    }

    #[test]
    fn what_the_node_has_measured_already_is_said_with_the_limit_that_is_in_the_way() {
        let release = |on: &str| -> Release {
            let text = format!(
                r#"{{ "product": "pos", "phase": "no_room", "chunks_have": 0, "chunks_total": 9,
                "bytes_have": 0, "bytes_total": 9, "bytes_from_hq": 0, "bytes_from_neighbours": 0,
                "bytes_local": 0, "bytes_lacking": 1048577, "lacking_on": "{on}" }}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let full = refused(Path::new("/data"), &release("disk")).unwrap();
        assert_eq!(full.says, "2 MiB lack for the wanted pos");
        assert!(full.fix.unwrap().contains("--data /data gc"));
        let quota = refused(Path::new("/data"), &release("quota")).unwrap();
        assert!(quota.fix.unwrap().contains("disk_quota_bytes"));
    }

    #[test]
    fn a_disk_that_can_hold_no_more_files_is_noticed() {
        assert_eq!(with(1000 * MIB, 0, Some(20)).outcome, Outcome::Warn);
        assert_eq!(with(1000 * MIB, 0, Some(20_000)).outcome, Outcome::Ok);
    }

    #[test]
    fn measuring_leaves_nothing_behind_and_a_folder_without_write_is_named() {
        let data = tempfile::tempdir().unwrap();
        assert!(sync_times(data.path()).is_ok());
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
        let finding = speed(&data.path().join("absent"));
        assert_eq!(finding.outcome, Outcome::Fail);
    }
}
