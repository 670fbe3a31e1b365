//! Sales are posted on terminals, and read at HQ: each once, whatever was killed in between.

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use storemesh_sim::live::{
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

#[test]
fn an_hq_restored_from_a_backup_gets_back_what_it_had_lost() -> Result<()> {
    let mut shop = Shop::running(2)?;
    let mut sold = BTreeSet::new();
    sold.insert(sell(&shop, 0, "sales", ("before", "{}"))?);
    let mut cashier = Cashier::at(&shop.chain.terminals[0])?;
    arrived(&shop, 1)?;
    shop.chain.hq.stop()?;
    let (data, backup) = (shop.chain.hq.data(), shop.path("backup"));
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let done = std::process::Command::new("cp").arg("-a").args([from, to]).status()?;
        anyhow::ensure!(done.success(), "copying {}", from.display());
        anyhow::Ok(())
    };
    copy(&data, &backup)?;
    shop.chain.serve_again()?;
    sold.insert(cashier.sell("sales", "lost", b"{}", "hq")?);
    let lines = arrived(&shop, 2)?;
    let lost = lines[1]["cursor"].as_str().context("a cursor")?.to_owned();

    shop.chain.hq.stop()?;
    std::fs::remove_dir_all(&data)?;
    copy(&backup, &data)?;
    let folder = data.parent().context("a folder")?;
    let mut restored = vec!["restored".to_owned()];
    for (flag, file) in [("--root-key", "root.age"), ("--passphrase-file", "passphrase")] {
        restored.extend([flag.to_owned(), folder.join(file).display().to_string()]);
    }
    shop.chain.hq.run(restored)?.well("saying that HQ was restored")?;
    shop.chain.serve_again()?;
    let lines = arrived(&shop, 2)?;
    assert_eq!((lines.len(), names(&lines)?), (2, sold));
    let refused = shop.chain.hq.run(["journal", "export", "--since", &lost])?;
    assert!(refused.code == Some(4) && refused.error().contains("restored"), "{refused:?}");
    cashier.sell("sales", "after", b"{}", "hq")?;
    Ok(())
}
