//! The main job: what HQ publishes crosses the line once and every terminal of the store holds it.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::fs::symlink, thread, time::Duration};

use anyhow::Result;
use storemesh_sim::live::{
    relay::Wan,
    status::{Peer, ReleaseStatus},
    stop,
};
use storemesh_tests::shop::{ARRIVED_WITHIN, MET_WITHIN, PRODUCT, Shop, arrived, noise};

/// Long enough that a release can be interrupted on its way.
const LINE_MBIT: f64 = 40.0;

fn from_hq(releases: &[ReleaseStatus]) -> u64 {
    releases.iter().map(|release| release.bytes_from_hq).sum()
}

/// Until some terminal holds at least a tenth of the release that is on its way.
fn under_way(shop: &Shop) -> Result<()> {
    stop::until("a tenth of the release", ARRIVED_WITHIN, || {
        let statuses = shop.chain.statuses()?;
        let far = statuses.iter().filter_map(|status| status.release(PRODUCT)).any(|release| {
            release.bytes_total > 0 && release.bytes_have * 10 >= release.bytes_total
        });
        Ok(far.then_some(()))
    })
}

#[test]
fn a_release_and_the_next_one_cross_the_line_once_and_reach_every_terminal() -> Result<()> {
    let shop = Shop::running_behind(Wan::mbit(LINE_MBIT), 4)?;
    let first = shop.directory("v1", 1, 8_000_000)?;
    fs::create_dir_all(first.join("etc/empty"))?;
    symlink("bin/pos", first.join("pos"))?;
    fs::set_permissions(first.join("bin/pos"), fs::Permissions::from_mode(0o755))?;
    let published = shop.publish(&first, "1.0")?;
    let releases = shop.arrived(&first, &published)?;
    let moved = published.moved_bytes;
    assert!((8_000_000..8_200_000).contains(&moved), "{moved}");
    assert!(from_hq(&releases) <= moved * 102 / 100, "{releases:#?}");
    let carried = shop.chain.wan.down().bytes();
    assert!(carried <= moved * 110 / 100, "{carried} on the line for {moved}");

    // The same program, with a few bytes changed in the middle.
    let second = shop.directory("v2", 1, 8_000_000)?;
    let mut program = fs::read(second.join("bin/pos"))?;
    program[4_000_000..4_000_100].copy_from_slice(&noise(7, 100));
    fs::write(second.join("bin/pos"), program)?;
    let published = shop.publish(&second, "1.1")?;
    let releases = shop.arrived(&second, &published)?;
    assert!(published.moved_bytes < 2_500_000, "{published:?}");
    assert!(from_hq(&releases) <= published.moved_bytes + 64 * 1024, "{releases:#?}");
    Ok(())
}

#[test]
fn a_terminal_that_was_off_gets_the_release_from_its_neighbours() -> Result<()> {
    let mut shop = Shop::running(3)?;
    shop.chain.terminals[2].stop()?;
    let directory = shop.directory("v1", 2, 3_000_000)?;
    let published = shop.publish(&directory, "1.0")?;
    for terminal in &shop.chain.terminals[..2] {
        arrived(terminal, &directory, &published)?;
    }
    let carried = shop.chain.wan.down().bytes();

    let late = &mut shop.chain.terminals[2];
    late.start()?;
    let release = arrived(late, &directory, &published)?;
    assert_eq!(release.bytes_from_hq, 0, "{release:?}");
    assert!(release.bytes_from_neighbours >= 3_000_000, "{release:?}");
    let more = shop.chain.wan.down().bytes() - carried;
    assert!(more < 300_000, "{more} bytes on the line for what the store held");
    Ok(())
}

