//! The two programs, built from this source tree by the cargo that built us.
//!
//! They go into the target folder and the profile that we run from, so what cargo has built for
//! tests or the demo is built once. Cargo names the paths of what it built; nothing is guessed.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use storemesh_host::logs::{self, FILTER_ENV};

use super::child::{self, Stderr};

/// The variable that the programs take their version from when they are compiled.
pub const BUILD_VERSION: &str = "STOREMESH_BUILD_VERSION";

/// A first build on a slow machine.
const BUILT_WITHIN: Duration = Duration::from_mins(40);

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub node: PathBuf,
    pub hq: PathBuf,
    /// Put before each command, so that it runs somewhere else: `ip netns exec NAME`.
    pub before: Vec<String>,
    /// Whether they log each chunk, for [`super::books`].
    pub(crate) chunks_logged: bool,
}

impl Programs {
    /// Built as they are, once per process.
    pub fn built() -> Result<&'static Self> {
        static BUILT: OnceLock<Result<Programs, String>> = OnceLock::new();
        BUILT
            .get_or_init(|| Self::build(None, Stderr::Kept).map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    /// Built with another version string, or with the usual one. The next build replaces them.
    pub fn build(version: Option<&str>, stderr: Stderr) -> Result<Self> {
        let (target, profile) = target_and_profile()?;
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(source_tree()?)
            .args(["build", "-p", "storemesh", "-p", "storemesh-hq", "--profile", &profile])
            .args(["--bins", "--message-format", "json-render-diagnostics", "--target-dir"])
            .arg(target);
        // What cargo told us of our own package would make libraries that look at it build anew.
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&*name);
            }
        }
        match version {
            Some(version) => cargo.env(BUILD_VERSION, version),
            None => cargo.env_remove(BUILD_VERSION),
        };
        let done = child::run(cargo, stderr, BUILT_WITHIN)?.well("building the programs")?;
        Ok(Self {
            node: executable(&done.stdout, "storemesh")?,
            hq: executable(&done.stdout, "storemesh-hq")?,
            before: Vec::new(),
            chunks_logged: false,
        })
    }

    /// The same programs, each command run by that one.
    #[must_use]
    pub fn run_by(&self, before: &[&str]) -> Self {
        Self { before: before.iter().map(ToString::to_string).collect(), ..self.clone() }
    }

    /// The same programs, with every chunk that they send and verify in their logs.
    #[must_use]
    pub fn log_chunks(self) -> Self {
        Self { chunks_logged: true, ..self }
    }

    /// A command of one of the programs, free of what the caller's environment says about storemesh.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = match self.before.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        for (name, _) in env::vars_os() {
            let ours = name.to_str().is_some_and(|name| name.starts_with("STOREMESH_"));
            if ours && name != FILTER_ENV {
                command.env_remove(name);
            }
        }
        if self.chunks_logged {
            let asked = env::var(FILTER_ENV).unwrap_or_else(|_| logs::DEFAULT.to_owned());
            command.env(FILTER_ENV, format!("{asked},{}=debug", logs::CHUNKS));
        }
        command
    }
}

/// The workspace that we were compiled from.
pub fn source_tree() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = here.parent().filter(|tree| tree.join("Cargo.toml").is_file());
    let tree = tree.with_context(|| {
        format!("the source tree around `{}` is gone; build storemesh-sim again", here.display())
    })?;
    Ok(tree.to_owned())
}

/// From our own path: `TARGET/debug/storemesh-sim`, or `TARGET/debug/deps/a-test`; a triple may stand
/// between.
fn target_and_profile() -> Result<(PathBuf, String)> {
    let exe = env::current_exe().context("asking for the path of this program")?;
    target_and_profile_of(&exe)
        .with_context(|| format!("`{}` does not lie in a target folder of cargo", exe.display()))
}

fn target_and_profile_of(exe: &Path) -> Option<(PathBuf, String)> {
    let folder = exe.parent()?;
    let folder = if folder.ends_with("deps") { folder.parent()? } else { folder };
    let profile = match folder.file_name()?.to_str()? {
        "debug" => "dev",
        other => other,
    };
    // Cargo keeps one of these in the folder itself: a mark for backups, if it made the folder, and
    // what it knows of the compiler.
    let marks = ["CACHEDIR.TAG", ".rustc_info.json"];
    let marked = |folder: &&Path| marks.iter().any(|mark| folder.join(mark).is_file());
    let target = folder.ancestors().skip(1).take(2).find(marked)?;
    Some((target.to_owned(), profile.to_owned()))
}

/// Where cargo said that it put that program.
fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let path = message["executable"].as_str();
        if message["reason"] == "compiler-artifact"
            && message["target"]["name"] == name
            && let Some(path) = path
        {
            return Ok(path.into());
        }
    }
    bail!("cargo built no program `{name}`")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_target_folder_and_profile_are_read_from_our_own_path() {
        let target = tempfile::tempdir().unwrap();
        fs::write(target.path().join("CACHEDIR.TAG"), "").unwrap();
        for (exe, profile) in [
            ("debug/storemesh-sim", "dev"),
            ("debug/deps/store-0123456789abcdef", "dev"),
            ("release/storemesh-sim", "release"),
            ("aarch64-unknown-linux-gnu/debug/storemesh-sim", "dev"),
        ] {
            let found = target_and_profile_of(&target.path().join(exe));
            assert_eq!(found, Some((target.path().to_owned(), profile.to_owned())), "{exe}");
        }
        assert_eq!(target_and_profile_of(Path::new("/usr/bin/storemesh-sim")), None);
    }

    #[test]
    fn a_program_is_found_among_cargos_messages() {
        let messages = concat!(
            "not json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"storemesh"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"storemesh-hq"},"executable":"/t/hq"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"storemesh"},"executable":"/t/node"}"#,
        );
        assert_eq!(executable(messages, "storemesh").unwrap(), Path::new("/t/node"));
        assert_eq!(executable(messages, "storemesh-hq").unwrap(), Path::new("/t/hq"));
        assert!(executable(messages, "other").is_err());
    }
}
