//! Terminals whose clocks are wrong, or are set while they run: they sell, and know what time it is at HQ.

use std::{
    fs, thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use storemesh_sim::live::{
    cashier::Cashier,
    stop,
    terminal::{ANY_PORTS, Terminal},
};
use storemesh_tests::{
    require,
    shop::{MET_WITHIN, Shop},
    wall_clock::WallClock,
};

/// From a sale to HQ's word that it has it, on a busy machine; far less is usual.
const AT_HQ_WITHIN: Duration = Duration::from_secs(30);
/// What the way of HQ's signed time may take on a busy machine.
const NEARLY: Duration = Duration::from_secs(10);
const WARNED_WITHIN: Duration = Duration::from_mins(1);
/// A program has seen by then that its clock was set.
const SEEN_WITHIN: Duration = Duration::from_secs(2);
/// A program that is killed has lost so much of the latest time that HQ had signed: a terminal does not
/// sync its disk for every signed time (`FLOOR_STEP` in protocol/src/time/clock.rs).
const FLOOR_STEP: Duration = Duration::from_secs(30);
/// Before any clock that a battery failed.
const IN_1970: &str = "@1970-01-02 00:00:00";

/// A store whose terminals each have a clock of their own; they are started.
fn running(shows: &[&str]) -> Result<(Shop, Vec<WallClock>)> {
    let mut shop = Shop::open(shows.len())?;
    let mut clocks = Vec::new();
    for (till, shows) in shows.iter().enumerate() {
        let clock = WallClock::showing(&shop.path(&format!("clock-{till}")), shows)?;
        let command = clock.command();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let terminal = &mut shop.chain.terminals[till];
        *terminal = terminal.again().run_by(&command);
        clocks.push(clock);
    }
    shop.chain.join()?;
    shop.chain.start()?;
    shop.chain.meet(MET_WITHIN)?;
    Ok((shop, clocks))
}

/// Every terminal makes a sale, and is told that it is as safe as that.
fn all_sell(shop: &Shop, key: &str, ack: &str) -> Result<()> {
    for terminal in &shop.chain.terminals {
        stop::until(&format!("{} selling {key}", terminal.name()), AT_HQ_WITHIN, || {
            let receipt = Cashier::at(terminal)?.post("sales", key, b"{}", ack)?;
            Ok((receipt.status == 201).then_some(()))
        })?;
    }
    Ok(())
}

/// What the terminals take for HQ's time is what our clock shows, which is HQ's.
fn all_know_the_time(shop: &Shop) -> Result<()> {
    for terminal in &shop.chain.terminals {
        let sure = format!("{} being sure of the time", terminal.name());
        let time = stop::until(&sure, AT_HQ_WITHIN, || {
            Ok(Some(terminal.status()?.hq_time).filter(|time| time.sure))
        })?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let off = now.abs_diff(Duration::from_millis(time.ms));
        ensure!(off < NEARLY, "{}: {time:?}, off by {off:?}", terminal.name());
    }
    Ok(())
}

fn says(shop: &Shop, till: usize, words: &str) -> Result<()> {
    let terminal = &shop.chain.terminals[till];
    stop::until(&format!("{} saying `{words}`", terminal.name()), WARNED_WITHIN, || {
        let log = fs::read_to_string(terminal.log()).context("reading a log")?;
        Ok(log.contains(words).then_some(()))
    })
}

#[test]
fn tills_whose_clocks_are_days_wrong_meet_sell_and_know_hqs_time() -> Result<()> {
    require!(faketime);
    let (shop, _) = running(&["-1d", "+1d", IN_1970])?;
    all_sell(&shop, "first", "hq")?;
    all_know_the_time(&shop)?;
    says(&shop, 0, "this machine's clock is behind HQ's time")?;
    says(&shop, 1, "this machine's clock is ahead of HQ's time")?;
    says(&shop, 2, "this machine's clock is behind HQ's time")
}

#[test]
fn clocks_that_are_set_while_the_tills_run_change_nothing() -> Result<()> {
    require!(faketime);
    let (shop, clocks) = running(&["+0", "+0", "+0"])?;
    all_sell(&shop, "first", "hq")?;
    let gateway = || -> Result<Option<String>> {
        let met = shop.chain.meet(MET_WITHIN)?;
        Ok(met[0].gateway.as_ref().map(|gateway| gateway.peer.clone()))
    };
    let before = gateway()?;
    for shows in ["-1d", "+1d", IN_1970, "+0"] {
        for clock in &clocks {
            clock.set(shows)?;
        }
        thread::sleep(SEEN_WITHIN);
        all_sell(&shop, shows, "hq")?;
        all_know_the_time(&shop)?;
    }
    assert_eq!(gateway()?, before);
    Ok(())
}

#[test]
fn tills_that_start_in_1970_while_hq_is_away_sell_and_go_on_from_the_floor() -> Result<()> {
    require!(faketime);
    let (mut shop, clocks) = running(&["+0", "+0"])?;
    all_sell(&shop, "first", "hq")?;
    let known = shop.chain.terminals[1].status()?.hq_time.floor_ms;
    shop.chain.hq.kill();
    shop.chain.terminals.iter_mut().for_each(Terminal::kill);
    clocks.iter().try_for_each(|clock| clock.set(IN_1970))?;
    let [first, second] = &mut shop.chain.terminals[..] else { unreachable!("two were opened") };
    first.start()?;
    // Its port is another one than HQ has told, and HQ cannot tell of that.
    let port = first.daemon().context("it was started")?.port("mesh_port")?;
    let near = format!("127.0.0.1:{port}");
    second.start_with([&ANY_PORTS[..], &["--neighbour", &near]].concat())?;
    all_sell(&shop, "second", "neighbour")?;
    for terminal in &shop.chain.terminals {
        let time = terminal.status()?.hq_time;
        let kept = Duration::from_millis(known).saturating_sub(FLOOR_STEP);
        assert!(!time.sure && kept <= Duration::from_millis(time.ms), "{time:?}, known: {known}");
    }
    shop.chain.serve_again()?;
    all_sell(&shop, "third", "hq")?;
    all_know_the_time(&shop)
}
