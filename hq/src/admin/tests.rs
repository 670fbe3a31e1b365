//! Operators ask the real router, over loopback, with a real driver behind.

use std::{fs, net::Ipv4Addr};

use serde_json::{Value, json};
use storemesh_host::{
    clock,
    http::{Client, ClientError, bind_tcp, serve_tcp},
    token,
};
use storemesh_keys::{HqSigner, InvitationCode, SecretKey};
use storemesh_protocol::{
    content::{Builder, ChunkRef, RelPath, ReleaseHead, pack},
    hq::Hq,
};
use tempfile::TempDir;

mod feeds_read;

use super::*;
use crate::{db, driver, own_key};

struct World {
    data: TempDir,
    client: Client,
    chain: ChainId,
    signer: HqSigner,
    feeds: feeds::Inbox,
}

async fn world() -> World {
    let data = tempfile::tempdir().unwrap();
    let root = SecretKey::generate();
    own_key::create(data.path(), &root, &"acme".parse().unwrap(), clock::wall()).unwrap();
    start(data).await
}

async fn start(data: TempDir) -> World {
    let own = own_key::load(data.path(), clock::wall()).unwrap();
    let db = db::open(&data.path().join(db::FILE)).unwrap();
    let chain = own.trust.chain;
    let hq = Hq::load(own.signer.clone(), own.trust, &db.rows().unwrap()).unwrap();
    let (inbox, _) = driver::start(hq, db).unwrap();
    let books = Arc::new(feeds::open(&data.path().join(feeds::FILE)).unwrap());
    let feeds = feeds::start(&own, books.clone(), inbox.clone()).await.unwrap();
    let journal = Journal::new(books, own.trust, feeds.grown);
    let chunks = Chunks::open(data.path()).unwrap();
    let said = ["hq.example.org:7400".to_owned()];
    let advertise = Advertise::new(&said, Vec::new(), 7400).unwrap();
    let orders = Arc::default();
    let feeds = feeds.inbox;
    let router =
        router(Admin { inbox, feeds: feeds.clone(), journal, chunks, chain, advertise, orders });
    let listener = bind_tcp((Ipv4Addr::LOCALHOST, 0).into(), "--admin-port").await.unwrap();
    let token = token::ensure(&data.path().join("admin.token")).unwrap();
    let client = Client::tcp(listener.local_addr().unwrap(), token.clone());
    tokio::spawn(serve_tcp(listener, router, token, BODY_BYTES_MAX));
    World { data, client, chain, signer: own.signer, feeds }
}

impl World {
    /// What a kill would leave now.
    fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for file in [db::FILE, feeds::FILE, "online.key", "chain"] {
            fs::copy(self.data.path().join(file), copy.path().join(file)).unwrap();
        }
        copy
    }

    async fn get(&self, path: &str) -> Value {
        self.client.get(path).await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, Problem> {
        match self.client.post(path, &body).await {
            Ok(answer) => Ok(answer),
            Err(ClientError::Problem(problem)) => Err(problem),
            Err(other) => panic!("{other}"),
        }
    }

    async fn put(&self, chunk: &ChunkRef, stored: &[u8]) -> Result<(), Problem> {
        let path = format!("/v1/chunks/{}?plain_bytes={}", chunk.id, chunk.plain);
        match self.client.put_bytes::<()>(&path, stored.to_vec()).await {
            Ok(()) => Ok(()),
            Err(ClientError::Problem(problem)) => Err(problem),
            Err(other) => panic!("{other}"),
        }
    }
}

