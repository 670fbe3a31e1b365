//! Who speaks for a store, by its terminals' own word, and who does once that one is lost.

use anyhow::Result;

use super::{status::Status, terminal::Terminal};

/// The place of the terminal that says it is the gateway, with HQ on the line.
pub fn gateway(statuses: &[Status]) -> Option<usize> {
    statuses.iter().position(serves)
}

/// Whether another running terminal than `lost` says so, at one look; the first that does. Each
/// answers from memory over its own socket, so a look at a store of five takes some milliseconds.
pub fn next_gateway(terminals: &[Terminal], lost: usize) -> Result<Option<usize>> {
    for (number, terminal) in terminals.iter().enumerate() {
        if number != lost && terminal.is_running() && serves(&terminal.status()?) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn serves(status: &Status) -> bool {
    status.is_gateway() && status.uplink == "up"
}
