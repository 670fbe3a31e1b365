//! Forged manifests, each test named after what the forger wants.

use minicbor::Encoder;

use super::{
    CHUNKS_MAX, ChunkRef, ENTRIES_MAX, Kind, LinkError, MANIFEST_MAX, Manifest, ManifestError,
    REFERENCES_MAX, TARGET_MAX,
    samples::{chunk, path},
};

/// Entries as the forger likes them, with paths that nobody has looked at.
fn forged(entries: &[(&str, Kind)], chunks: &[ChunkRef]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    e.map(4).unwrap().u8(0).unwrap().str("till").unwrap().u8(1).unwrap().str("6.6.6").unwrap();
    e.u8(2).unwrap().array(entries.len() as u64).unwrap();
    for (path, kind) in entries {
        e.array(2).unwrap().str(path).unwrap().encode(kind).unwrap();
    }
    e.u8(3).unwrap().encode(chunks).unwrap();
    e.into_writer()
}

fn refused(entries: &[(&str, Kind)], chunks: &[ChunkRef]) -> ManifestError {
    Manifest::decode(&forged(entries, chunks)).unwrap_err()
}

fn unreadable(encoded: &[u8]) -> String {
    let read = Manifest::decode(encoded);
    let Err(ManifestError::NotReadable(why)) = read else { panic!("{read:?}") };
    why
}

fn bad_path(path: &str) -> String {
    unreadable(&forged(&[(path, file(&[], 0))], &[]))
}

fn file(chunks: &[u32], bytes: u64) -> Kind {
    Kind::File { mode: 0o644, bytes, chunks: chunks.to_vec() }
}

fn link(target: &str) -> Kind {
    Kind::Symlink { target: target.to_owned() }
}

/// What is said of the symlink at `at`.
fn bad_links(links: &[(&str, &str)], at: &str) -> LinkError {
    let entries: Vec<_> = links.iter().map(|(path, target)| (*path, link(target))).collect();
    let error = refused(&entries, &[]);
    let ManifestError::Link { path, why } = &error else { panic!("{error:?}") };
    assert_eq!(path.as_str(), at);
    *why
}

const FOLDER: Kind = Kind::Folder { mode: 0o755 };

#[test]
fn what_the_other_tests_forge_would_otherwise_be_read() {
    let entries = [("a", FOLDER), ("a/b", file(&[0, 1, 0], 40)), ("c", link("a/b"))];
    let manifest = Manifest::decode(&forged(&entries, &[chunk(0), chunk(1)])).unwrap();
    assert_eq!(manifest.plain_bytes(), 40);
}

#[test]
fn path_outside() {
    for outside in ["..", "../x", "a/../../x", "a/..", "./x", "a/./x"] {
        assert!(bad_path(outside).contains("`..`"), "{outside}");
    }
}

#[test]
fn absolute_path() {
    assert!(bad_path("/etc/shadow").contains("begins with `/`"));
    assert!(bad_path("/").contains("begins with `/`"));
}

#[test]
fn path_that_means_another_one() {
    assert!(bad_path("").contains("empty"));
    assert!(bad_path("a//b").contains("empty part"));
    assert!(bad_path("a/").contains("empty part"));
    assert!(bad_path("a\0b").contains("zero"));
}

#[test]
fn path_without_end() {
    assert!(bad_path(&"a/".repeat(2_100)).contains("at most 4096"));
    assert!(bad_path(&"a".repeat(256)).contains("at most 255"));
}

#[test]
fn symlink_out() {
    for out in ["..", "../x", "a/../../x", "./..", "a//../.."] {
        assert_eq!(bad_links(&[("l", out)], "l"), LinkError::LeadsOut, "{out}");
    }
    assert_eq!(bad_links(&[("l", "/etc/shadow")], "l"), LinkError::Absolute);
    assert_eq!(bad_links(&[("l", "")], "l"), LinkError::Empty);
    assert_eq!(bad_links(&[("l", "a\0")], "l"), LinkError::Zero);
    let long = "a/".repeat(TARGET_MAX);
    assert_eq!(bad_links(&[("l", &long)], "l"), LinkError::TooLong(2 * TARGET_MAX));
}

