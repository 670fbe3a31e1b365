//! A shop's network of our own: HQ, the line to it, a router and a LAN, made of network namespaces.
//!
//! ```text
//! hq: wan0 ----- wan0 :shop: br0 -+- port1 --- lan0 :t1
//!                                 +- port2 --- lan0 :t2
//! ```
//!
//! Every terminal has a namespace, and so has HQ. The shop's namespace holds the bridge that is the
//! LAN and is the router between it and the line to HQ, so that a terminal that is cut off
//! ([`Lan::cut`]) reaches neither neighbours nor HQ, and every byte between store and HQ passes one
//! interface ([`Lan::wan`]). Unlike the loopback interface it carries multicast, and nothing outside
//! can take part in it. Interfaces have the same names and addresses in every LAN; namespaces do not.
//!
//! A cut drops packets and tells nobody: no interface goes down and no socket hears of it, as when
//! a switch between dies. There is no delay and no loss here, for which the kernel would need
//! netem; the [`relay`](super::relay) has them.
//!
//! Making one needs root and iproute2; [`Lan::missing`] says so beforehand. Dropping it removes it,
//! and each one first removes what runs that were killed have left.

mod ip;

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub use self::ip::Carried;
use self::ip::{bridge, carried, ip, tc};
use super::{
    link::{PATIENCE, Shape},
    programs::Programs,
    relay::Wan,
};

/// The port of HQ's uplink, on a machine of its own.
pub const HQ_PORT: u16 = 7400;

/// Where namespaces are known by name, to the whole machine.
const NAMESPACES: &str = "/run/netns";
/// What ours begin with; the process and the number of the LAN follow.
const OURS: &str = "storemesh-live-";

/// Whether a machine passes on what is not for itself. A router that does not says nothing about it.
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

const HQ: &str = "hq";
/// The router, and the bridge.
const SHOP: &str = "shop";

/// Terminals have the addresses from .1 on, the router the last one.
const TERMINALS_MAX: usize = 200;
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 254);
const WAN_HQ: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);
const WAN_SHOP: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 2);

/// As the kernel numbers what a bridge does with a port.
const DISABLED: u8 = 0;
const FORWARDING: u8 = 3;

/// The namespaces; dropping it removes them and the cables between them.
#[derive(Debug)]
pub struct Lan {
    prefix: String,
    terminals: Vec<String>,
}

impl Lan {
    /// What this machine lacks for one.
    pub fn missing() -> Option<String> {
        let probe = format!("{}probe", unique());
        let made = ip(&format!("netns add {probe}"));
        let made = made.and_then(|()| ip(&format!("netns delete {probe}")));
        made.err().map(|error| format!("root and `ip netns` (Debian: iproute2): {error:#}"))
    }

    /// A LAN with those terminals, and HQ behind that line.
    pub fn lay(terminals: &[&str], wan: Wan) -> Result<Self> {
        anyhow::ensure!(terminals.len() <= TERMINALS_MAX, "at most {TERMINALS_MAX} terminals");
        sweep();
        // First, so that whatever fails below is removed again.
        let terminals = terminals.iter().map(ToString::to_string).collect();
        let lan = Self { prefix: unique(), terminals };
        lan.lay_wan().context("laying the line to HQ")?;
        lan.shape_wan(wan)?;
        let shop = lan.namespace(SHOP);
        ip(&format!("-n {shop} link add br0 type bridge mcast_snooping 0 forward_delay 0"))?;
        ip(&format!("-n {shop} address add {ROUTER}/24 dev br0"))?;
        ip(&format!("-n {shop} link set br0 up"))?;
        for (index, terminal) in lan.terminals.iter().enumerate() {
            lan.plug_in(index).with_context(|| format!("plugging in {terminal}"))?;
        }
        Ok(lan)
    }

