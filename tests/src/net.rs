//! Two machines on one cable: network namespaces made for a test and removed with it.
//!
//! mDNS needs an interface that carries multicast, which the loopback interface does not; and a test
//! must not play shop in the network that this machine stands in.

use std::{
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use anyhow::{Context, Result, bail};
use storemesh_sim::live::programs::Programs;

/// The address of each end of the cable.
pub const ADDRESSES: [&str; 2] = ["10.99.0.1", "10.99.0.2"];

/// The two namespaces; dropping it removes them and what was in them.
#[derive(Debug)]
pub struct Cable {
    names: [String; 2],
}

impl Cable {
    pub fn lay() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("storemesh-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed));
        let cable = Self { names: [format!("{unique}-a"), format!("{unique}-b")] };
        let [a, b] = &cable.names;
        ip(&["netns", "add", a])?;
        ip(&["netns", "add", b])?;
        ip(&["-n", a, "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", b])?;
        for (name, address) in cable.names.iter().zip(ADDRESSES) {
            ip(&["-n", name, "link", "set", "lo", "up"])?;
            ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", "lan0"])?;
            ip(&["-n", name, "link", "set", "lan0", "up"])?;
            ip(&["-n", name, "route", "add", "default", "dev", "lan0"])?;
        }
        Ok(cable)
    }

    /// The programs as that end of the cable runs them.
    #[must_use]
    pub fn programs(&self, programs: &Programs, end: usize) -> Programs {
        programs.run_by(&["ip", "netns", "exec", &self.names[end]])
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in &self.names {
            // One that was never made is gone already.
            _ = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).output().context("starting `ip`")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`ip {}`: {}", args.join(" "), said.trim());
    }
    Ok(())
}
