//! One request to the node that runs on a data folder, over its socket.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use storemesh_host::{
    exit::Failure,
    http::{Client, ClientError},
};

use crate::{membership, run::SOCKET_FILE};

/// The node answers in milliseconds.
const ANSWER: Duration = Duration::from_secs(5);

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
    Client::unix(data.join(SOCKET_FILE)).within(ANSWER)
}

/// The failure as a person at this folder should read it.
pub(crate) fn explained(data: &Path, why: ClientError) -> anyhow::Error {
    let (joined, data) = (membership::is_terminal(data), data.display());
    match why {
        ClientError::Unreachable(_) if !joined => Failure::unreachable(format!(
            "`{data}` has not joined a store: run `storemesh --data {data} join CODE`, with a code \
             from HQ"
        ))
        .into(),
        ClientError::Unreachable(_) => Failure::unreachable(format!(
            "no node runs on `{data}`: start it with `storemesh --data {data} run`"
        ))
        .into(),
        ClientError::Silent { within, .. } => Failure::unreachable(format!(
            "the node on `{data}` takes requests and does not answer within {} s: it is stuck, or \
             this machine is overloaded; see its log, and start it again",
            within.as_secs()
        ))
        .into(),
        ClientError::Broken { why, .. } if why.contains("Permission denied") => {
            anyhow::anyhow!("{why}: run this as root, or as the user that the node runs as")
        }
        why @ (ClientError::Problem(_) | ClientError::Broken { .. }) => why.into(),
    }
}
