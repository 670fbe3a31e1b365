//! How much is used and needed, and what is given up for it.

use super::*;

/// A terminal that may use so much.
fn limited(quota_bytes: u64) -> Terminal {
    let mut terminal = Terminal::new();
    let limits = Limits { quota_bytes: Some(quota_bytes), reserve_bytes: 0 };
    terminal.disk = Disk::open(terminal.data.path(), limits).unwrap();
    terminal
}

#[test]
fn what_is_used_is_what_lies_in_releases_and_chunks() {
    let terminal = limited(1 << 30);
    let release = software("1.0");
    let measure = || terminal.disk.measure(&release.head, Some(&release.manifest), None).unwrap();
    let empty = measure();
    assert!(empty.used < 100_000 && empty.quota == Some(1 << 30), "{empty:?}");
    terminal.fetch_manifest(&release);
    terminal.disk.stage(&release.head, release.manifest.clone()).unwrap();
    let begun = measure();
    assert!(begun.used > release.head.plain_bytes, "{begun:?}");
    assert!(begun.used <= empty.used + empty.needed + 100_000, "{empty:?} {begun:?}");
    assert_eq!(begun.needed, 0, "what was begun has its room");
}

#[test]
fn a_release_that_stands_needs_nothing_unless_it_is_damaged() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.install(&release);
    let measure = || terminal.disk.measure(&release.head, Some(&release.manifest), None).unwrap();
    assert_eq!(measure().needed, 0);
    damage(&terminal.tree(&release).join("bin/till"), 5);
    for (chunk, _) in &release.chunks {
        _ = terminal.disk.serve(&chunk.id);
    }
    assert!(measure().needed > release.head.plain_bytes);
}

#[test]
fn the_release_before_can_be_given_up_and_the_running_one_cannot() {
    let mut terminal = Terminal::new();
    let [one, two, three] = ["1.0", "1.1", "1.2"].map(software);
    terminal.install(&one);
    terminal.install(&two);
    let measure = |terminal: &Terminal, previous: &Release| {
        let manifest = Some(&three.manifest);
        terminal.disk.measure(&three.head, manifest, Some(&previous.head)).unwrap()
    };
    let room = measure(&terminal, &one);
    assert!(room.previous > one.head.plain_bytes && room.garbage == 0, "{room:?}");
    assert_eq!(measure(&terminal, &two).previous, 0, "it runs");
    assert_eq!(measure(&terminal, &three).previous, 0, "it does not stand");

    terminal.disk.give_up(&two.head);
    terminal.assert_runs(&two);
    terminal.disk.give_up(&one.head);
    assert!(!terminal.tree(&one).exists());
    assert_eq!(measure(&terminal, &one).previous, 0);
    terminal.assert_runs(&two);
    terminal.restart();
    assert_eq!(terminal.disk.standing().len(), 1);
    terminal.install(&three);
}

#[test]
fn many_small_files_need_a_block_each() {
    let terminal = Terminal::new();
    let mut publisher = Publisher::default();
    for number in 0..100 {
        publisher = publisher.file(&format!("{number}"), 0o644, format!("{number}").as_bytes());
    }
    let release = publisher.publish("1.0");
    terminal.fetch_manifest(&release);
    let room = terminal.disk.measure(&release.head, Some(&release.manifest), None).unwrap();
    assert!(room.needed >= 100 * 4096, "{room:?}");
}
