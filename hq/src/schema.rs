//! The schema as people write it: a TOML file with a table for each topic.
//!
//! The rule: what is wrong with it is said with the file's line, and the topic, before HQ is asked; HQ holds
//! it to the same rules again, for whoever asks it directly.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use storemesh_host::{config, files};
use storemesh_keys::Name;
use storemesh_protocol::feeds::{Schema, SchemaError, ScopeKind, TopicKind, TopicRule, Writers};
use toml::Spanned;

use crate::admin::json::{SchemaRow, TopicRow};

pub(crate) const EXAMPLE: &str = include_str!("schema.example.toml");
/// 256 topics, with their comments.
const MAX_BYTES: u64 = 256 * 1024;

const KINDS: [(&str, TopicKind); 2] =
    [("journal", TopicKind::Journal), ("stock", TopicKind::Stock)];
const SCOPES: [(&str, ScopeKind); 4] = [
    ("chain", ScopeKind::Chain),
    ("region", ScopeKind::Region),
    ("store", ScopeKind::Store),
    ("terminal", ScopeKind::Terminal),
];
const WRITERS: [(&str, Writers); 2] = [("hq", Writers::Hq), ("terminals", Writers::Terminals)];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    topic: Vec<Spanned<TopicRow>>,
}

/// The topics of the file at `path`, which keep the rules.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<TopicRow>> {
    let Some(content) = files::read_small(path, MAX_BYTES)? else {
        bail!("`{}` does not exist: `storemesh-hq schema example` prints one", path.display());
    };
    let text = String::from_utf8(content).ok();
    let text = text.with_context(|| format!("`{}` is not UTF-8 text", path.display()))?;
    topics(&text, &path.display().to_string())
}

fn topics(text: &str, file: &str) -> anyhow::Result<Vec<TopicRow>> {
    let parsed: File = config::parse(text, file)?;
    let place = |at: usize| {
        let start = parsed.topic[at].span().start;
        format!("{file}:{}", 1 + text[..start].matches('\n').count())
    };
    let rows: Vec<TopicRow> = parsed.topic.iter().map(|row| row.get_ref().clone()).collect();
    let mut topics = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        topics.push(rule(row).map_err(|why| anyhow::anyhow!("{}: {why}", place(at)))?);
    }
    if topics.is_empty() {
        bail!("{file}: no topics: `storemesh-hq schema example` prints some");
    }
    let schema = Schema { version: 1, topics };
    let Err(why) = schema.check() else { return Ok(rows) };
    let about = |name: &Name| rows.iter().rposition(|row| row.name == name.as_str());
    let at = match &why {
        SchemaError::TooMany(_) => None,
        SchemaError::Reserved => rows.iter().position(|row| row.name == "control"),
        SchemaError::StockScope => rows.iter().position(|row| row.name == "stock"),
        SchemaError::Twice(name)
        | SchemaError::Right(name)
        | SchemaError::NobodysJournal(name)
        | SchemaError::StockName(name)
        | SchemaError::Bytes { topic: name, .. } => about(name),
    };
    bail!("{}: {why}", at.map_or_else(|| file.to_owned(), place))
}

/// What a row says.
pub(crate) fn rule(row: &TopicRow) -> Result<TopicRule, String> {
    let name: Name = row.name.parse().map_err(|why| format!("topic `{}`: {why}", row.name))?;
    Ok(TopicRule {
        kind: one_of(&name, "kind", &row.kind, &KINDS)?,
        scope: one_of(&name, "scope", &row.scope, &SCOPES)?,
        writers: one_of(&name, "writers", &row.writers, &WRITERS)?,
        bytes_max: row.bytes_max,
        name,
    })
}

fn one_of<T: Copy>(topic: &Name, key: &str, text: &str, known: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names: Vec<_> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
    Err(format!("topic {topic}: {key} is `{text}`, and can be {}", names.join(" or ")))
}

pub(crate) fn row(rule: &TopicRule) -> TopicRow {
    TopicRow {
        name: rule.name.to_string(),
        kind: named(&KINDS, rule.kind),
        scope: named(&SCOPES, rule.scope),
        writers: named(&WRITERS, rule.writers),
        bytes_max: rule.bytes_max,
    }
}

fn named<T: PartialEq>(known: &[(&str, T)], value: T) -> String {
    let found = known.iter().find(|(_, known)| *known == value);
    found.map(|(name, _)| (*name).to_owned()).expect("every value has a name")
}

/// As a file that can be changed and published.
pub(crate) fn to_toml(schema: &SchemaRow) -> String {
    let mut text = format!("# schema {}\n", schema.version);
    for TopicRow { name, kind, scope, writers, bytes_max } in &schema.topics {
        write!(
            text,
            "\n[[topic]]\nname = \"{name}\"\nkind = \"{kind}\"\nscope = \"{scope}\"\n\
             writers = \"{writers}\"\nbytes_max = {bytes_max}\n"
        )
        .expect("writing into memory cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        topics(text, "schema.toml").unwrap_err().to_string()
    }

    fn changed(from: &str, to: &str) -> String {
        assert!(EXAMPLE.contains(from), "{from}");
        refusal(&EXAMPLE.replacen(from, to, 1))
    }

    #[test]
    fn the_example_is_the_first_schema_and_what_is_shown_can_be_published() {
        let rows = topics(EXAMPLE, "schema.toml").unwrap();
        let first = Schema::first();
        assert_eq!(rows, first.topics.iter().map(row).collect::<Vec<_>>());
        let shown = to_toml(&SchemaRow { version: 1, topics: rows.clone() });
        assert_eq!(topics(&shown, "schema.toml").unwrap(), rows);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_topic() {
        let line = 1 + EXAMPLE[..EXAMPLE.find("[[topic]]").unwrap()].matches('\n').count();
        for (from, to, says) in [
            ("\"sales\"", "\"a/b\"", "topic `a/b`"),
            (
                "\"journal\"",
                "\"diary\"",
                "topic sales: kind is `diary`, and can be `journal` or `stock`",
            ),
            ("\"store\"", "\"chain\"", "topic sales gives terminals the right"),
            ("\"terminals\"", "\"hq\"", "topic sales is a journal that terminals do not write"),
            ("= 65536", "= 0", "topic sales allows entries of 0 bytes"),
            ("\"sales\"", "\"control\"", "topic control is HQ's own"),
        ] {
            let refusal = changed(from, to);
            assert!(refusal.starts_with(&format!("schema.toml:{line}: {says}")), "{refusal}");
        }
        let twice = changed("\"returns\"", "\"sales\"");
        assert!(twice.contains("topic sales stands there twice"), "{twice}");
        let unknown = changed("bytes_max", "bytes_min");
        assert!(unknown.contains("did you mean `bytes_max`"), "{unknown}");
        assert!(refusal("").contains("schema example"));
    }
}
