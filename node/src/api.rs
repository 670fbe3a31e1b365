//! The terminal's local API: HTTP and JSON for the programs of this machine.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | how this terminal is ([`views::Status`]) |
//! | `GET /v1/peers` | the store's other terminals ([`views::Peer`]), a bare array |
//! | `GET /v1/why` | what is not as it should be, and why ([`views::Answer`]), a bare array |
//! | `GET /v1/why/release`, `/v1/why/release/PRODUCT` | of every product, or one: why it runs or does not |
//! | `GET /v1/why/gateway` | why there is a gateway, or none |
//! | `GET /v1/why/neighbour`, `/v1/why/neighbour/TERMINAL` | of every terminal, or one: why it is used or not |
//! | `GET /v1/garbage` | what a collection would delete ([`views::Garbage`]), a bare array |
//! | `POST /v1/garbage/collect` | deletes it, and says what |
//! | `POST /v1/journal/TOPIC` | keeps an event, and says where ([`views::Entry`]) |
//! | `GET /v1/journal` | how this terminal's own entries stand ([`views::Journal`]) |
//! | `GET /v1/stock/ITEM` | what is on hand of an item ([`storemesh_host::stock::Stock`]) |
//!
//! On the socket whoever may open it may ask; on loopback it takes the token. Errors are problem
//! documents (RFC 9457).

mod journal;
mod stock;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use storemesh_host::{db::Db, http::Problem};
use storemesh_keys::{Name, Trust};
use storemesh_protocol::{feeds::PAYLOAD_MAX, terminal::Ask};
use tokio::sync::oneshot;

use crate::{
    disk,
    driver::{Inbox, Stopping},
    feeds,
    views::{self, Answer, Garbage, Peer, Status},
    work::{Job, Jobs},
};

/// The largest body is an entry of a journal.
pub(crate) const BODY_BYTES_MAX: usize = PAYLOAD_MAX;

/// What answers ask.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) inbox: Inbox,
    pub(crate) jobs: Jobs,
    pub(crate) kept: Kept,
}

/// What answers ask about the journal and stock.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) feeds: feeds::Inbox,
    /// Read while the feeds' thread writes.
    pub(crate) db: Arc<Db>,
    pub(crate) terminal: Name,
    pub(crate) store: Name,
    /// This terminal's PeerId, as text.
    pub(crate) terminal_id: String,
    pub(crate) trust: Trust,
}

pub(crate) fn router(api: Api) -> Router {
    let kept = kept(api.kept.clone());
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/peers", get(peers))
        .route("/v1/why", get(async |api| why(api, Ask::Everything).await))
        .route("/v1/why/release", get(async |api| why(api, Ask::Releases).await))
        .route("/v1/why/release/{product}", get(why_release))
        .route("/v1/why/gateway", get(async |api| why(api, Ask::Gateway).await))
        .route("/v1/why/neighbour", get(async |api| why(api, Ask::Neighbours).await))
        .route("/v1/why/neighbour/{terminal}", get(why_neighbour))
        .route("/v1/garbage", get(garbage))
        .route("/v1/garbage/collect", post(collect))
        .with_state(api)
        .merge(kept)
}

fn kept(kept: Kept) -> Router {
    Router::new()
        .route("/v1/journal", get(journal::show))
        .route("/v1/journal/{topic}", post(journal::post))
        .route("/v1/stock/{item}", get(stock::show))
        .with_state(kept)
}

async fn status(State(api): State<Api>) -> Result<Json<Status>, Problem> {
    let look = api.inbox.look().await.map_err(stopping)?;
    let feeds = api.kept.feeds.look().await.map_err(stopping)?;
    Ok(Json(views::status(&look, &feeds)))
}

async fn peers(State(api): State<Api>) -> Result<Json<Vec<Peer>>, Problem> {
    let look = api.inbox.look().await.map_err(stopping)?;
    Ok(Json(views::peers(&look)))
}

async fn why_release(api: State<Api>, Path(product): Path<String>) -> Answers {
    why(api, Ask::Release(named(&product)?)).await
}

async fn why_neighbour(api: State<Api>, Path(terminal): Path<String>) -> Answers {
    why(api, Ask::Neighbour(named(&terminal)?)).await
}

type Answers = Result<Json<Vec<Answer>>, Problem>;

async fn why(State(api): State<Api>, ask: Ask) -> Answers {
    let answers = api.inbox.why(ask).await.map_err(stopping)?;
    Ok(Json(answers.iter().map(views::answer).collect()))
}

/// Products, terminals and identities are all within the rule for names.
fn named(said: &str) -> Result<String, Problem> {
    match said.parse::<Name>() {
        Ok(name) => Ok(name.to_string()),
        Err(why) => Err(Problem::of_status(StatusCode::BAD_REQUEST, why.to_string())),
    }
}

async fn garbage(State(api): State<Api>) -> Result<Json<Vec<Garbage>>, Problem> {
    work(&api, Job::Garbage).await
}

async fn collect(State(api): State<Api>) -> Result<Json<Vec<Garbage>>, Problem> {
    work(&api, Job::Collect).await
}

async fn work(
    api: &Api,
    job: impl FnOnce(oneshot::Sender<Vec<disk::Garbage>>) -> Job,
) -> Result<Json<Vec<Garbage>>, Problem> {
    let (reply, answer) = oneshot::channel();
    api.jobs.put(job(reply));
    let garbage = answer.await.map_err(|_| stopping(Stopping))?;
    Ok(Json(garbage.iter().map(views::garbage).collect()))
}

fn stopping(why: Stopping) -> Problem {
    Problem::of_status(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
}

#[cfg(test)]
mod tests;
