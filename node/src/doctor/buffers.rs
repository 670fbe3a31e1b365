//! Whether the kernel grants the buffers that the uplink asks for.

use std::fs;

use storemesh_host::quic::SOCKET_BUFFER_BYTES;

use super::Finding;

const CHECK: &str = "buffers";

pub(super) fn check() -> Option<Finding> {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?;
        text.trim().parse().ok()
    };
    // In a network namespace of its own the kernel does not show them.
    Some(judge(read("rmem_max")?, read("wmem_max")?))
}

fn judge(receive: usize, send: usize) -> Finding {
    let wanted = SOCKET_BUFFER_BYTES;
    if receive.min(send) >= wanted {
        return Finding::ok(CHECK, format!("UDP buffers may be {} KiB", wanted >> 10));
    }
    let says = format!(
        "UDP buffers may be {} KiB to receive and {} KiB to send, {} KiB are asked for: a fast \
         uplink may lose packets",
        receive >> 10,
        send >> 10,
        wanted >> 10
    );
    let fix = format!(
        "sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}, and the same two lines \
         in /etc/sysctl.d/storemesh.conf"
    );
    Finding::warn(CHECK, says, fix)
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};

    #[test]
    fn both_buffers_must_hold_what_the_uplink_asks_for() {
        let wanted = SOCKET_BUFFER_BYTES;
        assert_eq!(judge(wanted, wanted).outcome, Outcome::Ok);
        for (receive, send) in [(212_992, wanted), (wanted, 212_992)] {
            let finding = judge(receive, send);
            assert_eq!(finding.outcome, Outcome::Warn);
            assert!(finding.says.contains("208 KiB"), "{}", finding.says);
        }
    }
}
