//! The terminal's local API: HTTP and JSON for the programs of this machine.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | how this terminal is ([`views::Status`]) |
//! | `GET /v1/peers` | the store's other terminals ([`views::Peer`]), a bare array |
//! | `GET /v1/garbage` | what a collection would delete ([`views::Garbage`]), a bare array |
//! | `POST /v1/garbage/collect` | deletes it, and says what |
//!
//! On the socket whoever may open it may ask; on loopback it takes the token. Errors are problem
//! documents (RFC 9457).

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use storemesh_host::http::Problem;

use tokio::sync::oneshot;

use crate::{
    disk,
    driver::{Inbox, Stopping},
    views::{self, Garbage, Peer, Status},
    work::{Job, Jobs},
};

/// No request has a body yet.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;

/// What answers ask.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) inbox: Inbox,
    pub(crate) jobs: Jobs,
}

pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/peers", get(peers))
        .route("/v1/garbage", get(garbage))
        .route("/v1/garbage/collect", post(collect))
        .with_state(api)
}

async fn status(State(api): State<Api>) -> Result<Json<Status>, Problem> {
    let look = api.inbox.look().await.map_err(stopping)?;
    Ok(Json(views::status(&look)))
}

async fn peers(State(api): State<Api>) -> Result<Json<Vec<Peer>>, Problem> {
    let look = api.inbox.look().await.map_err(stopping)?;
    Ok(Json(views::peers(&look)))
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
    Problem::of_status(axum::http::StatusCode::SERVICE_UNAVAILABLE, why.to_string())
}
