//! A kill is simulated by opening the folder anew, a power cut by damaging it first.

use std::os::unix::fs::symlink;

use super::*;

/// What somebody does to a tree.
type Change<'a> = &'a dyn Fn(&Path);

/// A download of which so many chunks have come.
fn begun(release: &Release, chunks: usize) -> Terminal {
    let terminal = Terminal::new();
    terminal.fetch_manifest(release);
    terminal.disk.stage(&release.head, release.manifest.clone()).unwrap();
    for (chunk, stored) in &release.chunks[..chunks] {
        terminal.disk.store(chunk, stored).unwrap();
    }
    terminal
}

#[test]
fn a_download_goes_on_where_it_was_killed() {
    let release = software("1.0");
    for chunks in 0..=release.chunks.len() {
        let mut terminal = begun(&release, chunks);
        for _ in 0..2 {
            terminal.restart();
            assert!(terminal.looks_for(&release));
        }
        assert_eq!(terminal.install(&release), release.chunks.len() - chunks);
        assert_eq!(terminal.cached(), 0);
        assert_eq!(terminal.names().len(), 3, "{:?}", terminal.names());
    }
}

#[test]
fn the_tree_is_enough_where_a_power_cut_took_the_cache() {
    let release = software("1.0");
    let mut terminal = begun(&release, release.chunks.len());
    fs::remove_dir_all(terminal.data.path().join("chunks")).unwrap();
    terminal.restart();
    assert!(terminal.looks_for(&release));
    let manifest = terminal.disk.read_manifest(&release.head).unwrap();
    let have = terminal.disk.stage(&release.head, Arc::new(manifest)).unwrap();
    assert!(have.is_full());
    // What was told to be here is here, for neighbours too.
    for (chunk, _) in release.chunks.iter().chain(&release.pieces) {
        assert!(terminal.disk.serve(&chunk.id).is_some());
    }
    terminal.disk.activate(&release.head).unwrap();
    terminal.assert_runs(&release);
}

#[test]
fn the_cache_is_enough_for_what_was_torn_in_the_tree() {
    let release = software("1.0");
    let mut terminal = begun(&release, release.chunks.len());
    for index in release.compressed() {
        let (path, offset) = terminal.place(&release, u32::try_from(index).unwrap());
        damage(&path, offset);
    }
    terminal.restart();
    assert_eq!(terminal.install(&release), 0);
}

#[test]
fn a_torn_place_in_the_tree_is_fetched_again_and_nothing_else() {
    let release = software("1.0");
    let chunks = release.chunks.len();
    // Plain, and nowhere else in the tree.
    let index = u32::try_from(chunks - 1).unwrap();
    assert_eq!(release.chunks[chunks - 1].0.plain, 3, "the file `version`");
    for tear in ["flip", "half"] {
        let mut terminal = begun(&release, chunks - 1);
        let (chunk, stored) = &release.chunks[chunks - 1];
        if tear == "flip" {
            terminal.disk.store(chunk, stored).unwrap();
        }
        let (path, offset) = terminal.place(&release, index);
        if tear == "flip" {
            damage(&path, offset + 1);
        } else {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.write_all_at(&stored[1..2], offset).unwrap();
        }
        terminal.restart();
        assert_eq!(terminal.install(&release), 1, "{tear}");
    }
}

#[test]
fn a_chunk_torn_in_one_place_is_taken_from_another() {
    let release = software("1.0");
    let mut terminal = begun(&release, release.chunks.len());
    // Nothing but the tree has it.
    fs::remove_dir_all(terminal.data.path().join("chunks")).unwrap();
    damage(&terminal.staged(&release).join("lib/one.so"), 12);
    terminal.restart();
    assert!(terminal.looks_for(&release));
    assert_eq!(terminal.install(&release), 0);
}

#[test]
fn nothing_is_served_from_a_tree_that_nobody_has_verified_but_what_is_right() {
    let release = software("1.0");
    let mut terminal = begun(&release, 2);
    terminal.restart();
    for (index, (chunk, stored)) in release.chunks.iter().enumerate() {
        let served = terminal.disk.serve(&chunk.id);
        assert!(served.is_none() || index < 2 && served.unwrap() == *stored, "{index}");
    }
}

#[test]
fn a_tree_that_is_not_as_it_was_laid_out_is_begun_anew() {
    let release = software("1.0");
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, vec![0; 1_500_000]).unwrap();
    let swap = |path: PathBuf, make: &dyn Fn(&Path)| {
        tree::remove(&path).unwrap();
        make(&path);
    };
    let changes: [(&str, Change<'_>); 8] = [
        ("symlink for a file", &|t| swap(t.join("bin/till"), &|p| symlink(&victim, p).unwrap())),
        ("hard link", &|t| swap(t.join("bin/till"), &|p| fs::hard_link(&victim, p).unwrap())),
        ("symlink for a folder", &|t| {
            swap(t.join("log"), &|p| symlink(outside.path(), p).unwrap());
        }),
        ("folder for a file", &|t| swap(t.join("version"), &|p| fs::create_dir(p).unwrap())),
        ("lacking file", &|t| swap(t.join("bin/tool"), &|_| ())),
        ("stranger", &|t| fs::write(t.join("lib/three.so"), "mine").unwrap()),
        ("longer file", &|t| fs::write(t.join("version"), "longer").unwrap()),
        ("symlink for all", &|t| swap(t.to_owned(), &|p| symlink(outside.path(), p).unwrap())),
    ];
    for (what, change) in changes {
        let mut terminal = begun(&release, release.chunks.len());
        change(&terminal.staged(&release));
        terminal.restart();
        // Compressed ones are in the cache.
        let cached = release.compressed().len();
        assert_eq!(terminal.install(&release), release.chunks.len() - cached, "{what}");
        assert!(fs::read(&victim).unwrap().iter().all(|byte| *byte == 0), "{what}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{what}");
        assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o644, "{what}");
    }
}

#[test]
fn a_tree_that_could_not_be_finished_is_kept_and_gone_on_with() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch(&release);
    // Where a symlink of the release should go.
    fs::write(terminal.staged(&release).join("till"), "in the way").unwrap();
    let error = terminal.disk.activate(&release.head).unwrap_err();
    assert!(error.to_string().starts_with("activating"), "{error}");
    fs::remove_file(terminal.staged(&release).join("till")).unwrap();
    terminal.disk.sweep();
    assert_eq!(terminal.install(&release), 0);
}
