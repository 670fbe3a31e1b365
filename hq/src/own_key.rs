//! HQ's own key, and the chain root's word for it.
//!
//! Two files in the data folder: `online.key`, the secret, and `chain`, what the root signed. The
//! rule: `chain` is written last, so a folder that has it is initialised, whole; without it
//! nothing was ever signed with the key, and `init` may begin anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use minicbor::{Decode, Encode};
use storemesh_host::files;
use storemesh_keys::{
    ChainId, HqSigner, Name, OnlineKey, SecretKey, Signed, Timestamp, Trust, identity,
};
use storemesh_protocol::wire;

/// How long the root vouches for HQ's key: a year, and a month to remember it.
pub(crate) const VALID: std::time::Duration = std::time::Duration::from_hours(400 * 24);
/// Terminals whose clocks are behind must believe a new HQ too.
const CLOCK_LAG: std::time::Duration = std::time::Duration::from_hours(24);
const GENERATION: u64 = 1;

pub(crate) const KEY_FILE: &str = "online.key";
pub(crate) const CHAIN_FILE: &str = "chain";

/// What lies in [`CHAIN_FILE`].
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
struct Chain {
    #[n(0)]
    id: ChainId,
    #[n(1)]
    online: Signed<OnlineKey>,
}

#[derive(Debug)]
pub(crate) struct OwnKey {
    /// HQ's identity in QUIC too, so that the root's word covers the connection.
    pub(crate) key: SecretKey,
    pub(crate) signer: HqSigner,
    pub(crate) trust: Trust,
}

pub(crate) fn is_initialised(data: &Path) -> bool {
    data.join(CHAIN_FILE).exists()
}

/// Makes the key, has `root` vouch for it, and writes both.
pub(crate) fn create(
    data: &Path,
    root: &SecretKey,
    name: &Name,
    now: Timestamp,
) -> anyhow::Result<OnlineKey> {
    let path = data.join(KEY_FILE);
    match fs::remove_file(&path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            return Err(why).with_context(|| format!("removing `{}`", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let key = identity::create(&path)?;
    let online = describe(root, name.clone(), GENERATION, &key, now);
    vouch(data, root, &online)?;
    Ok(online)
}

/// HQ was restored from a backup: `root` vouches for its key in the next generation. What HQ said since the
/// backup was made is told from what it says from now on.
pub(crate) fn raise(data: &Path, root: &SecretKey, now: Timestamp) -> anyhow::Result<OnlineKey> {
    let Chain { id, online } = read(data)?;
    if id != ChainId::of_root(root.public()) {
        bail!("this is the root key of another chain");
    }
    let before = online.verify(id.root()).with_context(|| damaged(data))?;
    let key = identity::load(&data.join(KEY_FILE))?;
    let online = describe(root, before.name, before.generation + 1, &key, now);
    vouch(data, root, &online)?;
    Ok(online)
}

fn describe(
    root: &SecretKey,
    name: Name,
    generation: u64,
    key: &SecretKey,
    now: Timestamp,
) -> OnlineKey {
    OnlineKey {
        chain: ChainId::of_root(root.public()),
        name,
        generation,
        key: key.public(),
        from: now.minus(CLOCK_LAG),
        until: now.plus(VALID),
    }
}

fn vouch(data: &Path, root: &SecretKey, online: &OnlineKey) -> anyhow::Result<()> {
    let record = Chain { id: online.chain, online: Signed::sign(root, online) };
    files::replace(&data.join(CHAIN_FILE), &wire::encode(&record))
}

fn read(data: &Path) -> anyhow::Result<Chain> {
    let Some(bytes) = files::read_small(&data.join(CHAIN_FILE), 64 * 1024)? else {
        bail!(not_initialised(data))
    };
    wire::decode(&bytes).with_context(|| damaged(data))
}

fn damaged(data: &Path) -> String {
    format!("`{}` is damaged, or of a newer version", data.join(CHAIN_FILE).display())
}

/// Reads what [`create`] wrote.
pub(crate) fn load(data: &Path, now: Timestamp) -> anyhow::Result<OwnKey> {
    let Chain { id, online } = read(data)?;
    let key = identity::load(&data.join(KEY_FILE))?;
    let trust = Trust { chain: id, generation_min: GENERATION };
    let signer = HqSigner::new(key.clone(), online, &trust).with_context(|| damaged(data))?;
    let (until, left) = (signer.described().until, signer.described().until.since(now));
    if until <= now {
        bail!(
            "the chain root's word for HQ's key ended ({until} since 1970): no terminal believes \
             this HQ any more"
        );
    }
    if left < VALID / 12 {
        let days = left.as_secs() / 86_400;
        tracing::warn!(days, "the chain root's word for HQ's key ends soon");
    }
    Ok(OwnKey { key, signer, trust })
}

pub(crate) fn not_initialised(data: &Path) -> anyhow::Error {
    let data: PathBuf = data.to_owned();
    anyhow!(
        "`{0}` is not the data folder of an HQ: run `storemesh-hq --data {0} init --chain NAME` \
         first, or name the right folder with --data",
        data.display()
    )
}
