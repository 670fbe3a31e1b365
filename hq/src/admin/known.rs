//! What a request names must be known: a misspelt store or topic would otherwise look like an empty chain.

use axum::http::StatusCode;
use storemesh_host::http::Problem;
use storemesh_keys::Name;
use storemesh_protocol::{
    feeds::hq::topics,
    hq::{Answer, Order, Refusal},
};

use super::{Admin, mismatch, parse, refused};

impl Admin {
    pub(super) async fn stores(&self) -> Result<Vec<Name>, Problem> {
        let Answer::Stores(stores) = self.order(Order::Stores).await? else {
            return Err(mismatch());
        };
        Ok(stores.into_iter().map(|row| row.store).collect())
    }

    /// The store that was asked for, if any was.
    pub(super) async fn store(&self, text: Option<&str>) -> Result<Option<Name>, Problem> {
        let Some(text) = text else { return Ok(None) };
        let store: Name = parse("store", text)?;
        if self.stores().await?.contains(&store) {
            return Ok(Some(store));
        }
        Err(refused(&Refusal::NoStore(store)))
    }

    /// The topic that was asked for, if any was: terminals may write it, or might once.
    pub(super) async fn topic(&self, text: Option<&str>) -> Result<Option<Name>, Problem> {
        let Some(text) = text else { return Ok(None) };
        let topic: Name = parse("topic", text)?;
        let known = self.journal.look(|read, _| topics(read)).await?;
        if known.contains(&topic) {
            return Ok(Some(topic));
        }
        let known = known.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        let detail = format!("no topic is called {topic}: terminals write {known}");
        Err(Problem::new(StatusCode::NOT_FOUND, "unknown-topic", "There is no such topic", detail))
    }
}
