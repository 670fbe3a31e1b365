//! What stores have of an item.
//!
//! ```text
//! GET /v1/stock/{item}?store=S        one store's, or a bare array of all that know the item
//! ```

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use storemesh_host::http::Problem;
use storemesh_keys::Name;
use storemesh_protocol::{
    feeds::stock::on_hand,
    hq::{Answer, Order, Refusal},
};

use super::{Admin, json::StockRow, mismatch, parse, refused};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OfStore {
    store: Option<String>,
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Path(item): Path<String>,
    Query(OfStore { store }): Query<OfStore>,
) -> Result<Response, Problem> {
    let Answer::Stores(stores) = admin.order(Order::Stores).await? else { return Err(mismatch()) };
    let one = store.map(|store| parse::<Name>("store", &store)).transpose()?;
    let mut stores: Vec<Name> = stores.into_iter().map(|row| row.store).collect();
    if let Some(one) = &one {
        stores.retain(|store| store == one);
        if stores.is_empty() {
            return Err(refused(&Refusal::NoStore(one.clone())));
        }
    }
    let rows = {
        let item = item.clone();
        let found = admin.journal.look(move |read, _| {
            let of = |store: Name| Some((on_hand(read, &store, &item)?, store));
            stores.into_iter().filter_map(of).collect::<Vec<_>>()
        });
        found.await?
    };
    let mut rows: Vec<StockRow> =
        rows.iter().map(|(on_hand, store)| StockRow::new(store, &item, on_hand)).collect();
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
