//! Codes that let a terminal in, and those that do not.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use storemesh_sim::live::{
    chain::STORE,
    status::{Invited, Published},
    terminal::Terminal,
};
use storemesh_tests::{
    saying::{FAILED, REFUSED, UNREACHABLE, USAGE, assert_fails},
    shop::Shop,
};

fn code_valid_for(shop: &Shop, valid: &str) -> Result<String> {
    let done = shop.chain.hq.run(["store", "invite", STORE, "--valid", valid])?;
    Ok(done.well("inviting")?.json::<Invited>()?.code)
}

#[test]
fn a_mistyped_code_is_recognised_without_asking_anybody() -> Result<()> {
    let shop = Shop::open(1)?;
    let code = shop.chain.hq.invite(STORE)?;
    let (at, typed) = code.char_indices().nth(code.len() / 2).context("an empty code")?;
    let other = if typed == 'q' { "p" } else { "q" };
    let mistyped = format!("{}{other}{}", &code[..at], &code[at + 1..]);
    for wrong in [mistyped.as_str(), "nonsense", ""] {
        assert_fails(&shop.chain.terminals[0].try_join(wrong)?, USAGE, &["code"]);
    }
    shop.chain.terminals[0].join(&code)
}

#[test]
fn an_hq_of_another_chain_at_the_codes_address_is_not_taken_for_ours() -> Result<()> {
    let (shop, other) = (Shop::open(1)?, Shop::open(0)?);
    let code = other.chain.hq.invite(STORE)?;
    other.chain.wan.lead_to(shop.chain.hq.address());
    let done = shop.chain.terminals[0].try_join(&code)?;
    assert_fails(&done, FAILED, &["chain"]);
    other.chain.wan.lead_to(other.chain.hq.address());
    shop.chain.terminals[0].join(&code)
}

#[test]
fn a_code_that_hq_never_gave_is_refused() -> Result<()> {
    let mut shop = Shop::open(1)?;
    shop.chain.hq.stop()?;
    let (data, backup) = (shop.chain.hq.data(), shop.path("backup"));
    let copy = |from: &Path, to: &Path| {
        Command::new("cp").arg("-a").arg(from).arg(to).status().map(|status| status.success())
    };
    assert!(copy(&data, &backup)?);
    shop.chain.serve_again()?;
    let code = shop.chain.hq.invite(STORE)?;
    shop.chain.hq.stop()?;
    fs::remove_dir_all(&data)?;
    assert!(copy(&backup, &data)?);
    shop.chain.serve_again()?;
    assert_fails(&shop.chain.terminals[0].try_join(&code)?, REFUSED, &["code", "invite"]);
    Ok(())
}

#[test]
fn a_code_lets_one_terminal_in() -> Result<()> {
    let shop = Shop::open(2)?;
    let code = shop.chain.hq.invite(STORE)?;
    shop.chain.terminals[0].join(&code)?;
    let done = shop.chain.terminals[1].try_join(&code)?;
    assert_fails(&done, REFUSED, &["used", "another"]);
    shop.chain.terminals[1].join(&shop.chain.hq.invite(STORE)?)
}

#[test]
fn an_expired_code_is_refused() -> Result<()> {
    let shop = Shop::open(1)?;
    let code = code_valid_for(&shop, "1s")?;
    std::thread::sleep(Duration::from_millis(1_500));
    let done = shop.chain.terminals[0].try_join(&code)?;
    assert_fails(&done, REFUSED, &["expired", "new one"]);
    shop.chain.terminals[0].join(&code_valid_for(&shop, "10m")?)
}

#[test]
fn with_hq_unreachable_joining_says_so_soon_and_works_later_with_the_same_code() -> Result<()> {
    let mut shop = Shop::open(1)?;
    let code = shop.chain.hq.invite(STORE)?;
    shop.chain.hq.stop()?;
    let asked = Instant::now();
    let done = shop.chain.terminals[0].try_join(&code)?;
    assert_fails(&done, UNREACHABLE, &["hq"]);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    shop.chain.serve_again()?;
    shop.chain.terminals[0].join(&code)
}

#[test]
fn a_joined_folder_is_not_joined_again() -> Result<()> {
    let shop = Shop::open(1)?;
    shop.chain.terminals[0].join(&shop.chain.hq.invite(STORE)?)?;
    let spare = shop.chain.hq.invite(STORE)?;
    let done = shop.chain.terminals[0].try_join(&spare)?;
    assert_fails(&done, FAILED, &[STORE]);
    // Nor is the code used up by that.
    let other =
        Terminal::new(storemesh_sim::live::programs::Programs::built()?, &shop.path(""), "another");
    other.join(&spare)
}

#[test]
fn commands_say_when_there_is_nothing_to_talk_to() -> Result<()> {
    let mut shop = Shop::open(1)?;
    let terminal = &shop.chain.terminals[0];
    assert_fails(&terminal.run(["run"])?, FAILED, &["storemesh", "join CODE"]);
    terminal.join(&shop.chain.hq.invite(STORE)?)?;
    for command in ["status", "peers"] {
        assert_fails(&terminal.run([command])?, UNREACHABLE, &["storemesh", "run"]);
    }
    shop.chain.hq.stop()?;
    for command in [&["fleet"][..], &["store", "list"], &["store", "invite", STORE]] {
        assert_fails(&shop.chain.hq.run(command)?, UNREACHABLE, &["storemesh-hq"]);
    }
    let directory = shop.directory("v1", 1, 1_000)?;
    let done = shop.chain.hq.publish(&directory, "pos", "1", &[])?;
    assert_fails(&done, UNREACHABLE, &["storemesh-hq"]);
    Ok(())
}

#[test]
fn hq_refuses_what_it_does_not_know_and_what_it_has_already() -> Result<()> {
    let shop = Shop::open(0)?;
    let hq = &shop.chain.hq;
    assert_fails(&hq.run(["store", "invite", "elsewhere"])?, REFUSED, &["elsewhere"]);
    assert_fails(&hq.run(["store", "add", STORE])?, REFUSED, &[STORE]);
    assert_fails(&hq.run(["release", "start", "pos", "9"])?, REFUSED, &["pos", "9"]);
    let directory = shop.directory("v1", 1, 1_000)?;
    let published: Published =
        hq.publish(&directory, "pos", "1", &[])?.well("publishing")?.json()?;
    assert_eq!(published.product, "pos");
    Ok(())
}
