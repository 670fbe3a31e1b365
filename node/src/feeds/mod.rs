//! Drives the terminal's feeds: what its programs post, and what its neighbours and HQ wrote.
//!
//! The rule: a thread and a database of their own, so that a sale never waits for a release. The
//! contract is the driver's: take what is queued, sales first ([`lanes`]), have the composite handle
//! all in one transaction, commit, and only then let anything out ([`driver`]). So one sync keeps as
//! many sales as came during the one before it, and nobody waits for a clock.
//!
//! Frames of feeds have streams of their own, to each neighbour and to HQ ([`stream`]). Room for the
//! journal is kept from the start, and looked at before a sale is taken ([`room`]).

mod driver;
mod lanes;
mod room;
mod stream;

#[cfg(test)]
pub(crate) mod tests;

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::Context as _;
use storemesh_host::{db::Db, folder::Folder};
use storemesh_keys::SecretKey;
use storemesh_protocol::{
    feeds::{
        Boot,
        terminal::{FromFeeds, Setup, TABLES},
    },
    terminal::{Input, Membership},
};
use tokio::sync::{mpsc, oneshot};

use self::{
    driver::Driver,
    lanes::lanes,
    room::{Reserved, Room},
};
pub(crate) use self::{lanes::Inbox, stream::Carrier};

const DB: &str = "feeds.redb";
/// The newest entries and what leads to them; redb would take a gigabyte.
const CACHE_BYTES: usize = 16 << 20;

/// The feeds at work.
#[derive(Debug)]
pub(crate) struct Feeds {
    pub(crate) inbox: Inbox,
    /// For whoever only reads.
    pub(crate) db: Arc<Db>,
    pub(crate) carrier: Carrier,
    /// How the thread ended; nothing when a bug made it panic.
    pub(crate) ended: oneshot::Receiver<anyhow::Result<()>>,
}

/// Opens the feeds' own database, makes it where there is none, and starts the thread.
pub(crate) fn start(
    folder: &Folder,
    key: &SecretKey,
    membership: &Membership,
    terminal: &crate::driver::Inbox,
    started: Instant,
) -> anyhow::Result<Feeds> {
    let (db, room) = open(&folder.join(DB))?;
    let (inbox, lanes) = lanes();
    let (tell, told) = mpsc::unbounded_channel();
    let setup = setup(key, membership)?;
    let ended = Driver { setup, db: db.clone(), room, lanes, tell, started }.start()?;
    tokio::spawn(pass_on(told, terminal.clone()));
    Ok(Feeds { carrier: Carrier::new(inbox.clone()), inbox, db, ended })
}

fn open(path: &Path) -> anyhow::Result<(Arc<Db>, Room)> {
    if !path.exists() {
        drop(Db::open(path, TABLES, CACHE_BYTES)?);
    }
    let opening = || format!("opening `{}`", path.display());
    let reserved = Reserved::open(path).with_context(opening)?;
    let room = Room::new(reserved.clone());
    let db = Db::on(reserved, TABLES, CACHE_BYTES).with_context(opening)?;
    Ok((Arc::new(db), room))
}

/// What the composite is told at start. The boot is this start's own, whatever the disk was copied from.
fn setup(key: &SecretKey, membership: &Membership) -> anyhow::Result<Setup> {
    let mut boot = [0; 8];
    getrandom::fill(&mut boot).context("asking the machine for random bytes")?;
    Ok(Setup {
        key: key.clone(),
        boot: Boot(u64::from_le_bytes(boot)),
        certificate: membership.certificate.signed().clone(),
        trust: membership.trust(),
    })
}

/// Passes on what the feeds say to the rest of the terminal, so that their thread waits for nobody.
async fn pass_on(mut told: mpsc::UnboundedReceiver<FromFeeds>, inbox: crate::driver::Inbox) {
    while let Some(told) = told.recv().await {
        if inbox.input(Input::Feeds(told)).await.is_err() {
            return;
        }
    }
}
