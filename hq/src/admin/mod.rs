//! HQ's admin API, on loopback, for who holds the token.
//!
//! ```text
//! POST /v1/stores {store}                      GET /v1/stores
//! POST /v1/stores/{store}/invitations {valid_s?}
//! POST /v1/chunks/lacking [id, ..]             the ids of those HQ lacks
//! PUT  /v1/chunks/{id}?plain_bytes=N           the stored form
//! POST /v1/releases {release head}             GET /v1/releases
//! POST /v1/releases/{product}/{version}/start
//! GET  /v1/fleet                               GET /v1/alarms
//! ```
//!
//! What is said to the chain stands in `chain`, the journals in `journal`, and stock in `stock`.
//!
//! The rule: handlers turn JSON into [`Order`]s and answers into JSON; what may be done is the
//! composite's to say. Chunks are the exception: their bytes go to the disk here, verified, and a
//! release becomes an order only when all its chunks are there (`releases`). Errors are problem
//! documents; what an operator could do differently is in their detail.

pub(crate) mod journal;
pub(crate) mod json;

mod chain;
mod known;
mod line;
mod releases;
mod stock;
mod stores;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post, put},
};
use storemesh_host::http::Problem;
use storemesh_keys::ChainId;
use storemesh_protocol::{
    content::STORED_MAX,
    hq::{Answer, Order, Refusal},
};

use tokio::sync::Mutex;

use self::journal::Journal;
use crate::{advertise::Advertise, chunks::Chunks, driver::Inbox, feeds};

/// A chunk is the largest thing that is sent here; a question for 4,096 chunks has 275 kB.
pub(crate) const BODY_BYTES_MAX: usize = STORED_MAX;

#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) inbox: Inbox,
    pub(crate) feeds: feeds::Inbox,
    pub(crate) journal: Journal,
    pub(crate) chunks: Chunks,
    pub(crate) chain: ChainId,
    pub(crate) advertise: Advertise,
    /// Held by who changes what it has read.
    pub(crate) orders: Arc<Mutex<()>>,
}

pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/v1/stores", get(stores::list).post(stores::add))
        .route("/v1/stores/{store}/invitations", post(stores::invite))
        .route("/v1/chunks/lacking", post(releases::lacking))
        .route("/v1/chunks/{id}", put(releases::put_chunk))
        .route("/v1/releases", get(releases::list).post(releases::add))
        .route("/v1/releases/{product}/{version}/start", post(releases::start))
        .route("/v1/fleet", get(stores::fleet))
        .route("/v1/alarms", get(chain::alarms))
        .route("/v1/schema", get(chain::show_schema).post(chain::publish))
        .route("/v1/settings", get(chain::show_settings).post(chain::set))
        .route("/v1/ends", get(chain::ends))
        .route("/v1/terminals/{terminal}/end", post(chain::end))
        .route("/v1/clones", get(chain::clones))
        .route("/v1/clones/{terminal}/settle", post(chain::settle))
        .route("/v1/journal", get(journal::list))
        .route("/v1/journal/tail", get(journal::tail))
        .route("/v1/journal/status", get(journal::status))
        .route("/v1/stock/{item}", get(stock::show))
        .with_state(admin)
}

impl Admin {
    async fn order(&self, order: Order) -> Result<Answer, Problem> {
        match self.inbox.order(order).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Err(refused(&refusal)),
            Err(stopping) => {
                Err(Problem::of_status(StatusCode::SERVICE_UNAVAILABLE, stopping.to_string()))
            }
        }
    }
}

/// HQ says no.
fn refused(refusal: &Refusal) -> Problem {
    let (status, slug, title) = match refusal {
        Refusal::NoStore(_) => (StatusCode::NOT_FOUND, "no-store", "No such store"),
        Refusal::StoreExists(_) => (StatusCode::CONFLICT, "store-exists", "The store exists"),
        Refusal::OtherContent { .. } => {
            (StatusCode::CONFLICT, "other-content", "The version is published already")
        }
        Refusal::NoRelease { .. } => (StatusCode::NOT_FOUND, "no-release", "No such release"),
        Refusal::ValidTooLong { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "valid-too-long", "Valid for too long")
        }
        Refusal::TooManyStores(_) => (StatusCode::CONFLICT, "too-many-stores", "Too many stores"),
        Refusal::TooManyInvitations(..) => {
            (StatusCode::CONFLICT, "too-many-invitations", "Too many codes")
        }
    };
    Problem::new(status, slug, title, refusal.to_string())
}

/// What was asked for makes no sense, whatever HQ holds.
fn bad_request(why: impl std::fmt::Display) -> Problem {
    Problem::of_status(StatusCode::BAD_REQUEST, why.to_string())
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    what: &str,
    text: &str,
) -> Result<T, Problem> {
    text.parse().map_err(|why| bad_request(format!("{what}: {why}")))
}

/// The composite answers each order with its own kind of answer.
fn mismatch() -> Problem {
    Problem::internal(&anyhow::anyhow!("HQ answered an order with another order's kind of answer"))
}
