//! A disk that is really full: a small one of our own, in a mount namespace that ends with the test.

use std::{env, io, process::Command};

use super::*;
use crate::disk::{StageError, StoreError};

const INSIDE: &str = "STOREMESH_TEST_SMALL_DISK";

/// Runs the test that has this name again, with a disk of 8 MiB at `INSIDE`. Gives that folder
/// when this is the inner run.
fn small_disk(test: &str) -> Option<PathBuf> {
    if let Some(folder) = env::var_os(INSIDE) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=8m none \"$0\" || exit 77; exec \"$@\"";
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", mount])
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .args(["--exact", &format!("disk::tests::full::{test}"), "--nocapture"])
        .env(INSIDE, folder.path())
        .output();
    match ran {
        Ok(ran) if ran.status.success() => {}
        Ok(ran) if ran.status.code() != Some(77) && !denied(&ran.stderr) => {
            panic!("{}", String::from_utf8_lossy(&ran.stderr))
        }
        Ok(_) | Err(_) => {
            assert!(env::var_os("STOREMESH_TESTS_MUST_RUN").is_none(), "no small disk to be had");
            eprintln!("NOT RUN {test}: needs root, to mount a small disk");
        }
    }
    None
}

fn denied(stderr: &[u8]) -> bool {
    String::from_utf8_lossy(stderr).starts_with("unshare:")
}

/// Leaves so many bytes free.
fn leave(folder: &Path, bytes: usize) -> PathBuf {
    let ballast = folder.join("ballast");
    let free = usize::try_from(tree::free_bytes(folder).unwrap()).unwrap();
    fs::write(&ballast, vec![1; free - bytes]).unwrap();
    ballast
}

#[test]
fn a_chunk_that_finds_the_disk_full_leaves_nothing_and_goes_in_when_there_is_room() {
    let name = "a_chunk_that_finds_the_disk_full_leaves_nothing_and_goes_in_when_there_is_room";
    let Some(folder) = small_disk(name) else { return };
    let disk = Disk::open(&folder).unwrap();
    let release = software("1.0");
    let ballast = leave(&folder, 20_000);
    let (chunk, stored) = &release.chunks[0];
    let error = disk.store(chunk, stored).unwrap_err();
    let StoreError::Disk(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read_dir(folder.join("chunks")).unwrap().count(), 0);
    assert!(disk.serve(&chunk.id).is_none());
    fs::remove_file(ballast).unwrap();
    disk.store(chunk, stored).unwrap();
    assert_eq!(disk.serve(&chunk.id).unwrap(), *stored);
}

#[test]
fn a_download_waits_for_room_and_once_begun_always_has_it() {
    let name = "a_download_waits_for_room_and_once_begun_always_has_it";
    let Some(folder) = small_disk(name) else { return };
    let release = software("1.0");
    let disk = Disk::open(&folder).unwrap();
    for (piece, stored) in &release.pieces {
        disk.store(piece, stored).unwrap();
    }
    let ballast = leave(&folder, 1_000_000);
    for _ in 0..2 {
        let error = disk.stage(&release.head, release.manifest.clone()).unwrap_err();
        assert!(matches!(error, StageError::Full { .. }), "{error}");
    }
    fs::remove_file(ballast).unwrap();
    disk.stage(&release.head, release.manifest.clone()).unwrap();
    // Its room is taken; only what comes compressed wants more.
    leave(&folder, 0);
    for (chunk, stored) in &release.chunks {
        match disk.store(chunk, stored) {
            Ok(()) => assert_eq!(stored[0], 0),
            Err(error) => assert_eq!(stored[0], 1, "{error}"),
        }
    }
    fs::remove_file(folder.join("ballast")).unwrap();
    // Also after a kill: what was reserved is not asked for twice.
    drop(disk);
    let disk = Disk::open(&folder).unwrap();
    leave(&folder, 100_000);
    let have = disk.stage(&release.head, release.manifest.clone()).unwrap();
    assert_eq!(have.iter_missing().count(), release.compressed().len());
    for index in have.iter_missing() {
        let (chunk, stored) = &release.chunks[index as usize];
        disk.store(chunk, stored).unwrap();
    }
    disk.activate(&release.head).unwrap();
}

#[test]
fn what_was_given_up_goes_where_its_room_is_needed() {
    let name = "what_was_given_up_goes_where_its_room_is_needed";
    let Some(folder) = small_disk(name) else { return };
    let disk = Disk::open(&folder).unwrap();
    let big = |seed| Publisher::default().file("a", 0o644, &noise(seed, 5_000_000));
    let (one, two) = (big(1).publish("1.0"), big(2).publish("2.0"));
    for (piece, stored) in one.pieces.iter().chain(&two.pieces) {
        disk.store(piece, stored).unwrap();
    }
    disk.stage(&one.head, one.manifest.clone()).unwrap();
    let error = disk.stage(&two.head, two.manifest.clone()).unwrap_err();
    assert!(matches!(error, StageError::Full { .. }), "{error}");
    disk.abandon(&one.head);
    disk.stage(&two.head, two.manifest.clone()).unwrap();
}
