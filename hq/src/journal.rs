//! The commands that read what stores have written: journals and stock.

use std::{
    io::{ErrorKind, Write as _},
    ops::ControlFlow,
    time::Duration,
};

use anyhow::Context as _;
use storemesh_host::stock::Stock;
use storemesh_keys::Name;
use storemesh_protocol::feeds::hq::Cursor;

use crate::{
    admin::json::HeldRow,
    cli::{Common, ExportFlags},
    ops::{ask, client, refusals, show, warn},
    tables::{self, Column::Left, Column::Right},
};

/// A tail says something every 15 s; one that does not is gone.
const PATIENCE: Duration = Duration::from_mins(1);

/// Writes the lines as they come: any number in little memory.
pub(crate) fn export(common: &Common, flags: &ExportFlags) -> anyhow::Result<()> {
    let client = client(&common.data)?.within(PATIENCE);
    warn(&client)?;
    let ExportFlags { since, store, topic, limit, follow } = flags;
    let mut path = format!("/v1/journal/tail?follow={follow}");
    let limit = limit.map(|limit| limit.to_string());
    let store = store.as_ref().map(Name::to_string);
    let topic = topic.as_ref().map(Name::to_string);
    let since = since.as_ref().map(Cursor::to_string);
    for (name, value) in [("since", since), ("store", store), ("topic", topic), ("limit", limit)] {
        if let Some(value) = value {
            path = path + "&" + name + "=" + &value;
        }
    }
    let mut written = Ok(());
    let streamed = ask(async {
        let each = |piece: &[u8]| {
            written = write(piece);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        client.stream(&path, each).await.map_err(refusals)
    });
    match written {
        // Whoever reads has seen enough: `| head`.
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(why) => Err(why).context("writing to stdout"),
        Ok(()) => streamed,
    }
}

fn write(piece: &[u8]) -> std::io::Result<()> {
    // An empty line only says that the service is there.
    if piece == b"\n" {
        return Ok(());
    }
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(piece)?;
    stdout.flush()
}

pub(crate) fn status(common: &Common, store: Option<&Name>) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let path = match store {
        Some(store) => format!("/v1/journal/status?store={store}"),
        None => "/v1/journal/status".to_owned(),
    };
    warn(&client)?;
    let rows: Vec<HeldRow> = ask(async { client.get(&path).await.map_err(refusals) })?;
    show(common, &rows, || {
        if rows.is_empty() {
            return "no terminal has written anything yet".to_owned();
        }
        let lines = rows.iter().map(|row| {
            [
                row.store.clone(),
                row.terminal.clone(),
                row.topic.clone(),
                row.entries.to_string(),
                format!("{}/{}", row.newest_boot, row.newest_seq),
                wrong(row),
            ]
        });
        let columns = [
            ("STORE", Left),
            ("TERMINAL", Left),
            ("TOPIC", Left),
            ("ENTRIES", Right),
            ("NEWEST BOOT/SEQ", Left),
            ("", Left),
        ];
        tables::table(columns, lines)
    })
}

fn wrong(row: &HeldRow) -> String {
    let counted = [(row.missing, "missing"), (row.void, "void")];
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    let mut wrong: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
    let states =
        [(row.forked, "forked"), (row.cloned, "cloned: see `clone list`"), (row.ended, "ended")];
    wrong.extend(states.iter().filter(|(is, _)| *is).map(|(_, what)| (*what).to_owned()));
    wrong.join(", ")
}

pub(crate) fn stock(common: &Common, item: &str, store: Option<&Name>) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let path = format!("/v1/stock/{}", escaped(item));
    if let Some(store) = store {
        let path = format!("{path}?store={store}");
        let row: Stock = ask(async { client.get(&path).await.map_err(refusals) })?;
        return show(common, &row, || row.on_hand.to_string());
    }
    let rows: Vec<Stock> = ask(async { client.get(&path).await.map_err(refusals) })?;
    show(common, &rows, || {
        if rows.is_empty() {
            return format!("no store has moved or counted `{item}` yet");
        }
        let lines = rows.iter().map(|row| {
            let counted = row.counted.as_ref().map(|counted| counted.quantity.to_string());
            [row.store.clone(), row.on_hand.to_string(), counted.unwrap_or_else(|| "-".to_owned())]
        });
        tables::table([("STORE", Left), ("ON HAND", Right), ("LAST COUNT", Right)], lines)
    })
}

/// As a part of a path (RFC 3986): whatever is not plain, by its bytes.
fn escaped(item: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let of = |byte: u8| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    item.bytes().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_items_id_is_one_part_of_a_path_whatever_it_is() {
        assert_eq!(escaped("4006381-33393_1"), "4006381-33393_1");
        assert_eq!(escaped("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
    }
}
