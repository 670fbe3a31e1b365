//! A service and its commands, over both ways in.

use std::{net::Ipv4Addr, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::{
    exit::{Exit, exit_of},
    token::{self, Token},
};

const BODY_MAX: usize = 1000;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: usize,
}

impl Parameters for Page {
    const FORM: &'static str = "limit=N";
}

fn router() -> Router {
    Router::new()
        .route("/v1/status", get(async || Json(json!({ "state": "running" }))))
        .route("/v1/echo", post(async |Json(body): Json<Value>| Json(body)))
        .route("/v1/count", post(async |body: Bytes| Json(body.len())).put(async || ()))
        .route("/v1/page", get(async |Asked(page): Asked<Page>| Json(page.limit)))
        .route("/v1/refuse", get(async || refusal()))
        .route("/v1/panic", get(async || -> () { panic!("a route's own fault") }))
}

fn refusal() -> Problem {
    Problem::new(StatusCode::CONFLICT, "release-exists", "The release exists", "choose another")
}

fn token() -> Token {
    let folder = tempfile::tempdir().unwrap();
    token::ensure(&folder.path().join("api.token")).unwrap()
}

async fn tcp_service() -> (std::net::SocketAddr, Token) {
    let (listener, token) =
        (bind_tcp((Ipv4Addr::LOCALHOST, 0).into(), "--port").await.unwrap(), token());
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_tcp(listener, router(), token.clone(), BODY_MAX));
    (address, token)
}

fn unix_service(deep: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join(deep);
    std::fs::create_dir_all(&inside).unwrap();
    let path = inside.join("api.sock");
    tokio::spawn(serve_unix(bind_unix(&path).unwrap(), router(), BODY_MAX));
    (folder, path)
}

async fn round_trip(client: &Client) {
    let status: Value = client.get("/v1/status").await.unwrap();
    assert_eq!(status["state"], "running");
    let echo: Value = client.post("/v1/echo", &json!([1, "two"])).await.unwrap();
    assert_eq!(echo, json!([1, "two"]));
    let count: usize = client.post_bytes("/v1/count", vec![0; BODY_MAX]).await.unwrap();
    assert_eq!(count, BODY_MAX);
    client.put::<()>("/v1/count", &()).await.unwrap();
    assert_eq!(client.get_bytes("/v1/status").await.unwrap(), br#"{"state":"running"}"#);
}

fn problem(result: Result<Value, ClientError>) -> Problem {
    match result {
        Err(ClientError::Problem(problem)) => problem,
        other => panic!("no problem document: {other:?}"),
    }
}

#[tokio::test]
async fn a_command_asks_over_loopback() {
    let (address, token) = tcp_service().await;
    round_trip(&Client::tcp(address, token)).await;
}

#[tokio::test]
async fn a_command_asks_over_the_unix_socket_that_only_the_owner_may_open() {
    let (_folder, path) = unix_service("");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    round_trip(&Client::unix(path)).await;
}

#[tokio::test]
async fn a_socket_works_in_a_folder_whose_name_is_too_long_for_one() {
    let (_folder, path) = unix_service(&["sixteen-letters-"; 9].join("/"));
    round_trip(&Client::unix(path)).await;
}

#[tokio::test]
async fn a_socket_left_by_a_crash_is_replaced_and_another_file_is_not() {
    let (_folder, path) = unix_service("");
    let second = bind_unix(&path).unwrap();
    tokio::spawn(serve_unix(second, router(), BODY_MAX));
    round_trip(&Client::unix(path.clone())).await;

    let file = path.with_file_name("precious");
    std::fs::write(&file, "data").unwrap();
    assert!(format!("{:#}", bind_unix(&file).unwrap_err()).contains("remove it"));
    assert_eq!(std::fs::read(&file).unwrap(), b"data");
}

#[tokio::test]
async fn a_wrong_token_is_answered_401_before_anything_else() {
    let (address, _) = tcp_service().await;
    let stranger = Client::tcp(address, token());
    for path in ["/v1/status", "/v1/none"] {
        let problem = problem(stranger.get(path).await);
        assert_eq!(problem.status, 401);
        assert!(problem.is("unauthorized"), "{problem:?}");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
}

#[tokio::test]
async fn what_goes_wrong_is_a_problem_document_whoever_says_it() {
    let (address, token) = tcp_service().await;
    let client = Client::tcp(address, token);
    assert_eq!(problem(client.get("/v1/refuse").await), refusal());
    let nowhere = problem(client.get("/v1/none").await);
    assert!(nowhere.is("not-found") && nowhere.detail.contains("`/v1/none`"), "{nowhere:?}");
    let wrong = problem(client.get("/v1/echo").await);
    assert!(wrong.is("method-not-allowed"), "{wrong:?}");
    assert_eq!(wrong.detail, "`/v1/echo` does not take GET: the header `Allow` says what it takes");
    let not_json = problem(client.post_bytes("/v1/echo", "{").await);
    assert_eq!(not_json.status, 415);
    assert!(!not_json.detail.is_empty());
}

#[tokio::test]
async fn another_method_is_told_in_a_header_which_one_is_possible() {
    let (_folder, path) = unix_service("");
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let request = b"DELETE /v1/count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(
        answer.contains("allow: POST,PUT") && answer.contains("does not take DELETE"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_query_that_does_not_read_is_refused_by_its_parameters_name() {
    let (address, token) = tcp_service().await;
    let client = Client::tcp(address, token);
    let page: Value = client.get("/v1/page?limit=3").await.unwrap();
    assert_eq!(page, json!(3));
    for (query, says) in
        [("limit=many", "limit: invalid digit"), ("size=3", "unknown field `size`")]
    {
        let problem = problem(client.get(&format!("/v1/page?{query}")).await);
        assert!(problem.is("bad-request") && problem.detail.contains(says), "{problem:?}");
        assert!(problem.detail.ends_with("possible: limit=N"), "{problem:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let (address, token) = tcp_service().await;
    let client = Client::tcp(address, token.clone());
    let refused = problem(client.post_bytes("/v1/count", vec![0; BODY_MAX + 1]).await);
    assert_eq!(refused.status, 413);

    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/count HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        token.as_str()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = format!("{:x}\r\n{}\r\n0\r\n\r\n", BODY_MAX + 1, "x".repeat(BODY_MAX + 1));
    stream.write_all(piece.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_route_that_panics_takes_only_its_connection_down() {
    let (address, token) = tcp_service().await;
    let client = Client::tcp(address, token);
    let error = client.get::<Value>("/v1/panic").await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    round_trip(&client).await;
}

#[tokio::test]
async fn a_connection_that_does_not_finish_its_request_is_closed() {
    let listener = bind_tcp((Ipv4Addr::LOCALHOST, 0).into(), "--port").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(server::serve(router(), listener, Duration::from_millis(50)));
    stream.write_all(b"GET /v1/st").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("200"));
}

#[tokio::test]
async fn where_nobody_listens_the_exit_code_is_3() {
    let unused =
        bind_tcp((Ipv4Addr::LOCALHOST, 0).into(), "--port").await.unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("stale.sock");
    drop(bind_unix(&stale).unwrap());
    for client in [
        Client::tcp(unused, token()),
        Client::unix(folder.path().join("api.sock")),
        Client::unix(stale),
        Client::unix(folder.path().join("no/such/folder/api.sock")),
    ] {
        let error = client.get::<Value>("/v1/status").await.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable(_)), "{error}");
        let error = anyhow::Error::from(error).context("asking for the status");
        assert_eq!(exit_of(&error), Exit::Unreachable);
    }
}
