//! `storemesh join CODE`: enrols this terminal and exits.
//!
//! The composite `Join` says what to tell HQ and what to keep; here it is carried there and kept. On
//! a folder that has joined it refuses and names the store. A join that was cut short may be tried
//! again with the same code: HQ gives the same identity the same place.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use storemesh_host::{
    clock::wall,
    exit::Failure,
    folder,
    frames::{read_frame, write_frame},
    out,
};
use storemesh_keys::{InvitationCode, Name, SecretKey};
use storemesh_protocol::{
    terminal::{Join, JoinInput, JoinOutput, Membership},
    wire::CONTROL_MAX,
};
use tokio::time::timeout;

use crate::{
    cli::{Common, JoinFlags},
    membership, uplink,
};

/// HQ enrols at once; a poor link takes a few round trips.
const ANSWER: Duration = Duration::from_secs(20);

pub(crate) fn run(common: &Common, flags: JoinFlags) -> anyhow::Result<()> {
    let code: InvitationCode = flags
        .code
        .trim()
        .parse()
        .map_err(|why| Failure::usage(format!("this is no good invitation code: {why}")))?;
    let name = flags.name.map_or_else(host_name, Ok)?;
    let folder = folder::open(&common.data)?;
    let key = membership::identity(&folder)?;
    let db = membership::db(&folder)?;
    if let Some(joined) = Membership::load(&db.rows()?)? {
        let certificate = &joined.certificate;
        return Err(Failure::new(
            storemesh_host::exit::Exit::Failed,
            format!(
                "this terminal is {} of store {} already: to join another store, use another \
                 data folder",
                certificate.name, certificate.store
            ),
        )
        .into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    let joined = runtime.block_on(join(&key, name, code))?;
    db.commit([&joined.save()])?;
    let certificate = &joined.certificate;
    if common.json {
        return out::json(&serde_json::json!({
            "name": certificate.name.as_ref(),
            "store": certificate.store.as_ref(),
            "peer": certificate.peer.to_string(),
            "chain": joined.chain.to_string(),
        }));
    }
    out::line(format_args!(
        "joined store {} as {}: start the node with `storemesh --data {} run`",
        certificate.store,
        certificate.name,
        common.data.display()
    ))
}

async fn join(key: &SecretKey, name: Name, code: InvitationCode) -> anyhow::Result<Membership> {
    let mut join = Join::new(key.peer_id(), name, code, wall());
    let called = uplink::call(key, join.addresses()).await;
    let (connection, hq) = called.map_err(|why| {
        Failure::unreachable(format!(
            "{why:#}: check this terminal's network and that HQ runs, then join again with the \
             same code"
        ))
    })?;
    let exchange = async {
        let (mut out, mut input) = connection.open_bi().await.context("speaking to HQ")?;
        let mut outputs = join.handle(JoinInput::UplinkUp { hq });
        loop {
            for output in outputs {
                match output {
                    JoinOutput::SendUp(frame) => write_frame(&mut out, &frame).await?,
                    JoinOutput::Joined(membership) => return Ok(*membership),
                    JoinOutput::Refused(why) => return Err(Failure::refused(why).into()),
                    JoinOutput::NotHq(why) => {
                        return Err(anyhow!("whoever answers at HQ's address: {why}"));
                    }
                }
            }
            let frame = read_frame(&mut input, CONTROL_MAX).await.context("listening to HQ")?;
            let frame = frame.ok_or_else(|| Failure::unreachable("HQ hung up: join again"))?;
            outputs = join.handle(JoinInput::UplinkFrame(frame));
        }
    };
    let late = || Failure::unreachable("HQ does not answer: join again with the same code");
    timeout(ANSWER, exchange).await.map_err(|_| late())?
}

fn host_name() -> anyhow::Result<Name> {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    name.parse().map_err(|why| {
        Failure::usage(format!(
            "the host name `{name}` cannot name a terminal ({why}): give a --name"
        ))
        .into()
    })
}
