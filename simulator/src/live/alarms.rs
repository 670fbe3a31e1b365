//! What a program's log says that should wake somebody: an ERROR, or a panic.
//!
//! Programs log lines of JSON when nobody watches them. A panic is said by the language itself, in
//! lines that are none.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use super::chain::Chain;

/// Every such line of a chain's logs, with the program's name.
pub fn of_chain<L>(chain: &Chain<L>) -> Result<Vec<String>> {
    let mut alarms = of_log("HQ", &chain.hq.log())?;
    for terminal in &chain.terminals {
        alarms.extend(of_log(terminal.name(), &terminal.log())?);
    }
    Ok(alarms)
}

/// Of one log; none where there is no log yet.
fn of_log(name: &str, log: &Path) -> Result<Vec<String>> {
    let text = match fs::read(log) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("reading `{}`", log.display()));
        }
    };
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let mut alarms = Vec::new();
    while let Some(line) = lines.next() {
        if let Ok(record) = serde_json::from_str::<Value>(line) {
            if record["level"] == "ERROR" {
                let message = record["message"].as_str().unwrap_or(line);
                alarms.push(format!("{name} logged an error: {message}"));
            }
        } else if line.contains("panicked at") {
            // The words stand on the line after the place.
            let words = lines.next().unwrap_or_default();
            alarms.push(format!("{name}: {line} {words}"));
        }
    }
    Ok(alarms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_found_among_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(of_log("t1", &log).unwrap(), Vec::<String>::new());
        let text = concat!(
            r#"{"level":"INFO","message":"the node runs"}"#,
            "\n",
            r#"{"level":"ERROR","message":"the disk is full"}"#,
            "\n\nthread 'terminal' (1) panicked at src/a.rs:1:\nit cannot be\nstack backtrace:\n",
        );
        fs::write(&log, text).unwrap();
        let alarms = of_log("t1", &log).unwrap();
        assert_eq!(
            alarms,
            [
                "t1 logged an error: the disk is full",
                "t1: thread 'terminal' (1) panicked at src/a.rs:1: it cannot be"
            ]
        );
    }
}
