//! How terminals find each other: by mDNS alone, and by HQ's list alone.

use std::time::Duration;

use anyhow::{Context, Result};
use storemesh_sim::live::{
    chain::STORE,
    relay::Wan,
    stop,
    terminal::{ANY_PORTS, Terminal},
};
use storemesh_tests::{
    require,
    shop::{self, LanShop, MET_WITHIN, Shop},
};

/// `just figures` holds it against 3 s; a busy test machine is given more.
const FIRST_CHUNK_WITHIN: Duration = Duration::from_secs(10);

/// How the second terminal found the first, once it has a release from it alone.
fn found_by(terminal: &Terminal, neighbour: &str) -> Result<String> {
    let status = terminal.status()?;
    let first = status.first_neighbour_chunk_ms.context("no chunk from a neighbour")?;
    assert!(u128::from(first) < FIRST_CHUNK_WITHIN.as_millis(), "{first} ms to the first chunk");
    let peers = terminal.peers()?;
    let peer = peers.iter().find(|peer| peer.name.as_deref() == Some(neighbour));
    let peer = peer.with_context(|| format!("no {neighbour} in {peers:#?}"))?;
    peer.found_by.clone().with_context(|| format!("{peer:?} was found by nothing"))
}

#[test]
fn by_mdns_alone() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::open_on_lan(Wan::default(), 2)?;
    shop.chain.join()?;
    let directory = shop.directory("v1", 1, 2_000_000)?;
    let published = shop.publish(&directory, "1")?;
    shop.chain.terminals[0].start_with(["--no-hq-list"])?;
    shop::arrived(&shop.chain.terminals[0], &directory, &published)?;
    shop.chain.terminals[1].start_with(["--no-hq-list"])?;
    let release = shop::arrived(&shop.chain.terminals[1], &directory, &published)?;
    assert_eq!(release.bytes_from_hq, 0, "{release:?}");
    // Either may dial first; then the other says so.
    let found = found_by(&shop.chain.terminals[1], "t1")?;
    assert!(["mdns", "dialled us"].contains(&found.as_str()), "{found}");
    Ok(())
}

#[test]
fn by_hqs_list_alone() -> Result<()> {
    let mut shop = Shop::open(2)?;
    shop.chain.join()?;
    let directory = shop.directory("v1", 1, 2_000_000)?;
    let published = shop.publish(&directory, "1")?;
    shop.chain.terminals[0].start()?;
    shop::arrived(&shop.chain.terminals[0], &directory, &published)?;
    shop.chain.terminals[1].start()?;
    let release = shop::arrived(&shop.chain.terminals[1], &directory, &published)?;
    assert_eq!(release.bytes_from_hq, 0, "{release:?}");
    let found = found_by(&shop.chain.terminals[1], "t1")?;
    assert!(["hq", "dialled us"].contains(&found.as_str()), "{found}");
    Ok(())
}

#[test]
fn by_an_address_of_its_own_configuration() -> Result<()> {
    let mut shop = Shop::open(2)?;
    shop.chain.join()?;
    let port = {
        let one = &mut shop.chain.terminals[0];
        one.start()?;
        one.daemon().context("it runs")?.port("mesh_port")?
    };
    let neighbour = format!("127.0.0.1:{port}");
    let flags = [&ANY_PORTS[..], &["--no-hq-list", "--neighbour", &neighbour]].concat();
    shop.chain.terminals[1].start_with(flags)?;
    shop.chain.meet(MET_WITHIN)?;
    Ok(())
}

#[test]
fn a_terminal_of_another_store_is_no_neighbour() -> Result<()> {
    let mut shop = Shop::open(2)?;
    shop.chain.hq.add_store("store-2")?;
    shop.chain.terminals[0].join(&shop.chain.hq.invite(STORE)?)?;
    shop.chain.terminals[1].join(&shop.chain.hq.invite("store-2")?)?;
    shop.chain.terminals[0].start()?;
    let port = shop.chain.terminals[0].daemon().context("it runs")?.port("mesh_port")?;
    let neighbour = format!("127.0.0.1:{port}");
    let flags = [&ANY_PORTS[..], &["--neighbour", &neighbour]].concat();
    shop.chain.terminals[1].start_with(flags)?;
    stop::pause(Duration::from_secs(3))?;
    for status in shop.chain.statuses()? {
        assert_eq!(status.neighbours, 0, "{status:#?}");
    }
    Ok(())
}
