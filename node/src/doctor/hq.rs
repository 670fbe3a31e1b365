//! Whether HQ answers: a real QUIC handshake with each of its addresses.
//!
//! The call is made under a key of its own, so the node's uplink does not notice. When nothing
//! comes back, a plain datagram tells a port where nobody listens from a way that is blocked.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use futures::future::join_all;
use storemesh_host::quic;
use storemesh_keys::SecretKey;
use tokio::{net::UdpSocket, time::timeout};

use super::{Finding, facts::Facts};

const CHECK: &str = "hq";
const RESOLVE: Duration = Duration::from_secs(3);
/// As long as a lost uplink is given.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The network says at once that nobody listens, or not at all.
const REFUSAL: Duration = Duration::from_secs(1);
/// Addresses tried of each name.
const ADDRESSES_MAX: usize = 4;

/// What came of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    Answered(Duration),
    /// Nobody listens there.
    Refused,
    NoRoute(String),
    Silent,
    Broken(String),
}

pub(super) async fn check(facts: &Facts) -> Vec<Finding> {
    let Some(joined) = &facts.joined else { return Vec::new() };
    join_all(joined.hq.iter().map(|name| one(name))).await
}

async fn one(name: &str) -> Finding {
    let found = match timeout(RESOLVE, tokio::net::lookup_host(name)).await {
        Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect::<Vec<_>>(),
        Ok(Err(why)) => return unresolved(name, &why.to_string()),
        Err(_) => return unresolved(name, "no answer"),
    };
    let calls = join_all(found.iter().map(|address| call(*address))).await;
    let port = found.first().map_or(0, SocketAddr::port);
    judge(name, port, &calls)
}

fn unresolved(name: &str, why: &str) -> Finding {
    let host = host_of(name);
    let says = format!("the name `{host}` does not resolve: {why}");
    Finding::fail(CHECK, says, format!("mend this machine's DNS (`getent hosts {host}` tries it)"))
}

fn host_of(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(host, _)| host)
}

/// One address that answers is enough.
fn judge(name: &str, port: u16, calls: &[Call]) -> Finding {
    let fastest = calls.iter().filter_map(|call| match call {
        Call::Answered(took) => Some(*took),
        Call::Refused | Call::NoRoute(_) | Call::Silent | Call::Broken(_) => None,
    });
    if let Some(took) = fastest.min() {
        return Finding::ok(CHECK, format!("{name} answers in {} ms", took.as_millis().max(1)));
    }
    let host = host_of(name);
    match calls.first() {
        None => unresolved(name, "it has no address"),
        Some(_) if calls.contains(&Call::Refused) => {
            let says = format!("UDP {port} to {host} is refused: no HQ listens there");
            let fix =
                "start `storemesh-hq serve` there, or join again with a code of the new address";
            Finding::fail(CHECK, says, fix)
        }
        Some(Call::NoRoute(why)) => {
            let says = format!("there is no way to {name}: {why}");
            Finding::fail(
                CHECK,
                says,
                "look after this machine's cable, address and gateway (`ip route`)",
            )
        }
        Some(Call::Broken(why)) => {
            let says = format!("whoever answers at {name} does not speak as HQ does: {why}");
            Finding::fail(
                CHECK,
                says,
                "see that this address is HQ's, and that both are of one version",
            )
        }
        Some(_) => {
            let says = format!(
                "UDP {port} to {host} is blocked, or HQ is off: nothing came back in {} s",
                HANDSHAKE.as_secs()
            );
            let fix = format!("let UDP {port} out through the store's firewall, and in at HQ's");
            Finding::fail(CHECK, says, fix)
        }
    }
}

async fn call(address: SocketAddr) -> Call {
    let endpoint = match quic::client_endpoint(&SecretKey::generate()) {
        Ok(endpoint) => endpoint,
        Err(why) => return Call::Broken(format!("{why:#}")),
    };
    let begun = Instant::now();
    match timeout(HANDSHAKE, quic::connect(&endpoint, address)).await {
        Ok(Ok((connection, _))) => {
            let took = begun.elapsed();
            connection.close(0_u32.into(), b"");
            endpoint.wait_idle().await;
            Call::Answered(took)
        }
        // The idle timeout of the transport may be first, which is silence too.
        Ok(Err(why)) if !quic::is_silence(&why) => Call::Broken(format!("{why:#}")),
        Ok(Err(_)) | Err(_) => knock(address).await,
    }
}

/// What the network itself says to a datagram, which is not a word of QUIC and not answered.
async fn knock(address: SocketAddr) -> Call {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let knocking = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 16]).await
    };
    match timeout(REFUSAL, knocking).await {
        Ok(Err(why)) if why.kind() == ErrorKind::ConnectionRefused => Call::Refused,
        Ok(Err(why)) => Call::NoRoute(why.to_string()),
        Ok(Ok(_)) | Err(_) => Call::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};

    const HQ: &str = "hq.example:7400";

    fn says(calls: &[Call]) -> String {
        judge(HQ, 7400, calls).says
    }

    #[test]
    fn one_address_that_answers_is_enough() {
        let took = Duration::from_millis(12);
        let finding = judge(HQ, 7400, &[Call::Silent, Call::Answered(took)]);
        assert_eq!(finding.outcome, Outcome::Ok);
        assert_eq!(finding.says, "hq.example:7400 answers in 12 ms");
    }

    #[test]
    fn blocked_and_refused_and_no_way_are_told_apart() {
        assert!(says(&[Call::Silent]).starts_with("UDP 7400 to hq.example is blocked"));
        assert!(says(&[Call::Silent, Call::Refused]).contains("is refused: no HQ listens there"));
        assert!(says(&[Call::NoRoute("down".to_owned())]).contains("there is no way to"));
        assert!(says(&[Call::Broken("odd".to_owned())]).contains("does not speak as HQ does"));
        for calls in [vec![Call::Silent], vec![Call::Refused], Vec::new()] {
            assert_eq!(judge(HQ, 7400, &calls).outcome, Outcome::Fail);
        }
    }

    #[test]
    fn a_name_that_does_not_resolve_leads_to_dns() {
        let finding = unresolved(HQ, "no answer");
        assert!(finding.fix.unwrap().contains("getent hosts hq.example`"));
    }

    #[tokio::test]
    async fn a_real_handshake_is_timed_and_a_closed_port_is_refused() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let hq = quic::server_endpoint(&SecretKey::generate(), address).unwrap();
        let at = hq.local_addr().unwrap();
        let listener = quic::Listener::new(hq);
        let serving = tokio::spawn(async move {
            while let Some(handshake) = listener.accept().await {
                _ = handshake.finish().await;
            }
        });
        assert!(matches!(call(at).await, Call::Answered(_)));
        serving.abort();
        let closed = std::net::UdpSocket::bind(address).unwrap().local_addr().unwrap();
        assert_eq!(knock(closed).await, Call::Refused);
    }
}