    fn lay_wan(&self) -> Result<()> {
        let (hq, shop) = (self.namespace(HQ), self.namespace(SHOP));
        for name in [&hq, &shop] {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        ip(&format!("-n {hq} link add wan0 type veth peer name wan0 netns {shop}"))?;
        for (name, address) in [(&hq, WAN_HQ), (&shop, WAN_SHOP)] {
            ip(&format!("-n {name} address add {address}/30 dev wan0"))?;
            // One packet at a time, as on a real line: what the kernel carries in one piece it also
            // counts with one header.
            ip(&format!("-n {name} link set wan0 gso_max_segs 1 up"))?;
        }
        ip(&format!("-n {hq} route add default via {WAN_SHOP}"))?;
        self.restore_wan()
    }

    fn plug_in(&self, index: usize) -> Result<()> {
        let (shop, port) = (self.namespace(SHOP), port(index));
        let (name, address) = (self.namespace(&self.terminals[index]), address(index)?);
        ip(&format!("netns add {name}"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} link add lan0 type veth peer name {port} netns {shop}"))?;
        ip(&format!("-n {shop} link set {port} master br0 up"))?;
        ip(&format!("-n {name} address add {address}/24 dev lan0"))?;
        ip(&format!("-n {name} link set lan0 up"))?;
        ip(&format!("-n {name} route add default via {ROUTER}"))
    }

    /// The programs as HQ's machine runs them.
    #[must_use]
    pub fn hq_programs(&self, programs: &Programs) -> Programs {
        self.run_in(programs, HQ)
    }

    /// The programs as that terminal runs them.
    #[must_use]
    pub fn programs(&self, programs: &Programs, terminal: &str) -> Programs {
        self.run_in(programs, terminal)
    }

    fn run_in(&self, programs: &Programs, machine: &str) -> Programs {
        programs.run_by(&["ip", "netns", "exec", &self.namespace(machine)])
    }

    /// Where HQ listens.
    pub fn hq_address(&self) -> SocketAddr {
        (WAN_HQ, HQ_PORT).into()
    }

    pub fn address(&self, terminal: &str) -> Result<IpAddr> {
        Ok(address(self.index(terminal)?)?.into())
    }

    /// Does something on that terminal's machine. Sockets that it opens stay there.
    pub fn inside<T: Send>(&self, terminal: &str, act: impl FnOnce() -> T + Send) -> Result<T> {
        self.index(terminal)?;
        self.within(terminal, act)
    }

    /// The same on HQ's machine.
    pub fn inside_hq<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        self.within(HQ, act)
    }

    fn within<T: Send>(&self, machine: &str, act: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.path(machine);
        let namespace = File::open(&path)
            .with_context(|| format!("opening the namespace `{}`", path.display()))?;
        // A thread of its own, since it cannot be told to go back.
        let acted = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                rustix::io::Result::Ok(act())
            });
            thread.join()
        });
        let acted = acted.map_err(|_| anyhow!("what was done on {machine} panicked"))?;
        acted.with_context(|| format!("entering the namespace `{}`", path.display()))
    }

    /// From here on every packet from and to that terminal is dropped, and nobody is told.
    pub fn cut(&self, terminal: &str) -> Result<()> {
        self.set_port(terminal, &format!("state {DISABLED}"))
    }

    /// The end of [`Lan::cut`].
    pub fn restore(&self, terminal: &str) -> Result<()> {
        self.set_port(terminal, &format!("state {FORWARDING}"))
    }

    /// From here on that terminal reaches the router, and of its neighbours those that are not
    /// isolated too: what access points do to their clients.
    pub fn isolate(&self, terminal: &str) -> Result<()> {
        self.set_port(terminal, "isolated on")
    }

    /// As before [`Lan::isolate`].
    pub fn reunite(&self, terminal: &str) -> Result<()> {
        self.set_port(terminal, "isolated off")
    }

    /// From here on nothing that is sent to a multicast group comes to that terminal: what switches
    /// and access points do that want to spare their clients the noise.
    pub fn block_multicast(&self, terminal: &str) -> Result<()> {
        self.set_port(terminal, "mcast_flood off")
    }

    fn set_port(&self, terminal: &str, what: &str) -> Result<()> {
        let (shop, port) = (self.namespace(SHOP), port(self.index(terminal)?));
        bridge(&format!("-n {shop} link set dev {port} {what}"))
    }

    /// From here on the router drops what HQ and the store send each other, and tells nobody.
    pub fn cut_wan(&self) -> Result<()> {
        self.forward(false)
    }

    /// The end of [`Lan::cut_wan`].
    pub fn restore_wan(&self) -> Result<()> {
        self.forward(true)
    }

    fn forward(&self, on: bool) -> Result<()> {
        let value = if on { "1" } else { "0" };
        let written = self.within(SHOP, || fs::write(IP_FORWARD, value))?;
        written.with_context(|| format!("writing `{IP_FORWARD}`"))
    }

    /// Gives the line to HQ another rate; 0 is no limit.
    pub fn shape_wan(&self, wan: Wan) -> Result<()> {
        shape(&self.namespace(HQ), "wan0", &wan.down)?;
        shape(&self.namespace(SHOP), "wan0", &wan.up)
    }

    /// Gives that terminal's cable a rate, the same both ways; 0 is no limit.
    pub fn shape(&self, terminal: &str, rate: Shape) -> Result<()> {
        shape(&self.namespace(terminal), "lan0", &rate)?;
        shape(&self.namespace(SHOP), &port(self.index(terminal)?), &rate)
    }

    /// What the line to HQ carried so far, every header included, as the router's interface counts.
    pub fn wan(&self) -> Result<Carried> {
        carried(&self.namespace(SHOP), "wan0")
    }

    /// What that terminal's cable carried so far, as its own interface counts. The kernel may carry
    /// several packets in one piece with one header there.
    pub fn lan(&self, terminal: &str) -> Result<Carried> {
        self.index(terminal)?;
        carried(&self.namespace(terminal), "lan0")
    }

    /// Where the namespaces are to be found while there are any.
    pub fn namespaces(&self) -> Vec<PathBuf> {
        self.machines().map(|machine| self.path(machine)).collect()
    }

    fn machines(&self) -> impl Iterator<Item = &str> {
        self.terminals.iter().map(String::as_str).chain([SHOP, HQ])
    }

    fn path(&self, machine: &str) -> PathBuf {
        Path::new(NAMESPACES).join(self.namespace(machine))
    }

    fn namespace(&self, machine: &str) -> String {
        format!("{}{machine}", self.prefix)
    }

    fn index(&self, terminal: &str) -> Result<usize> {
        let index = self.terminals.iter().position(|known| known == terminal);
        index.with_context(|| format!("no terminal `{terminal}` in this LAN"))
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for machine in self.machines() {
            // One that was never made is gone already.
            _ = ip(&format!("netns delete {}", self.namespace(machine)));
        }
    }
}

