//! A store whose network is split while both parts reach HQ: the part without the gateway gets one of
//! its own, which hears HQ's orders at once and fetches nothing yet, and gives way when the parts meet.

use std::time::Duration;

use anyhow::{Context, Result};
use storemesh_sim::live::{relay::Wan, status::Status, stop};
use storemesh_tests::{
    require,
    shop::{LanShop, PRODUCT},
};

/// 1.4 s to notice, 5 s to be sure that the gateway does not come back, and the calls.
const PARTED_WITHIN: Duration = Duration::from_secs(30);
/// The longest pause between two dials.
const MET_AGAIN_WITHIN: Duration = Duration::from_mins(1);
/// Long enough that a release would have come.
const WATCHED: Duration = Duration::from_secs(3);

fn speaks_for(status: &Status, part: bool) -> bool {
    let gateway = status.gateway.as_ref().filter(|gateway| gateway.me && status.uplink == "up");
    gateway.is_some_and(|gateway| (gateway.part > 0) == part)
}

#[test]
fn a_part_without_the_gateway_hears_orders_by_its_own_and_bytes_when_it_meets_the_others_again()
-> Result<()> {
    require!(netns);
    let shop = LanShop::running_on_lan(Wan::default(), 2)?;
    let statuses = shop.chain.statuses()?;
    let gateway = statuses.iter().position(Status::is_gateway).context("a gateway")?;
    let other = 1 - gateway;
    for terminal in ["t1", "t2"] {
        shop.lan().isolate(terminal)?;
    }
    stop::until("a gateway for the other part", PARTED_WITHIN, || {
        Ok(speaks_for(&shop.chain.terminals[other].status()?, true).then_some(()))
    })?;
    let first = shop.chain.terminals[gateway].status()?;
    assert!(speaks_for(&first, false), "the store's own went on: {first:#?}");

    let directory = shop.directory("v1", 1, 4_000_000)?;
    let published = shop.publish(&directory, "1")?;
    let parted = &shop.chain.terminals[other];
    stop::until("HQ's order", PARTED_WITHIN, || {
        let wanted = parted.status()?.release(PRODUCT).map(|release| release.wanted.clone());
        Ok((wanted == Some(Some("1".to_owned()))).then_some(()))
    })?;
    std::thread::sleep(WATCHED);
    let release = parted.status()?.release(PRODUCT).context("a release")?.clone();
    assert_eq!((release.bytes_from_hq, release.bytes_have), (0, 0), "{release:#?}");

    for terminal in ["t1", "t2"] {
        shop.lan().reunite(terminal)?;
    }
    stop::until("one gateway for all", MET_AGAIN_WITHIN, || {
        let statuses = shop.chain.statuses()?;
        let one = statuses.iter().all(|status| {
            status.neighbours == 1
                && status.gateway.as_ref().is_some_and(|gateway| gateway.part == 0)
        });
        Ok((one && statuses.iter().filter(|status| status.is_gateway()).count() == 1).then_some(()))
    })?;
    let releases = shop.arrived(&directory, &published)?;
    assert_eq!(releases[other].bytes_from_hq, 0, "it came from the neighbour: {releases:#?}");
    Ok(())
}
