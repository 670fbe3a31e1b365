//! A terminal that loses power again and again goes on where it was.

use anyhow::{Context, Result};
use storemesh_sim::live::{kills, link::Shape, relay::Wan, status::Status};
use storemesh_tests::{require, shop::LanShop};

const KILLS: usize = 20;
/// The port is half as fast as the line, so that the terminal is behind its neighbours and gets some
/// of the release from HQ, while it is the gateway, and some from them.
const PORT_MBIT: f64 = 20.0;
const RELEASE_BYTES: usize = 16_000_000;
/// How many of the kills must have come between the first chunk and the last.
const TELLING_KILLS: usize = KILLS / 2;

#[test]
fn a_terminal_killed_at_twenty_random_moments_fetches_nothing_twice_that_it_had_verified()
-> Result<()> {
    require!(netns);
    // Another story each time; the one that fails is told again by writing its seed here.
    let seed = u64::from(std::process::id());
    let mut shop = LanShop::running_on_lan(Wan::mbit(2.0 * PORT_MBIT), 3)?;
    let victim = shop.chain.statuses()?.iter().position(Status::is_gateway).context("a gateway")?;
    shop.lan().shape(shop.chain.terminals[victim].name(), Shape::mbit(PORT_MBIT))?;
    let directory = shop.directory("v1", 8, RELEASE_BYTES)?;
    let published = shop.publish(&directory, "1.0")?;
    let release = (directory.as_path(), &published);
    let told = kills::during_download(&mut shop.chain, victim, release, (seed, KILLS))?;
    let told = told.telling(TELLING_KILLS).with_context(|| format!("seed {seed}"))?;
    assert_eq!(told.refetched, 0, "seed {seed}: {:#?}", told.why);
    shop.arrived(&directory, &published)?;
    Ok(())
}
