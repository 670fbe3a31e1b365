//! The programs run the very composites that the simulator runs, and nothing beside them.
//!
//! The machines inside are private to `protocol`, so the compiler sees to the rest: here it is
//! counted that each program makes its composite in one place.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

fn count(folder: &Path, what: &str) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found += count(&path, what);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            // A file's own tests stand at its end.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            found += code.matches(what).count();
        }
    }
    found
}

#[test]
fn the_composites_are_the_only_thing_a_program_can_build() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (program, own, other) in
        [("node/src", "Terminal::load(", "Hq::load("), ("hq/src", "Hq::load(", "Terminal::load(")]
    {
        assert_eq!(count(&root.join(program), own), 1, "{own} in {program}");
        assert_eq!(count(&root.join(program), other), 0, "{other} in {program}");
    }
    let library = fs::read_to_string(root.join("protocol/src/lib.rs")).unwrap();
    for machine in ["finder", "gateway", "install", "presence", "swarm"] {
        assert!(!library.contains(&format!("pub mod {machine};")), "{machine} is not for drivers");
    }
}
