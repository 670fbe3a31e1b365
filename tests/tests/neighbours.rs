//! How terminals find each other: by mDNS alone, and by HQ's list alone.

use std::time::Duration;

use anyhow::{Context, Result};
use storemesh_sim::live::{chain::STORE, hq::Hq, programs::Programs, stop, terminal::Terminal};
use storemesh_tests::{
    net::{ADDRESSES, Cable},
    require,
    shop::{self, MET_WITHIN, PRODUCT, Shop},
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
    let programs = Programs::built()?;
    let cable = Cable::lay()?;
    let folder = tempfile::tempdir()?;
    let mut hq = Hq::new(&cable.programs(programs, 0), folder.path()).on_ports(7400, 7401);
    hq.init("cable-chain")?;
    hq.serve(["--advertise", &format!("{}:7400", ADDRESSES[0])])?;
    hq.add_store(STORE)?;
    let mut one = Terminal::new(&cable.programs(programs, 0), folder.path(), "t1");
    let mut two = Terminal::new(&cable.programs(programs, 1), folder.path(), "t2");
    let directory = folder.path().join("v1");
    std::fs::create_dir(&directory)?;
    std::fs::write(directory.join("pos"), shop::noise(1, 2_000_000))?;

    one.join(&hq.invite(STORE)?)?;
    two.join(&hq.invite(STORE)?)?;
    one.start_with(["--no-hq-list"])?;
    let published = hq.publish(&directory, PRODUCT, "1", &[])?.well("publishing")?.json()?;
    shop::arrived(&one, &directory, &published)?;
    two.start_with(["--no-hq-list"])?;
    let release = shop::arrived(&two, &directory, &published)?;
    assert_eq!(release.bytes_from_hq, 0, "{release:?}");
    // Either may dial first; then the other says so.
    let found = found_by(&two, "t1")?;
    assert!(["mdns", "dialled us"].contains(&found.as_str()), "{found}");
    two.stop()?;
    one.stop()?;
    hq.stop()
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
    let flags = ["--listen", "127.0.0.1", "--mesh-port", "0", "--api-port", "0"];
    let flags = [&flags[..], &["--no-mdns", "--no-hq-list", "--neighbour", &neighbour]].concat();
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
    let flags = ["--listen", "127.0.0.1", "--mesh-port", "0", "--api-port", "0", "--no-mdns"];
    let flags = [&flags[..], &["--neighbour", &neighbour]].concat();
    shop.chain.terminals[1].start_with(flags)?;
    stop::pause(Duration::from_secs(3))?;
    for status in shop.chain.statuses()? {
        assert_eq!(status.neighbours, 0, "{status:#?}");
    }
    Ok(())
}
