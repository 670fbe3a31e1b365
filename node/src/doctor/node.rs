//! Whether the terminal has joined a store, and whether its node runs.

use super::{Finding, facts::Facts};

const CHECK: &str = "node";

pub(super) fn check(facts: &Facts) -> Option<Finding> {
    let data = facts.data.display();
    Some(match (&facts.node, &facts.joined) {
        (Some(node), _) => {
            let status = &node.status;
            let says =
                format!("{} of store {} runs, {}", status.name, status.store, status.version);
            Finding::ok(CHECK, says)
        }
        (None, Some(_)) => {
            let fix = format!("storemesh --data {data} run");
            Finding::warn(CHECK, format!("no node runs on `{data}`"), fix)
        }
        (None, None) if !crate::membership::is_terminal(&facts.data) => {
            let fix = format!("storemesh --data {data} join CODE, with a code from HQ");
            Finding::fail(CHECK, format!("`{data}` has not joined a store"), fix)
        }
        // Why it cannot be known has been said.
        (None, None) => return None,
    })
}
