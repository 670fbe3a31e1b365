use std::collections::BTreeSet;

use super::*;
use crate::disk::garbage::Why;

/// All that lies in the product's folder and in the cache.
fn all(terminal: &Terminal) -> BTreeSet<PathBuf> {
    let folders = [terminal.product(), terminal.data.path().join("chunks")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn make_a_mess(terminal: &Terminal) -> [Release; 4] {
    let releases = ["1.0", "1.1", "1.2", "1.3"].map(software);
    let [one, two, coming, given_up] = &releases;
    terminal.install(one);
    terminal.install(two);
    terminal.fetch(coming);
    terminal.fetch(given_up);
    terminal.disk.abandon(&given_up.head);
    // What a failed deletion, or a crash of an older version, may leave.
    for name in ["0.9-01234567", ".0.9-01234567.staging", ".0.8-01234567.removed"] {
        fs::create_dir(terminal.product().join(name)).unwrap();
        fs::write(terminal.product().join(name).join("file"), [1; 5000]).unwrap();
    }
    for name in [".0.7-01234567.manifest", ".current.new", "README", ".profile"] {
        fs::write(terminal.product().join(name), "text").unwrap();
    }
    fs::write(terminal.data.path().join("chunks/README"), "mine").unwrap();
    releases
}

#[test]
fn a_sweep_deletes_just_what_is_listed_as_garbage() {
    let terminal = Terminal::new();
    let [_, two, coming, given_up] = make_a_mess(&terminal);
    let before = all(&terminal);
    let listed = terminal.disk.garbage();
    assert_eq!(all(&terminal), before, "listing deletes nothing");
    assert!(listed.iter().all(|garbage| garbage.bytes > 0));
    let texts: BTreeSet<String> = listed.iter().map(|garbage| garbage.why.to_string()).collect();
    assert_eq!(texts.len(), 4, "every kind is in this mess: {texts:?}");

    terminal.disk.sweep();
    let deleted: BTreeSet<PathBuf> = before.difference(&all(&terminal)).cloned().collect();
    let listed: BTreeSet<PathBuf> = listed.into_iter().map(|garbage| garbage.path).collect();
    assert_eq!(deleted, listed);
    assert!(terminal.disk.garbage().is_empty());
    assert!(!terminal.staged(&given_up).exists());
    for mine in ["README", ".profile"] {
        assert!(terminal.product().join(mine).exists());
    }

    terminal.assert_runs(&two);
    terminal.disk.activate(&coming.head).unwrap();
    terminal.assert_runs(&coming);
    assert!(terminal.disk.garbage().is_empty());
}

#[test]
fn after_a_restart_only_what_is_asked_for_has_a_root() {
    let mut terminal = Terminal::new();
    let (till, tablet) = (
        software("1.0"),
        Publisher::default().file("a", 0o644, &noise(9, 100_000)).publish_as("tablet", "1"),
    );
    terminal.fetch(&till);
    terminal.restart();
    assert!(terminal.disk.garbage().iter().any(|garbage| garbage.why == Why::GivenUp));
    // Asked for, it outlives another product's activation, its compressed chunks in the cache too.
    assert!(terminal.looks_for(&till));
    assert!(terminal.disk.garbage().is_empty());
    terminal.fetch(&tablet);
    terminal.disk.activate(&tablet.head).unwrap();
    terminal.restart();
    assert!(terminal.looks_for(&till));
    terminal.disk.sweep();
    assert_eq!(terminal.install(&till), 0);

    let given_up = software("1.1");
    terminal.fetch(&given_up);
    terminal.restart();
    assert!(terminal.looks_for(&given_up));
    terminal.disk.abandon(&given_up.head);
    terminal.disk.sweep();
    assert_eq!((terminal.cached(), terminal.names().len()), (0, 3));
}
