//! A terminal whose disk is full, with the real programs on a disk that is really small.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use storemesh_sim::live::{
    cashier::Cashier,
    chain::STORE,
    hq::Hq,
    programs::Programs,
    status::ReleaseStatus,
    stop,
    terminal::{ANY_PORTS, Terminal},
};
use storemesh_tests::{
    require,
    shop::{self, PRODUCT},
    small_disk::{fill, small_disk},
};

const MIB: u64 = 1 << 20;
const DISK_MIB: u32 = 24;
const RELEASE: usize = 6 << 20;
/// Some 300 of these fill the disk.
const SALE: usize = 60_000;
/// It looks every 5 s; a busy test machine is given more.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// HQ, and one terminal whose data lie on the small disk.
struct SmallShop {
    folder: tempfile::TempDir,
    hq: Hq,
    terminal: Terminal,
}

impl SmallShop {
    fn open(disk: &std::path::Path, flags: &[&str]) -> Result<Self> {
        let programs = Programs::built()?;
        let folder = tempfile::tempdir()?;
        let mut hq = Hq::new(programs, folder.path());
        hq.init("small-chain")?;
        hq.serve(["--listen", "127.0.0.1", "--advertise", "127.0.0.1:0"])?;
        let address = hq.address().to_string();
        hq.stop()?;
        hq.serve(["--listen", "127.0.0.1", "--advertise", &address])?;
        hq.add_store(STORE)?;
        let mut terminal = Terminal::new(programs, disk, "t1");
        terminal.join(&hq.invite(STORE)?)?;
        terminal.start_with(ANY_PORTS.iter().chain(flags))?;
        Ok(Self { folder, hq, terminal })
    }

    /// A release of one file that does not compress.
    fn publish(&self, version: u64) -> Result<std::path::PathBuf> {
        let directory = self.folder.path().join(version.to_string());
        fs::create_dir(&directory)?;
        fs::write(directory.join("pos"), shop::noise(version, RELEASE))?;
        let done = self.hq.publish(&directory, PRODUCT, &version.to_string(), &[])?;
        done.well("publishing")?;
        Ok(directory)
    }

    fn until(&self, what: &str, is: impl Fn(&ReleaseStatus) -> bool) -> Result<ReleaseStatus> {
        stop::until(what, SEEN_WITHIN, || {
            let release = self.terminal.status()?.release(PRODUCT).cloned();
            Ok(release.filter(&is))
        })
    }

    fn runs(&self, version: u64) -> Result<ReleaseStatus> {
        let version = version.to_string();
        self.until(&format!("{version} running"), |r| r.running.as_deref() == Some(&version))
    }

    fn close(mut self) -> Result<()> {
        self.terminal.stop()?;
        self.hq.stop()
    }
}

#[test]
fn a_full_disk_stops_the_download_says_so_and_it_goes_on_when_there_is_room() -> Result<()> {
    require!(root);
    let test = "a_full_disk_stops_the_download_says_so_and_it_goes_on_when_there_is_room";
    let Some(disk) = small_disk(test, DISK_MIB)? else { return Ok(()) };
    let shop = SmallShop::open(&disk, &["--disk-reserve-bytes", "1000000"])?;
    shop.publish(1)?;
    let first = shop.runs(1)?;
    assert_eq!(first.phase, "running");

    let ballast = fill(&disk, 4 * MIB)?;
    shop.publish(2)?;
    let stopped = shop.until("the state", |release| release.bytes_lacking.is_some())?;
    assert_eq!((stopped.phase.as_str(), stopped.lacking_on.as_deref()), ("no_room", Some("disk")));
    let lacking = stopped.bytes_lacking.context("it was there")?;
    assert!(2 * MIB < lacking && lacking < 4 * MIB, "{lacking}");
    assert_eq!(stopped.bytes_have - stopped.bytes_from_hq, 0, "only the manifest: {stopped:?}");
    // The whole chain can see it.
    stop::until("HQ hearing of it", SEEN_WITHIN, || {
        let fleet = shop.hq.fleet()?;
        Ok(fleet.iter().any(|row| row.phase.as_deref() == Some("no_room")).then_some(()))
    })?;
    assert_eq!(stopped.running.as_deref(), Some("1"), "the old one runs on");

    fs::remove_file(ballast)?;
    let second = shop.runs(2)?;
    assert_eq!(second.bytes_from_hq, second.bytes_total, "nothing came twice: {second:?}");
    shop.close()
}

