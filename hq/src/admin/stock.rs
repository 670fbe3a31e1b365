//! What stores have of an item.
//!
//! ```text
//! GET /v1/stock/{item}?store=S        one store's, or a bare array of all that know the item
//! ```

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use storemesh_host::{
    http::{Asked, Parameters, Problem},
    stock::Stock,
};
use storemesh_keys::{Name, PeerId};
use storemesh_protocol::feeds::Author;

use super::Admin;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OfStore {
    pub(super) store: Option<String>,
}

impl Parameters for OfStore {
    const FORM: &'static str = "store=S";
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Path(item): Path<String>,
    Asked(OfStore { store }): Asked<OfStore>,
) -> Result<Response, Problem> {
    let one = admin.store(store.as_deref()).await?;
    let stores = match &one {
        Some(store) => vec![store.clone()],
        None => admin.stores().await?,
    };
    let fleet = admin.fleet().await?;
    let names: BTreeMap<PeerId, Name> =
        fleet.into_iter().map(|terminal| (terminal.peer, terminal.name)).collect();
    let mut rows = {
        let item = item.clone();
        let found = admin.journal.look(move |read, _| {
            let name = |author: Author| names.get(&author.peer()).cloned();
            let of = |store: &Name| Stock::read(read, store, &item, name);
            stores.iter().filter_map(of).collect::<Vec<_>>()
        });
        found.await?
    };
    match (one, rows.pop()) {
        (Some(_), Some(row)) => Ok(Json(row).into_response()),
        (Some(store), None) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown-item",
            "Nothing is known of the item",
            format!("no terminal of {store} has moved or counted item {item}"),
        )),
        (None, last) => {
            rows.extend(last);
            Ok(Json(rows).into_response())
        }
    }
}
