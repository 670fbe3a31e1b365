//! Data folders that must not be used: in use, another terminal's, a newer version's, open to others.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::Result;
use storemesh_tests::{
    saying::{FAILED, assert_fails},
    shop::Shop,
};

/// Every file in the folder with its content, but for what a running program keeps open.
fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push((name, fs::read(entry.path())?));
        }
    }
    files.sort();
    Ok(files)
}

/// Joined, and started once, so that all files are there.
fn settled(terminals: usize) -> Result<Shop> {
    let mut shop = Shop::running(terminals)?;
    shop.chain.stop()?;
    Ok(shop)
}

#[test]
fn one_folder_runs_one_program() -> Result<()> {
    let shop = Shop::running(1)?;
    let second = ["run", "--mesh-port", "0", "--api-port", "0", "--no-mdns"];
    assert_fails(&shop.chain.terminals[0].run(second)?, FAILED, &["in use"]);
    let second = ["serve", "--port", "0", "--admin-port", "0"];
    assert_fails(&shop.chain.hq.run(second)?, FAILED, &["in use"]);
    // The first ones are as they were.
    shop.chain.terminals[0].status()?;
    shop.chain.hq.fleet()?;
    Ok(())
}

#[test]
fn a_folder_of_a_newer_version_is_left_alone() -> Result<()> {
    let shop = settled(1)?;
    let terminal = &shop.chain.terminals[0];
    for data in [terminal.data(), shop.chain.hq.data()] {
        fs::write(data.join("format"), "1000\n")?;
    }
    let before = (files(&terminal.data())?, files(&shop.chain.hq.data())?);
    assert_fails(&terminal.run(["run", "--no-mdns"])?, FAILED, &["newer", "1000"]);
    assert_fails(&shop.chain.hq.run(["serve"])?, FAILED, &["newer", "1000"]);
    assert!(before == (files(&terminal.data())?, files(&shop.chain.hq.data())?));
    Ok(())
}

#[test]
fn an_identity_of_another_terminal_is_recognised() -> Result<()> {
    let shop = settled(2)?;
    let [one, two] = shop.chain.terminals.as_slice() else { anyhow::bail!("two terminals") };
    fs::copy(two.data().join("identity.key"), one.data().join("identity.key"))?;
    assert_fails(&one.run(["run", "--no-mdns"])?, FAILED, &["belongs to terminal", "join"]);
    Ok(())
}

#[test]
fn the_folder_of_the_other_program_is_recognised() -> Result<()> {
    let shop = settled(1)?;
    let terminal = &shop.chain.terminals[0];
    let moved = shop.path("t1-moved");
    fs::rename(terminal.data(), &moved)?;
    fs::rename(shop.chain.hq.data(), terminal.data())?;
    assert_fails(&terminal.run(["run", "--no-mdns"])?, FAILED, &["storemesh", "join CODE"]);
    fs::rename(moved, shop.chain.hq.data())?;
    assert_fails(&shop.chain.hq.run(["serve"])?, FAILED, &["storemesh-hq", "init --chain"]);
    Ok(())
}

#[test]
fn an_identity_that_others_can_read_is_refused_with_the_remedy() -> Result<()> {
    let shop = settled(1)?;
    let terminal = &shop.chain.terminals[0];
    let identity = terminal.data().join("identity.key");
    assert_eq!(fs::metadata(&identity)?.permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o640))?;
    assert_fails(&terminal.run(["run", "--no-mdns"])?, FAILED, &["chmod 600"]);
    Ok(())
}

#[test]
fn a_configuration_with_an_unknown_key_names_the_nearest_known_one() -> Result<()> {
    let shop = settled(1)?;
    let terminal = &shop.chain.terminals[0];
    let example = terminal.run(["config", "example"])?.well("asking for the example")?;
    fs::write(terminal.data().join("storemesh.toml"), example.stdout)?;
    terminal.run(["config", "check"])?.well("checking the example")?;
    fs::write(terminal.data().join("storemesh.toml"), "mesh_prot = 7410\n")?;
    for command in [&["config", "check"][..], &["run", "--no-mdns"]] {
        assert_fails(&terminal.run(command)?, FAILED, &["mesh_prot", "mesh_port"]);
    }

    let hq = &shop.chain.hq;
    let example = hq.run(["config", "example"])?.well("asking for the example")?;
    fs::write(hq.data().join("storemesh-hq.toml"), example.stdout)?;
    hq.run(["config", "check"])?.well("checking the example")?;
    fs::write(hq.data().join("storemesh-hq.toml"), "admin_prot = 7401\n")?;
    for command in [&["config", "check"][..], &["serve"]] {
        assert_fails(&hq.run(command)?, FAILED, &["admin_prot", "admin_port"]);
    }
    Ok(())
}
