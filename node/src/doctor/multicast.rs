//! Whether multicast DNS, by which neighbours find each other, gets through on each network.
//!
//! One query goes out on every interface, and whatever comes back for a moment is counted: our own
//! packet shows that this machine lets multicast through, another terminal's that the network does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use if_addrs::{IfAddr, get_if_addrs};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use super::{
    Finding,
    facts::{Facts, Node},
};

const CHECK: &str = "multicast";
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// Terminals answer a query at once; a busy one takes a moment.
const LISTEN: Duration = Duration::from_millis(1500);
/// Networks looked at; a machine with more is full of virtual ones.
const NETWORKS_MAX: usize = 8;
/// Where containers live, and no terminals.
const VIRTUAL: [&str; 4] = ["docker", "br-", "virbr", "cni"];
/// The name under which libp2p announces, as it stands in a packet.
const SERVICE: &[u8] = b"\x04_p2p\x04_udp\x05local\x00";

/// One IPv4 network that this machine is in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Network {
    interface: String,
    ip: Ipv4Addr,
    prefix: u8,
}

/// What was heard on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Heard {
    own: bool,
    /// Other machines that announce as terminals do.
    others: BTreeSet<Ipv4Addr>,
}

pub(super) async fn check(facts: &Facts) -> Vec<Finding> {
    if !facts.settings.mdns {
        let says = "mDNS is switched off in storemesh.toml";
        return vec![Finding::ok(CHECK, says)];
    }
    let networks = match networks() {
        Ok(networks) if networks.is_empty() => {
            let fix = "look after this machine's cable and address (`ip address`)";
            return vec![Finding::warn(CHECK, "this machine is in no network but its own", fix)];
        }
        Ok(networks) => networks,
        Err(why) => return vec![Finding::warn(CHECK, format!("not tried: {why}"), "ip address")],
    };
    let heard = match listen(&networks).await {
        Ok(heard) => heard,
        Err(why) => {
            let says = format!("UDP {PORT} cannot be shared with other programs: {why}");
            let fix = format!("`ss -lunp sport = :{PORT}` names who keeps it to itself: stop it");
            return vec![Finding::fail(CHECK, says, fix)];
        }
    };
    let judge_one = |(network, heard): (&Network, &Result<Heard, String>)| {
        judge(network, heard.as_ref(), connected(network, facts.node.as_ref()))
    };
    networks.iter().zip(&heard).map(judge_one).collect()
}

fn judge(network: &Network, heard: Result<&Heard, &String>, connected: usize) -> Finding {
    let Network { interface, ip, .. } = network;
    match heard {
        Err(why) => {
            let says = format!("{interface} ({ip}) sends no multicast: {why}");
            let fix = format!(
                "ip link set {interface} multicast on; ip route add 224.0.0.0/4 dev {interface}"
            );
            Finding::fail(CHECK, says, fix)
        }
        Ok(heard) if !heard.own && heard.others.is_empty() => {
            let says = format!(
                "{interface} ({ip}) hears nothing, not even itself: a firewall of this machine drops UDP {PORT}"
            );
            let fix = format!(
                "nft add rule inet filter input udp dport {PORT} accept (or `ufw allow {PORT}/udp`)"
            );
            Finding::fail(CHECK, says, fix)
        }
        Ok(heard) if heard.others.is_empty() && connected > 0 => {
            let says = format!(
                "{interface} ({ip}) hears none of the {connected} neighbours that are connected there: the network drops multicast between them"
            );
            let fix = "allow multicast on the switch or access point (IGMP snooping needs a querier); HQ's list finds them meanwhile";
            Finding::warn(CHECK, says, fix)
        }
        Ok(heard) if heard.others.is_empty() => {
            let says = format!(
                "{interface} ({ip}) hears itself, and no other terminal: none is on, or the network drops multicast"
            );
            Finding::ok(CHECK, says)
        }
        Ok(heard) => {
            let count = heard.others.len();
            let says = format!(
                "{interface} ({ip}) hears {count} other terminal{}",
                if count == 1 { "" } else { "s" }
            );
            Finding::ok(CHECK, says)
        }
    }
}

fn networks() -> io::Result<Vec<Network>> {
    let of_terminals = |name: &str| !VIRTUAL.iter().any(|begin| name.starts_with(begin));
    let found = get_if_addrs()?.into_iter().filter_map(|interface| match interface.addr {
        IfAddr::V4(v4) if !v4.is_loopback() && of_terminals(&interface.name) => {
            Some(Network { interface: interface.name, ip: v4.ip, prefix: v4.prefixlen })
        }
        IfAddr::V4(_) | IfAddr::V6(_) => None,
    });
    Ok(found.take(NETWORKS_MAX).collect())
}

/// Neighbours that the node is connected to in this network.
fn connected(network: &Network, node: Option<&Node>) -> usize {
    let Some(node) = node else { return 0 };
    let here = |address: &str| match address.parse::<SocketAddr>().map(|at| at.ip()) {
        Ok(IpAddr::V4(ip)) => ip != network.ip && network.holds(ip),
        Ok(IpAddr::V6(_)) | Err(_) => false,
    };
    node.peers.iter().filter(|peer| peer.connected && here(&peer.address)).count()
}

