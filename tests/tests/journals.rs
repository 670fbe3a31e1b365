//! Sales are posted on terminals, and read at HQ: each once, whatever was killed in between.

use std::{collections::BTreeSet, fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use storemesh_sim::live::{
    alarms,
    cashier::{Cashier, EntryName, Receipt},
    chain::STORE,
    stop,
};
use storemesh_tests::shop::Shop;

/// From a till's 201 to the line in the export, on a busy machine; far less is usual.
const AT_HQ_WITHIN: Duration = Duration::from_secs(30);

fn exported(shop: &Shop, args: &[&str]) -> Result<Vec<Value>> {
    let command = [&["journal", "export"], args].concat();
    let done = shop.chain.hq.run(command)?.well("exporting")?;
    let lines = done.stdout.lines();
    lines.map(|line| serde_json::from_str(line).context("a line that is no JSON")).collect()
}

/// Until that many lines are there.
fn arrived(shop: &Shop, many: usize) -> Result<Vec<Value>> {
    stop::until(&format!("{many} entries at HQ"), AT_HQ_WITHIN, || {
        let lines = exported(shop, &[])?;
        Ok((lines.len() >= many).then_some(lines))
    })
}

/// Posts; a till that has just joined waits for HQ's schema first.
fn sell(shop: &Shop, till: usize, topic: &str, (key, body): (&str, &str)) -> Result<EntryName> {
    let mut cashier = Cashier::at(&shop.chain.terminals[till])?;
    stop::until("a schema", AT_HQ_WITHIN, || {
        let receipt = cashier.post(topic, key, body.as_bytes(), "disk")?;
        let kept = (receipt.status != 503).then_some(receipt);
        kept.map(Receipt::name).transpose()
    })
}

fn names(lines: &[Value]) -> Result<BTreeSet<EntryName>> {
    let name = |line: &Value| Ok(serde_json::from_value(line.clone())?);
    lines.iter().map(name).collect()
}

#[test]
fn a_sale_is_exported_once_also_over_restarts_of_hq_and_of_the_till() -> Result<()> {
    let mut shop = Shop::running(2)?;
    let mut sold = BTreeSet::new();
    let sell_all =
        |shop: &Shop, till: usize, keys: std::ops::Range<u32>| -> Result<Vec<EntryName>> {
            let sale = |key: u32| {
                let body = format!("{{\"basket\": {key}, \"total\": 12.10}}");
                sell(shop, till, "sales", (&format!("{till}-{key}"), &body))
            };
            keys.map(sale).collect()
        };
    sold.extend(sell_all(&shop, 0, 0..10)?);
    sold.extend(sell_all(&shop, 1, 0..10)?);
    // Whoever does not know whether a sale was kept posts it again.
    sold.extend(sell_all(&shop, 0, 0..10)?);
    let first = arrived(&shop, 20)?;

    shop.chain.hq.kill();
    // The store goes on without.
    sold.extend(sell_all(&shop, 1, 10..20)?);
    shop.chain.terminals[1].kill();
    shop.chain.terminals[1].start()?;
    sold.extend(sell_all(&shop, 1, 20..30)?);
    shop.chain.serve_again()?;
    let lines = arrived(&shop, 40)?;
    // What would come twice comes now.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(exported(&shop, &[])?, lines);
    assert_eq!((lines.len(), names(&lines)?), (40, sold));
    assert_eq!(lines[..20], first, "what was read keeps its place");

    let cursor = first[19]["cursor"].as_str().context("a cursor")?;
    assert_eq!(exported(&shop, &["--since", cursor])?, lines[20..]);
    assert_eq!(exported(&shop, &["--limit", "5"])?, lines[..5]);
    assert!(exported(&shop, &["--topic", "returns"])?.is_empty());
    assert_eq!(lines[0]["body"]["total"].to_string(), "12.1");
    Ok(())
}

#[test]
fn stock_is_the_same_on_every_terminal_and_at_hq() -> Result<()> {
    let shop = Shop::running(3)?;
    let post = |till: usize, key: &str, body: &str| sell(&shop, till, "stock", (key, body));
    post(0, "in", r#"{"movements": [{"item": "apple", "quantity": 100}]}"#)?;
    for (till, key) in [(0, "a"), (1, "b"), (2, "c")] {
        post(till, key, r#"{"movements": [{"item": "apple", "quantity": -1.5}]}"#)?;
    }
    let at_hq = || -> Result<String> {
        let done = shop.chain.hq.run(["stock", "apple", "--store", STORE])?;
        Ok(if done.code == Some(0) {
            done.json::<Value>()?["on_hand"].to_string()
        } else {
            done.stderr
        })
    };
    let everywhere = |expected: &str| {
        stop::until(&format!("{expected} apples everywhere"), AT_HQ_WITHIN, || {
            let mut found = vec![at_hq()?];
            for terminal in &shop.chain.terminals {
                let done = terminal.run(["stock", "apple"])?;
                found.push(
                    done.json::<Value>()
                        .map_or_else(|_| done.stderr.clone(), |stock| stock["on_hand"].to_string()),
                );
            }
            Ok(found.iter().all(|on_hand| on_hand == expected).then_some(()))
        })
    };
    everywhere("95.5")?;
    post(1, "count", r#"{"item": "apple", "count": 90}"#)?;
    everywhere("90")?;
    post(2, "d", r#"{"movements": [{"item": "apple", "quantity": -1}]}"#)?;
    everywhere("89")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp").arg("-a").args([from, to]).status()?;
    anyhow::ensure!(done.success(), "copying {}", from.display());
    Ok(())
}

/// HQ is stopped, and its folder put aside.
fn back_up(shop: &mut Shop) -> Result<()> {
    shop.chain.hq.stop()?;
    copy(&shop.chain.hq.data(), &shop.path("backup"))
}

/// HQ is stopped, and its folder is as it was then.
fn put_back(shop: &mut Shop) -> Result<()> {
    shop.chain.hq.stop()?;
    let data = shop.chain.hq.data();
    fs::remove_dir_all(&data)?;
    copy(&shop.path("backup"), &data)
}

#[test]
fn an_hq_restored_from_a_backup_gets_back_what_it_had_lost() -> Result<()> {
    let mut shop = Shop::running(2)?;
    let mut sold = BTreeSet::new();
    sold.insert(sell(&shop, 0, "sales", ("before", "{}"))?);
    let mut cashier = Cashier::at(&shop.chain.terminals[0])?;
    arrived(&shop, 1)?;
    back_up(&mut shop)?;
    shop.chain.serve_again()?;
    sold.insert(cashier.sell("sales", "lost", b"{}", "hq")?);
    let lines = arrived(&shop, 2)?;
    let lost = lines[1]["cursor"].as_str().context("a cursor")?.to_owned();

    put_back(&mut shop)?;
    shop.chain.hq.restored()?;
    shop.chain.serve_again()?;
    let lines = arrived(&shop, 2)?;
    assert_eq!((lines.len(), names(&lines)?), (2, sold));
    let refused = shop.chain.hq.run(["journal", "export", "--since", &lost])?;
    assert!(refused.code == Some(4) && refused.error().contains("restored"), "{refused:?}");
    cashier.sell("sales", "after", b"{}", "hq")?;
    Ok(())
}

/// What `fleet` and `journal status` say on stderr, for a person and for a program; they do what they should
/// all the same.
fn warnings(shop: &Shop) -> Result<BTreeSet<String>> {
    let hq = &shop.chain.hq;
    let mut warnings = BTreeSet::new();
    for command in [&["fleet"][..], &["journal", "status"]] {
        let table = hq.run_in_words(command)?.well("asking")?;
        let rows = hq.run(command)?.well("asking")?;
        anyhow::ensure!(table.stdout.contains("t1"), "{command:?} says {:?}", table.stdout);
        anyhow::ensure!(!rows.json::<Vec<Value>>()?.is_empty(), "{command:?} lists nothing");
        anyhow::ensure!(table.stderr == rows.stderr, "{:?} {:?}", table.stderr, rows.stderr);
        warnings.insert(table.stderr);
    }
    Ok(warnings)
}

#[test]
fn an_hq_that_serves_a_backup_without_a_word_says_what_to_do_until_it_is_done() -> Result<()> {
    let silent = BTreeSet::from([String::new()]);
    let mut shop = Shop::running(2)?;
    let mut sold = BTreeSet::from([sell(&shop, 0, "sales", ("before", "{}"))?]);
    let mut cashier = Cashier::at(&shop.chain.terminals[0])?;
    arrived(&shop, 1)?;
    back_up(&mut shop)?;
    shop.chain.serve_again()?;
    sold.insert(cashier.sell("sales", "lost", b"{}", "hq")?);
    assert_eq!(warnings(&shop)?, silent);

    put_back(&mut shop)?;
    shop.chain.serve_again()?;
    let said = stop::until("HQ's warning", AT_HQ_WITHIN, || {
        let said = warnings(&shop)?;
        Ok((said.len() == 1 && said != silent).then_some(said))
    })?;
    let warning = said.first().context("one")?;
    let (lines, does) = (
        warning.lines().count(),
        "run `storemesh-hq --data FOLDER restored --root-key FILE` before it serves",
    );
    assert!(lines == 1 && warning.starts_with("warning: ") && warning.contains(does), "{said:?}");
    let alarms = alarms::of_chain(&shop.chain)?;
    let [alarm] = &alarms[..] else { panic!("one error in the logs: {alarms:?}") };
    assert!(alarm.starts_with("HQ ") && alarm.contains("`storemesh-hq restored`"), "{alarm}");

    shop.chain.hq.stop()?;
    // At the end there may be no error in the log.
    fs::rename(shop.chain.hq.log(), shop.path("hq.behind.log"))?;
    shop.chain.hq.restored()?;
    shop.chain.serve_again()?;
    assert_eq!(warnings(&shop)?, silent);
    let lines = arrived(&shop, 2)?;
    assert_eq!((names(&lines)?, warnings(&shop)?), (sold, silent));
    Ok(())
}
