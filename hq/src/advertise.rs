//! At which addresses terminals are told to call HQ.
//!
//! The rule: what `--advertise` says; without it, the addresses HQ listens on, and where it
//! listens on all, those of the machine's interfaces that are not loopback, asked for at each
//! invitation, since a laptop moves. A code holds only so many addresses, so the likeliest come
//! first: IPv4, then IPv6; link-local ones mean nothing to others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use storemesh_host::exit::Failure;
use storemesh_keys::{ChainId, InvitationCode, SecretKey};

#[derive(Clone, Debug)]
pub(crate) struct Advertise {
    /// As the operator said, each with its port; empty when they said nothing.
    said: Vec<String>,
    listen: Vec<IpAddr>,
    port: u16,
}

impl Advertise {
    /// `port` is the one HQ really listens on; it stands in for a port that was not given, or 0.
    pub(crate) fn new(said: &[String], listen: Vec<IpAddr>, port: u16) -> anyhow::Result<Self> {
        let said: Vec<String> = said.iter().map(|address| with_port(address, port)).collect();
        if !said.is_empty() {
            // Said at start rather than at the first invitation.
            let code = InvitationCode::new(
                said.clone(),
                ChainId::from_bytes([0; 32]),
                SecretKey::from_seed([0; 32]),
            );
            code.map_err(|why| Failure::usage(format!("what HQ is to advertise: {why}")))?;
        }
        Ok(Self { said, listen, port })
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        if !self.said.is_empty() {
            return self.said.clone();
        }
        let mut ips = if self.listen.iter().any(IpAddr::is_unspecified) {
            interfaces()
        } else {
            self.listen.clone()
        };
        if ips.is_empty() {
            tracing::warn!("this machine has no network: codes lead to HQ from here alone");
            ips.push(Ipv4Addr::LOCALHOST.into());
        }
        let addresses = ips.into_iter().map(|ip| SocketAddr::new(ip, self.port).to_string());
        addresses.take(InvitationCode::ADDRESSES_MAX).collect()
    }
}

fn with_port(address: &str, port: u16) -> String {
    let (host, given) = match address.rsplit_once(':') {
        // The colons of a bare IPv6 address are not those of a port.
        Some((host, given)) if !host.contains(':') || host.ends_with(']') => (host, given),
        _ => (address, "0"),
    };
    if given != "0" {
        return address.to_owned();
    }
    if host.contains(':') && !host.starts_with('[') {
        return format!("[{host}]:{port}");
    }
    format!("{host}:{port}")
}

fn interfaces() -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "asking for this machine's addresses");
        Vec::new()
    });
    let mut ips: Vec<IpAddr> = found
        .into_iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect();
    // False before true, and the machine's own order otherwise.
    ips.sort_by_key(IpAddr::is_ipv6);
    ips.dedup();
    ips
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(addresses: &[&str]) -> anyhow::Result<Vec<String>> {
        let said: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        let advertise = Advertise::new(&said, vec![Ipv4Addr::UNSPECIFIED.into()], 7400)?;
        Ok(advertise.addresses())
    }

    #[test]
    fn what_the_operator_says_stands_and_the_port_may_be_left_out() {
        let given = ["hq.example.org:443", "hq.example.org", "10.0.0.1:0", "::1", "[::1]:7"];
        let expected =
            ["hq.example.org:443", "hq.example.org:7400", "10.0.0.1:7400", "[::1]:7400", "[::1]:7"];
        assert_eq!(said(&given).unwrap(), expected);
    }

    #[test]
    fn what_no_code_can_hold_is_refused_at_start() {
        assert!(said(&["hq.example.org:many"]).is_err());
        assert!(said(&["10.0.0.1"; 9]).is_err());
    }

    #[test]
    fn without_a_word_from_the_operator_codes_name_addresses_that_others_can_call() {
        for address in said(&[]).unwrap() {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(address.port(), 7400);
        }
        let on_one = Advertise::new(&[], vec!["192.0.2.7".parse().unwrap()], 7400).unwrap();
        assert_eq!(on_one.addresses(), ["192.0.2.7:7400"]);
    }
}
