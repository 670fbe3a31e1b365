//! What is on hand of an item, as this terminal has heard.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use storemesh_host::{http::Problem, quantity::number};
use storemesh_protocol::feeds::stock::{OnHand, on_hand};

use super::Kept;
use crate::views::{Counted, Stock};

/// Read where it is asked: a look-up is a page or two.
pub(super) async fn show(
    State(kept): State<Kept>,
    Path(item): Path<String>,
) -> Result<Json<Stock>, Problem> {
    let found = kept.db.look(|read| on_hand(read, &kept.store, &item));
    let Some(found) = found.map_err(|why| Problem::internal(&why))? else {
        let detail = format!("no terminal of the store has moved or counted item {item}");
        let title = "Nothing is known of the item";
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown-item", title, detail));
    };
    Ok(Json(view(item, &found)))
}

fn view(item: String, found: &OnHand) -> Stock {
    let counted = found.counted.zip(found.count).map(|(at, quantity)| Counted {
        quantity: number(quantity),
        peer: at.author.peer().to_string(),
        boot: at.boot.to_string(),
        seq: at.seq,
    });
    Stock { item, on_hand: number(found.quantity), counted }
}
