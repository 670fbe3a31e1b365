//! Stores, the codes that let terminals into them, and how their terminals are.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use storemesh_host::http::Problem;
use storemesh_keys::{InvitationCode, Name, SecretKey};
use storemesh_protocol::{
    feeds::{Author, Ended, hq::ended},
    hq::{self, Answer, INVITATION_VALID, Order},
};

use super::{
    Admin,
    json::{FleetRow, Invitation, NewInvitation, NewStore, StoreRow},
    mismatch, parse,
};

pub(super) async fn add(
    State(admin): State<Admin>,
    Json(new): Json<NewStore>,
) -> Result<(StatusCode, Json<StoreRow>), Problem> {
    let store: Name = parse("store", &new.store)?;
    let Answer::Done = admin.order(Order::AddStore { store }).await? else {
        return Err(mismatch());
    };
    let added = StoreRow { store: new.store, terminals: 0, gateway: None };
    Ok((StatusCode::CREATED, Json(added)))
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<StoreRow>>, Problem> {
    let Answer::Stores(rows) = admin.order(Order::Stores).await? else { return Err(mismatch()) };
    let stores = rows.into_iter().map(|row| StoreRow {
        store: row.store.to_string(),
        terminals: row.terminals,
        gateway: row.gateway.map(|name| name.to_string()),
    });
    Ok(Json(stores.collect()))
}

/// The secret is made here and leaves in the code alone: the composite hears its public key.
pub(super) async fn invite(
    State(admin): State<Admin>,
    Path(store): Path<String>,
    Json(new): Json<NewInvitation>,
) -> Result<(StatusCode, Json<Invitation>), Problem> {
    let store: Name = parse("store", &store)?;
    let valid = new.valid_s.map_or(INVITATION_VALID, Duration::from_secs);
    let secret = SecretKey::generate();
    let invitation = secret.public();
    let code = InvitationCode::new(admin.advertise.addresses(), admin.chain, secret)
        .map_err(|why| Problem::internal(&anyhow::Error::from(why).context("making a code")))?;
    let order = Order::Invite { store: store.clone(), invitation, valid };
    let Answer::Invited { until } = admin.order(order).await? else { return Err(mismatch()) };
    let (code, store) = (code.to_text().to_string(), store.to_string());
    Ok((StatusCode::CREATED, Json(Invitation { code, store, until_ms: until.0 })))
}

pub(super) async fn fleet(State(admin): State<Admin>) -> Result<Json<Vec<FleetRow>>, Problem> {
    let terminals = admin.fleet().await?;
    let ended = admin.journal.look(|read, _| ended(read)).await?;
    let rows = |terminal| rows_of(terminal, ended.get(&Author::terminal(terminal.peer)));
    Ok(Json(terminals.iter().flat_map(rows).collect()))
}

fn rows_of(terminal: &hq::FleetRow, ended: Option<&Ended>) -> Vec<FleetRow> {
    let topics = ended.iter().flat_map(|ended| &ended.topics);
    let bare = FleetRow {
        terminal: terminal.name.to_string(),
        terminal_id: terminal.peer.to_string(),
        store: terminal.store.to_string(),
        gateway: terminal.gateway,
        online: terminal.online,
        ended: ended.is_some_and(|ended| ended.all),
        ended_topics: topics.map(Name::to_string).collect(),
        product: None,
        wanted: None,
        running: None,
        phase: None,
        chunks_have: 0,
        chunks_total: 0,
        bytes_from_hq: 0,
        bytes_from_neighbours: 0,
        bytes_lacking: None,
        seen_ms: terminal.seen.map(|seen| seen.0),
    };
    if terminal.products.is_empty() {
        return vec![bare];
    }
    let row = |product: &hq::ProductRow| FleetRow {
        product: Some(product.product.to_string()),
        wanted: product.wanted.as_ref().map(Name::to_string),
        running: product.running.as_ref().map(Name::to_string),
        phase: Some(product.phase.to_string()),
        chunks_have: product.chunks_have,
        chunks_total: product.chunks_total,
        bytes_from_hq: product.bytes_from_hq,
        bytes_from_neighbours: product.bytes_from_neighbours,
        bytes_lacking: product.bytes_lacking,
        ..bare.clone()
    };
    terminal.products.iter().map(row).collect()
}
