//! The journal's part of the local API: what a program posts is kept, and gets to HQ once.
//!
//! The answer comes when the entry is as safe as was asked (`?ack=disk`, `neighbour` or `hq`), or with 202
//! when that takes too long: it is on disk then all the same, and on its way. The idempotency key makes
//! asking again safe.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use storemesh_host::{
    http::{Asked, IDEMPOTENCY_KEY, Parameters, Problem},
    json::{self, NotJson},
    quantity::thousandths,
};
use storemesh_keys::Name;
use storemesh_protocol::feeds::{
    EntryId, FeedId, STOCK, Topic,
    terminal::{AckLevel, Body, Post, PostError},
};

use super::{Kept, stopping};
use crate::views::{self, Entry, Journal};

/// How long a program waits for more than its own disk where it does not say.
const WAIT_MS: u64 = 5_000;
/// And at most: well within what the server gives an answer.
const WAIT_MS_MAX: u64 = 60_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waits {
    #[serde(default)]
    ack: Level,
    #[serde(default = "wait_ms")]
    wait_ms: u64,
}

impl Parameters for Waits {
    const FORM: &'static str = "ack=disk, neighbour or hq; wait_ms=N (from 0 to 60000)";
}

fn wait_ms() -> u64 {
    WAIT_MS
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    #[default]
    Disk,
    #[serde(alias = "neighbor")]
    Neighbour,
    Hq,
}

/// What is posted to the stock topic: movements of some items, or the count of one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stock<'a> {
    #[serde(borrow, default)]
    movements: Option<Vec<Moved<'a>>>,
    #[serde(default)]
    item: Option<String>,
    #[serde(borrow, default)]
    count: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved<'a> {
    item: String,
    #[serde(borrow)]
    quantity: &'a RawValue,
}

pub(super) async fn post(
    State(kept): State<Kept>,
    Path(topic): Path<String>,
    Asked(asked): Asked<Waits>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Entry>), Problem> {
    let key = key(&headers)?;
    if asked.wait_ms > WAIT_MS_MAX {
        let detail = format!("wait_ms is {}: at most {WAIT_MS_MAX}", asked.wait_ms);
        return Err(Problem::of_status(StatusCode::BAD_REQUEST, detail));
    }
    let Ok(topic) = topic.parse::<Name>() else {
        return Err(unknown_topic(format!("there is no journal {topic}: that is no name")));
    };
    let body = read(&topic, &body)?;
    let ack = match asked.ack {
        Level::Disk => AckLevel::Disk,
        Level::Neighbour => AckLevel::Neighbour,
        Level::Hq => AckLevel::Hq,
    };
    let post = Post { topic, key, body, ack, wait: Duration::from_millis(asked.wait_ms) };
    let asked_topic = post.topic.clone();
    let posted = kept.feeds.post(post).await.map_err(stopping)?;
    let posted = posted.map_err(|why| problem(&asked_topic, why))?;
    let safe = ack <= posted.reached;
    let status = if safe { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    Ok((status, Json(views::entry((&kept.terminal, &kept.terminal_id), &posted, safe))))
}

pub(super) async fn show(State(kept): State<Kept>) -> Result<Json<Journal>, Problem> {
    let status = kept.feeds.look().await.map_err(stopping)?;
    Ok(Json(views::journal(&status)))
}

fn key(headers: &HeaderMap) -> Result<Vec<u8>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key.as_bytes().to_vec()),
        (Some(_), Some(_)) => Err(bad_key("more than one Idempotency-Key".to_owned())),
        (None, _) => Err(bad_key(
            "send an Idempotency-Key: the same one when this very event is posted again, another for \
             every other event"
                .to_owned(),
        )),
    }
}

/// What a body says; its size and what it means are judged where the topic is known.
fn read(topic: &Name, body: &[u8]) -> Result<Body, Problem> {
    if topic.as_str() != STOCK {
        json::checked(body).map_err(|why| {
            let (slug, title) = match why {
                NotJson::Malformed(_) => ("not-json", "Not JSON"),
                NotJson::TooDeep => ("too-deep", "Nested too deep"),
            };
            Problem::new(StatusCode::BAD_REQUEST, slug, title, why.to_string())
        })?;
        return Ok(Body::Event(body.to_vec()));
    }
    let stock: Stock<'_> = serde_json::from_slice(body).map_err(|why| {
        bad_record(format!(
            "the body is neither {{\"movements\": [{{\"item\": .., \"quantity\": ..}}]}} nor \
             {{\"item\": .., \"count\": ..}}: {why}"
        ))
    })?;
    match stock {
        Stock { movements: Some(moved), item: None, count: None } => {
            let line = |line: Moved<'_>| Ok((line.item, thousandths(line.quantity.get())?));
            let lines = moved.into_iter().map(line).collect::<Result<_, String>>();
            Ok(Body::Moved(lines.map_err(bad_record)?))
        }
        Stock { movements: None, item: Some(item), count: Some(count) } => {
            let value = thousandths(count.get()).map_err(bad_record)?;
            Ok(Body::Counted { item, value })
        }
        Stock { .. } => {
            Err(bad_record("give either movements, or an item and its count".to_owned()))
        }
    }
}

