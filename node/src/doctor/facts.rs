//! What the checks are told of the terminal: by the node that runs, or by its folder.

use std::path::{Path, PathBuf};

use storemesh_host::{folder, http::ClientError, ports as recorded};
use storemesh_protocol::terminal::{self, Membership};

use super::Finding;
use crate::{
    cli::RunFlags,
    client,
    config::{self, Settings},
    membership,
    run::{API, MESH},
    views::{Peer, Status},
};

#[derive(Debug)]
pub(super) struct Facts {
    pub(super) data: PathBuf,
    /// By the configuration file; flags of a node that runs are not known here.
    pub(super) settings: Settings,
    pub(super) node: Option<Node>,
    /// None when this folder has not joined a store, or cannot be read.
    pub(super) joined: Option<Joined>,
}

/// The node that runs on the folder.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) status: Status,
    pub(super) peers: Vec<Peer>,
    pub(super) mesh_port: u16,
    pub(super) api_port: u16,
}

#[derive(Debug)]
pub(super) struct Joined {
    pub(super) hq: Vec<String>,
    /// HQ's time as a running node has it, or the least that is known from the folder: UTC in
    /// milliseconds since 1970.
    pub(super) least_ms: u64,
    /// It is no guess.
    pub(super) sure: bool,
    pub(super) certificate_until_ms: u64,
}

impl Facts {
    /// What cannot be learnt is a finding.
    pub(super) async fn gather(data: &Path) -> (Self, Vec<Finding>) {
        let mut findings = Vec::new();
        let file = config::load(data).unwrap_or_else(|why| {
            let fix = format!("edit `{}`", config::path(data).display());
            findings.push(Finding::fail("config", format!("{why:#}"), fix));
            config::Config::default()
        });
        let settings = Settings::new(RunFlags::default(), file);
        let node = Node::ask(data).await.unwrap_or_else(|why| {
            let fix = if let ClientError::Silent { .. } = why {
                "it is stuck, or this machine is overloaded: see its log, and start it again"
            } else {
                "run this as root, or as the user that the node runs as"
            };
            findings.push(Finding::fail("node", format!("it does not answer: {why}"), fix));
            None
        });
        let joined = match &node {
            Some(node) => Some(Joined {
                hq: node.status.hq_addresses.clone(),
                least_ms: node.status.hq_time.least_ms(),
                sure: node.status.hq_time.sure,
                certificate_until_ms: node.status.certificate_until_ms,
            }),
            None if findings.iter().any(|finding| finding.check == "node") => None,
            None => Joined::read(data).unwrap_or_else(|why| {
                let fix = "run this as root, or as the user that owns the folder";
                findings.push(Finding::fail("folder", format!("it cannot be read: {why:#}"), fix));
                None
            }),
        };
        (Self { data: data.to_owned(), settings, node, joined }, findings)
    }
}

impl Node {
    async fn ask(data: &Path) -> Result<Option<Self>, ClientError> {
        let client = client::at(data);
        let status: Status = match client.get("/v1/status").await {
            Ok(status) => status,
            Err(ClientError::Unreachable(_)) => return Ok(None),
            Err(why) => return Err(why),
        };
        let peers = client.get("/v1/peers").await?;
        let port = |name| recorded::read(data, name).unwrap_or_default();
        Ok(Some(Self { status, peers, mesh_port: port(MESH), api_port: port(API) }))
    }
}

impl Joined {
    fn read(data: &Path) -> anyhow::Result<Option<Self>> {
        if !membership::is_terminal(data) {
            return Ok(None);
        }
        let folder = folder::open(data)?;
        let rows = membership::db(&folder)?.rows()?;
        let Some(membership) = Membership::load(&rows)? else { return Ok(None) };
        Ok(Some(Self {
            least_ms: terminal::floor(&rows)?.max(membership.certificate.from).0,
            sure: false,
            certificate_until_ms: membership.certificate.until.0,
            hq: membership.hq,
        }))
    }
}
