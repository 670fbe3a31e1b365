use std::os::unix::fs::FileExt as _;

use super::*;

/// Flips one bit of a file, whatever its mode.
fn damage(path: &Path, offset: u64) {
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

#[test]
fn a_damaged_file_of_the_cache_is_deleted_and_fetched_again() {
    let mut terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch(&release);
    let (chunk, _) = release.chunks[2];
    damage(&terminal.cached_file(&chunk), 5000);
    terminal.restart();
    let list: Vec<_> = release.chunks.iter().map(|(chunk, _)| *chunk).collect();
    assert!(terminal.disk.serve(&chunk.id).is_none(), "nobody has looked at it yet");
    let have = terminal.disk.check(&list);
    assert_eq!(have.iter_missing().collect::<Vec<_>>(), [2]);
    assert!(!terminal.cached_file(&chunk).exists());
    assert_eq!(terminal.install(&release), 1);
}

#[test]
fn a_cached_file_that_changes_its_length_while_we_run_is_not_served() {
    let terminal = Terminal::new();
    let release = software("1.0");
    terminal.fetch(&release);
    let (chunk, _) = release.chunks[0];
    fs::write(terminal.cached_file(&chunk), b"short").unwrap();
    assert!(terminal.disk.serve(&chunk.id).is_none());
    assert!(!terminal.cached_file(&chunk).exists());
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
