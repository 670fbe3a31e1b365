//! One request to the node that runs on a data folder, over its socket.

use std::path::Path;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use storemesh_host::{
    exit::Failure,
    http::{Client, ClientError},
};

use crate::run::SOCKET_FILE;

pub(crate) fn ask<T: DeserializeOwned>(data: &Path, path: &str) -> anyhow::Result<T> {
    client(data, async |client| client.get(path).await)
}

/// Anything but a plain question.
pub(crate) fn client<T>(
    data: &Path,
    request: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime.context("starting the runtime")?.block_on(request(at(data)));
    asked.map_err(|why| explained(data, why))
}

pub(crate) fn at(data: &Path) -> Client {
    Client::unix(data.join(SOCKET_FILE))
}

/// The failure as a person at this folder should read it.
pub(crate) fn explained(data: &Path, why: ClientError) -> anyhow::Error {
    match why {
        ClientError::Unreachable(_) => Failure::unreachable(format!(
            "no node runs on `{0}`: start it with `storemesh --data {0} run`",
            data.display()
        ))
        .into(),
        why @ (ClientError::Problem(_) | ClientError::Broken { .. }) => why.into(),
    }
}