#[test]
fn a_disk_filled_to_the_last_byte_in_the_middle_keeps_what_came() -> Result<()> {
    require!(root);
    let test = "a_disk_filled_to_the_last_byte_in_the_middle_keeps_what_came";
    let Some(disk) = small_disk(test, DISK_MIB)? else { return Ok(()) };
    let mut shop = SmallShop::open(&disk, &["--disk-reserve-bytes", "0"])?;
    shop.publish(1)?;
    shop.runs(1)?;
    // Nothing at all can be written; the node notes what HQ wants, and goes on.
    let ballast = fill(&disk, 0)?;
    shop.publish(2)?;
    let stopped = shop.until("the state", |release| release.phase == "no_room")?;
    assert_eq!(stopped.running.as_deref(), Some("1"));
    stop::pause(Duration::from_secs(7))?;
    assert_eq!(shop.terminal.status()?.release(PRODUCT).context("gone")?.phase, "no_room");
    // Also after a kill.
    shop.terminal.kill();
    shop.terminal.start_with(ANY_PORTS.iter().chain(&["--disk-reserve-bytes", "0"]))?;
    shop.until("the state again", |release| release.phase == "no_room")?;
    fs::remove_file(ballast)?;
    shop.runs(2)?;
    shop.close()
}

#[test]
fn a_quota_gives_up_the_release_before_and_never_the_running_one() -> Result<()> {
    require!(root);
    let test = "a_quota_gives_up_the_release_before_and_never_the_running_one";
    let Some(disk) = small_disk(test, 2 * DISK_MIB)? else { return Ok(()) };
    // Room for two and a half releases.
    let quota = (RELEASE * 5 / 2).to_string();
    let flags = ["--disk-reserve-bytes", "0", "--disk-quota-bytes", &quota];
    let shop = SmallShop::open(&disk, &flags)?;
    let releases = shop.terminal.data().join("releases").join(PRODUCT);
    let standing = || -> Result<usize> {
        let names = fs::read_dir(&releases)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<Result<Vec<_>>>()?;
        let hidden = |name: &std::ffi::OsString| name.as_encoded_bytes().starts_with(b".");
        Ok(names.iter().filter(|name| *name != "current" && !hidden(name)).count())
    };
    for version in [1, 2] {
        shop.publish(version)?;
        shop.runs(version)?;
    }
    assert_eq!(standing()?, 2);
    shop.publish(3)?;
    shop.runs(3)?;
    assert_eq!(standing()?, 2, "the running one and the one before");
    // One that cannot fit beside the running one is not begun, and nothing is given up for it.
    let large = shop.folder.path().join("large");
    fs::create_dir(&large)?;
    fs::write(large.join("pos"), shop::noise(4, 2 * RELEASE))?;
    shop.hq.publish(&large, PRODUCT, "4", &[])?.well("publishing")?;
    let stopped = shop.until("the state", |release| release.bytes_lacking.is_some())?;
    assert_eq!(stopped.lacking_on.as_deref(), Some("quota"));
    assert_eq!((standing()?, stopped.running.as_deref()), (2, Some("3")));
    shop.close()
}

#[test]
fn a_full_disk_refuses_sales_and_loses_none() -> Result<()> {
    require!(root);
    let test = "a_full_disk_refuses_sales_and_loses_none";
    let Some(disk) = small_disk(test, DISK_MIB)? else { return Ok(()) };
    let mut shop = SmallShop::open(&disk, &["--disk-reserve-bytes", "0"])?;
    let body = format!("\"{}\"", "a".repeat(SALE));
    let post = |shop: &SmallShop, number: usize| -> Result<(u16, Vec<u8>)> {
        let key = format!("sale-{number}");
        let receipt = Cashier::at(&shop.terminal)?.post("sales", &key, body.as_bytes(), "disk")?;
        Ok((receipt.status, receipt.body))
    };
    let first = stop::until("HQ's schema", SEEN_WITHIN, || {
        Ok(Some(post(&shop, 0)?).filter(|(status, _)| *status == 201))
    })?;
    let room = usize::try_from(u64::from(DISK_MIB) * MIB)? / SALE;
    let mut kept = 1;
    let full = loop {
        let (status, said) = post(&shop, kept)?;
        if status != 201 {
            break (status, String::from_utf8(said)?);
        }
        kept += 1;
        ensure!(kept < room, "more is kept than the disk can hold");
    };
    assert_eq!(full.0, 507, "{}", full.1);
    assert!(full.1.contains("disk-full"), "{}", full.1);
    assert!(kept > room / 10, "only {kept} sales found room");

    // Others take the rest, to the last byte: what was kept is still answered for, also after a kill.
    let ballast = fill(&disk, 0)?;
    assert_eq!(post(&shop, 0)?, first);
    shop.terminal.kill();
    shop.terminal.start_with(ANY_PORTS.iter().chain(&["--disk-reserve-bytes", "0"]))?;
    assert_eq!(post(&shop, 0)?, first);
    assert_eq!(post(&shop, kept)?.0, 507);
    fs::remove_file(ballast)?;
    // A disk that the sales themselves have filled stays full: it takes a larger one. Here it is
    // enough that nothing was lost on the way to HQ.
    stop::until("HQ having all", SEEN_WITHIN, || {
        let done = shop.terminal.run(["journal", "status", "--json"])?;
        Ok(done.stdout.contains("\"unacked\":0").then_some(()))
    })?;
    shop.close()
}
