//! What is in flight lies on the disk once.

use std::thread;

use super::*;
use crate::disk::product::Product;

/// Another product, made of much the same.
fn other(version: &str) -> Release {
    Publisher::default()
        .file("till", 0o755, &noise(1, 1_500_000))
        .file("text", 0o644, &text(30_000))
        .file("notes", 0o644, &noise(7, 200_000))
        .publish_as("tablet", version)
}

#[test]
fn a_plain_chunk_lies_in_the_tree_only_and_a_compressed_one_in_the_cache_too() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch(&release);
    let compressed = release.compressed();
    assert!(!compressed.is_empty() && compressed.len() < release.chunks.len());
    for (index, (chunk, stored)) in release.chunks.iter().enumerate() {
        let cached = terminal.cached_file(chunk).exists();
        assert_eq!(cached, compressed.contains(&index));
        // As it came, compressed or not.
        assert_eq!(terminal.disk.serve(&chunk.id).unwrap(), *stored);
    }
    assert_eq!(terminal.cached(), compressed.len() + release.pieces.len());
}

#[test]
fn a_chunk_that_no_tree_uses_is_cached_and_fills_the_tree_that_does() {
    let terminal = Terminal::new();
    let release = software("1.0");
    for (chunk, stored) in &release.chunks {
        terminal.disk.store(chunk, stored).unwrap();
        assert!(terminal.cached_file(chunk).exists());
    }
    assert_eq!(terminal.install(&release), 0);
}

#[test]
fn a_chunk_of_two_products_is_fetched_once() {
    let terminal = Terminal::new();
    let (till, tablet) = (software("1.0"), other("1.0"));
    terminal.fetch_manifest(&till);
    terminal.disk.stage(&till.head, till.manifest.clone()).unwrap();
    let alone = tablet.chunks.len();
    // Both are staged, and one chunk fills both.
    terminal.fetch_manifest(&tablet);
    terminal.disk.stage(&tablet.head, tablet.manifest.clone()).unwrap();
    for (chunk, stored) in &till.chunks {
        terminal.disk.store(chunk, stored).unwrap();
    }
    terminal.disk.abandon(&till.head);
    terminal.disk.sweep();
    let fetched = terminal.fetch(&tablet);
    assert!(fetched > 0 && fetched < alone, "{fetched} of {alone}");
    terminal.disk.activate(&tablet.head).unwrap();
    // And one that is staged later is filled from the release that stands.
    assert!(terminal.install(&till) < till.chunks.len());
}

#[test]
fn a_tree_that_is_laid_out_while_chunks_go_into_another_gets_them_too() {
    // Long enough to be still coming when the second tree is there.
    let large = noise(5, 12_000_000);
    let publish =
        |product| Publisher::default().file("a", 0o644, &large).publish_as(product, "1.0");
    let (till, tablet) = (publish("till"), publish("tablet"));
    for _ in 0..10 {
        let terminal = Terminal::new();
        terminal.fetch_manifest(&till);
        terminal.fetch_manifest(&tablet);
        terminal.disk.stage(&till.head, till.manifest.clone()).unwrap();
        thread::scope(|scope| {
            for first in 0..3 {
                let (disk, chunks) = (&terminal.disk, till.chunks.iter().skip(first).step_by(3));
                scope.spawn(move || {
                    for (chunk, stored) in chunks {
                        disk.store(chunk, stored).unwrap();
                    }
                });
            }
            terminal.disk.stage(&tablet.head, tablet.manifest.clone()).unwrap();
        });
        terminal.disk.activate(&tablet.head).unwrap();
        terminal.disk.activate(&till.head).unwrap();
        terminal.assert_runs(&till);
        terminal.assert_runs(&tablet);
    }
}

#[test]
fn a_chunk_is_served_between_a_tree_s_new_name_and_its_taking_up() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch(&release);
    fs::remove_dir_all(terminal.data.path().join("chunks")).unwrap();
    let product = Product::of(&terminal.data.path().join("releases"), &release.head);
    let staging = terminal.disk.staging(&release.head.id).unwrap();
    let served = || release.chunks.iter().all(|(c, _)| terminal.disk.serve(&c.id).is_some());
    staging.close();
    tree::finish(&staging.tree, &release.manifest).unwrap();
    assert!(served());
    product.stand(&release.head).unwrap();
    assert!(served());
}

#[test]
fn a_chunk_damaged_in_the_staged_tree_is_not_served_and_fetched_again() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch(&release);
    let (path, offset) = terminal.place(&release, 1);
    damage(&path, offset + 10);
    let (chunk, stored) = &release.chunks[1];
    let served = terminal.disk.serve(&chunk.id);
    assert!(served.is_none_or(|served| served == *stored), "from another place, if at all");
    let error = terminal.disk.activate(&release.head).unwrap_err();
    assert!(error.to_string().ends_with("chunks are on disk"), "{error}");
    assert_eq!(terminal.install(&release), 1);
}
