//! The terminal's local API: HTTP and JSON for the programs of this machine.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | how this terminal is ([`views::Status`]) |
//! | `GET /v1/peers` | the store's other terminals ([`views::Peer`]), a bare array |
//!
//! On the socket whoever may open it may ask; on loopback it takes the token. Errors are problem
//! documents (RFC 9457).

use axum::{Json, Router, extract::State, routing::get};
use storemesh_host::http::Problem;

use crate::{
    driver::{Inbox, Stopping},
    views::{self, Peer, Status},
};

/// No request has a body yet.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;

pub(crate) fn router(inbox: Inbox) -> Router {
    Router::new().route("/v1/status", get(status)).route("/v1/peers", get(peers)).with_state(inbox)
}

async fn status(State(inbox): State<Inbox>) -> Result<Json<Status>, Problem> {
    let look = inbox.look().await.map_err(stopping)?;
    Ok(Json(views::status(&look)))
}

async fn peers(State(inbox): State<Inbox>) -> Result<Json<Vec<Peer>>, Problem> {
    let look = inbox.look().await.map_err(stopping)?;
    Ok(Json(views::peers(&look)))
}

fn stopping(why: Stopping) -> Problem {
    Problem::of_status(axum::http::StatusCode::SERVICE_UNAVAILABLE, why.to_string())
}
