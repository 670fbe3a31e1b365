//! Tables for people.
//!
//! Columns as wide as their widest cell, two spaces between, numbers to the right: nothing that a
//! narrow terminal or a mail would break. Programs take `--json`.

use storemesh_host::sizes::bytes;

use crate::admin::json::FleetRow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Left,
    Right,
}

pub(crate) fn table<const N: usize>(
    columns: [(&str, Column); N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let mut lines = vec![columns.map(|(title, _)| title.to_owned())];
    lines.extend(rows);
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells =
            line.iter().zip(columns).zip(widths).map(|((cell, (_, side)), width)| match side {
                Column::Left => format!("{cell:<width$}"),
                Column::Right => format!("{cell:>width$}"),
            });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text += "\n";
    }
    text
}

pub(crate) fn fleet(rows: &[FleetRow], now_ms: u64) -> String {
    use Column::{Left, Right};
    if rows.is_empty() {
        return "no terminals yet: storemesh-hq store invite STORE, then storemesh join CODE on the \
                terminal"
            .to_owned();
    }
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let lines = rows.iter().map(|row| {
        let mut state = match (row.online, row.gateway) {
            (true, true) => "gateway".to_owned(),
            (true, false) => "online".to_owned(),
            (false, _) => match row.seen_ms {
                Some(seen) => format!("away {}", ago(now_ms.saturating_sub(seen))),
                None => "not heard of".to_owned(),
            },
        };
        if row.ended {
            state += ", ended";
        } else if !row.ended_topics.is_empty() {
            state = format!("{state}, ended on {}", row.ended_topics.join(" and "));
        }
        let chunks = match row.chunks_total {
            0 => "-".to_owned(),
            total => format!("{}/{total}", row.chunks_have),
        };
        [
            row.store.clone(),
            row.terminal.clone(),
            state,
            or_dash(&row.product),
            or_dash(&row.running),
            or_dash(&row.wanted),
            match (&row.phase, row.bytes_lacking) {
                (Some(phase), Some(lacking)) => format!("{phase} ({} lacking)", bytes(lacking)),
                (phase, _) => or_dash(phase),
            },
            chunks,
            bytes(row.bytes_from_hq),
            bytes(row.bytes_from_neighbours),
        ]
    });
    let columns = [
        ("STORE", Left),
        ("TERMINAL", Left),
        ("STATE", Left),
        ("PRODUCT", Left),
        ("RUNNING", Left),
        ("WANTED", Left),
        ("PHASE", Left),
        ("CHUNKS", Right),
        ("FROM HQ", Right),
        ("FROM NEIGHBOURS", Right),
    ];
    table(columns, lines)
}

fn ago(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows = [["a".to_owned(), "1000".to_owned()], ["long".to_owned(), "2".to_owned()]];
        let text = table([("NAME", Column::Left), ("N", Column::Right)], rows.into_iter());
        assert_eq!(text, "NAME     N\na     1000\nlong     2\n");
    }

    #[test]
    fn times_read_well() {
        assert_eq!(ago(119_000), "119 s");
        assert_eq!(ago(90 * 60_000), "90 min");
    }

    #[test]
    fn a_terminal_of_which_nothing_is_known_has_its_row() {
        let row = FleetRow {
            terminal: "till-1".to_owned(),
            terminal_id: "12D3KooW".to_owned(),
            store: "s1".to_owned(),
            gateway: false,
            online: false,
            ended: false,
            ended_topics: Vec::new(),
            product: None,
            wanted: None,
            running: None,
            phase: None,
            chunks_have: 0,
            chunks_total: 0,
            bytes_from_hq: 0,
            bytes_from_neighbours: 0,
            bytes_lacking: None,
            seen_ms: None,
        };
        let text = fleet(std::slice::from_ref(&row), 0);
        assert!(text.contains("till-1") && text.contains("not heard of"), "{text}");
        let on = FleetRow { ended_topics: vec!["cash".to_owned()], ..row.clone() };
        assert!(fleet(&[on], 0).contains("not heard of, ended on cash"));
        let all = FleetRow { ended: true, online: true, ..row };
        assert!(fleet(&[all], 0).contains("online, ended"));
    }
}
