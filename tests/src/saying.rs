//! How a command is expected to fail: one clear line, and the code that scripts rely on.

use storemesh_sim::live::child::Done;

pub const FAILED: i32 = 1;
pub const USAGE: i32 = 2;
pub const UNREACHABLE: i32 = 3;
pub const REFUSED: i32 = 4;

/// Logs aside, it said one line on stderr, nothing on stdout, and every one of these words.
///
/// # Panics
/// When it did not.
#[track_caller]
pub fn assert_fails(done: &Done, code: i32, words: &[&str]) {
    assert_eq!(done.code, Some(code), "{done:#?}");
    assert_eq!(done.stdout, "", "{done:#?}");
    // Off a terminal, logs are lines of JSON.
    let lines: Vec<_> = done.stderr.lines().filter(|line| !line.starts_with('{')).collect();
    let [line] = lines.as_slice() else { panic!("not one line but {}: {done:#?}", lines.len()) };
    assert!(line.starts_with("error: "), "{line}");
    for word in words {
        assert!(line.to_lowercase().contains(&word.to_lowercase()), "no `{word}` in: {line}");
    }
    assert!(!line.contains("panicked"), "{line}");
}

/// The command line made no sense; clap explains that in lines of its own.
///
/// # Panics
/// When it made sense.
#[track_caller]
pub fn assert_misused(done: &Done) {
    assert_eq!(done.code, Some(USAGE), "{done:#?}");
    assert!(done.stderr.starts_with("error: "), "{done:#?}");
}