/// `topic` is the one that was posted to.
fn problem(topic: &Name, why: PostError) -> Problem {
    let detail = why.to_string();
    match why {
        PostError::UnknownTopic(..) => unknown_topic(detail),
        PostError::NoSchema => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-schema",
            "No schema has come from HQ yet",
            detail,
        ),
        PostError::NotWritten(_) => Problem::new(
            StatusCode::FORBIDDEN,
            "not-written-here",
            "Terminals do not write this topic",
            detail,
        ),
        PostError::TooLarge { .. } => Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE, detail),
        PostError::Key(_) => bad_key(detail),
        PostError::Conflict(entry) => Problem::new(
            StatusCode::CONFLICT,
            "key-used",
            "The idempotency key stands for another event",
            conflict(topic, &entry, &detail),
        ),
        PostError::Body(_) => bad_record(detail),
        PostError::Full => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "The disk is full", detail)
        }
        PostError::Ended(_) => {
            let title = "HQ has ended this terminal's journal";
            Problem::new(StatusCode::FORBIDDEN, "ended", title, detail)
        }
        PostError::Forked => {
            let title = "This terminal's journal has forked";
            Problem::new(StatusCode::FORBIDDEN, "forked", title, detail)
        }
    }
}

fn conflict(topic: &Name, entry: &EntryId, detail: &str) -> String {
    let EntryId { feed: FeedId { topic: Topic { name, .. }, boot, .. }, seq } = entry;
    let reach = if name == topic {
        ", which had another body"
    } else {
        ": one key stands for one event among all topics of this terminal"
    };
    format!(
        "{detail}, entry {seq} of topic {name}, boot {boot}{reach}; take a new key for a new event"
    )
}

fn unknown_topic(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-topic", "There is no such topic", detail)
}

fn bad_key(detail: String) -> Problem {
    let title = "The idempotency key is missing or wrong";
    Problem::new(StatusCode::BAD_REQUEST, "idempotency-key", title, detail)
}

fn bad_record(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-record", "Not what this topic takes", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(body: &str) -> Result<Body, Problem> {
        read(&STOCK.parse().unwrap(), body.as_bytes())
    }

    fn refused(body: &str) -> String {
        let problem = stock(body).unwrap_err();
        assert!(problem.is("bad-record") && problem.status == 400, "{problem:?}");
        problem.detail
    }

    #[test]
    fn an_event_is_kept_as_it_was_posted() {
        let posted = b" {\"total\": 1.10, \"b\":[1,2]}\n";
        let read = read(&"sales".parse().unwrap(), posted).unwrap();
        assert_eq!(read, Body::Event(posted.to_vec()));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for wrong in ["", "{", "{} {}", "sale", "\u{0}"] {
            let problem = read(&"sales".parse().unwrap(), wrong.as_bytes()).unwrap_err();
            assert!(problem.is("not-json") && problem.status == 400, "{problem:?}");
        }
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        let problem = read(&"sales".parse().unwrap(), deep.as_bytes()).unwrap_err();
        assert!(problem.is("too-deep") && problem.status == 400, "{problem:?}");
        assert!(problem.detail.contains("127 deep"), "{problem:?}");
        assert!(read(&"sales".parse().unwrap(), &[0xff, 0xfe]).is_err());
    }

    #[test]
    fn who_is_ended_hears_on_which_topic_and_what_to_do() {
        let cash: Name = "cash".parse().unwrap();
        let ended = problem(&cash, PostError::Ended(cash.clone()));
        assert!(ended.is("ended") && ended.status == 403, "{ended:?}");
        assert!(ended.detail.contains("topic cash") && ended.detail.contains("another terminal"));
        let forked = problem(&cash, PostError::Forked);
        assert!(forked.is("forked") && forked.detail.contains("anew"), "{forked:?}");
    }

    #[test]
    fn movements_and_counts_are_read_to_the_thousandth() {
        let moved = stock(
            r#"{"movements":[{"item":"milk","quantity":-1},{"item":"ham","quantity":-0.325}]}"#,
        );
        let lines = vec![("milk".to_owned(), -1000), ("ham".to_owned(), -325)];
        assert_eq!(moved.unwrap(), Body::Moved(lines));
        let counted = stock(r#"{"item":"milk","count":12}"#).unwrap();
        assert_eq!(counted, Body::Counted { item: "milk".to_owned(), value: 12_000 });
    }

    #[test]
    fn what_is_neither_movements_nor_a_count_is_refused_by_what_is_wrong() {
        assert!(refused("{}").contains("either movements, or an item"));
        let both = r#"{"movements":[],"item":"a","count":1}"#;
        assert!(refused(both).contains("either movements, or an item"));
        assert!(refused(r#"{"item":"a","count":1,"price":2}"#).contains("price"));
        assert!(refused(r#"{"item":"a","count":"1"}"#).contains("no number"));
        let fine = r#"{"movements":[{"item":"a","quantity":0.0001}]}"#;
        assert!(refused(fine).contains("three decimals"));
        assert!(refused("7").contains("neither"));
        assert!(refused("[]").contains("either movements, or an item"));
    }
}
