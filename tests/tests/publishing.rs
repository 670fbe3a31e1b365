//! Directories that cannot be a release, and names that are taken.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
};

use anyhow::Result;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use storemesh_sim::live::child::Done;
use storemesh_tests::{
    require,
    saying::{FAILED, REFUSED, assert_fails, assert_misused},
    shop::{PRODUCT, Shop},
};

fn publish(shop: &Shop, directory: &Path) -> Result<Done> {
    shop.chain.hq.publish(directory, PRODUCT, "1.0", &[])
}

/// Refuses the directory while `name` is in it, names it, and takes the directory without it.
fn assert_refused(shop: &Shop, directory: &Path, name: &str, word: &str) -> Result<()> {
    assert_fails(&publish(shop, directory)?, FAILED, &[name, word]);
    let releases = shop.chain.hq.run(["release", "list"])?.well("listing releases")?;
    assert_eq!(releases.stdout.trim(), "[]", "something was left of it");
    fs::remove_file(directory.join(name))?;
    Ok(())
}

#[test]
fn what_a_release_cannot_hold_is_refused_by_name() -> Result<()> {
    let shop = Shop::open(0)?;
    let directory = shop.directory("v1", 1, 10_000)?;

    fs::write(directory.join("as-root"), "program")?;
    fs::set_permissions(directory.join("as-root"), fs::Permissions::from_mode(0o4755))?;
    assert_refused(&shop, &directory, "as-root", "setuid")?;

    let listener = UnixListener::bind(directory.join("door"))?;
    assert_refused(&shop, &directory, "door", "socket")?;
    drop(listener);

    mknodat(CWD, directory.join("pipe"), FileType::Fifo, Mode::RUSR, 0)?;
    assert_refused(&shop, &directory, "pipe", "pipe")?;

    for target in ["/etc/passwd", "../../elsewhere", "bin/../../elsewhere"] {
        symlink(target, directory.join("way-out"))?;
        assert_refused(&shop, &directory, "way-out", "link")?;
    }

    let name = OsStr::from_bytes(b"caf\xe9");
    fs::write(directory.join(name), "latin 1")?;
    assert_fails(&publish(&shop, &directory)?, FAILED, &["UTF-8"]);
    fs::remove_file(directory.join(name))?;

    publish(&shop, &directory)?.well("publishing what is left")?;
    Ok(())
}

#[test]
fn a_device_is_refused_by_name() -> Result<()> {
    require!(root);
    let shop = Shop::open(0)?;
    let directory = shop.directory("v1", 1, 10_000)?;
    let null = makedev(1, 3);
    mknodat(CWD, directory.join("null"), FileType::CharacterDevice, Mode::RUSR, null)?;
    assert_refused(&shop, &directory, "null", "device")
}

#[test]
fn a_directory_that_is_not_there_is_named() -> Result<()> {
    let shop = Shop::open(0)?;
    assert_fails(&publish(&shop, &shop.path("nowhere"))?, FAILED, &["nowhere"]);
    fs::write(shop.path("file"), "no directory")?;
    assert_fails(&publish(&shop, &shop.path("file"))?, FAILED, &["file"]);
    Ok(())
}

#[test]
fn a_version_has_one_content() -> Result<()> {
    let shop = Shop::running(1)?;
    let first = shop.directory("v1", 1, 300_000)?;
    let published = shop.publish(&first, "1.0")?;
    shop.arrived(&first, &published)?;

    let other = shop.directory("other", 2, 300_000)?;
    assert_fails(&publish(&shop, &other)?, REFUSED, &["1.0", "other content"]);
    // Nothing was lost, and to say the same twice is no mistake.
    shop.arrived(&first, &published)?;
    let again = shop.publish(&first, "1.0")?;
    assert_eq!((again.release, again.moved_bytes), (published.release.clone(), 0));
    shop.publish(&other, "1.1")?;
    Ok(())
}

#[test]
fn names_that_are_none_are_refused_before_anything_is_read() -> Result<()> {
    let shop = Shop::open(0)?;
    let directory = shop.directory("v1", 1, 1_000)?;
    for (product, version) in [("../pos", "1"), ("pos", "1/2"), ("", "1"), ("pos", ".hidden")] {
        assert_misused(&shop.chain.hq.publish(&directory, product, version, &[])?);
    }
    assert_misused(&shop.chain.hq.run(["store", "add", "a shop"])?);
    Ok(())
}
