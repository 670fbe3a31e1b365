//! The commands that ask a running HQ.
//!
//! The rule: one or two requests, then a line or a table for people, or what the API answered with
//! `--json`. What HQ refuses ends with exit code 4 and HQ's own words; where none runs, with 3.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use storemesh_host::{
    clock::wall,
    exit::{Exit, Failure, exit_of},
    http::{Client, ClientError},
    out, ports, sizes, token,
};
use storemesh_keys::Name;

use crate::{
    admin::json::{FleetRow, Invitation, NewInvitation, NewStore, ReleaseRow, Started, StoreRow},
    cli::Common,
    serve::{ADMIN, TOKEN_FILE},
    tables::{self, Column::Left, Column::Right},
};

/// A way to the HQ that runs on `data`.
pub(crate) fn client(data: &Path) -> anyhow::Result<Client> {
    let how = |error: anyhow::Error| match exit_of(&error) {
        Exit::Unreachable => Failure::unreachable(format!(
            "no HQ runs on `{0}`: start it with `storemesh-hq --data {0} serve`",
            data.display()
        ))
        .into(),
        Exit::Ok | Exit::Failed | Exit::Usage | Exit::Refused => error,
    };
    let port = ports::read(data, ADMIN).map_err(how)?;
    let token = token::load(&data.join(TOKEN_FILE)).map_err(how)?;
    Ok(Client::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), token))
}

/// Runs one command's requests.
pub(crate) fn ask<T>(asking: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("starting the runtime")?.block_on(asking)
}

/// An answer that is no is HQ's refusal; being shown the door (401) is a failure.
pub(crate) fn refusals(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Problem(problem) if matches!(problem.status, 400 | 403 | 404 | 409 | 422) => {
            Failure::refused(problem.to_string()).into()
        }
        ClientError::Unreachable(at) => Failure::unreachable(format!(
            "no HQ answers at {at}: start it with `storemesh-hq serve`, and the same --data"
        ))
        .into(),
        ClientError::Broken { .. } | ClientError::Silent { .. } => {
            anyhow::Error::from(error).context("HQ broke off (its log may say why): try again")
        }
        ClientError::Problem(_) => error.into(),
    }
}

pub(crate) fn add_store(common: &Common, store: &Name) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let new = NewStore { store: store.to_string() };
    let added: StoreRow = ask(async { client.post("/v1/stores", &new).await.map_err(refusals) })?;
    show(common, &added, || format!("store {store} added"))
}

pub(crate) fn list_stores(common: &Common) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let stores: Vec<StoreRow> = ask(async { client.get("/v1/stores").await.map_err(refusals) })?;
    show(common, &stores, || {
        if stores.is_empty() {
            return "no stores yet: storemesh-hq store add NAME".to_owned();
        }
        let rows = stores.iter().map(|store| {
            let gateway = store.gateway.clone().unwrap_or_else(|| "-".to_owned());
            [store.store.clone(), store.terminals.to_string(), gateway]
        });
        tables::table([("STORE", Left), ("TERMINALS", Right), ("GATEWAY", Left)], rows)
    })
}

pub(crate) fn invite(common: &Common, store: &Name, valid: Option<Duration>) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let path = format!("/v1/stores/{store}/invitations");
    let new = NewInvitation { valid_s: valid.map(|valid| valid.as_secs()) };
    let invitation: Invitation = ask(async { client.post(&path, &new).await.map_err(refusals) })?;
    show(common, &invitation, || invitation.code.clone())
}

pub(crate) fn start_release(common: &Common, product: &Name, version: &Name) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let started = ask(async { start(&client, product, version).await })?;
    show(common, &started, || format!("{product} {version} is wanted by every terminal now"))
}

pub(crate) async fn start(
    client: &Client,
    product: &Name,
    version: &Name,
) -> anyhow::Result<Started> {
    let path = format!("/v1/releases/{product}/{version}/start");
    client.post(&path, &()).await.map_err(refusals)
}

pub(crate) fn list_releases(common: &Common) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let releases: Vec<ReleaseRow> =
        ask(async { client.get("/v1/releases").await.map_err(refusals) })?;
    show(common, &releases, || {
        if releases.is_empty() {
            return "no releases yet: storemesh-hq release publish DIR --product P --version V"
                .to_owned();
        }
        let rows = releases.iter().map(|release| {
            [
                release.product.clone(),
                release.version.clone(),
                release.release.get(..8).unwrap_or_default().to_owned(),
                sizes::bytes(release.release_bytes),
                sizes::bytes(release.stored_bytes),
                release.chunks.to_string(),
                if release.wanted { "wanted" } else { "" }.to_owned(),
            ]
        });
        let columns = [
            ("PRODUCT", Left),
            ("VERSION", Left),
            ("RELEASE", Left),
            ("SIZE", Right),
            ("PACKED", Right),
            ("CHUNKS", Right),
            ("", Left),
        ];
        tables::table(columns, rows)
    })
}

/// What is wrong with HQ itself: on stderr, so that a program reads no more than it asked for.
pub(crate) fn warn(client: &Client) -> anyhow::Result<()> {
    let alarms: Vec<String> = ask(async { client.get("/v1/alarms").await.map_err(refusals) })?;
    for alarm in alarms {
        _ = writeln!(std::io::stderr(), "warning: {alarm}");
    }
    Ok(())
}

pub(crate) fn fleet(common: &Common) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    warn(&client)?;
    let fleet: Vec<FleetRow> = ask(async { client.get("/v1/fleet").await.map_err(refusals) })?;
    show(common, &fleet, || tables::fleet(&fleet, wall().0))
}

pub(crate) fn show(
    common: &Common,
    answer: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    if common.json { out::json(answer) } else { out::line(text().trim_end()) }
}
