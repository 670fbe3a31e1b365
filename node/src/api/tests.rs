//! The journal and stock over the socket, with real feeds behind it.

use std::sync::Arc;

use serde_json::{Value, json};
use storemesh_host::http::{Client, ClientError, bind_unix, serve_unix};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinHandle,
};

use super::*;
use crate::feeds::tests::{Till, Working};

struct Shop {
    folder: tempfile::TempDir,
    working: Working,
    line: JoinHandle<()>,
    till: Till,
}

impl Shop {
    async fn open() -> Self {
        let shop = Self::without_hq();
        shop.working.has_a_schema().await;
        shop
    }

    fn without_hq() -> Self {
        let till = Till::new(1);
        let working = till.start();
        let folder = tempfile::tempdir().unwrap();
        let (terminal, store) = ("till-1".parse().unwrap(), "s1".parse().unwrap());
        let feeds = working.feeds.inbox.clone();
        let db = Arc::clone(&working.feeds.db);
        let (terminal_id, trust) = till.id_and_trust();
        let router = kept(Kept { feeds, db, terminal, store, terminal_id, trust });
        let listener = bind_unix(&folder.path().join("api.sock")).unwrap();
        tokio::spawn(serve_unix(listener, router, BODY_BYTES_MAX));
        let line = working.hq();
        Self { folder, working, line, till }
    }

    fn client(&self) -> Client {
        Client::unix(self.folder.path().join("api.sock"))
    }

    async fn post(&self, key: &str, path: &str, body: &str) -> Result<Value, ClientError> {
        let path = format!("/v1/journal/{path}");
        self.client().keyed(key).post_bytes(&path, body.to_owned()).await
    }

    async fn refused(&self, key: &str, path: &str, body: &str) -> (u16, String) {
        problem(self.post(key, path, body).await.unwrap_err())
    }

    async fn on_hand(&self, item: &str) -> Value {
        self.client().get(&format!("/v1/stock/{item}")).await.unwrap()
    }

    /// What the node answers to these bytes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut socket = UnixStream::connect(self.folder.path().join("api.sock")).await.unwrap();
        // It may hang up before it has read all.
        _ = socket.write_all(request).await;
        let mut answer = vec![0; 4096];
        let length = socket.read(&mut answer).await.unwrap();
        answer.truncate(length);
        String::from_utf8(answer).unwrap()
    }
}

fn problem(error: ClientError) -> (u16, String) {
    let ClientError::Problem(problem) = error else { panic!("{error}") };
    assert!(!problem.detail.is_empty(), "{problem:?}");
    (problem.status, problem.kind.rsplit(':').next().unwrap().to_owned())
}

