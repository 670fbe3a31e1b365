use std::{os::unix::fs::MetadataExt as _, thread};

use storemesh_protocol::content::{ChunkId, unpack};

use super::*;
use crate::disk::StoreError;

#[test]
fn a_release_arrives_chunk_by_chunk_and_runs() {
    let terminal = Terminal::new();
    let release = software("1.0");
    assert_eq!(terminal.install(&release), release.chunks.len());
    assert_eq!(terminal.cached(), 0, "at rest there are the files and nothing else");
}

#[test]
fn chunks_may_come_in_any_order_twice_and_from_many_threads() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch_manifest(&release);
    terminal.disk.stage(&release.head, release.manifest.clone()).unwrap();
    thread::scope(|scope| {
        for shift in 0..4 {
            let (disk, chunks) = (&terminal.disk, &release.chunks);
            scope.spawn(move || {
                for at in 0..chunks.len() {
                    let (chunk, stored) = &chunks[(at * 7 + shift) % chunks.len()];
                    disk.store(chunk, stored).unwrap();
                    assert_eq!(disk.serve(&chunk.id).unwrap(), *stored);
                }
            });
        }
    });
    let (first, stored) = &release.chunks[0];
    terminal.disk.store(first, stored).unwrap();
    terminal.disk.activate(&release.head).unwrap();
    terminal.assert_runs(&release);
}

#[test]
fn chunks_that_arrive_while_the_tree_is_laid_out_are_in_it() {
    for _ in 0..20 {
        let terminal = Terminal::new();
        let release = software("1.0");
        terminal.fetch_manifest(&release);
        thread::scope(|scope| {
            scope.spawn(|| {
                for (chunk, stored) in &release.chunks {
                    terminal.disk.store(chunk, stored).unwrap();
                }
            });
            terminal.disk.stage(&release.head, release.manifest.clone()).unwrap();
        });
        terminal.disk.activate(&release.head).unwrap();
        terminal.assert_runs(&release);
    }
}

#[test]
fn room_for_the_whole_release_is_taken_before_the_first_byte() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch_manifest(&release);
    let have = terminal.disk.stage(&release.head, release.manifest.clone()).unwrap();
    assert_eq!(have.count(), 0);
    let staging = format!(".{}.staging/bin/till", dir_name(&release.head));
    let found = fs::metadata(terminal.product().join(staging)).unwrap();
    assert_eq!(found.len(), 1_500_000);
    assert!(found.blocks() * 512 >= found.len(), "{} blocks", found.blocks());
}

#[test]
fn a_release_larger_than_the_disk_needs_more_than_there_is() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch_manifest(&release);
    let mut head = release.head.clone();
    head.plain_bytes = 1 << 60;
    let room = terminal.disk.measure(&head, None, None).unwrap();
    assert!(room.needed > 1 << 60 && room.free < room.needed, "{room:?}");
    assert!(!terminal.product().exists());
}

#[test]
fn wrong_bytes_are_refused_and_written_nowhere() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch_manifest(&release);
    terminal.disk.stage(&release.head, release.manifest.clone()).unwrap();
    let before = terminal.cached();
    let (chunk, stored) = &release.chunks[0];
    let mut flipped = stored.clone();
    flipped[1000] ^= 1;
    for wrong in [&flipped[..], &stored[..stored.len() - 1], &[], &release.chunks[1].1] {
        let error = terminal.disk.store(chunk, wrong).unwrap_err();
        assert!(matches!(error, StoreError::Wrong(_)), "{error}");
    }
    assert!(terminal.disk.serve(&chunk.id).is_none());
    assert_eq!(terminal.cached(), before);
}

#[test]
fn a_chunk_is_served_as_it_was_received_and_later_from_the_files() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch(&release);
    for (chunk, stored) in release.chunks.iter().chain(&release.pieces) {
        assert_eq!(terminal.disk.serve(&chunk.id).unwrap(), *stored);
    }
    terminal.disk.activate(&release.head).unwrap();
    for (chunk, stored) in release.chunks.iter().chain(&release.pieces) {
        let served = terminal.disk.serve(&chunk.id).unwrap();
        assert_eq!(unpack(chunk, &served).unwrap(), unpack(chunk, stored).unwrap());
    }
    assert!(terminal.disk.serve(&ChunkId([7; 32])).is_none());
}

#[test]
fn the_next_version_fetches_only_what_is_new() {
    let terminal = Terminal::new();
    terminal.install(&software("1.0"));
    // The file `version` is the only one that differs.
    assert_eq!(terminal.install(&software("1.1")), 1);
}

#[test]
fn what_is_on_disk_is_found_wherever_it_is() {
    let mut terminal = Terminal::new();
    let (standing, coming) = (software("1.0"), software("1.1"));
    terminal.install(&standing);
    terminal.fetch_manifest(&coming);
    let list: Vec<_> = coming.chunks.iter().chain(&coming.pieces).map(|(c, _)| *c).collect();
    for _ in 0..2 {
        let have = terminal.disk.check(&list);
        let missing: Vec<_> = have.iter_missing().map(|index| list[index as usize]).collect();
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].plain, 3, "the file `version`");
        terminal.restart();
    }
}

#[test]
fn three_thousand_small_files_arrive() {
    let terminal = Terminal::new();
    let mut publisher = Publisher::default();
    for number in 0..3_000 {
        let path = format!("share/{:02}/{number}.txt", number % 40);
        publisher = publisher.file(&path, 0o644, format!("item {number}").as_bytes());
    }
    let release = publisher.publish("1.0");
    assert_eq!(terminal.install(&release), 3_000);
}
