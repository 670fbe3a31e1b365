//! What a person at a terminal is told: `why`, `doctor` and `status --watch`.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use storemesh_sim::live::{stop, terminal::Terminal};
use storemesh_tests::{
    saying::{UNREACHABLE, USAGE, assert_fails},
    shop::{PRODUCT, Shop},
};

/// A neighbour that falls silent is gone after 1.4 s, HQ after 5.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

fn answers(terminal: &Terminal, question: &[&str]) -> Result<Vec<Value>> {
    let done = terminal.run(["why"].iter().chain(question))?;
    done.well("asking why")?.json()
}

/// Until one of the answers has this code; returns its text.
fn answered(terminal: &Terminal, question: &[&str], code: &str) -> Result<String> {
    stop::until(&format!("the answer {code}"), NOTICED_WITHIN, || {
        let answers = answers(terminal, question)?;
        let found = answers.iter().find(|answer| answer["code"] == code);
        Ok(found.and_then(|answer| answer["answer"].as_str()).map(str::to_owned))
    })
}

fn outcomes(terminal: &Terminal, check: &str) -> Result<Vec<String>> {
    let findings: Vec<Value> = terminal.run(["doctor"])?.json()?;
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    let outcome = |finding: &Value| finding["outcome"].as_str().map(str::to_owned);
    of_check.map(|finding| outcome(finding).context("a finding without outcome")).collect()
}

#[test]
fn a_store_that_is_well_says_so_and_one_that_is_not_says_why() -> Result<()> {
    let mut shop = Shop::running(2)?;
    let directory = shop.directory("v1", 1, 1_000_000)?;
    let published = shop.publish(&directory, "1")?;
    shop.arrived(&directory, &published)?;
    let (name, one) = (shop.chain.terminals[1].name().to_owned(), &shop.chain.terminals[0]);
    let well = answered(one, &[], "store.well")?;
    assert!(well.contains(&format!("release {PRODUCT} 1 runs")), "{well}");
    answered(one, &["release", PRODUCT], "release.runs")?;
    answered(one, &["release", "kiosk"], "release.not_wanted")?;
    answered(one, &["neighbour", &name], "neighbour.connected")?;

    shop.chain.terminals[1].kill();
    let silent = answered(&shop.chain.terminals[0], &["neighbour", &name], "neighbour.silent")?;
    assert!(silent.contains("was here"), "{silent}");
    // If the killed one was the gateway, the other must have taken over before HQ goes.
    answered(&shop.chain.terminals[0], &["gateway"], "gateway.this")?;
    shop.chain.hq.stop()?;
    // First that HQ hung up, then what the next call finds.
    stop::until("why HQ is not reached", NOTICED_WITHIN, || {
        let dark = answered(&shop.chain.terminals[0], &["gateway"], "gateway.dark")?;
        Ok(dark.contains("HQ does not answer at").then_some(()))
    })
}

#[test]
fn the_doctor_finds_hq_with_and_without_a_node_and_what_is_open_to_others() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let mut shop = Shop::running(1)?;
    assert_eq!(outcomes(&shop.chain.terminals[0], "hq")?, ["ok"]);
    assert_eq!(outcomes(&shop.chain.terminals[0], "ports")?, ["ok", "ok"]);
    shop.chain.terminals[0].stop()?;
    assert_eq!(outcomes(&shop.chain.terminals[0], "node")?, ["warn"]);
    assert_eq!(outcomes(&shop.chain.terminals[0], "hq")?, ["ok"]);
    shop.chain.hq.stop()?;
    let terminal = &shop.chain.terminals[0];
    assert_eq!(outcomes(terminal, "hq")?, ["fail"]);
    let key = terminal.data().join("identity.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644))?;
    let done = terminal.run(["doctor"])?;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("chmod 600"), "{}", done.stdout);
    Ok(())
}

#[test]
fn the_live_page_wants_a_terminal_and_questions_want_a_node() -> Result<()> {
    let shop = Shop::open(1)?;
    let terminal = &shop.chain.terminals[0];
    assert_fails(&terminal.run(["status", "--watch"])?, USAGE, &["terminal", "status --json"]);
    assert_fails(&terminal.run(["why", "gateway"])?, UNREACHABLE, &["has not joined a store"]);
    Ok(())
}
