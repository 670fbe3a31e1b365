//! Says that HQ's data folder was restored from a backup.
//!
//! The rule: after a restore HQ speaks in the next generation, which only the chain root can vouch for. So
//! what it had said and acknowledged since the backup is told from what it says from now on; terminals offer
//! again all that they still keep, and bring back the orders that HQ has lost. An HQ that serves is refused:
//! the folder's lock says so.

use serde_json::json;
use storemesh_host::{clock::wall, folder, out};
use storemesh_keys::root;

use crate::{
    cli::{Common, RestoredFlags},
    init::{Asked, passphrase},
    own_key,
};

pub(crate) fn run(common: &Common, flags: &RestoredFlags) -> anyhow::Result<()> {
    let data = &common.data;
    if !own_key::is_initialised(data) {
        return Err(own_key::not_initialised(data));
    }
    let folder = folder::open(data)?;
    let passphrase = passphrase(flags.passphrase_file.as_deref(), Asked::Once)?;
    let root = root::open(&flags.root_key, &passphrase)?;
    let online = own_key::raise(folder.path(), &root, wall())?;
    if common.json {
        return out::json(&json!({
            "chain": online.chain.to_string(),
            "name": online.name.as_ref(),
            "generation": online.generation,
            "until_ms": online.until.0,
        }));
    }
    out::line(format_args!(
        "chain {} is in generation {} now: terminals bring back what HQ has lost, as they call",
        online.name, online.generation
    ))?;
    out::line(format_args!("next: storemesh-hq --data {} serve", data.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use storemesh_keys::SecretKey;

    use super::*;

    #[test]
    fn a_restored_hq_is_in_the_next_generation_and_an_hq_that_serves_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("pass"), "correct horse\n").unwrap();
        let root = root::create(&at("root.age"), "correct horse").unwrap();
        root::create(&at("other.age"), "correct horse").unwrap();
        fs::create_dir(at("data")).unwrap();
        own_key::create(&at("data"), &root, &"acme".parse().unwrap(), wall()).unwrap();
        let common = Common { data: at("data"), json: true };
        let run_with = |key: &str| {
            let (root_key, passphrase_file) = (at(key), Some(at("pass")));
            run(&common, &RestoredFlags { root_key, passphrase_file })
        };
        let generation =
            || own_key::load(&at("data"), wall()).unwrap().signer.described().generation;
        let before = own_key::load(&at("data"), wall()).unwrap().key;

        let serving = folder::open(&at("data")).unwrap();
        assert!(run_with("root.age").is_err());
        drop(serving);
        let another = format!("{:#}", run_with("other.age").unwrap_err());
        assert!(another.contains("another chain"), "{another}");
        assert_eq!(generation(), 1);
        run_with("root.age").unwrap();
        run_with("root.age").unwrap();
        assert_eq!(generation(), 3);
        let same = |key: SecretKey| key.public() == before.public();
        assert!(same(own_key::load(&at("data"), wall()).unwrap().key));
    }
}
