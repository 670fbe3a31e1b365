//! How terminals find each other when the network is not kind, each on a machine of its own.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use storemesh_sim::live::{
    chain::STORE, lan::Lan, relay::Wan, status::Peer, stop, terminal::Terminal,
};
use storemesh_tests::{
    require,
    shop::{self, LanShop, MET_WITHIN},
};

/// What the mesh is given to be back after an address has changed (and what is promised).
const BACK_WITHIN: Duration = Duration::from_secs(15);
/// Between a router that is still there and a note about it.
const NOTED_WITHIN: Duration = Duration::from_secs(30);

fn ip(lan: &Lan, terminal: &str, words: &str) -> Result<()> {
    let done = lan.inside(terminal, || Command::new("ip").args(words.split(' ')).output())??;
    ensure!(done.status.success(), "`ip {words}`: {}", done.stderr.escape_ascii());
    Ok(())
}

/// Until each of them is connected to all the others.
fn connected(shop: &LanShop, patience: Duration) -> Result<()> {
    stop::until("every terminal connected to every other", patience, || {
        let all = shop.chain.statuses()?;
        Ok(all.iter().all(|status| status.neighbours + 1 == all.len()).then_some(()))
    })
}

fn ways(shop: &LanShop) -> Result<Vec<String>> {
    let mut ways = Vec::new();
    for terminal in &shop.chain.terminals {
        let peers: Vec<Peer> = terminal.peers()?;
        ways.extend(peers.into_iter().map(|peer| peer.found_by.unwrap_or_default()));
    }
    Ok(ways)
}

#[test]
fn by_remembered_addresses_alone() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::running_on_lan(Wan::default(), 3)?;
    for terminal in &mut shop.chain.terminals {
        terminal.stop()?;
    }
    shop.chain.hq.stop()?;
    for terminal in &mut shop.chain.terminals {
        terminal.start_with(["--no-mdns", "--no-hq-list"])?;
    }
    connected(&shop, MET_WITHIN)?;
    let ways = ways(&shop)?;
    assert!(ways.iter().all(|way| way == "remembered"), "{ways:?}");
    Ok(())
}

#[test]
fn by_hqs_list_where_multicast_is_blocked() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::open_on_lan(Wan::default(), 3)?;
    for terminal in ["t1", "t2", "t3"] {
        shop.lan().block_multicast(terminal)?;
    }
    shop.chain.join()?;
    shop.chain.start()?;
    connected(&shop, MET_WITHIN)?;
    let ways = ways(&shop)?;
    assert!(ways.iter().all(|way| way == "hq" || way == "dialled us"), "{ways:?}");
    Ok(())
}

/// Takes the terminal's only address away and gives it another, as a DHCP server or a roam does.
fn moves(shop: &LanShop, terminal: &str, from: &str, to: &str) -> Result<()> {
    let lan = shop.lan();
    ip(lan, terminal, &format!("address delete {from}/24 dev lan0"))?;
    ip(lan, terminal, &format!("address add {to}/24 dev lan0"))?;
    ip(lan, terminal, "route add default via 10.98.0.254")
}

#[test]
fn the_mesh_and_the_uplink_are_back_when_addresses_have_changed() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::open_on_lan(Wan::default(), 3)?;
    shop.chain.join()?;
    for terminal in &mut shop.chain.terminals {
        terminal.start_with(["--no-mdns"])?;
    }
    shop.chain.meet(MET_WITHIN)?;
    // One of them is the gateway, whose uplink loses its address too.
    for number in 1..=3 {
        let (name, from) = (format!("t{number}"), format!("10.98.0.{number}"));
        let to = format!("10.98.0.{}", 100 + number);
        moves(&shop, &name, &from, &to)?;
        let moved = Instant::now();
        let seen = |statuses: &[Vec<Peer>]| {
            let others = statuses.iter().flatten().filter(|peer| peer.name.as_ref() == Some(&name));
            others.filter(|peer| peer.connected && peer.address.starts_with(&to)).count() == 2
        };
        stop::until("both others connected to the new address", BACK_WITHIN, || {
            let peers = shop.chain.terminals.iter().map(Terminal::peers);
            let peers: Vec<_> = peers.collect::<Result<_>>()?;
            Ok(seen(&peers).then_some(()))
        })?;
        shop.chain.meet(BACK_WITHIN.saturating_sub(moved.elapsed()))?;
        eprintln!("{name} was back after {:?}", moved.elapsed());
    }
    // All addresses are other ones than those that terminals said hello with: what HQ and the
    // neighbours were told since must lead there.
    for terminal in &mut shop.chain.terminals {
        terminal.stop()?;
    }
    for terminal in &mut shop.chain.terminals {
        terminal.start_with(["--no-mdns", "--no-hq-list"])?;
    }
    connected(&shop, BACK_WITHIN)
}