impl Network {
    fn holds(&self, ip: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
        u32::from(ip) & mask == u32::from(self.ip) & mask
    }
}

/// Asks in every network, and notes who is heard; the error of one is that network's alone.
async fn listen(networks: &[Network]) -> io::Result<Vec<Result<Heard, String>>> {
    let receiving = receiver(networks)?;
    let mut heard = Vec::new();
    let mut senders = BTreeMap::new();
    for network in networks {
        heard.push(match ask(network).await {
            Ok(sender) => {
                senders.insert(sender.local_addr()?.port(), sender);
                Ok(Heard::default())
            }
            Err(why) => Err(why.to_string()),
        });
    }
    let until = Instant::now() + LISTEN;
    let mut packet = [0; 4096];
    while let Ok(received) = timeout_at(until, receiving.recv_from(&mut packet)).await {
        let Ok((len, SocketAddr::V4(from))) = received else { continue };
        note(networks, &mut heard, from, &packet[..len], |port| senders.contains_key(&port));
    }
    Ok(heard)
}

fn note(
    networks: &[Network],
    heard: &mut [Result<Heard, String>],
    from: SocketAddrV4,
    packet: &[u8],
    ours: impl Fn(u16) -> bool,
) {
    if !packet.windows(SERVICE.len()).any(|part| part == SERVICE) {
        return;
    }
    let mine = networks.iter().any(|network| network.ip == *from.ip());
    for (network, heard) in networks.iter().zip(heard) {
        let Ok(heard) = heard else { continue };
        if network.ip == *from.ip() && ours(from.port()) {
            heard.own = true;
        } else if !mine && network.holds(*from.ip()) {
            heard.others.insert(*from.ip());
        }
    }
}

fn receiver(networks: &[Network]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    for network in networks {
        // Where it does not join it hears nothing, and that is what is found.
        _ = socket.join_multicast_v4(&GROUP, &network.ip);
    }
    UdpSocket::from_std(socket.into())
}

async fn ask(network: &Network) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((network.ip, 0)).into())?;
    socket.set_multicast_if_v4(&network.ip)?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.send_to(&query(), (GROUP, PORT)).await?;
    Ok(socket)
}

/// "Who announces this service?", as mDNS asks it (RFC 6762): a header with one question.
fn query() -> Vec<u8> {
    const ONE_QUESTION: [u8; 12] = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const POINTER_OF_THE_INTERNET: [u8; 4] = [0, 12, 0, 1];
    [&ONE_QUESTION[..], SERVICE, &POINTER_OF_THE_INTERNET].concat()
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};

    fn network() -> Network {
        Network { interface: "eth0".to_owned(), ip: [10, 0, 0, 1].into(), prefix: 24 }
    }

    fn outcome(heard: &Heard, connected: usize) -> Outcome {
        judge(&network(), Ok(heard), connected).outcome
    }

    #[test]
    fn what_is_heard_tells_where_multicast_is_lost() {
        let others = BTreeSet::from([Ipv4Addr::new(10, 0, 0, 2)]);
        let (deaf, alone) = (Heard::default(), Heard { own: true, ..Heard::default() });
        assert_eq!(outcome(&deaf, 0), Outcome::Fail);
        assert_eq!(outcome(&alone, 0), Outcome::Ok, "nobody else may be there");
        assert_eq!(outcome(&alone, 3), Outcome::Warn, "they are there and not heard");
        assert_eq!(outcome(&Heard { own: true, others }, 3), Outcome::Ok);
        let cut = judge(&network(), Err(&"Network is unreachable".to_owned()), 0);
        assert_eq!(cut.outcome, Outcome::Fail);
        assert!(cut.says.contains("eth0 (10.0.0.1)"), "{}", cut.says);
    }

    #[test]
    fn a_packet_counts_for_the_network_it_came_in_by() {
        let far = Network { interface: "eth1".to_owned(), ip: [10, 9, 0, 1].into(), prefix: 16 };
        let networks = [network(), far];
        let mut heard = vec![Ok(Heard::default()), Ok(Heard::default())];
        let mut hear = |from: [u8; 4], port: u16, packet: &[u8]| {
            note(&networks, &mut heard, SocketAddrV4::new(from.into(), port), packet, |p| p == 99);
        };
        hear([10, 0, 0, 1], 99, &query());
        hear([10, 9, 0, 1], 98, &query()); // This machine's own node.
        hear([10, 9, 7, 7], 5353, &query());
        hear([10, 0, 0, 2], 5353, b"something else of mDNS");
        let others = BTreeSet::from([Ipv4Addr::new(10, 9, 7, 7)]);
        let expected =
            [Ok(Heard { own: true, others: BTreeSet::new() }), Ok(Heard { own: false, others })];
        assert_eq!(heard, expected);
    }
}
