//! One entry as a line of JSON.
//!
//! An event's body leaves as its program posted it, byte for byte but for line breaks between its parts:
//! numbers keep all their digits. One that is no JSON, or nested so deep that readers would choke on it,
//! leaves as hex in `body_hex`, and `body` is null.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;
use storemesh_host::{json, quantity::number};
pub(super) use storemesh_protocol::feeds::export::Line;
use storemesh_protocol::feeds::{
    export::Body,
    stock::{At, Record},
};

use crate::utc;

#[derive(Debug, Serialize)]
struct Head<'a> {
    cursor: String,
    store: &'a str,
    terminal: &'a str,
    terminal_id: String,
    boot: String,
    topic: &'a str,
    seq: u64,
    received_at: String,
}

#[derive(Debug, Serialize)]
struct StockBody {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    movements: Vec<Movement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<Count>,
}

#[derive(Debug, Serialize)]
struct Movement {
    item: String,
    quantity: Box<RawValue>,
}

#[derive(Debug, Serialize)]
struct Count {
    item: String,
    quantity: Box<RawValue>,
    /// What the count had seen, so that a reader can count the same.
    base: Option<Place>,
    seen: Vec<Place>,
    /// It counts nothing: it is the beginning of a list that goes on in the next entry.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    part: bool,
}

/// An entry of the store's stock.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    terminal_id: String,
    boot: String,
    seq: u64,
}

impl From<At> for Place {
    fn from(At { author, boot, seq }: At) -> Self {
        Self { terminal_id: author.peer().to_string(), boot: boot.to_string(), seq }
    }
}

/// Without the line's end.
pub(super) fn render(line: &Line) -> String {
    let head = Head {
        cursor: line.cursor.to_string(),
        store: line.store.as_str(),
        terminal: line.terminal.as_str(),
        terminal_id: line.peer.to_string(),
        boot: line.boot.to_string(),
        topic: line.topic.as_str(),
        seq: line.seq,
        received_at: utc::text(line.received_at),
    };
    let mut text = written(&head);
    // The body goes where the head ends.
    text.pop();
    let body = match &line.body {
        Body::Stock(record) => written(&stock(record)),
        Body::Event(payload) => {
            event(payload).unwrap_or_else(|| format!("null,\"body_hex\":\"{}\"", hex(payload)))
        }
    };
    text + ",\"body\":" + &body + "}"
}

fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers are JSON")
}

fn event(payload: &[u8]) -> Option<String> {
    let text = json::checked(payload).ok()?;
    // Inside a string there is none.
    Some(text.trim().replace(['\n', '\r'], " "))
}

fn stock(record: &Record) -> StockBody {
    let movement = |moved: &storemesh_protocol::feeds::stock::Movement| Movement {
        item: moved.item.clone(),
        quantity: number(moved.quantity),
    };
    let count = record.count.as_ref().map(|count| Count {
        item: count.item.clone(),
        quantity: number(count.value),
        base: count.base.map(Place::from),
        seen: count.seen.iter().copied().map(Place::from).collect(),
        part: count.part,
    });
    StockBody { movements: record.movements.iter().map(movement).collect(), count }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing into memory cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_body_leaves_with_all_its_digits_on_one_line() {
        let body = event(b" {\"total\": 12.10,\r\n \"big\": 12345678901234567890.123} ").unwrap();
        assert_eq!(body, "{\"total\": 12.10,   \"big\": 12345678901234567890.123}");
        for none in [&b"{"[..], b"", b"\xff", b"{} {}", "[".repeat(500).as_bytes()] {
            assert_eq!(event(none), None);
        }
        assert_eq!(hex(b"\x00\xff"), "00ff");
    }
}