#[test]
fn symlink_out_of_nested_folders() {
    assert_eq!(bad_links(&[("a/b/l", "../../..")], "a/b/l"), LinkError::LeadsOut);
}

#[test]
fn symlink_out_through_another_symlink() {
    // By its letters `through` stays inside: a/b/up/.. is a/b.
    let links = [("a/b/up", "../.."), ("through", "a/b/up/../etc")];
    assert_eq!(bad_links(&links, "through"), LinkError::LeadsOut);
}

#[test]
fn symlink_out_through_a_chain_of_symlinks() {
    let links = [("a/b/c/s", ".."), ("a/t", "b/c/s/.."), ("u", "a/t/../.."), ("v", "u/x")];
    assert_eq!(bad_links(&links, "u"), LinkError::LeadsOut);
}

#[test]
fn symlinks_that_stay_inside_are_kept() {
    let links = [("a/b/up", "../.."), ("a/l", "b/up/a/b/.."), ("here", "."), ("nothing", "x/y")];
    let entries = links.map(|(path, target)| (path, link(target)));
    assert_eq!(Manifest::decode(&forged(&entries, &[])).unwrap().entries().len(), 4);
}

#[test]
fn symlinks_in_a_circle() {
    assert_eq!(bad_links(&[("a", "a")], "a"), LinkError::TooManyLinks);
    assert_eq!(bad_links(&[("a", "b"), ("b", "a")], "a"), LinkError::TooManyLinks);
}

#[test]
fn symlinks_that_take_forever_to_follow() {
    // Few bytes each, but each passes through forty long ones.
    let long = "x/../".repeat(800);
    let mut links: Vec<_> = (0..39)
        .map(|n| (format!("l{n:02}"), format!("{long}l{:02}", n + 1)))
        .chain([("l39".to_owned(), "x".to_owned())])
        .collect();
    links.extend((0..20_000).map(|n| (format!("m{n:05}"), "l00".to_owned())));
    let links: Vec<_> = links.iter().map(|(path, to)| (path.as_str(), link(to))).collect();
    let ManifestError::Link { why, .. } = refused(&links, &[]) else { panic!("not the links") };
    assert_eq!(why, LinkError::TooManySteps);
}

#[test]
fn lying_length() {
    let lie = refused(&[("a", file(&[0], 2))], &[chunk(0)]);
    assert_eq!(lie, ManifestError::Length { path: path("a"), bytes: 2, chunks: 1 });
    let lie = refused(&[("a", file(&[], u64::MAX)), ("b", file(&[], 1))], &[]);
    assert_eq!(lie, ManifestError::Length { path: path("a"), bytes: u64::MAX, chunks: 0 });
}

#[test]
fn chunk_of_impossible_length() {
    for (stored, plain) in [(1, 0), (2, 0), (1, 1), (3, 1), (9, 1 << 21), (0, u32::MAX)] {
        let why = unreadable(&forged(&[], &[ChunkRef { stored, plain, ..chunk(0) }]));
        assert!(why.contains("a chunk has 1 to"), "{why}");
    }
}

#[test]
fn huge_count_of_entries() {
    let paths: Vec<_> = (0..=ENTRIES_MAX).map(|n| format!("{n:06}")).collect();
    let entries: Vec<_> = paths.iter().map(|path| (path.as_str(), FOLDER)).collect();
    assert!(Manifest::decode(&forged(&entries[1..], &[])).is_ok());
    assert!(unreadable(&forged(&entries, &[])).contains("longer than allowed"));
}

#[test]
fn huge_count_of_chunks() {
    let count = u32::try_from(CHUNKS_MAX).unwrap() + 1;
    let chunks: Vec<_> = (0..count).map(chunk).collect();
    assert!(unreadable(&forged(&[], &chunks)).contains("longer than allowed"));
}

