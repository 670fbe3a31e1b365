//! Begins a chain.
//!
//! The rule: the chain root's key is made here, written once, encrypted, outside HQ's data folder,
//! and not kept: whoever breaks into HQ's server must not find it. In the folder goes a key of
//! HQ's own with the root's word for it (`own_key`). A folder that holds anything else, a chain
//! above all, is refused and left as it is.

use std::{
    env, fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde_json::json;
use storemesh_host::{clock::wall, exit::Failure, files, folder, out};
use storemesh_keys::root;
use zeroize::Zeroizing;

use crate::{
    cli::{Common, InitFlags},
    config, own_key,
};

const PASSPHRASE_ENV: &str = "STOREMESH_ROOT_PASSPHRASE";
/// What may lie in a folder that is to become HQ's: a prepared configuration, the leftovers of an
/// `init` that was cut off, and what a file system puts into its top folder.
const MAY_BE_THERE: [&str; 8] = [
    config::FILE,
    own_key::KEY_FILE,
    ".online.key.new",
    "chain.new",
    "format",
    "format.new",
    "lock",
    "lost+found",
];

pub(crate) fn run(common: &Common, flags: &InitFlags) -> anyhow::Result<()> {
    let data = &common.data;
    refuse_what_is_there(data)?;
    let root_key = flags
        .root_key
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.root.age", flags.chain)));
    refuse_inside(&root_key, data)?;
    if fs::symlink_metadata(&root_key).is_ok() {
        bail!(
            "`{}` exists already and is never overwritten: name another file with --root-key",
            root_key.display()
        );
    }
    let passphrase = passphrase(flags.passphrase_file.as_deref(), Asked::Twice)?;

    let folder = folder::open(data)?;
    let root = root::create(&root_key, &passphrase)?;
    let online = own_key::create(folder.path(), &root, &flags.chain, wall())?;
    if common.json {
        return out::json(&json!({
            "chain": online.chain.to_string(),
            "name": online.name.as_ref(),
            "data": data,
            "root_key": root_key,
            "until_ms": online.until.0,
        }));
    }
    out::line(format_args!("chain {} begun: {}", online.name, online.chain))?;
    out::line(format_args!("  HQ's data folder: {}", data.display()))?;
    out::line(format_args!(
        "  chain root's key: {} (encrypted; keep it offline, with its passphrase)",
        root_key.display()
    ))?;
    out::line(format_args!("next: storemesh-hq --data {} serve", data.display()))
}

fn refuse_what_is_there(data: &Path) -> anyhow::Result<()> {
    if own_key::is_initialised(data) {
        bail!(
            "`{}` is the data folder of an HQ already, and stays as it is: name another with --data",
            data.display()
        );
    }
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(why).with_context(|| format!("reading `{}`", data.display())),
    };
    for entry in entries {
        let name = entry.with_context(|| format!("reading `{}`", data.display()))?.file_name();
        if !MAY_BE_THERE.iter().any(|allowed| name == *allowed) {
            bail!(
                "`{}` holds other things (`{}`): name an empty or new folder with --data",
                data.display(),
                name.display()
            );
        }
    }
    Ok(())
}

fn refuse_inside(root_key: &Path, data: &Path) -> anyhow::Result<()> {
    let folder = match root_key.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let folder = folder
        .canonicalize()
        .with_context(|| format!("the folder for the chain root's key, `{}`", folder.display()))?;
    if folder.starts_with(real(data)?) {
        return Err(Failure::usage(format!(
            "the chain root's key must not lie in HQ's data folder (`{}`): name a file elsewhere \
             with --root-key",
            data.display()
        ))
        .into());
    }
    Ok(())
}

/// Where a folder lies that may not exist yet, symlinks resolved.
fn real(path: &Path) -> anyhow::Result<PathBuf> {
    let mut missing = Vec::new();
    let mut at = std::path::absolute(path)?;
    loop {
        if let Ok(found) = at.canonicalize() {
            return Ok(missing.iter().rev().fold(found, |path, part| path.join(part)));
        }
        let part = at.file_name().with_context(|| format!("`{}` is no folder", path.display()))?;
        missing.push(part.to_owned());
        at.pop();
    }
}

