//! What a test needs and this machine may not have.
//!
//! `require!(netns)` at its beginning makes a test say one line and return where there are no network
//! namespaces to be had. With `STOREMESH_TESTS_MUST_RUN=1` it fails instead, so that a machine that
//! is meant to run everything cannot quietly stop doing so.

use std::{
    env,
    io::{Write, stderr},
    process::Command,
    sync::OnceLock,
};

use storemesh_sim::live::lan::Lan;

use crate::wall_clock;

/// Returns from the test, after saying so, when the machine lacks what is named.
#[macro_export]
macro_rules! require {
    ($need:ident) => {
        if !$crate::need::met($crate::need::$need(), $crate::need::of(&|| {})) {
            return Ok(());
        }
    };
}

/// The name of the function that the closure stands in.
pub fn of<F: Fn()>(_: &F) -> &'static str {
    let name = std::any::type_name::<F>();
    name.strip_suffix("::{{closure}}").unwrap_or(name)
}

/// Whether the test can run, given what it lacks; says so when not, past the capture of outputs that
/// cargo's test runner does for tests that pass.
///
/// # Panics
/// When it cannot and must.
pub fn met(lacks: Option<&str>, test: &str) -> bool {
    let Some(lacks) = lacks else { return true };
    let must_run = env::var_os("STOREMESH_TESTS_MUST_RUN").is_some_and(|value| value == "1");
    assert!(!must_run, "{test} must run here and needs {lacks}");
    // That nobody reads it is no reason to fail.
    _ = writeln!(stderr(), "NOT RUN {test}: needs {lacks}");
    false
}

/// Network namespaces of our own: what is missing for them.
pub fn netns() -> Option<&'static str> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(Lan::missing).as_deref()
}

/// The right to make device files and to give files away: what is missing for it.
pub fn root() -> Option<&'static str> {
    let status = Command::new("id").arg("-u").output();
    let is_root = status.is_ok_and(|output| output.stdout.starts_with(b"0\n"));
    (!is_root).then_some("root")
}

/// Clocks that show what a test says: what is missing for them.
pub fn faketime() -> Option<&'static str> {
    (!wall_clock::library().exists())
        .then_some("libfaketime, as Debian's package of that name has it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_called_by_its_name() {
        let name = of(&|| {});
        assert!(name.ends_with("need::tests::a_test_is_called_by_its_name"), "{name}");
    }

    #[test]
    fn what_is_there_needs_no_line() {
        assert!(met(None, "a test"));
    }
}
