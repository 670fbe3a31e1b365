//! A disk that is really full: a small one of our own, in a mount namespace that ends with the test.

use std::{env, process::Command};

use storemesh_protocol::terminal::DiskError;

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
    let disk = Disk::open(&folder, Limits::default()).unwrap();
    let release = software("1.0");
    let ballast = leave(&folder, 20_000);
    let (chunk, stored) = &release.chunks[0];
    let error = disk.store(chunk, stored).unwrap_err();
    assert!(matches!(error, StoreError::NoRoom), "{error}");
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
    let disk = Disk::open(&folder, Limits::default()).unwrap();
    for (piece, stored) in &release.pieces {
        disk.store(piece, stored).unwrap();
    }
    let ballast = leave(&folder, 1_000_000);
    let room = disk.measure(&release.head, Some(&release.manifest), None).unwrap();
    assert!(room.free <= 1_000_000 && room.needed > release.head.plain_bytes, "{room:?}");
    // Whoever does not ask meets the end of the disk, and leaves nothing behind.
    for _ in 0..2 {
        let error = disk.stage(&release.head, release.manifest.clone()).unwrap_err();
        assert!(matches!(error, StageError::NoRoom), "{error}");
    }
    fs::remove_file(ballast).unwrap();
    let room = disk.measure(&release.head, Some(&release.manifest), None).unwrap();
    let before = room.free;
    disk.stage(&release.head, release.manifest.clone()).unwrap();
    let took = before - tree::free_bytes(&folder).unwrap();
    assert!(took <= room.needed && room.needed < took + 100_000, "{took} of {room:?}");
    assert_eq!(disk.measure(&release.head, Some(&release.manifest), None).unwrap().needed, 0);

    // Its room is taken: all of it goes in, also what came compressed and finds no room in the cache.
    leave(&folder, 0);
    let (last, others) = release.chunks.split_last().unwrap();
    for (chunk, stored) in others {
        disk.store(chunk, stored).unwrap();
        assert!(disk.serve(&chunk.id).is_some());
    }
    // Also after a kill: what was reserved is not asked for twice, nor fetched again.
    drop(disk);
    let disk = Disk::open(&folder, Limits::default()).unwrap();
    assert_eq!(disk.measure(&release.head, Some(&release.manifest), None).unwrap().needed, 0);
    fs::remove_file(folder.join("ballast")).unwrap();
    leave(&folder, 20_000);
    let have = disk.stage(&release.head, release.manifest.clone()).unwrap();
    assert_eq!(have.iter_missing().count(), 1);
    disk.store(&last.0, &last.1).unwrap();
    disk.activate(&release.head).unwrap();
}

#[test]
fn a_switch_that_finds_the_disk_full_is_done_when_there_is_room() {
    let name = "a_switch_that_finds_the_disk_full_is_done_when_there_is_room";
    let Some(folder) = small_disk(name) else { return };
    let release = software("1.0");
    let disk = Disk::open(&folder, Limits::default()).unwrap();
    for (chunk, stored) in &release.pieces {
        disk.store(chunk, stored).unwrap();
    }
    disk.stage(&release.head, release.manifest.clone()).unwrap();
    for (chunk, stored) in &release.chunks {
        disk.store(chunk, stored).unwrap();
    }
    let ballast = leave(&folder, 0);
    assert_eq!(disk.activate(&release.head), Err(DiskError::NoRoom));
    fs::remove_file(ballast).unwrap();
    assert!(disk.stage(&release.head, release.manifest.clone()).unwrap().is_full());
    disk.activate(&release.head).unwrap();
}

#[test]
fn what_was_given_up_goes_where_its_room_is_needed() {
    let name = "what_was_given_up_goes_where_its_room_is_needed";
    let Some(folder) = small_disk(name) else { return };
    let disk = Disk::open(&folder, Limits::default()).unwrap();
    let big = |seed| Publisher::default().file("a", 0o644, &noise(seed, 5_000_000));
    let (one, two) = (big(1).publish("1.0"), big(2).publish("2.0"));
    for (piece, stored) in one.pieces.iter().chain(&two.pieces) {
        disk.store(piece, stored).unwrap();
    }
    disk.stage(&one.head, one.manifest.clone()).unwrap();
    assert_eq!(disk.measure(&two.head, Some(&two.manifest), None).unwrap().garbage, 0);
    disk.abandon(&one.head);
    let room = disk.measure(&two.head, Some(&two.manifest), None).unwrap();
    assert!(room.free < room.needed && room.needed < room.free + room.garbage, "{room:?}");
    disk.sweep();
    disk.stage(&two.head, two.manifest.clone()).unwrap();
}
