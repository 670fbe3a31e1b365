//! `storemesh run`: opens the data folder, listens, and runs until it is asked to stop.
//!
//! The rule: nothing listens before everything that can be wrong has been looked at, and the ready
//! line comes when neighbours and local programs can call. Stopping loses nothing: what was said is
//! on disk. When the driver or the mesh ends on its own, the process ends with its error.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use serde_json::json;
use storemesh_host::{
    clock,
    exit::{Exit, Failure},
    folder,
    http::{bind_tcp, bind_unix, serve_tcp, serve_unix},
    out, ports, stop, token,
};
use storemesh_keys::SecretKey;
use storemesh_protocol::{
    Instant,
    terminal::{Membership, Setup, Terminal},
};
use tokio::{
    runtime::{Builder, Handle},
    sync::Semaphore,
};

use crate::{
    api::{self, Api, Kept},
    cli::{Common, RunFlags, VERSION},
    config::{self, Settings},
    disk::Disk,
    driver::{self, Driver, Event, Reach},
    feeds,
    fetch::STORING_MAX,
    membership,
    mesh::{self, Mesh},
    own_room,
    recent::Recent,
    uplink::Dialer,
    work,
};

pub(crate) const SOCKET_FILE: &str = "api.sock";
/// Nothing is in it; it keeps room for the next start.
const HELD_FILE: &str = "reserve";
pub(crate) const TOKEN_FILE: &str = "api.token";
/// The names in `ports.json`.
pub(crate) const MESH: &str = "mesh";
pub(crate) const API: &str = "api";
/// Threads that verify, read and write chunks: on two cores more only take memory.
const WORKERS: usize = 6;
/// Long enough for a frame to leave this machine.
const LAST_WORD: Duration = Duration::from_millis(100);
/// The driver's last batch gets this long.
const LINGER: Duration = Duration::from_secs(2);

pub(crate) fn run(common: &Common, flags: RunFlags) -> anyhow::Result<()> {
    if !membership::is_terminal(&common.data) {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "`{0}` is not a terminal's data folder yet: run `storemesh --data {0} join CODE` \
                 with a code from HQ",
                common.data.display()
            ),
        )
        .into());
    }
    let end_with_stdin = flags.end_with_stdin;
    let settings = Settings::new(flags, config::load(&common.data)?);
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(WORKERS)
        .build()
        .context("starting the runtime")?;
    let done = runtime.block_on(serve(common, &settings, end_with_stdin));
    runtime.shutdown_background();
    done
}

async fn serve(common: &Common, settings: &Settings, end_with_stdin: bool) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let folder = folder::open(&common.data)?;
    let held = folder.join(HELD_FILE);
    own_room::let_go(&held);
    let key = membership::identity(&folder)?;
    let db = membership::db(&folder)?;
    let (setup, rows) = (setup(&key, settings)?, db.rows()?);
    let loaded = Terminal::load(setup, &rows, Instant(0));
    let (terminal, first) =
        loaded.with_context(|| format!("the data folder `{}`", folder.path().display()))?;
    let name = terminal.status(Instant(0)).name;
    let membership = Membership::load(&rows)?.context("a terminal that loads has joined")?;

    let disk = Arc::new(Disk::open(folder.path(), settings.disk)?);
    let (inbox, events) = driver::inbox();
    let (listen, port, mdns) = (settings.listen.clone(), settings.mesh_port, settings.mdns);
    let mesh = mesh::Settings { listen, port, mdns };
    let storing = Arc::new(Semaphore::new(STORING_MAX));
    let recent = Arc::new(Recent::default());
    let feeds = feeds::start(&folder, &key, &membership, &inbox, started)?;
    let shared = mesh::Shared {
        disk: disk.clone(),
        inbox: inbox.clone(),
        storing: storing.clone(),
        recent: recent.clone(),
        feeds: feeds.carrier.clone(),
    };
    let (mesh, commands, mesh_port) = Mesh::start(&key, &mesh, shared).await?;
    let api_listener =
        bind_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, settings.api_port)), "--api-port").await?;
    let api_port = api_listener.local_addr().context("asking for the API's port")?.port();
    let api_socket = bind_unix(&folder.join(SOCKET_FILE))?;
    let token = token::ensure(&folder.join(TOKEN_FILE))?;
    ports::write(folder.path(), &[(MESH, mesh_port), (API, api_port)])?;

    own_room::hold(&held);

    let runtime = Handle::current();
    tokio::spawn(recent.clone().forget());
    let uplink = Dialer {
        key,
        disk: disk.clone(),
        inbox: inbox.clone(),
        runtime,
        storing,
        recent,
        feeds: feeds.carrier,
    };
    let jobs = work::start(disk, inbox.clone())?;
    let kept = Kept {
        feeds: feeds.inbox.clone(),
        db: feeds.db,
        terminal: name.clone(),
        store: membership.certificate.store.clone(),
        terminal_id: membership.certificate.peer.to_string(),
        trust: membership.trust(),
    };
    let router = api::router(Api { inbox: inbox.clone(), jobs: jobs.clone(), kept });
    let reach = Reach { mesh: commands, uplink, jobs, feeds: feeds.inbox.clone() };
    let mut fed = feeds.ended;
    let mut driven = Driver::new(terminal, db, events, reach, started).start(first)?;
    let mut meshed = tokio::spawn(mesh.run());
    tokio::spawn(serve_unix(api_socket, router.clone(), api::BODY_BYTES_MAX));
    tokio::spawn(serve_tcp(api_listener, router, token, api::BODY_BYTES_MAX));

    if common.json {
        out::json(&json!({ "ready": true, "mesh_port": mesh_port, "api_port": api_port }))?;
    } else {
        out::line(format_args!(
            "storemesh {VERSION} runs as {name}: neighbours on TCP port {mesh_port}, local API on \
             TCP port {api_port} of loopback"
        ))?;
    }
    tracing::info!(version = VERSION, terminal = %name, mesh_port, api_port, "the node runs");

    let bug = || anyhow!("the node ended by a bug of ours: see the log");
    let asked = tokio::select! {
        asked = stop::wanted(end_with_stdin) => asked?,
        ended = &mut driven => return ended.unwrap_or_else(|_| Err(bug())).and(Err(bug())),
        ended = &mut fed => return ended.unwrap_or_else(|_| Err(bug())).and(Err(bug())),
        ended = &mut meshed => return ended.unwrap_or_else(|_| Err(bug())).and(Err(bug())),
    };
    tracing::info!(asked, "stopping");
    // What the driver has taken it carries out; that it ends in time is all that is asked.
    _ = inbox.send(Event::Stop).await;
    feeds.inbox.stop();
    let both = async { (driven.await, fed.await) };
    let ended = match tokio::time::timeout(LINGER, both).await {
        Ok((Ok(driven), Ok(fed))) => driven.and(fed),
        Ok(_) => Err(bug()),
        Err(_) => Ok(()),
    };
    // A last word to neighbours and HQ gets out; then they see the connections end.
    tokio::time::sleep(LAST_WORD).await;
    meshed.abort();
    ended
}

fn setup(key: &SecretKey, settings: &Settings) -> anyhow::Result<Setup> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).context("asking the machine for random bytes")?;
    Ok(Setup {
        key: key.clone(),
        seed: u64::from_le_bytes(seed),
        wall: clock::wall(),
        neighbours: settings.neighbours.clone(),
        hq_list: settings.hq_list,
    })
}