#[test]
fn after_a_power_cut_on_every_terminal_a_download_goes_on_where_it_was() -> Result<()> {
    let mut shop = Shop::running_behind(Wan::mbit(LINE_MBIT), 2)?;
    let directory = shop.directory("v1", 3, 10_000_000)?;
    let published = shop.publish(&directory, "1.0")?;
    for _ in 0..2 {
        under_way(&shop)?;
        thread::sleep(Duration::from_millis(200));
        for terminal in &mut shop.chain.terminals {
            terminal.kill();
        }
        shop.chain.start()?;
    }
    shop.arrived(&directory, &published)?;
    // What was under way at the two cuts may have been sent twice: windows of some MiB each.
    let carried = shop.chain.wan.down().bytes();
    assert!(carried < 19_000_000, "{carried} bytes on the line for {}", published.moved_bytes);
    Ok(())
}

#[test]
fn when_the_gateway_loses_power_another_terminal_goes_on() -> Result<()> {
    let mut shop = Shop::running_behind(Wan::mbit(LINE_MBIT), 3)?;
    let directory = shop.directory("v1", 4, 10_000_000)?;
    let published = shop.publish(&directory, "1.0")?;
    under_way(&shop)?;
    let statuses = shop.chain.statuses()?;
    let gateway = statuses.iter().position(storemesh_sim::live::status::Status::is_gateway);
    let gateway = gateway.ok_or_else(|| anyhow::anyhow!("no gateway in {statuses:#?}"))?;
    shop.chain.terminals[gateway].kill();
    for (number, terminal) in shop.chain.terminals.iter().enumerate() {
        if number != gateway {
            arrived(terminal, &directory, &published)?;
        }
    }
    shop.chain.terminals[gateway].start()?;
    shop.arrived(&directory, &published)?;
    Ok(())
}

#[test]
fn hq_may_be_killed_and_come_back_in_the_middle_of_a_release() -> Result<()> {
    let mut shop = Shop::running_behind(Wan::mbit(LINE_MBIT), 2)?;
    let directory = shop.directory("v1", 5, 10_000_000)?;
    let published = shop.publish(&directory, "1.0")?;
    under_way(&shop)?;
    shop.chain.hq.kill();
    // Long enough that the store knows.
    thread::sleep(Duration::from_secs(2));
    shop.chain.serve_again()?;
    let releases = shop.arrived(&directory, &published)?;
    // What HQ had sent before is not asked for again; what was on its way may come twice.
    let moved = published.moved_bytes;
    assert!(from_hq(&releases) <= moved * 102 / 100, "{releases:#?}");
    let carried = shop.chain.wan.down().bytes();
    assert!(carried <= moved * 110 / 100 + 1_000_000, "{carried} on the line for {moved}");
    Ok(())
}

#[test]
fn a_held_release_waits_for_its_start_and_the_commands_show_the_store() -> Result<()> {
    let shop = Shop::running(2)?;
    let directory = shop.directory("v1", 6, 200_000)?;
    let published = shop.chain.hq.publish_held(&directory, PRODUCT, "1.0")?;
    thread::sleep(Duration::from_secs(1));
    for terminal in &shop.chain.terminals {
        assert_eq!(terminal.running_folder(PRODUCT), None);
    }
    shop.chain.hq.start_release(PRODUCT, "1.0")?;
    shop.arrived(&directory, &published)?;

    let fleet = stop::until("both terminals in the fleet", MET_WITHIN, || {
        let fleet = shop.chain.hq.fleet()?;
        let both = fleet.iter().filter(|row| row.running.as_deref() == Some("1.0")).count() == 2;
        Ok(both.then_some(fleet))
    })?;
    assert!(fleet.iter().all(|row| row.online && row.store == "store-1"), "{fleet:#?}");
    assert_eq!(fleet.iter().filter(|row| row.gateway).count(), 1, "{fleet:#?}");

    let [one, two] = shop.chain.terminals.as_slice() else { anyhow::bail!("two terminals") };
    let peers: Vec<Peer> = one.run(["peers"])?.well("asking for peers")?.json()?;
    let neighbour = peers.iter().find(|peer| peer.name.as_deref() == Some(two.name()));
    assert!(neighbour.is_some_and(|neighbour| neighbour.connected), "{peers:#?}");
    let status: serde_json::Value = one.run(["status"])?.well("asking for the status")?.json()?;
    assert_eq!(status["name"], one.name());
    assert_eq!(status["releases"][0]["running"], "1.0");
    Ok(())
}
