//! What this machine is connected to, as Linux tells it under /sys.
//!
//! Libp2p knows on which addresses it listens; which of them a neighbour could use depends on the
//! interface that has it. In this order, and only those of the first kind that there is are told:
//!
//! 1. **a network**: a card, a bridge that has one as a port, a VLAN, a bond, a container's veth.
//!    Cable before Wi-Fi, IPv4 before IPv6;
//! 2. **a tunnel**: VPNs. Neighbours that reach each other by one would do so over the WAN;
//! 3. **a bridge of this host alone**, with nothing but containers and virtual machines behind it:
//!    every machine with Docker has the same 172.17.0.1 there;
//! 4. **no carrier**: nothing is plugged in, or the Wi-Fi is not joined;
//! 5. **loopback**, for several terminals on one machine.
//!
//! An IPv6 address of one link is never told: it needs the name of the interface beside it.
//! Being wrong costs neighbours a dial, or this machine a place in the order of gateways; a file that
//! cannot be read counts as the usual. This is the one file for Linux alone.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use storemesh_protocol::terminal::Hardware;

/// Where Linux shows its devices.
pub(crate) const SYS: &str = "/sys";

/// `ARPHRD_ETHER`: cards, Wi-Fi, bridges. Tunnels have numbers of their own.
const ETHERNET: &str = "1";
/// `ARPHRD_LOOPBACK`.
const LOOPBACK: &str = "772";
/// Of these none is a network of its own, though they look like Ethernet.
const OVERLAYS: [&str; 3] = ["vxlan", "geneve", "wireguard"];

/// What is to be told to neighbours, and to the composite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Where neighbours can reach this one, the best first.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) hardware: Hardware,
}

/// How good an interface is for reaching neighbours, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Network,
    Tunnel,
    HostOnly,
    NoCarrier,
    Loopback,
}

/// Looks at the machine that this is, given all addresses that the mesh listens on.
pub(crate) fn look(sys: &Path, addresses: &[SocketAddr]) -> Machine {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|why| {
        tracing::debug!("the interfaces cannot be listed: {why}");
        Vec::new()
    });
    let named: Vec<_> = interfaces.into_iter().map(|it| (it.ip(), it.name)).collect();
    judge(sys, &named, addresses)
}

fn judge(sys: &Path, interfaces: &[(IpAddr, String)], addresses: &[SocketAddr]) -> Machine {
    let mut listen = Vec::new();
    for address in addresses.iter().filter(|address| could_be_told(address.ip())) {
        let interface = interfaces.iter().find(|(ip, _)| *ip == address.ip());
        let (used, wireless) = match interface {
            Some((_, name)) => {
                let interface = Interface::new(sys, name);
                (interface.used(), interface.is_wireless())
            }
            None if address.ip().is_loopback() => (Use::Loopback, false),
            // It came or went a moment ago.
            None => (Use::Network, false),
        };
        let makeshift = matches!(address.ip(), IpAddr::V4(ip) if ip.is_link_local());
        listen.push((used, makeshift, wireless, address.is_ipv6(), *address));
    }
    listen.sort_unstable();
    let best = listen.first().map(|(used, ..)| *used);
    listen.retain(|(used, ..)| Some(*used) == best);
    let wired = listen.is_empty() || listen.iter().any(|(_, _, wireless, ..)| !wireless);
    Machine {
        listen: listen.into_iter().map(|(.., address)| address).collect(),
        hardware: Hardware { wired, mains: is_on_mains(sys) },
    }
}

fn could_be_told(ip: IpAddr) -> bool {
    let one_link = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !one_link && !ip.is_unspecified()
}

/// One interface's folder under /sys/class/net.
struct Interface {
    path: PathBuf,
}

impl Interface {
    fn new(sys: &Path, name: &str) -> Self {
        Self { path: sys.join("class/net").join(name) }
    }

