use super::*;

#[test]
fn running_and_one_previous_are_kept() {
    let mut terminal = Terminal::new();
    let releases: Vec<_> = ["1.0", "1.1", "1.2"].map(software).into();
    for release in &releases {
        terminal.install(release);
    }
    let kept = |release: &Release| dir_name(&release.head);
    let expected = [
        format!(".{}.manifest", kept(&releases[1])),
        format!(".{}.manifest", kept(&releases[2])),
        kept(&releases[1]),
        kept(&releases[2]),
        "current".to_owned(),
    ];
    assert_eq!(terminal.names(), expected);
    terminal.restart();
    terminal.assert_runs(&releases[2]);
    assert_eq!(terminal.names(), expected);
    assert_eq!(terminal.disk.standing().len(), 2);
}

#[test]
fn going_back_to_the_previous_release_fetches_nothing() {
    let mut terminal = Terminal::new();
    let (one, two) = (software("1.0"), software("1.1"));
    terminal.install(&one);
    terminal.install(&two);
    terminal.disk.activate(&one.head).unwrap();
    terminal.assert_runs(&one);
    assert_eq!(terminal.disk.standing().len(), 2);
    terminal.restart();
    // Also when it is staged first, and when it runs already.
    let have = terminal.disk.stage(&two.head, two.manifest.clone()).unwrap();
    assert!(have.is_full());
    for _ in 0..2 {
        terminal.disk.activate(&two.head).unwrap();
        terminal.assert_runs(&two);
    }
    assert_eq!(terminal.disk.standing().len(), 2);
}

#[test]
fn a_release_that_is_not_whole_is_not_activated() {
    let terminal = Terminal::new();
    let (one, two) = (software("1.0"), software("1.1"));
    terminal.install(&one);
    let error = terminal.disk.activate(&two.head).unwrap_err();
    assert!(error.to_string().contains("of the manifest is not on disk"), "{error}");
    terminal.fetch_manifest(&two);
    let error = terminal.disk.activate(&two.head).unwrap_err();
    assert!(error.to_string().contains("chunks are on disk"), "{error}");
    terminal.assert_runs(&one);
    terminal.install(&two);
}

#[test]
fn an_abandoned_download_leaves_its_chunks_for_the_next() {
    for restarts in [false, true] {
        let mut terminal = Terminal::new();
        let (one, two) = (software("1.0"), software("1.1"));
        terminal.fetch(&one);
        terminal.disk.abandon(&one.head);
        if restarts {
            terminal.restart();
        }
        assert_eq!(terminal.fetch(&two), 1);
        assert!(!terminal.staged(&one).exists(), "what the next needs of it is copied");
        terminal.disk.activate(&two.head).unwrap();
        terminal.assert_runs(&two);
        assert_eq!(terminal.cached(), 0);
        assert_eq!(terminal.names().len(), 3, "{:?}", terminal.names());
    }
}

#[test]
fn a_release_that_is_wanted_again_goes_on_where_it_was_given_up() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch(&release);
    terminal.disk.abandon(&release.head);
    assert_eq!(terminal.install(&release), 0);
}

#[test]
fn a_sweep_takes_what_was_abandoned_and_nothing_else() {
    let terminal = Terminal::new();
    let (one, two) = (software("1.0"), software("1.1"));
    terminal.fetch(&two);
    let names = terminal.names();
    terminal.fetch(&one);
    terminal.disk.abandon(&one.head);
    assert_eq!(terminal.names().len(), 4);
    terminal.disk.sweep();
    assert_eq!(terminal.names(), names);
    for (chunk, _) in two.chunks.iter().chain(&two.pieces) {
        assert!(terminal.disk.serve(&chunk.id).is_some());
    }
    terminal.disk.activate(&two.head).unwrap();
    terminal.assert_runs(&two);
}

#[test]
fn a_manifest_that_waits_outlives_another_release_s_activation() {
    let mut terminal = Terminal::new();
    let (one, two) = (software("1.0"), software("1.1"));
    terminal.fetch_manifest(&two);
    terminal.restart();
    let pieces: Vec<_> = two.pieces.iter().map(|(piece, _)| *piece).collect();
    assert!(terminal.disk.check(&pieces).is_full());
    terminal.install(&one);
    assert_eq!(terminal.disk.read_manifest(&two.head).unwrap(), *two.manifest);
}

#[test]
fn a_chunk_that_comes_late_disturbs_nothing() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.install(&release);
    for (chunk, stored) in &release.chunks {
        terminal.disk.store(chunk, stored).unwrap();
    }
    terminal.assert_runs(&release);
}

#[test]
fn a_folder_nobody_may_enter_is_made_and_removed() {
    let terminal = Terminal::new();
    let locked = |version: &str| {
        Publisher::default()
            .folder("a", 0o555)
            .folder("a/b", 0o500)
            .file("a/b/locked", 0o400, version.as_bytes())
            .folder("none", 0o000)
            .symlink("a/link", "b/locked")
            .publish(version)
    };
    for version in ["1", "2", "3"] {
        terminal.install(&locked(version));
    }
    terminal.disk.abandon(&locked("3").head);
    assert_eq!(terminal.names().len(), 5);
}