/// How a passphrase that is asked for is made sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// What it opens shows whether it is right.
    Once,
    Twice,
}

pub(crate) fn passphrase(file: Option<&Path>, asked: Asked) -> anyhow::Result<Zeroizing<String>> {
    if let Some(path) = file {
        let Some(content) = files::read_small(path, 4096)?.map(Zeroizing::new) else {
            bail!("`{}` does not exist", path.display());
        };
        let text = std::str::from_utf8(&content)
            .with_context(|| format!("`{}` is not UTF-8 text", path.display()))?;
        let line = text.lines().next().unwrap_or_default();
        return not_empty(line.to_owned().into());
    }
    if let Ok(text) = env::var(PASSPHRASE_ENV) {
        return not_empty(text.into());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "no passphrase for the chain root's key: give --passphrase-file FILE or {PASSPHRASE_ENV}"
        ))
        .into());
    }
    let ask = |prompt| rpassword::prompt_password(prompt).context("asking for the passphrase");
    let first = not_empty(ask("Passphrase for the chain root's key: ")?.into())?;
    if asked == Asked::Once {
        return Ok(first);
    }
    let second = Zeroizing::new(ask("The same again: ")?);
    if *first != *second {
        bail!("the passphrases differ: begin again");
    }
    Ok(first)
}

fn not_empty(passphrase: Zeroizing<String>) -> anyhow::Result<Zeroizing<String>> {
    if passphrase.is_empty() {
        bail!("an empty passphrase protects nothing: choose one");
    }
    Ok(passphrase)
}

#[cfg(test)]
mod tests {
    use storemesh_host::exit::{Exit, exit_of};

    use super::*;

    fn begin(data: &Path, root_key: &Path, passphrase_file: &Path) -> anyhow::Result<()> {
        let common = Common { data: data.to_owned(), json: true };
        let flags = InitFlags {
            chain: "acme".parse().unwrap(),
            root_key: Some(root_key.to_owned()),
            passphrase_file: Some(passphrase_file.to_owned()),
        };
        run(&common, &flags)
    }

    #[test]
    fn a_chain_is_begun_once_and_its_root_lies_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("pass"), "correct horse\n").unwrap();
        fs::create_dir(at("outside")).unwrap();

        let inside = begin(&at("data"), &at("data/root.age"), &at("pass")).unwrap_err();
        assert!(!at("data").exists(), "{inside:#}");
        fs::create_dir(at("data")).unwrap();
        std::os::unix::fs::symlink(at("data"), at("link")).unwrap();
        for inside in ["data/root.age", "link/root.age", "outside/../data/root.age"] {
            let error = begin(&at("data"), &at(inside), &at("pass")).unwrap_err();
            assert_eq!(exit_of(&error), Exit::Usage, "{error:#}");
        }

        begin(&at("data"), &at("root.age"), &at("pass")).unwrap();
        let own = own_key::load(&at("data"), wall()).unwrap();
        let root = root::open(&at("root.age"), "correct horse").unwrap();
        assert_eq!(*own.trust.chain.root(), root.public());
        assert_eq!(own.signer.described().generation, 1);

        let again = format!("{:#}", begin(&at("data"), &at("2.age"), &at("pass")).unwrap_err());
        assert!(again.contains("already"), "{again}");
        let taken = format!("{:#}", begin(&at("new"), &at("root.age"), &at("pass")).unwrap_err());
        assert!(taken.contains("--root-key") && !at("new").exists(), "{taken}");
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("pass"), "correct horse").unwrap();
        fs::create_dir(at("till")).unwrap();
        fs::write(at("till/identity.key"), "a terminal's").unwrap();
        let error = format!("{:#}", begin(&at("till"), &at("r.age"), &at("pass")).unwrap_err());
        assert!(error.contains("identity.key"), "{error}");
        assert!(!at("r.age").exists());
        assert_eq!(fs::read_dir(at("till")).unwrap().count(), 1);
    }
}
