//! What is on hand of an item, as this terminal has heard.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use storemesh_host::{http::Problem, stock::Stock};
use storemesh_protocol::feeds::terminal_name;
use tokio::task::spawn_blocking;

use super::Kept;

pub(super) async fn show(
    State(kept): State<Kept>,
    Path(item): Path<String>,
) -> Result<Json<Stock>, Problem> {
    let asked = item.clone();
    let reading = spawn_blocking(move || {
        kept.db.look(|read| {
            let name = |author| terminal_name(read, &kept.trust, author);
            Stock::read(read, &kept.store, &asked, name)
        })
    });
    let found = match reading.await {
        Ok(found) => found.map_err(|why| Problem::internal(&why.context("reading the stock")))?,
        Err(why) => return Err(Problem::internal(&why.into())),
    };
    found.map(Json).ok_or_else(|| {
        let detail = format!("no terminal of the store has moved or counted item {item}");
        let title = "Nothing is known of the item";
        Problem::new(StatusCode::NOT_FOUND, "unknown-item", title, detail)
    })
}