#[test]
fn two_stores_on_one_lan_leave_each_other_alone() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::open_on_lan(Wan::default(), 2)?;
    shop.chain.hq.add_store("store-2")?;
    shop.chain.terminals[0].join(&shop.chain.hq.invite(STORE)?)?;
    shop.chain.terminals[1].join(&shop.chain.hq.invite("store-2")?)?;
    shop.chain.start()?;
    // Each is its own store's gateway, and they hear each other's announcements.
    stop::pause(Duration::from_secs(20))?;
    for status in shop.chain.statuses()? {
        assert_eq!(status.neighbours, 0, "{status:#?}");
        assert!(status.apart.is_empty(), "{status:#?}");
    }
    let dials: u64 =
        ["t1", "t2"].iter().map(|terminal| tcp_dials(shop.lan(), terminal)).sum::<Result<u64>>()?;
    assert!((1..=2).contains(&dials), "{dials} dials in 20 s");
    Ok(())
}

/// TCP connections that programs on that machine have begun; the API's are not TCP here.
fn tcp_dials(lan: &Lan, terminal: &str) -> Result<u64> {
    let text = lan.inside(terminal, || fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = rows.next().zip(rows.next()).context("no counts of TCP")?;
    let column = names.split(' ').position(|name| name == "ActiveOpens").context("no dials")?;
    Ok(values.split(' ').nth(column).context("no count of dials")?.parse()?)
}

#[test]
fn where_wifi_clients_are_kept_apart_the_gateway_serves_them_and_status_says_why() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::open_on_lan(Wan::default(), 4)?;
    shop.chain.join()?;
    shop.lan().isolate("t3")?;
    shop.lan().isolate("t4")?;
    shop.chain.terminals[0].start_with([] as [&str; 0])?;
    stop::until("a gateway by cable", MET_WITHIN, || {
        Ok((shop.chain.terminals[0].status()?.uplink == "up").then_some(()))
    })?;
    for terminal in &mut shop.chain.terminals[1..] {
        terminal.start_with([] as [&str; 0])?;
    }
    stop::until("everybody whom the network lets them reach", MET_WITHIN, || {
        let neighbours: Vec<_> =
            shop.chain.statuses()?.iter().map(|status| status.neighbours).collect();
        Ok((neighbours == [3, 3, 2, 2]).then_some(()))
    })?;

    let directory = shop.directory("v1", 1, 16_000_000)?;
    let before = shop.lan().wan()?;
    let published = shop.publish(&directory, "1")?;
    let releases = shop.arrived(&directory, &published)?;
    let fetched: u64 = releases.iter().map(|release| release.bytes_from_hq).sum();
    assert!(fetched <= published.moved_bytes * 101 / 100, "{releases:#?}");
    let carried = shop.lan().wan()?.received - before.received;
    let most = published.moved_bytes * 115 / 100 + 500_000;
    assert!(carried <= most, "{carried} bytes for {}", published.moved_bytes);

    for (terminal, other) in [(2, "t4"), (3, "t3")] {
        let terminal = &shop.chain.terminals[terminal];
        let note = stop::until("a word in status", NOTED_WITHIN, || {
            let apart = terminal.status()?.apart;
            Ok(apart.into_iter().find(|it| it.name == other).map(|it| it.note))
        })?;
        for word in [other, "t1", "client isolation"] {
            assert!(note.contains(word), "no `{word}` in: {note}");
        }
        let said = terminal.run(["status"])?.well("status")?.stdout;
        assert!(said.contains("client isolation"), "{said}");
    }
    for wired in &shop.chain.terminals[..2] {
        let status = wired.status()?;
        assert!(status.apart.is_empty() && status.wired, "{status:#?}");
    }
    Ok(())
}

#[test]
fn an_address_of_a_bridge_of_this_machine_alone_is_not_told() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::open_on_lan(Wan::default(), 2)?;
    // Every machine with Docker has this one.
    for terminal in ["t1", "t2"] {
        let lan = shop.lan();
        ip(lan, terminal, "link add docker0 type bridge")?;
        ip(lan, terminal, "link add veth1 type veth peer name veth2")?;
        ip(lan, terminal, "link set veth1 master docker0 up")?;
        ip(lan, terminal, "link set veth2 up")?;
        ip(lan, terminal, "address add 172.17.0.1/16 dev docker0")?;
        ip(lan, terminal, "link set docker0 up")?;
    }
    shop.chain.join()?;
    shop.chain.start()?;
    let statuses = shop.chain.meet(MET_WITHIN)?;
    for (status, ip) in statuses.iter().zip(["10.98.0.1", "10.98.0.2"]) {
        assert_eq!(status.listen, [format!("{ip}:7410")], "{status:#?}");
    }
    let directory = shop.directory("v1", 1, 1_000_000)?;
    let published = shop.publish(&directory, "1")?;
    shop::arrived(&shop.chain.terminals[1], &directory, &published)?;
    Ok(())
}
