//! `storemesh doctor`: looks this machine over for what keeps a terminal from working.
//!
//! One small file for each check; each gives findings, one line each: what was looked at, how it is,
//! and the command that mends it where there is one. The rule: nothing is changed. A check opens
//! sockets of its own, writes at most one small file that it removes, and calls HQ under a key made
//! for the call, so a node that runs is not disturbed and one that does not may be looked at too.
//!
//! What the checks need to know of the terminal they are given ([`facts`]): the node that runs is
//! asked, and where none runs the data folder is read.

mod buffers;
mod clock;
mod disk;
mod facts;
mod folder;
mod hq;
mod multicast;
mod node;
mod ports;

use anyhow::Context as _;
use serde::Serialize;
use storemesh_host::{
    exit::{Exit, Failure},
    out,
};

use self::facts::Facts;
use crate::cli::Common;

/// How one thing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    check: &'static str,
    outcome: Outcome,
    says: String,
    /// What mends it, a command where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    /// It works, and could be better.
    Warn,
    Fail,
}

impl Finding {
    fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, says: says.into(), fix: None }
    }

    fn warn(check: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Warn, says: says.into(), fix: Some(fix.into()) }
    }

    fn fail(check: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Fail, says: says.into(), fix: Some(fix.into()) }
    }

    fn line(&self) -> String {
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "FAIL",
        };
        let fix = self.fix.as_ref().map_or_else(String::new, |fix| format!("; fix: {fix}"));
        format!("{outcome:<5} {:<10} {}{fix}", self.check, self.says)
    }
}

pub(crate) fn run(common: &Common) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let findings = runtime.context("starting the runtime")?.block_on(examine(common));
    if common.json {
        out::json(&findings)?;
    } else {
        for finding in &findings {
            out::line(finding.line())?;
        }
    }
    let failed = findings.iter().filter(|finding| finding.outcome == Outcome::Fail).count();
    if failed == 0 {
        return Ok(());
    }
    let checks = if failed == 1 { "check fails" } else { "checks fail" };
    Err(Failure::new(Exit::Failed, format!("{failed} {checks}")).into())
}

async fn examine(common: &Common) -> Vec<Finding> {
    let (facts, mut findings) = Facts::gather(&common.data).await;
    findings.extend(node::check(&facts));
    findings.extend(clock::check(&facts));
    findings.extend(folder::check(&facts));
    findings.extend(disk::check(&facts));
    findings.extend(ports::check(&facts));
    findings.extend(buffers::check());
    // These two take seconds.
    let (multicast, hq) = tokio::join!(multicast::check(&facts), hq::check(&facts));
    findings.extend(multicast);
    findings.extend(hq);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_its_fix() {
        let fix = "timedatectl set-ntp true";
        let finding = Finding::fail("clock", "this machine believes that it is 1970", fix);
        assert_eq!(
            finding.line(),
            "FAIL  clock      this machine believes that it is 1970; fix: timedatectl set-ntp true"
        );
        let json = serde_json::to_value(Finding::ok("clock", "right")).unwrap();
        let expected = serde_json::json!({ "check": "clock", "outcome": "ok", "says": "right" });
        assert_eq!(json, expected);
    }
}
