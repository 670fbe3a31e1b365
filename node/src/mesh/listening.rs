//! Watches which addresses neighbours can use, and what the machine is connected to.
//!
//! Libp2p says at once when an address comes or goes; that a cable was pulled or the mains failed
//! nobody says, so the machine is looked at every [`EVERY`] too. Only what changed is told.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use storemesh_protocol::terminal::Input;
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use crate::{
    driver::Inbox,
    hardware::{self, Machine},
};

/// A dozen small files of the kernel's; who should be the gateway need not change sooner.
const EVERY: Duration = Duration::from_secs(10);

/// Until the mesh, which knows on which addresses it listens, is gone.
pub(super) async fn watch(
    mut addresses: watch::Receiver<Vec<SocketAddr>>,
    inbox: Inbox,
) -> anyhow::Result<()> {
    let mut told: Option<Machine> = None;
    loop {
        let all = addresses.borrow_and_update().clone();
        let look = move || hardware::look(Path::new(hardware::SYS), &all);
        let machine = spawn_blocking(look).await.context("looking at the machine")?;
        let before = told.as_ref();
        if before.is_none_or(|before| before.listen != machine.listen) {
            tracing::debug!(listen = ?machine.listen, "where neighbours can reach this terminal");
            inbox.input(Input::Listening(machine.listen.clone())).await?;
        }
        if before.is_none_or(|before| before.hardware != machine.hardware) {
            tracing::debug!(hardware = ?machine.hardware, "what this machine is connected to");
            inbox.input(Input::Hardware(machine.hardware)).await?;
        }
        told = Some(machine);
        if let Ok(Err(_)) = timeout(EVERY, addresses.changed()).await {
            return Ok(());
        }
    }
}
