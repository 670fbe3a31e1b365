//! The configuration file.
//!
//! The rule: an absent file is the default, and a key the program does not know is refused, with
//! its line and the nearest key it does know. A misspelt key that is silently skipped is a setting
//! that somebody believes in and nobody obeys.
//!
//! The type says what is known: it derives `Deserialize` with `#[serde(deny_unknown_fields,
//! default)]`, also on its inner tables. Flags and environment are laid over it by the programs.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;

use crate::{files, out};

/// More than any configuration; a larger file is surely something else.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads `path`.
pub fn load<T: DeserializeOwned + Default>(path: &Path) -> anyhow::Result<T> {
    let Some(content) = files::read_small(path, MAX_BYTES)? else { return Ok(T::default()) };
    let text = String::from_utf8(content)
        .ok()
        .with_context(|| format!("`{}` is not UTF-8 text", path.display()))?;
    parse(&text, &path.display().to_string())
}

/// What `config check` says of a file that was loaded well.
pub fn say_good(path: &Path, json: bool) -> anyhow::Result<()> {
    let there = path.exists();
    if json {
        out::json(&serde_json::json!({ "ok": true, "path": path, "exists": there }))
    } else if there {
        out::line(format_args!("`{}` is good", path.display()))
    } else {
        out::line(format_args!("no `{}`: the defaults hold", path.display()))
    }
}

/// Reads `text`; `name` is what errors call it.
pub fn parse<T: DeserializeOwned>(text: &str, name: &str) -> anyhow::Result<T> {
    let error = match toml::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
    let place = line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
    let message = error.message();
    let Some((unknown, known)) = unknown_key(message) else { bail!("{place}: {message}") };
    match nearest(unknown, &known) {
        Some(nearest) => bail!("{place}: unknown key `{unknown}`; did you mean `{nearest}`?"),
        None => bail!("{place}: unknown key `{unknown}`; no key is known here"),
    }
}

/// Takes the names out of serde's text, the only place where it gives them: ``unknown field `a`,
/// expected `b` `` or ``.. expected one of `b`, `c` ``.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let (unknown, rest) = message.strip_prefix("unknown field `")?.split_once('`')?;
    Some((unknown, rest.split('`').skip(1).step_by(2).collect()))
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().copied().min_by_key(|name| strsim::damerau_levenshtein(unknown, name))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Config {
        mesh_port: Option<u16>,
        api_port: Option<u16>,
        mesh: Mesh,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Mesh {
        mdns: bool,
        neighbours: Vec<String>,
    }

    fn refusal(text: &str) -> String {
        parse::<Config>(text, "storemesh.toml").unwrap_err().to_string()
    }

    #[test]
    fn an_absent_file_is_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let config: Config = load(&folder.path().join("storemesh.toml")).unwrap();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn what_is_known_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("storemesh.toml");
        std::fs::write(&path, "api_port = 1\n[mesh]\nmdns = true\n").unwrap();
        let config: Config = load(&path).unwrap();
        assert_eq!(config.api_port, Some(1));
        assert!(config.mesh.mdns);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
        assert_eq!(
            refusal("# ports\nmesh_prot = 7410\n"),
            "storemesh.toml:2: unknown key `mesh_prot`; did you mean `mesh_port`?"
        );
        assert_eq!(
            refusal("[mesh]\nmdns = true\nneighbors = []\n"),
            "storemesh.toml:3: unknown key `neighbors`; did you mean `neighbours`?"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_its_line() {
        let refusal = refusal("mesh_port = \"many\"\n");
        assert!(refusal.starts_with("storemesh.toml:1: invalid type: string"), "{refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }

    #[test]
    fn what_is_not_toml_is_refused_on_one_line() {
        let refusal = refusal("mesh_port == 3");
        assert!(refusal.starts_with("storemesh.toml:1: "), "{refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}
