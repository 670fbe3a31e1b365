//! A shop's LAN: network namespaces on one bridge, made for a measurement and removed with it.
//!
//! Unlike the loopback interface it carries multicast, and nothing outside can take part in it.
//! Making it needs root and iproute2; [`Lan::missing`] says so beforehand.

use std::{
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use anyhow::{Context as _, bail};

use crate::live::programs::Programs;

/// The bridge stands in a namespace of its own, so that this machine's interfaces stay as they are.
const SWITCH: &str = "switch";

/// The namespaces; dropping it removes them and the cables between them.
#[derive(Debug)]
pub(crate) struct Lan {
    /// Namespaces are known by name to the whole machine.
    prefix: String,
    nodes: Vec<String>,
}

impl Lan {
    /// What this machine lacks for one.
    pub(crate) fn missing() -> Option<String> {
        let probe = format!("{}probe", unique());
        let made = ip(&format!("netns add {probe}"));
        let made = made.and_then(|()| ip(&format!("netns delete {probe}")));
        made.err().map(|error| format!("needs root and iproute2: {error:#}"))
    }

    pub(crate) fn lay(nodes: &[&str]) -> anyhow::Result<Self> {
        // First, so that whatever fails below is removed again.
        let nodes = nodes.iter().map(ToString::to_string).collect();
        let lan = Self { prefix: unique(), nodes };
        let switch = lan.namespace(SWITCH);
        ip(&format!("netns add {switch}"))?;
        ip(&format!("-n {switch} link add br0 type bridge mcast_snooping 0 forward_delay 0"))?;
        ip(&format!("-n {switch} link set br0 up"))?;
        for (index, node) in lan.nodes.iter().enumerate() {
            let (name, port) = (lan.namespace(node), format!("to-{node}"));
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link add lan0 type veth peer name {port} netns {switch}"))?;
            ip(&format!("-n {switch} link set {port} master br0 up"))?;
            ip(&format!("-n {name} address add 10.98.0.{}/24 dev lan0", index + 1))?;
            ip(&format!("-n {name} link set lan0 up"))?;
            ip(&format!("-n {name} route add default dev lan0"))?;
        }
        Ok(lan)
    }

    fn namespace(&self, node: &str) -> String {
        format!("{}{node}", self.prefix)
    }

    /// The programs as that node runs them.
    pub(crate) fn programs(&self, programs: &Programs, node: &str) -> Programs {
        programs.run_by(&["ip", "netns", "exec", &self.namespace(node)])
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for node in self.nodes.iter().map(String::as_str).chain([SWITCH]) {
            // One that was never made is gone already.
            _ = ip(&format!("netns delete {}", self.namespace(node)));
        }
    }
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("storemesh-figures-{}-{}-", process::id(), NEXT.fetch_add(1, Relaxed))
}

/// No word of ours has a space in it.
fn ip(words: &str) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(words.split(' '))
        .stdin(Stdio::null())
        .output()
        .context("starting `ip`")?;
    if !output.status.success() {
        bail!("`ip {words}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
