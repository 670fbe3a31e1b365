//! What the line between HQ and the store carries, read from the interface with every header, and who
//! may slow whom down.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use storemesh_sim::live::{chain::STORE, link::Shape, relay::Wan, stop};
use storemesh_tests::{
    require,
    shop::{ARRIVED_WITHIN, LanShop, MET_WITHIN, PRODUCT, arrived},
};

const LINE_MBIT: f64 = 40.0;

/// Of the published bytes: QUIC's and IP's headers, and what is sent again on a busy machine.
const DOWN_PERCENT_MAX: u64 = 108;
/// Acknowledgements and requests.
const UP_PERCENT_MAX: u64 = 5;
/// Beats, pings and status of a store for some seconds; an enrolment.
const SMALL_TALK_BYTES: u64 = 128 * 1024;

#[test]
fn the_interface_of_the_line_carries_a_release_once_and_nothing_for_a_late_joiner() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::open_on_lan(Wan::mbit(LINE_MBIT), 4)?;
    let mut late = shop.chain.terminals.pop().context("four terminals")?;
    shop.chain.join()?;
    shop.chain.start()?;
    shop.chain.meet(MET_WITHIN)?;
    let directory = shop.directory("v1", 11, 8_000_000)?;
    let published = shop.chain.hq.publish_held(&directory, PRODUCT, "1.0")?;
    let before = shop.lan().wan()?;
    shop.chain.hq.start_release(PRODUCT, "1.0")?;
    shop.arrived(&directory, &published)?;
    let after = shop.lan().wan()?;
    let (down, up) = (after.received - before.received, after.sent - before.sent);
    let moved = published.moved_bytes;
    assert!(down >= moved, "{down} bytes down for {moved}: that cannot be all");
    assert!(down <= moved * DOWN_PERCENT_MAX / 100 + SMALL_TALK_BYTES, "{down} down for {moved}");
    assert!(up <= moved * UP_PERCENT_MAX / 100 + SMALL_TALK_BYTES, "{up} up for {moved}");

    late.join(&shop.chain.hq.invite(STORE)?)?;
    late.start_with([] as [&str; 0])?;
    let release = arrived(&late, &directory, &published)?;
    assert_eq!(release.bytes_from_hq, 0, "{release:?}");
    let more = shop.lan().wan()?;
    let (down, up) = (more.received - after.received, more.sent - after.sent);
    assert!(down + up <= SMALL_TALK_BYTES, "{down} bytes down and {up} up for the late joiner");
    shop.chain.terminals.push(late);
    Ok(())
}

/// Against the same run with every port alike; and what a busy machine adds to either. At the slow
/// port's pace it would be four times and more.
const SLOWED_DOWN_MAX: u32 = 2;
const SLOW_PORT_MBIT: f64 = 10.0;

#[test]
fn a_terminal_on_a_slow_port_does_not_slow_the_others() -> Result<()> {
    require!(netns);
    let shop = LanShop::running_on_lan(Wan::mbit(LINE_MBIT), 4)?;
    // A gateway behind a slow port is a slow line for all, whatever we do.
    let statuses = shop.chain.statuses()?;
    let slow = statuses.iter().position(|status| !status.is_gateway()).context("a neighbour")?;
    let others_take = |version: &str, seed| -> Result<Duration> {
        let directory = shop.directory(version, seed, 10_000_000)?;
        let published = shop.chain.hq.publish_held(&directory, PRODUCT, version)?;
        let started = Instant::now();
        shop.chain.hq.start_release(PRODUCT, version)?;
        stop::until("the release at the others", ARRIVED_WITHIN, || {
            let all = shop.chain.terminals.iter().enumerate();
            let others = all.filter(|(index, _)| *index != slow);
            let mut statuses = others.map(|(_, terminal)| terminal.status());
            let missing = statuses.try_fold(0, |missing, status| {
                Ok::<_, anyhow::Error>(missing + usize::from(!status?.runs(PRODUCT, version)))
            })?;
            Ok((missing == 0).then_some(()))
        })?;
        let took = started.elapsed();
        for (index, terminal) in shop.chain.terminals.iter().enumerate() {
            if index != slow {
                arrived(terminal, &directory, &published)?;
            }
        }
        Ok(took)
    };
    let alike = others_take("1.0", 12)?;
    let name = shop.chain.terminals[slow].name();
    shop.lan().shape(name, Shape::mbit(SLOW_PORT_MBIT))?;
    let with_slow = others_take("2.0", 13)?;
    let behind = shop.chain.terminals[slow].status()?;
    assert!(!behind.runs(PRODUCT, "2.0"), "its port was not slow: {behind:#?}");
    assert!(with_slow <= alike * SLOWED_DOWN_MAX, "{with_slow:?} against {alike:?}");

    // Nor is it forgotten.
    shop.lan().shape(name, Shape::default())?;
    stop::until("the release at the slow one", ARRIVED_WITHIN, || {
        Ok(shop.chain.terminals[slow].status()?.runs(PRODUCT, "2.0").then_some(()))
    })?;
    shop.chain.meet(MET_WITHIN)?;
    Ok(())
}
