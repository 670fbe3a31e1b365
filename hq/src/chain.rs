//! The commands that say something to the whole chain: schema, settings, the end of a terminal's journals,
//! and what became of a cloned disk.

use std::{path::Path, time::Duration};

use storemesh_keys::Name;

use crate::{
    admin::json::{CloneRow, EndRow, NewEnd, NewSchema, Said, SchemaRow, SettingsRow},
    cli::{Common, span},
    ops::{ask, client, refusals, show},
    schema,
    tables::{self, Column::Left},
};

const COPIES: &str = "journal.copies";
const RETENTION: &str = "journal.retention";

pub(crate) fn show_schema(common: &Common) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let newest: SchemaRow = ask(async { client.get("/v1/schema").await.map_err(refusals) })?;
    show(common, &newest, || schema::to_toml(&newest))
}

pub(crate) fn publish_schema(common: &Common, file: &Path) -> anyhow::Result<()> {
    let new = NewSchema { topics: schema::read(file)? };
    let client = client(&common.data)?;
    let published: SchemaRow =
        ask(async { client.post("/v1/schema", &new).await.map_err(refusals) })?;
    show(common, &published, || format!("schema {} holds", published.version))
}

pub(crate) fn show_settings(common: &Common) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let settings: SettingsRow = ask(async { client.get("/v1/settings").await.map_err(refusals) })?;
    show(common, &settings, || settings_text(&settings))
}

pub(crate) fn set(common: &Common, changes: &[Change]) -> anyhow::Result<()> {
    let mut change = SettingsRow::default();
    for Change { copies, retention } in changes {
        change.journal_copies = copies.or(change.journal_copies);
        change.journal_retention_s =
            retention.map(|span| span.as_secs()).or(change.journal_retention_s);
    }
    let client = client(&common.data)?;
    let settings: SettingsRow =
        ask(async { client.post("/v1/settings", &change).await.map_err(refusals) })?;
    show(common, &settings, || settings_text(&settings))
}

fn settings_text(SettingsRow { journal_copies, journal_retention_s }: &SettingsRow) -> String {
    let copies = journal_copies.unwrap_or_default();
    let retention = match journal_retention_s.unwrap_or_default() {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s => format!("{s}s"),
    };
    format!("{COPIES}={copies}\n{RETENTION}={retention}")
}

/// One setting and its value, as the command line has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    copies: Option<u32>,
    retention: Option<Duration>,
}

impl std::str::FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = format!("settings are {COPIES}=2 and {RETENTION}=14d");
        match text.split_once('=') {
            Some((COPIES, value)) => {
                let copies = value.parse().map_err(|_| format!("`{value}` is no number"))?;
                Ok(Self { copies: Some(copies), ..Self::default() })
            }
            Some((RETENTION, value)) => {
                Ok(Self { retention: Some(span(value)?), ..Self::default() })
            }
            Some((other, _)) => Err(format!("there is no setting `{other}`: {known}")),
            None => Err(format!("`{text}` sets nothing: {known}")),
        }
    }
}

pub(crate) fn end(common: &Common, terminal: &str, topic: Option<&Name>) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let path = format!("/v1/terminals/{terminal}/end");
    let new = NewEnd { topic: topic.map(Name::to_string) };
    let said: Said = ask(async { client.post(&path, &new).await.map_err(refusals) })?;
    show(common, &said, || {
        let on = topic.map_or_else(|| "any topic".to_owned(), |topic| format!("topic {topic}"));
        format!("what {} writes on {on} after what HQ holds now counts nowhere", said.terminal)
    })
}

pub(crate) fn list_ends(common: &Common) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let ends: Vec<EndRow> = ask(async { client.get("/v1/ends").await.map_err(refusals) })?;
    show(common, &ends, || {
        if ends.is_empty() {
            return "no terminal was ended".to_owned();
        }
        let rows = ends.iter().map(|row| {
            let topic = row.topic.clone().unwrap_or_else(|| "every topic".to_owned());
            [row.store.clone(), row.terminal.clone(), topic, row.terminal_id.clone()]
        });
        let columns = [("STORE", Left), ("TERMINAL", Left), ("ENDED ON", Left), ("ID", Left)];
        tables::table(columns, rows)
    })
}

pub(crate) fn list_clones(common: &Common) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let clones: Vec<CloneRow> = ask(async { client.get("/v1/clones").await.map_err(refusals) })?;
    show(common, &clones, || {
        if clones.is_empty() {
            return "no terminal's disk was seen to be cloned".to_owned();
        }
        let rows = clones.iter().map(|row| {
            let state = match (&row.said_by, row.settled) {
                (Some(_), _) => "said by a terminal, not seen by HQ",
                (None, true) => "settled",
                (None, false) => "kept out until settled",
            };
            [row.store.clone(), row.terminal.clone(), state.to_owned(), row.terminal_id.clone()]
        });
        tables::table([("STORE", Left), ("TERMINAL", Left), ("STATE", Left), ("ID", Left)], rows)
    })
}

pub(crate) fn settle(common: &Common, terminal: &str) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let path = format!("/v1/clones/{terminal}/settle");
    let said: Said = ask(async { client.post(&path, &()).await.map_err(refusals) })?;
    show(common, &said, || format!("{} is let into its store again", said.terminal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_known_name_and_a_value_that_fits() {
        let copies: Change = "journal.copies=3".parse().unwrap();
        assert_eq!(copies, Change { copies: Some(3), retention: None });
        let retention: Change = "journal.retention=30d".parse().unwrap();
        assert_eq!(retention.retention, Some(Duration::from_hours(30 * 24)));
        for (text, says) in [
            ("journal.copies=many", "no number"),
            ("journal.retention=14", "no time"),
            ("journal.copy=2", "there is no setting `journal.copy`"),
            ("2", "journal.copies=2"),
        ] {
            let why = text.parse::<Change>().unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn settings_are_shown_as_they_are_set() {
        let row = SettingsRow { journal_copies: Some(2), journal_retention_s: Some(14 * 86_400) };
        let text = settings_text(&row);
        assert_eq!(text, "journal.copies=2\njournal.retention=14d");
        assert!(text.lines().all(|line| line.parse::<Change>().is_ok()));
    }
}