#[test]
fn huge_count_of_references() {
    let half = vec![0; REFERENCES_MAX / 2 + 1];
    let bytes = half.len() as u64;
    let entries = [("a", file(&half, bytes)), ("b", file(&half, bytes))];
    assert!(Manifest::decode(&forged(&entries[..1], &[chunk(0)])).is_ok());
    assert!(unreadable(&forged(&entries, &[chunk(0)])).contains("longer than allowed"));
}

#[test]
fn huge_count_that_is_only_claimed() {
    // A list of 2^62 entries, of which none comes.
    let claim = [0xa1, 0x02, 0x9b, 0x40, 0, 0, 0, 0, 0, 0, 0];
    assert!(unreadable(&claim).contains("end of input"));
}

#[test]
fn manifest_without_end() {
    let long = vec![0; MANIFEST_MAX + 1];
    assert_eq!(Manifest::decode(&long), Err(ManifestError::TooLong(MANIFEST_MAX + 1)));
}

#[test]
fn one_chunk_that_fills_the_disk() {
    let big = ChunkRef { plain: 1 << 20, stored: 100, ..chunk(0) };
    let count = (64 << 10) + 1;
    let bytes = u64::from(big.plain) * count as u64;
    let entry = ("a", file(&vec![0; count], bytes));
    assert_eq!(refused(&[entry], &[big]), ManifestError::TooLarge(bytes));
}

#[test]
fn duplicate_path() {
    assert_eq!(refused(&[("a", FOLDER), ("a", link("b"))], &[]), ManifestError::Twice(path("a")));
}

#[test]
fn duplicate_path_out_of_order() {
    let entries = [("a", FOLDER), ("b", FOLDER), ("a", link("b"))];
    assert_eq!(refused(&entries, &[]), ManifestError::OutOfOrder(path("a")));
    let entries = [("a", FOLDER), ("a-b", FOLDER), ("a/b", FOLDER)];
    assert_eq!(refused(&entries, &[]), ManifestError::OutOfOrder(path("a/b")));
}

#[test]
fn file_under_a_file() {
    let below = ManifestError::BelowAFile(path("a/b"), path("a"));
    assert_eq!(refused(&[("a", file(&[], 0)), ("a/b", file(&[], 0))], &[]), below);
}

#[test]
fn file_under_a_symlink() {
    let below = ManifestError::BelowAFile(path("a/b/c"), path("a"));
    assert_eq!(refused(&[("a", link(".")), ("a/b/c", file(&[], 0))], &[]), below);
}

#[test]
fn setuid() {
    for mode in [0o4755, 0o2755, 0o1755, 0o100_644, u32::MAX] {
        for kind in [Kind::Folder { mode }, Kind::File { mode, bytes: 0, chunks: vec![] }] {
            assert_eq!(refused(&[("a", kind)], &[]), ManifestError::Mode { path: path("a"), mode });
        }
    }
}

#[test]
fn chunk_out_of_the_table() {
    for index in [1, u32::MAX] {
        let bad = refused(&[("a", file(&[0, index], 2))], &[chunk(0)]);
        assert_eq!(bad, ManifestError::Reference(path("a"), index));
    }
}

#[test]
fn two_manifests_of_one_tree() {
    let length = u64::from(chunk(0).plain + chunk(1).plain);
    let bad = refused(&[("a", file(&[1, 0], length))], &[chunk(1), chunk(0)]);
    assert_eq!(bad, ManifestError::Reference(path("a"), 1));
    let bad = refused(&[("a", file(&[0, 1], 2))], &[chunk(0), chunk(0)]);
    assert_eq!(bad, ManifestError::ChunkTwice(1));
    let bad = refused(&[("a", file(&[0], 1))], &[chunk(0), chunk(1)]);
    assert_eq!(bad, ManifestError::UnusedChunks(2, 1));
}
