//! One `storemesh-hq` with its folder: its commands, and the daemon while it serves.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    child::{self, Daemon, Done, Stderr},
    programs::Programs,
    status::{FleetRow, Invited, Published},
};

/// Any short command; publishing has its own.
const DONE_WITHIN: Duration = Duration::from_mins(1);

/// Cutting and compressing some GiB on a slow machine.
const PUBLISHED_WITHIN: Duration = Duration::from_mins(30);

/// The root key of a chain that lives for one run needs no secret passphrase.
const PASSPHRASE: &str = "the passphrase of a chain that lives for one run\n";

/// A head office on this machine.
#[derive(Debug)]
pub struct Hq {
    programs: Programs,
    folder: PathBuf,
    /// Of the uplink and of the administration; any free ones at the first start, the same ones after.
    ports: (u16, u16),
    daemon: Option<Daemon>,
}

impl Hq {
    /// In an existing folder, where its data, its root key and its log go.
    pub fn new(programs: &Programs, folder: &Path) -> Self {
        Self { programs: programs.clone(), folder: folder.to_owned(), ports: (0, 0), daemon: None }
    }

    /// On these ports, the uplink's and the administration's, instead of any free ones.
    #[must_use]
    pub fn on_ports(self, uplink: u16, admin: u16) -> Self {
        Self { ports: (uplink, admin), ..self }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("hq")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("hq.log")
    }

    /// One of its short commands, whatever comes of it.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Done> {
        let mut command = self.command();
        command.args(args);
        child::run(command, Stderr::Kept, DONE_WITHIN)
    }

    /// The same, as a person reads it.
    pub fn run_in_words<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Done> {
        let mut command = self.in_words();
        command.args(args);
        child::run(command, Stderr::Kept, DONE_WITHIN)
    }

    /// Says that its data folder was put back from a backup.
    pub fn restored(&self) -> Result<()> {
        let mut command = self.command();
        command.args(["restored", "--root-key"]).arg(self.folder.join("root.age"));
        command.arg("--passphrase-file").arg(self.folder.join("passphrase"));
        child::run(command, Stderr::Kept, DONE_WITHIN)?.well("saying that HQ was restored")?;
        Ok(())
    }

    /// Makes a chain, with its root key beside the data folder.
    pub fn init(&self, chain: &str) -> Result<()> {
        let passphrase = self.folder.join("passphrase");
        fs::write(&passphrase, PASSPHRASE).context("writing the root key's passphrase")?;
        let mut command = self.command();
        command.args(["init", "--chain", chain, "--root-key"]).arg(self.folder.join("root.age"));
        command.arg("--passphrase-file").arg(passphrase);
        child::run(command, Stderr::Kept, DONE_WITHIN)?.well("making the chain")?;
        Ok(())
    }

    /// Starts it, on the ports of the last time if there was one.
    pub fn serve<A: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = A>) -> Result<()> {
        let mut command = self.command();
        command.args(["serve", "--port", &self.ports.0.to_string()]);
        command.args(["--admin-port", &self.ports.1.to_string()]).args(args);
        let daemon = Daemon::start("storemesh-hq", command, &self.log())?;
        self.ports = (daemon.port("port")?, daemon.port("admin_port")?);
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Where its uplink listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.0).into()
    }

    /// The uplink's port and the administration's.
    pub fn ports(&self) -> (u16, u16) {
        self.ports
    }

    pub fn daemon(&mut self) -> Option<&mut Daemon> {
        self.daemon.as_mut()
    }

    /// Politely; nothing when it does not run.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), Daemon::stop).context("stopping HQ")
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    pub fn add_store(&self, store: &str) -> Result<()> {
        self.run(["store", "add", store])?.well("adding the store")?;
        Ok(())
    }

    /// A code for one terminal.
    pub fn invite(&self, store: &str) -> Result<String> {
        let done = self.run(["store", "invite", store])?.well("inviting a terminal")?;
        Ok(done.json::<Invited>()?.code)
    }

    /// Uploads what HQ lacks; no terminal wants it yet.
    pub fn publish_held(&self, folder: &Path, product: &str, version: &str) -> Result<Published> {
        self.publish(folder, product, version, &["--hold"])?.well("publishing")?.json()
    }

    /// Publishes, whatever comes of it.
    pub fn publish(
        &self,
        folder: &Path,
        product: &str,
        version: &str,
        flags: &[&str],
    ) -> Result<Done> {
        let mut command = self.command();
        command.args(["release", "publish"]).arg(folder).args(["--product", product]);
        command.args(["--version", version]).args(flags);
        child::run(command, Stderr::Kept, PUBLISHED_WITHIN)
    }

    /// Makes a published release the one that every terminal should run.
    pub fn start_release(&self, product: &str, version: &str) -> Result<()> {
        self.run(["release", "start", product, version])?.well("starting the release")?;
        Ok(())
    }

    pub fn fleet(&self) -> Result<Vec<FleetRow>> {
        self.run(["fleet"])?.well("asking for the fleet")?.json()
    }

    /// The program with its data folder, for what has no wrapper here.
    pub fn command(&self) -> Command {
        let mut command = self.in_words();
        command.arg("--json");
        command
    }

    fn in_words(&self) -> Command {
        let mut command = self.programs.command(&self.programs.hq);
        command.arg("--data").arg(self.data());
        command
    }
}
