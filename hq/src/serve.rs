//! The service: opens the data folder, listens, and runs until it is asked to stop.
//!
//! The rule: nothing listens before everything that can be wrong has been looked at, and the ready
//! line comes when terminals and operators can call. Stopping loses nothing: what was answered is
//! on disk. When the driver ends on its own, the process ends with its error.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use serde_json::json;
use storemesh_host::{
    clock, folder,
    http::{bind_tcp, serve_tcp},
    out, ports,
    quic::{self, Listener},
    stop, token,
};
use storemesh_keys::SecretKey;
use storemesh_protocol::hq::Hq;
use tokio::{sync::oneshot::error::RecvError, time::timeout};

use crate::{
    admin::{self, Admin, journal::Journal},
    advertise::Advertise,
    chunks::Chunks,
    cli::{Common, ServeFlags, VERSION},
    config::{self, Settings},
    db, driver,
    feeds::{self, Started},
    own_key,
    uplink::Uplink,
};

pub(crate) const TOKEN_FILE: &str = "admin.token";
/// The names in `ports.json`.
const UPLINK: &str = "uplink";
pub(crate) const ADMIN: &str = "admin";
/// For the last packets to go out.
const GOODBYE: Duration = Duration::from_secs(1);
/// For the last batch to be committed. A guess: a slow disk takes a tenth of it.
const COMMITS: Duration = Duration::from_secs(5);

pub(crate) fn run(common: &Common, flags: ServeFlags) -> anyhow::Result<()> {
    let data = &common.data;
    if !own_key::is_initialised(data) {
        return Err(own_key::not_initialised(data));
    }
    let end_with_stdin = flags.end_with_stdin;
    let settings = Settings::new(flags, config::load(data)?);
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let done = runtime.block_on(serve(common, &settings, end_with_stdin));
    // Not waiting for reads of the disk that nobody wants any more.
    runtime.shutdown_background();
    done
}

async fn serve(common: &Common, settings: &Settings, end_with_stdin: bool) -> anyhow::Result<()> {
    let folder = folder::open(&common.data)?;
    let own = own_key::load(folder.path(), clock::wall())?;
    let chain = own.trust.chain;
    let name = own.signer.described().name.clone();
    let chunks = Chunks::open(folder.path())?;
    let db = db::open(&folder.join(db::FILE))?;
    let books = Arc::new(feeds::open(&folder.join(feeds::FILE))?);
    let hq = Hq::load(own.signer.clone(), own.trust, &db.rows()?)
        .with_context(|| format!("reading `{}`", folder.join(db::FILE).display()))?;

    let (listeners, listen, port) = bind(&own.key, settings)?;
    let advertise = Advertise::new(&settings.advertise, listen, port)?;
    let admin_address = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.admin_port));
    let admin_listener = bind_tcp(admin_address, "--admin-port").await?;
    let admin_port = admin_listener.local_addr().context("asking for the admin port")?.port();
    let token = token::ensure(&folder.join(TOKEN_FILE))?;
    ports::write(folder.path(), &[(UPLINK, port), (ADMIN, admin_port)])?;

    let (inbox, mut driven) = driver::start(hq, db)?;
    let Started { inbox: feeds_inbox, grown, ended: mut feeds_driven } =
        feeds::start(&own, books.clone(), inbox.clone()).await?;
    let router = admin::router(Admin {
        inbox: inbox.clone(),
        feeds: feeds_inbox.clone(),
        journal: Journal::new(books, own.trust, grown),
        chunks: chunks.clone(),
        chain,
        advertise,
        orders: Arc::default(),
    });
    let admin = tokio::spawn(serve_tcp(admin_listener, router, token, admin::BODY_BYTES_MAX));
    let endpoints: Vec<_> = listeners.iter().map(|it| it.endpoint().clone()).collect();
    let uplink = Uplink::new(inbox, feeds_inbox, chunks);
    for listener in listeners {
        tokio::spawn(uplink.clone().listen(listener));
    }
    drop(uplink);

    if common.json {
        out::json(&json!({ "ready": true, "port": port, "admin_port": admin_port }))?;
    } else {
        out::line(format_args!(
            "storemesh-hq {VERSION} serves chain {name}: terminals on UDP port {port}, admin on \
             TCP port {admin_port} of this machine"
        ))?;
    }
    tracing::info!(version = VERSION, chain = %name, port, admin_port, "HQ serves");

    let asked = tokio::select! {
        asked = stop::wanted(end_with_stdin) => asked?,
        ended = &mut driven => return Err(ended_early(ended)),
        ended = &mut feeds_driven => return Err(ended_early(ended)),
    };
    tracing::info!(asked, "stopping");
    admin.abort();
    for endpoint in &endpoints {
        endpoint.close(0_u32.into(), b"");
    }
    for endpoint in &endpoints {
        // So that terminals hear of it rather than wait for a sign of life.
        _ = timeout(GOODBYE, endpoint.wait_idle()).await;
    }
    // Every connection and request lets go of its inboxes, and the drivers end after the last: that of
    // feeds first, since it speaks to the other.
    for driven in [feeds_driven, driven] {
        match timeout(COMMITS, driven).await {
            Ok(Ok(ended)) => ended?,
            Ok(Err(_)) => return Err(by_a_bug()),
            // Whatever still holds one has been answered nothing that is not on disk.
            Err(_) => {}
        }
    }
    Ok(())
}

/// Nobody asked a driver to end.
fn ended_early(ended: Result<anyhow::Result<()>, RecvError>) -> anyhow::Error {
    match ended {
        Ok(Err(why)) => why,
        Ok(Ok(())) | Err(_) => by_a_bug(),
    }
}

fn by_a_bug() -> anyhow::Error {
    anyhow!("HQ ended by a bug of ours: see the log")
}

/// One endpoint an address, all on one port.
fn bind(key: &SecretKey, settings: &Settings) -> anyhow::Result<(Vec<Listener>, Vec<IpAddr>, u16)> {
    let mut listen = settings.listen.clone();
    if listen == [IpAddr::from(Ipv6Addr::UNSPECIFIED)] && !has_ipv6() {
        listen = vec![Ipv4Addr::UNSPECIFIED.into()];
    }
    let mut port = settings.port;
    let mut listeners = Vec::new();
    for ip in &listen {
        let endpoint = quic::server_endpoint(key, SocketAddr::new(*ip, port))?;
        port = endpoint.local_addr().context("asking for the port")?.port();
        listeners.push(Listener::new(endpoint));
    }
    Ok((listeners, listen, port))
}

fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}
