//! Whether the node has its ports, or could have them.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use super::{Finding, facts::Facts};

const CHECK: &str = "ports";
/// This machine answers itself at once, or a firewall drops what it says.
const ANSWER: Duration = Duration::from_secs(1);

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if let Some(node) = &facts.node {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        // A node that was told to listen on one address does not on loopback.
        let listen = node.status.listen.iter().filter_map(|at| at.parse::<SocketAddr>().ok());
        let mesh = listen.map(|at| at.ip()).find(IpAddr::is_ipv4).unwrap_or(loopback);
        return vec![
            answers(SocketAddr::new(mesh, node.mesh_port), "neighbours"),
            answers(SocketAddr::new(loopback, node.api_port), "local API"),
        ];
    }
    let settings = &facts.settings;
    let mesh = settings.listen.iter().map(|ip| SocketAddr::new(*ip, settings.mesh_port));
    let api = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.api_port));
    let mut findings: Vec<Finding> =
        mesh.filter_map(|at| free(at, "neighbours", "mesh_port")).collect();
    findings.extend(free(api, "local API", "api_port"));
    if findings.is_empty() {
        let says = format!("TCP {} and {} are free", settings.mesh_port, settings.api_port);
        findings.push(Finding::ok(CHECK, says));
    }
    findings
}

fn answers(at: SocketAddr, whose: &str) -> Finding {
    match TcpStream::connect_timeout(&at, ANSWER) {
        Ok(_) => Finding::ok(CHECK, format!("TCP {} ({whose}) answers", at.port())),
        Err(why) => {
            let says =
                format!("the node listens on TCP {at} ({whose}), which does not answer: {why}");
            let fix = format!("let TCP {} through this machine's firewall", at.port());
            Finding::fail(CHECK, says, fix)
        }
    }
}

/// None when the node could listen there.
#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds have no end")]
fn free(at: SocketAddr, whose: &str, key: &str) -> Option<Finding> {
    let why = TcpListener::bind(at).err()?;
    let port = at.port();
    match why.kind() {
        ErrorKind::AddrInUse => {
            let says = format!("TCP {port} ({whose}) is taken by another program");
            let fix = format!(
                "`ss -ltnp sport = :{port}` names it: stop it, or set {key} in storemesh.toml"
            );
            Some(Finding::fail(CHECK, says, fix))
        }
        ErrorKind::PermissionDenied => {
            let says = format!("TCP {port} ({whose}) is for root alone");
            let fix = format!("set {key} to 1024 or more in storemesh.toml");
            Some(Finding::fail(CHECK, says, fix))
        }
        // Without IPv6 in the kernel the node does without it too.
        _ if at.is_ipv6() => None,
        _ => {
            let says = format!("TCP {at} ({whose}) cannot be listened on: {why}");
            Some(Finding::fail(
                CHECK,
                says,
                "set listen in storemesh.toml to addresses of this machine",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};

    #[test]
    fn a_port_that_another_has_is_named_and_a_free_one_is_not() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = other.local_addr().unwrap();
        let taken = free(at, "neighbours", "mesh_port").unwrap();
        assert_eq!(taken.outcome, Outcome::Fail);
        assert!(taken.says.contains("is taken by another program"), "{}", taken.says);
        assert!(taken.fix.unwrap().contains(&format!("sport = :{}", at.port())));
        assert_eq!(answers(at, "neighbours").outcome, Outcome::Ok);
        drop(other);
        assert!(free(at, "neighbours", "mesh_port").is_none());
        assert_eq!(answers(at, "neighbours").outcome, Outcome::Fail);
    }

    #[test]
    fn an_address_that_is_not_this_machines_is_named() {
        let at = SocketAddr::from(([192, 0, 2, 1], 7410));
        let finding = free(at, "neighbours", "mesh_port").unwrap();
        assert!(finding.says.contains("192.0.2.1:7410"), "{}", finding.says);
    }
}