    fn used(&self) -> Use {
        let kind = self.read("type").unwrap_or_else(|| ETHERNET.to_owned());
        if kind == LOOPBACK {
            return Use::Loopback;
        }
        let state = self.read("operstate").unwrap_or_default();
        let down = ["down", "lowerlayerdown", "notpresent"].contains(&state.as_str());
        if down || self.read("carrier").as_deref() == Some("0") {
            return Use::NoCarrier;
        }
        let uevent = self.read("uevent").unwrap_or_default();
        let device = uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
        let overlay = device.is_some_and(|device| OVERLAYS.contains(&device));
        if kind != ETHERNET || overlay || self.has("tun_flags") {
            return Use::Tunnel;
        }
        if self.has("bridge") && !self.ports().any(|port| port.leads_out()) {
            return Use::HostOnly;
        }
        Use::Network
    }

    /// Whether it is Wi-Fi, or all that it stands on is.
    fn is_wireless(&self) -> bool {
        if self.has("wireless") || self.has("phy80211") {
            return true;
        }
        let mut below = self.ports().chain(self.lower()).filter(Self::leads_out).peekable();
        below.peek().is_some() && below.all(|port| port.has("wireless") || port.has("phy80211"))
    }

    /// A port of a bridge that is more than a container's cable.
    fn leads_out(&self) -> bool {
        self.has("device") || self.lower().next().is_some()
    }

    /// The interfaces that this bridge joins.
    fn ports(&self) -> impl Iterator<Item = Self> {
        self.beside(names(&self.path.join("brif")))
    }

    /// The interfaces that this VLAN, bond or the like is made of.
    fn lower(&self) -> impl Iterator<Item = Self> {
        let lower = names(&self.path).filter_map(|name| Some(name.strip_prefix("lower_")?.into()));
        self.beside(lower)
    }

    fn beside(&self, names: impl Iterator<Item = String>) -> impl Iterator<Item = Self> {
        names.map(|name| Self { path: self.path.with_file_name(name) })
    }

    fn has(&self, file: &str) -> bool {
        self.path.join(file).exists()
    }

    fn read(&self, file: &str) -> Option<String> {
        read(&self.path.join(file))
    }
}

/// A machine runs on its battery when that is being emptied and nothing else is plugged in. What has
/// no battery runs on mains; a mouse's battery is not the machine's.
fn is_on_mains(sys: &Path) -> bool {
    let supplies = sys.join("class/power_supply");
    let (mut plugged, mut emptied) = (false, false);
    for name in names(&supplies) {
        let file = |file: &str| read(&supplies.join(&name).join(file)).unwrap_or_default();
        match file("type").as_str() {
            "Battery" if file("scope") == "Device" => {}
            "Battery" | "UPS" => emptied |= file("status") == "Discharging",
            _ => plugged |= file("online") == "1",
        }
    }
    plugged || !emptied
}

fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A /sys with these files, folders where the name ends in a slash.
    fn sys(files: &[(&str, &str)]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = sys.path().join("class").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::write(path, format!("{text}\n")).unwrap();
            }
        }
        sys
    }

    fn seen(files: &[(&str, &str)], interfaces: &[(&str, &str)]) -> (Vec<String>, bool) {
        let sys = sys(files);
        let named: Vec<(IpAddr, String)> =
            interfaces.iter().map(|(name, ip)| (ip.parse().unwrap(), (*name).to_owned())).collect();
        let listen: Vec<_> = named.iter().map(|(ip, _)| SocketAddr::new(*ip, 7410)).collect();
        let machine = judge(sys.path(), &named, &listen);
        let told = machine.listen.iter().map(|address| address.ip().to_string()).collect();
        (told, machine.hardware.wired)
    }

    fn told(files: &[(&str, &str)], interfaces: &[(&str, &str)]) -> Vec<String> {
        seen(files, interfaces).0
    }

    const CARD: [(&str, &str); 3] =
        [("net/eth0/type", "1"), ("net/eth0/device/", ""), ("net/eth0/operstate", "up")];
    const WIFI: [(&str, &str); 3] =
        [("net/wlan0/type", "1"), ("net/wlan0/device/", ""), ("net/wlan0/phy80211/", "")];
    const DOCKER: [(&str, &str); 4] = [
        ("net/docker0/type", "1"),
        ("net/docker0/bridge/", ""),
        ("net/docker0/brif/veth1/", ""),
        ("net/veth1/type", "1"),
    ];
    const VPN: [(&str, &str); 2] = [("net/wg0/type", "65534"), ("net/wg0/operstate", "unknown")];
    const LO: [(&str, &str); 1] = [("net/lo/type", "772")];

    #[test]
    fn what_no_neighbour_can_use_is_not_told() {
        let files = [&CARD[..], &DOCKER, &VPN, &LO].concat();
        let all = [
            ("lo", "127.0.0.1"),
            ("docker0", "172.17.0.1"),
            ("wg0", "10.8.0.2"),
            ("eth0", "fe80::1"),
            ("eth0", "2001:db8::7"),
            ("eth0", "10.0.0.7"),
        ];
        assert_eq!(told(&files, &all), ["10.0.0.7", "2001:db8::7"]);
    }

    #[test]
    fn the_next_best_is_told_when_there_is_nothing_better() {
        let files = [&DOCKER[..], &VPN, &LO].concat();
        let (lo, docker, vpn) =
            (("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), ("wg0", "10.8.0.2"));
        assert_eq!(told(&files, &[lo, docker, vpn]), ["10.8.0.2"]);
        assert_eq!(told(&files, &[lo, docker]), ["172.17.0.1"]);
        assert_eq!(told(&files, &[lo]), ["127.0.0.1"]);
    }

    #[test]
    fn a_cable_that_is_not_plugged_in_does_not_count() {
        let unplugged =
            [("net/eth0/type", "1"), ("net/eth0/device/", ""), ("net/eth0/carrier", "0")];
        let files = [&unplugged[..], &WIFI].concat();
        let both = [("eth0", "10.0.0.7"), ("wlan0", "10.0.1.7")];
        assert_eq!(seen(&files, &both), (vec!["10.0.1.7".to_owned()], false));
    }

    #[test]
    fn cable_goes_before_wifi_and_makes_the_machine_wired() {
        let files = [&CARD[..], &WIFI].concat();
        let both = [("wlan0", "10.0.0.3"), ("eth0", "10.0.0.7")];
        assert_eq!(seen(&files, &both), (vec!["10.0.0.7".to_owned(), "10.0.0.3".to_owned()], true));
        assert!(!seen(&files, &[("wlan0", "10.0.0.3")]).1);
    }

    #[test]
    fn a_bridge_with_a_card_in_it_is_the_network() {
        let bridge = [
            ("net/br0/type", "1"),
            ("net/br0/bridge/", ""),
            ("net/br0/brif/eth0/", ""),
            ("net/br0/brif/tap1/", ""),
        ];
        let files = [&CARD[..], &DOCKER, &bridge].concat();
        let both = [("br0", "10.0.0.7"), ("docker0", "172.17.0.1")];
        assert_eq!(seen(&files, &both), (vec!["10.0.0.7".to_owned()], true));
    }

    #[test]
    fn a_vlan_is_as_wireless_as_what_it_stands_on() {
        let vlan = [("net/wlan0.5/type", "1"), ("net/wlan0.5/lower_wlan0/", "")];
        let files = [&WIFI[..], &vlan].concat();
        assert!(!seen(&files, &[("wlan0.5", "10.0.5.7")]).1);
    }

    #[test]
    fn an_address_of_an_unknown_interface_is_told() {
        let sys = sys(&[]);
        let address = "10.0.0.7:7410".parse().unwrap();
        assert_eq!(judge(sys.path(), &[], &[address]).listen, [address]);
    }

    #[test]
    fn only_a_machine_that_empties_its_battery_is_not_on_mains() {
        let bat =
            |status| [("power_supply/BAT0/type", "Battery"), ("power_supply/BAT0/status", status)];
        let ac = |online| [("power_supply/AC/type", "Mains"), ("power_supply/AC/online", online)];
        let mouse = [
            ("power_supply/hid/type", "Battery"),
            ("power_supply/hid/scope", "Device"),
            ("power_supply/hid/status", "Discharging"),
        ];
        for (files, mains) in [
            (vec![], true),
            (bat("Discharging").to_vec(), false),
            (bat("Full").to_vec(), true),
            ([bat("Discharging"), ac("0")].concat(), false),
            ([bat("Discharging"), ac("1")].concat(), true),
            (mouse.to_vec(), true),
        ] {
            assert_eq!(is_on_mains(sys(&files).path()), mains, "{files:?}");
        }
    }
}
