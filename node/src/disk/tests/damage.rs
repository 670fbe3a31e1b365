use super::*;

#[test]
fn a_damaged_file_of_the_cache_is_deleted_and_fetched_again() {
    let mut terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch_manifest(&release);
    let (piece, stored) = &release.pieces[0];
    damage(&terminal.cached_file(piece), 100);
    terminal.restart();
    assert!(terminal.disk.serve(&piece.id).is_none(), "nobody has looked at it yet");
    assert!(!terminal.looks_for(&release));
    assert!(!terminal.cached_file(piece).exists());
    terminal.disk.store(piece, stored).unwrap();
    assert!(terminal.looks_for(&release));
}

#[test]
fn a_cached_file_that_changes_its_length_while_we_run_is_not_served() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch_manifest(&release);
    let (piece, _) = release.pieces[0];
    fs::write(terminal.cached_file(&piece), b"short").unwrap();
    assert!(terminal.disk.serve(&piece.id).is_none());
    assert!(!terminal.cached_file(&piece).exists());
}

#[test]
fn a_damaged_standing_file_is_not_served() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.install(&release);
    damage(&terminal.tree(&release).join("version"), 0);
    let chunk = release.chunks.iter().find(|(chunk, _)| chunk.plain == 3).unwrap().0;
    assert!(terminal.disk.serve(&chunk.id).is_none());
    assert_eq!(terminal.disk.check(&[chunk]).count(), 0);
}

#[test]
fn a_chunk_damaged_in_one_file_is_served_from_another() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.install(&release);
    damage(&terminal.tree(&release).join("lib/one.so"), 12);
    let chunk = release.chunks.iter().find(|(chunk, _)| chunk.plain == 30_000).unwrap().0;
    assert!(terminal.disk.serve(&chunk.id).is_some());
}

#[test]
fn a_damaged_manifest_is_not_served_nor_believed() {
    let mut terminal = Terminal::new();
    let release = software("1.0");
    terminal.install(&release);
    let kept = terminal.product().join(format!(".{}.manifest", dir_name(&release.head)));
    let end = fs::metadata(&kept).unwrap().len() - 1;
    damage(&kept, end);
    assert!(terminal.disk.serve(&release.pieces[0].0.id).is_none());
    terminal.restart();
    assert!(terminal.disk.standing().is_empty());
    assert!(terminal.tree(&release).exists(), "it still runs");
    terminal.install(&release);
}

#[test]
fn installing_a_damaged_release_again_repairs_it() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.install(&release);
    damage(&terminal.tree(&release).join("bin/till"), 700_000);
    let fetched = terminal.install(&release);
    assert!((1..=2).contains(&fetched), "{fetched} chunks");
    assert_eq!(terminal.names().len(), 3, "{:?}", terminal.names());
}

#[test]
fn damage_is_told_once_until_it_is_repaired() {
    let terminal = Terminal::new();
    let release = software("1.0");
    let serve_all = || {
        let found = release.chunks.iter().filter_map(|(c, _)| terminal.disk.serve(&c.id));
        found.count()
    };
    terminal.install(&release);
    serve_all();
    assert!(terminal.disk.take_damaged().is_empty());
    for _ in 0..2 {
        damage(&terminal.tree(&release).join("version"), 0);
        fs::remove_file(terminal.tree(&release).join("bin/till")).unwrap();
        assert!(terminal.disk.take_damaged().is_empty(), "nobody has looked yet");
        assert!(serve_all() < release.chunks.len());
        assert_eq!(terminal.disk.take_damaged(), [release.head.id]);
        serve_all();
        assert!(terminal.disk.take_damaged().is_empty());
        terminal.install(&release);
        assert_eq!(serve_all(), release.chunks.len());
        assert!(terminal.disk.take_damaged().is_empty());
    }
}

#[test]
fn damage_to_the_kept_manifest_is_told_and_repaired() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.install(&release);
    let kept = terminal.product().join(format!(".{}.manifest", dir_name(&release.head)));
    let end = fs::metadata(&kept).unwrap().len() - 1;
    damage(&kept, end);
    assert!(!terminal.looks_for(&release));
    assert_eq!(terminal.disk.take_damaged(), [release.head.id]);
    assert_eq!(terminal.install(&release), 0);
    assert!(terminal.looks_for(&release));
    assert!(terminal.disk.take_damaged().is_empty());
}

#[test]
fn strangers_in_the_folders_are_left_alone() {
    let mut terminal = Terminal::new();
    let release = software("1.0");
    terminal.install(&release);
    fs::write(terminal.product().join("notes.txt"), "mine").unwrap();
    fs::write(terminal.data.path().join("releases/README"), "mine").unwrap();
    fs::create_dir(terminal.data.path().join("releases/.hidden")).unwrap();
    fs::write(terminal.data.path().join("chunks/notes.txt"), "mine").unwrap();
    terminal.restart();
    terminal.assert_runs(&release);
    assert!(terminal.product().join("notes.txt").exists());
    assert!(terminal.data.path().join("chunks/notes.txt").exists());
}
