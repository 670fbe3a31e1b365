//! Programs of the head office read what stores have written, and say what holds.

use std::{ops::ControlFlow, time::Duration};

use storemesh_keys::Timestamp;
use storemesh_protocol::{
    feeds::{Ack, Author, Boot, FeedId, HeaderHash, Scope, Topic},
    wire::{encode, feeds::FeedFrame},
};
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::feeds::till::Till;

const SOON: Duration = Duration::from_secs(10);

impl World {
    /// A terminal with a stream for feeds, and its store.
    async fn till(&self, link: u64, name: &str, store: &'static str) -> Till {
        // It may be there already.
        _ = self.post("/v1/stores", json!({"store": store})).await;
        let till = Till::new(&self.signer, name, store);
        let (frames, mut heard) = mpsc::channel(feeds::QUEUE);
        tokio::spawn(async move { while heard.recv().await.is_some() {} });
        let peer = till.key.peer_id();
        self.feeds.up(link, peer, store.parse().unwrap(), frames).await.unwrap();
        till
    }

    async fn give(&self, link: u64, frame: Vec<u8>) {
        self.feeds.frame(link, frame).await.unwrap();
    }

    /// Everything there is, a line each, when there are as many.
    async fn journal(&self, many: usize) -> Vec<Value> {
        let waiting = async {
            loop {
                let lines = self.get("/v1/journal").await;
                let lines = lines.as_array().unwrap();
                if lines.len() >= many {
                    return lines.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, waiting).await.expect("they come")
    }

    async fn refused(&self, path: &str) -> Problem {
        match self.client.get::<Value>(path).await {
            Err(ClientError::Problem(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    /// The lines of a tail, until there are `many`.
    async fn tail(&self, path: &str, many: usize) -> Vec<Value> {
        let mut text = String::new();
        let each = |piece: &[u8]| {
            text += std::str::from_utf8(piece).unwrap();
            if text.lines().count() < many {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        timeout(SOON, self.client.stream(path, each)).await.expect("it goes on").unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_listed_in_their_order_with_all_that_names_them() {
    let world = world().await;
    let mut till = world.till(1, "till-1", "s1").await;
    let mut other = world.till(2, "till-2", "s2").await;
    world.give(1, till.writes("sales", b"{\"total\": 12.10}")).await;
    world.give(2, other.writes("sales", b"not json")).await;
    world.give(1, till.moves("apple", -1_500)).await;
    let lines = world.journal(3).await;
    assert_eq!(lines.len(), 3);
    let first = &lines[0];
    assert_eq!(first["body"], json!({"total": 12.10}));
    assert_eq!((&first["store"], &first["terminal"]), (&json!("s1"), &json!("till-1")));
    assert_eq!(first["terminal_id"], json!(till.key.peer_id().to_string()));
    assert_eq!((&first["topic"], &first["seq"]), (&json!("sales"), &json!(1)));
    assert_eq!((&first["boot"], &first["cursor"]), (&json!("0000000000000001"), &json!("1-1")));
    assert!(first["received_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lines[1]["body"], Value::Null);
    assert_eq!(lines[1]["body_hex"], json!("6e6f74206a736f6e"));
    assert_eq!(lines[2]["body"], json!({"movements": [{"item": "apple", "quantity": -1.5}]}));

    let behind = world.get("/v1/journal?since=1-1&limit=1").await;
    assert_eq!(behind, json!([lines[1]]));
    assert_eq!(world.get("/v1/journal?store=s2").await, json!([lines[1]]));
    assert_eq!(world.get("/v1/journal?topic=stock").await, json!([lines[2]]));
    assert_eq!(world.get("/v1/journal?since=1-3").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_not_ours_is_refused() {
    let world = world().await;
    for (cursor, slug) in [("1-9", "another-cursor"), ("soon", "not-a-cursor")] {
        for path in ["/v1/journal", "/v1/journal/tail"] {
            let problem = world.refused(&format!("{path}?since={cursor}")).await;
            assert!(problem.status == 400 && problem.is(slug), "{problem:?}");
        }
    }
    for (query, says) in [
        ("after=1-1", "unknown field `after`"),
        ("limit=0", "from 1 to 10000"),
        ("limit=10001", "from 1 to 10000"),
        ("limit=many", "limit: invalid digit"),
    ] {
        let problem = world.refused(&format!("/v1/journal?{query}")).await;
        assert!(problem.is("bad-request") && problem.detail.contains(says), "{problem:?}");
    }
    let problem = world.refused("/v1/journal/tail?limit=0&follow=false").await;
    assert!(problem.detail.contains("1 or more"), "{problem:?}");
    assert!(world.refused("/v1/journal?store=s9").await.is("no-store"));
    let problem = world.refused("/v1/journal?topic=sale").await;
    assert!(problem.is("unknown-topic") && problem.detail.contains("sales, stock"), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_goes_on_with_what_comes_and_after_a_restart_behind_its_cursor() {
    let world = world().await;
    let mut till = world.till(1, "till-1", "s1").await;
    for _ in 0..3 {
        world.give(1, till.writes("sales", b"{}")).await;
    }
    let (seen, ()) = tokio::join!(world.tail("/v1/journal/tail", 5), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.give(1, till.writes("sales", b"{}")).await;
        world.give(1, till.writes("sales", b"{}")).await;
    });
    let seqs: Vec<u64> = seen.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);

    let cursor = seen[3]["cursor"].as_str().unwrap().to_owned();
    let world = start(world.copy()).await;
    let rest = world.tail(&format!("/v1/journal/tail?follow=false&since={cursor}"), 9).await;
    assert_eq!(rest, [seen[4].clone()]);
    let two = world.tail("/v1/journal/tail?follow=false&limit=2", 9).await;
    assert_eq!(two, seen[..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_told_for_each_store() {
    let world = world().await;
    world.post("/v1/stores", json!({"store": "s3"})).await.unwrap();
    let mut till = world.till(1, "till-1", "s1").await;
    let mut other = world.till(2, "till-2", "s2").await;
    world.give(1, till.moves("a/b", -1_500)).await;
    world.give(1, till.moves("a/b", 4_000)).await;
    world.give(2, other.moves("a/b", 1_000)).await;
    world.journal(3).await;
    let row = |store: &str, on_hand: Value| json!({"store": store, "item": "a/b", "on_hand": on_hand, "counted": null});
    let (one, two) = (row("s1", json!(2.5)), row("s2", json!(1)));
    assert_eq!(world.get("/v1/stock/a%2Fb").await, json!([one, two]));
    assert_eq!(world.get("/v1/stock/a%2Fb?store=s2").await, two);
    assert!(world.refused("/v1/stock/a%2Fb?store=s3").await.is("unknown-item"));
    assert!(world.refused("/v1/stock/a%2Fb?store=s9").await.is("no-store"));
    assert_eq!(world.get("/v1/stock/pear").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_numbered_by_hq_and_one_that_breaks_a_rule_is_refused() {
    let world = world().await;
    let first = world.get("/v1/schema").await;
    assert_eq!(first["version"], json!(1));
    let mut topics = first["topics"].clone();
    topics[0]["bytes_max"] = json!(100);
    let published = world.post("/v1/schema", json!({"topics": topics})).await.unwrap();
    assert_eq!(published["version"], json!(2));
    assert_eq!(world.get("/v1/schema").await, published);
    let again = world.post("/v1/schema", json!({"topics": topics})).await.unwrap();
    assert_eq!(again, published, "nothing has changed");
    topics[0]["scope"] = json!("chain");
    let refused = world.post("/v1/schema", json!({"topics": topics})).await.unwrap_err();
    assert!(refused.is("bad-schema") && refused.detail.contains("sales"), "{refused:?}");
    topics[0]["scope"] = json!("moon");
    let refused = world.post("/v1/schema", json!({"topics": topics})).await.unwrap_err();
    assert!(refused.status == 400 && refused.detail.contains("moon"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_hold_after_a_restart_and_what_is_left_out_stays() {
    let world = world().await;
    let set = world.post("/v1/settings", json!({"journal_copies": 3})).await.unwrap();
    assert_eq!(set, json!({"journal_copies": 3, "journal_retention_s": 14 * 86_400}));
    let refused = world.post("/v1/settings", json!({"journal_copies": 99})).await.unwrap_err();
    assert!(refused.is("bad-settings"), "{refused:?}");
    let world = start(world.copy()).await;
    assert_eq!(world.get("/v1/settings").await, set);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_after_an_end_is_not_exported_and_status_says_what_is_wrong() {
    let world = world().await;
    let mut till = world.till(1, "till-1", "s1").await;
    world.give(1, till.writes("stock", b"no record")).await;
    world.give(1, till.writes("sales", b"{}")).await;
    world.journal(1).await;
    let author = Author::terminal(till.key.peer_id());
    let sales = Some("sales".parse().unwrap());
    for topic in [None, sales] {
        world.feeds.order(feeds::Order::End { author, topic }).await.unwrap().unwrap();
    }
    world.give(1, till.writes("sales", b"{}")).await;
    let held = async {
        loop {
            let rows = world.get("/v1/journal/status?store=s1").await;
            if rows[0]["entries"] == json!(2) {
                return rows;
            }
        }
    };
    let rows = timeout(SOON, held).await.unwrap();
    assert_eq!((&rows[0]["topic"], &rows[0]["void"]), (&json!("sales"), &json!(0)));
    assert_eq!((&rows[1]["topic"], &rows[1]["void"]), (&json!("stock"), &json!(1)));
    assert_eq!((&rows[0]["ended"], &rows[1]["ended"]), (&json!(true), &json!(true)));
    assert_eq!(world.journal(1).await.len(), 1);
    let id = till.key.peer_id().to_string();
    let row =
        |topic: Value| json!({"store": "-", "terminal": "-", "terminal_id": id, "topic": topic});
    assert_eq!(world.get("/v1/ends").await, json!([row(Value::Null), row(json!("sales"))]));
    world.post("/v1/stores", json!({"store": "s2"})).await.unwrap();
    assert_eq!(world.get("/v1/journal/status?store=s2").await, json!([]));
    assert!(world.refused("/v1/journal/status?store=s3").await.is("no-store"));
    assert_eq!(world.get("/v1/clones").await, json!([]));
    let nobody = world.post("/v1/terminals/till-9/end", json!({})).await.unwrap_err();
    assert!(nobody.is("no-terminal"), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hq_whose_folder_was_put_back_says_what_to_do_before_it_serves_on() {
    let world = world().await;
    world.till(1, "till-1", "s1").await;
    assert_eq!(world.get("/v1/alarms").await, json!([]));
    let described = world.signer.described();
    let topic =
        Topic { name: "sales".parse().unwrap(), scope: Scope::Store("s1".parse().unwrap()) };
    let author = Author::terminal(SecretKey::generate().peer_id());
    let lost = world.signer.sign(&Ack {
        chain: described.chain,
        generation: described.generation,
        feed: FeedId { author, boot: Boot(1), topic },
        seq: 1,
        hash: HeaderHash([1; 32]),
        at: Timestamp(1),
        behind: None,
    });
    let acks = Some(vec![lost.into_signed()]);
    world.give(1, encode(&FeedFrame { acks, ..FeedFrame::default() })).await;
    let raised = async {
        loop {
            if let Some(alarm) = world.get("/v1/alarms").await[0].as_str() {
                return alarm.to_owned();
            }
        }
    };
    let alarm = timeout(SOON, raised).await.unwrap();
    assert!(alarm.contains("run `storemesh-hq --data FOLDER restored --root-key FILE`"), "{alarm}");
}