fn of(status: u16, kind: &str) -> (u16, String) {
    (status, kind.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_answered_with_what_names_it_in_the_whole_chain() {
    let shop = Shop::open().await;
    let kept = shop.post("basket-1", "sales", r#"{"total":1.10}"#).await.unwrap();
    assert_eq!((&kept["terminal"], &kept["topic"]), (&json!("till-1"), &json!("sales")));
    assert_eq!(kept["seq"], 1);
    let boot = kept["boot"].as_str().unwrap();
    assert!(boot.len() == 16 && boot.bytes().all(|digit| digit.is_ascii_hexdigit()), "{boot}");
    assert_eq!(kept["terminal_id"], json!(shop.till.id_and_trust().0));
    assert_eq!(kept.as_object().unwrap().len(), 5, "{kept}");
    assert_eq!(shop.post("basket-1", "sales", r#"{"total":1.10}"#).await.unwrap(), kept);
    let other = shop.refused("basket-1", "sales", r#"{"total":2.20}"#).await;
    assert_eq!(other, of(409, "key-used"));
    let elsewhere = shop.post("basket-1", "cash", r#"{"total":1.10}"#).await.unwrap_err();
    let why = elsewhere.to_string();
    assert!(why.contains("of topic sales") && why.contains("all topics"), "{why}");
    assert_eq!(problem(elsewhere), of(409, "key-used"));
    assert_eq!(shop.post("basket-2", "sales", "[]").await.unwrap()["seq"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_more_than_the_disk_hears_what_was_reached() {
    let shop = Shop::open().await;
    let kept = shop.post("a", "sales?ack=hq", "1").await.unwrap();
    assert_eq!(kept.get("reached"), None, "{kept}");
    shop.line.abort();
    let kept = shop.post("b", "sales?ack=hq&wait_ms=50", "2").await.unwrap();
    assert_eq!(kept["reached"], "disk", "{kept}");
    let head = b"POST /v1/journal/sales?ack=neighbour&wait_ms=1 HTTP/1.1\r\nhost: x\r\n";
    let rest = b"idempotency-key: c\r\ncontent-length: 1\r\n\r\n3";
    let answer = shop.raw(&[&head[..], rest].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused_by_name() {
    let shop = Shop::open().await;
    assert_eq!(shop.refused("a", "rumours", "1").await, of(404, "unknown-topic"));
    assert_eq!(shop.refused("a", "control", "1").await, of(404, "unknown-topic"));
    assert_eq!(shop.refused("a", "no%20name", "1").await, of(404, "unknown-topic"));
    assert_eq!(shop.refused("a", "sales", "{").await, of(400, "not-json"));
    assert_eq!(shop.refused("", "sales", "1").await, of(400, "idempotency-key"));
    assert_eq!(shop.refused(&"k".repeat(256), "sales", "1").await, of(400, "idempotency-key"));
    assert_eq!(shop.refused("a", "sales?ack=later", "1").await, of(400, "bad-request"));
    let misspelt = shop.post("a", "sales?akc=hq", "1").await.unwrap_err().to_string();
    assert!(misspelt.contains("`akc`") && misspelt.contains("ack=disk, neighbour or hq"));
    assert_eq!(shop.refused("a", "sales?wait_ms=60001", "1").await, of(400, "bad-request"));
    let without: Result<Value, _> = shop.client().post_bytes("/v1/journal/sales", "1").await;
    assert_eq!(problem(without.unwrap_err()), of(400, "idempotency-key"));
    // Nothing of it was kept.
    assert_eq!(shop.post("a", "sales", "1").await.unwrap()["seq"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_refused_also_when_it_does_not_say_so() {
    let shop = Shop::open().await;
    // `cash` takes less than the API does.
    let (status, _) = shop.refused("a", "cash", &format!("\"{}\"", "a".repeat(20_000))).await;
    assert_eq!(status, 413);
    let (status, _) = shop.refused("a", "sales", &" ".repeat(BODY_BYTES_MAX + 1)).await;
    assert_eq!(status, 413);
    let head = "POST /v1/journal/sales HTTP/1.1\r\nhost: x\r\nidempotency-key: a\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let mut endless = head.as_bytes().to_vec();
    for _ in 0..20 {
        endless.extend_from_slice(b"1000\r\n");
        endless.extend_from_slice(&[b' '; 0x1000]);
        endless.extend_from_slice(b"\r\n");
    }
    let answer = shop.raw(&endless).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_hqs_schema_has_come_a_sale_is_refused_for_now() {
    let shop = Shop::without_hq();
    shop.line.abort();
    let (status, kind) = match shop.post("a", "sales", "1").await {
        Err(error) => problem(error),
        // It came all the same, before the line was cut.
        Ok(_) => return,
    };
    assert_eq!((status, kind), of(503, "no-schema"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_the_last_count_and_what_moved_since() {
    let shop = Shop::open().await;
    let unknown: Result<Value, _> = shop.client().get("/v1/stock/ham").await;
    assert_eq!(problem(unknown.unwrap_err()), of(404, "unknown-item"));
    let moved = r#"{"movements":[{"item":"ham","quantity":-0.325},{"item":"a/b","quantity":2}]}"#;
    shop.post("a", "stock", moved).await.unwrap();
    assert_eq!(
        shop.on_hand("ham").await,
        json!({"store":"s1","item":"ham","on_hand":-0.325,"counted":null})
    );
    assert_eq!(shop.on_hand("a%2Fb").await["on_hand"], 2);
    shop.post("b", "stock", r#"{"item":"ham","count":12}"#).await.unwrap();
    shop.post("c", "stock", r#"{"movements":[{"item":"ham","quantity":-0.1}]}"#).await.unwrap();
    let ham = shop.on_hand("ham").await;
    assert_eq!((&ham["on_hand"], &ham["counted"]["quantity"]), (&json!(11.9), &json!(12)));
    assert_eq!(ham["counted"]["seq"], 2);
    assert_eq!(ham["counted"]["terminal"], "till-1");
    assert_eq!(ham["counted"]["terminal_id"], json!(shop.till.id_and_trust().0));
    let long = format!(r#"{{"item":"{}","count":1}}"#, "a".repeat(65));
    assert_eq!(shop.refused("d", "stock", &long).await, of(400, "bad-record"));
    assert_eq!(shop.refused("d", "stock", "[1]").await, of(400, "bad-record"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_says_how_far_hq_has_it() {
    let shop = Shop::open().await;
    shop.post("a", "sales?ack=hq", "1").await.unwrap();
    shop.line.abort();
    shop.post("b", "sales", "2").await.unwrap();
    let journal: Value = shop.client().get("/v1/journal").await.unwrap();
    assert_eq!((&journal["unacked"], &journal["full"]), (&json!(1), &json!(false)));
    assert_eq!(journal["schema"], 1);
    let feed = &journal["feeds"][0];
    assert_eq!((&feed["topic"], &feed["last_seq"]), (&json!("sales"), &json!(2)));
    assert_eq!((&feed["first_seq"], &feed["acked_seq"]), (&json!(1), &json!(1)));
}