fn port(index: usize) -> String {
    format!("port{}", index + 1)
}

fn address(index: usize) -> Result<Ipv4Addr> {
    let last = u8::try_from(index + 1).context("a LAN's terminals are counted in one byte")?;
    Ok(Ipv4Addr::new(10, 98, 0, last))
}

fn shape(namespace: &str, interface: &str, shape: &Shape) -> Result<()> {
    if !shape.delay.is_zero() || shape.loss > 0.0 {
        bail!("a LAN of namespaces has neither delay nor loss");
    }
    // None at first, and deleting it then fails.
    _ = tc(&format!("-n {namespace} qdisc delete dev {interface} root"));
    if shape.bits_per_s == 0 {
        return Ok(());
    }
    tc(&format!(
        "-n {namespace} qdisc add dev {interface} root tbf rate {}bit burst {} latency {}ms",
        shape.bits_per_s,
        shape.burst_bytes(),
        PATIENCE.as_millis(),
    ))
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{OURS}{}-{}-", process::id(), NEXT.fetch_add(1, Relaxed))
}

/// Removes the namespaces of processes that are no more: they were killed before they could.
fn sweep() {
    let Ok(entries) = fs::read_dir(NAMESPACES) else { return };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let owner = name.strip_prefix(OURS).and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|owner| owner.parse::<u32>().ok()) else { continue };
        if !Path::new("/proc").join(owner.to_string()).exists() {
            // Another run may sweep at the same time.
            _ = ip(&format!("netns delete {name}"));
        }
    }
}