/// A release of one file, and all its chunks.
fn release(content: &[u8]) -> (Value, Vec<(ChunkRef, Vec<u8>)>) {
    let (chunk, stored) = pack(content);
    let mut builder = Builder::new();
    builder.file(RelPath::new("till").unwrap(), 0o755, vec![chunk]);
    let (manifest, encoded) =
        builder.finish("pos".parse().unwrap(), "1.0".parse().unwrap()).unwrap();
    let (head, mut chunks) = ReleaseHead::new(&manifest, &encoded);
    let pieces: Vec<_> = head
        .manifest
        .iter()
        .map(|it| json!({"id": it.id.to_string(), "stored_bytes": it.stored, "plain_bytes": it.plain}))
        .collect();
    let json = json!({
        "product": "pos", "version": "1.0", "release": head.id.to_string(), "manifest": pieces,
        "manifest_bytes": head.manifest_bytes, "release_bytes": head.plain_bytes,
        "stored_bytes": head.stored_bytes, "chunks": head.chunks,
    });
    chunks.push((chunk, stored));
    (json, chunks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_added_once_and_its_codes_lead_to_hq() {
    let world = world().await;
    assert_eq!(world.get("/v1/stores").await, json!([]));
    let added = world.post("/v1/stores", json!({"store": "s1"})).await.unwrap();
    assert_eq!(added, json!({"store": "s1", "terminals": 0, "gateway": null}));
    assert_eq!(world.get("/v1/stores").await, json!([added]));
    let again = world.post("/v1/stores", json!({"store": "s1"})).await.unwrap_err();
    assert!(again.is("store-exists") && again.status == 409, "{again:?}");

    let answer = world.post("/v1/stores/s1/invitations", json!({"valid_s": 3600})).await.unwrap();
    let code: InvitationCode = answer["code"].as_str().unwrap().parse().unwrap();
    assert_eq!(code.chain(), world.chain);
    assert_eq!(code.addresses(), ["hq.example.org:7400"]);
    let left = answer["until_ms"].as_u64().unwrap() - clock::wall().0;
    assert!((3_500_000..=3_600_000).contains(&left));
    let nowhere = world.post("/v1/stores/s2/invitations", json!({})).await.unwrap_err();
    assert!(nowhere.is("no-store") && nowhere.detail.contains("store add"), "{nowhere:?}");
    assert_eq!(world.post("/v1/stores", json!({"store": "../x"})).await.unwrap_err().status, 400);
    assert_eq!(world.get("/v1/fleet").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_stands_when_all_its_chunks_do_and_is_there_after_a_restart() {
    let world = world().await;
    let (head, chunks) = release(b"the till's program");
    let ids: Vec<String> = chunks.iter().map(|(chunk, _)| chunk.id.to_string()).collect();
    assert_eq!(world.post("/v1/chunks/lacking", json!(ids)).await.unwrap(), json!(ids));

    // With nothing, and then with the manifest alone.
    for (chunk, stored) in &chunks {
        let early = world.post("/v1/releases", head.clone()).await.unwrap_err();
        assert!(early.is("chunks-lacking"), "{early:?}");
        world.put(chunk, stored).await.unwrap();
        world.put(chunk, stored).await.unwrap();
    }
    assert_eq!(world.post("/v1/chunks/lacking", json!(ids)).await.unwrap(), json!([]));
    let added = world.post("/v1/releases", head.clone()).await.unwrap();
    assert_eq!(added["new"], true);
    let again = world.post("/v1/releases", head.clone()).await.unwrap();
    assert_eq!((&again["new"], &again["release"]), (&json!(false), &head["release"]));

    let none = world.post("/v1/releases/pos/2.0/start", json!(null)).await.unwrap_err();
    assert!(none.is("no-release") && none.status == 404, "{none:?}");
    world.post("/v1/releases/pos/1.0/start", json!(null)).await.unwrap();
    let listed = world.get("/v1/releases").await;
    assert_eq!((&listed[0]["version"], &listed[0]["wanted"]), (&json!("1.0"), &json!(true)));

    // The answer is given after the commit, so a copy taken now is what a kill would leave.
    assert_eq!(start(world.copy()).await.get("/v1/releases").await, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_published_keeps_its_content() {
    let world = world().await;
    for (content, refused) in [(b"one", false), (b"two", true)] {
        let (head, chunks) = release(content);
        for (chunk, stored) in &chunks {
            world.put(chunk, stored).await.unwrap();
        }
        match world.post("/v1/releases", head).await {
            Ok(_) => assert!(!refused),
            Err(problem) => assert!(refused && problem.is("other-content"), "{problem:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_together_is_refused() {
    let world = world().await;
    let (chunk, mut stored) = pack(b"the till's program");
    *stored.last_mut().unwrap() ^= 1;
    let forged = world.put(&chunk, &stored).await.unwrap_err();
    assert!(forged.is("not-the-chunk") && forged.status == 422, "{forged:?}");

    let (head, chunks) = release(b"the till's program");
    for (chunk, stored) in &chunks {
        world.put(chunk, stored).await.unwrap();
    }
    for (key, value, status) in [
        ("release", json!("ab".repeat(32)), 422),
        ("stored_bytes", json!(1), 422),
        ("release", json!("ab"), 400),
        ("manifest", json!([]), 400),
        ("product", json!(".hidden"), 400),
        ("misspelt", json!(1), 422),
    ] {
        let mut head = head.clone();
        head[key] = value;
        let problem = world.post("/v1/releases", head).await.unwrap_err();
        assert_eq!(problem.status, status, "{key}: {problem:?}");
    }
    assert_eq!(world.get("/v1/releases").await, json!([]));
    let many = vec!["ab".repeat(32); 4097];
    assert_eq!(world.post("/v1/chunks/lacking", json!(many)).await.unwrap_err().status, 400);
}
