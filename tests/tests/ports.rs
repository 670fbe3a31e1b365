//! Ports that somebody else has, and the APIs behind ours.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::Value;
use storemesh_sim::live::chain::STORE;
use storemesh_tests::{
    saying::{FAILED, assert_fails},
    shop::Shop,
};

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let mut shop = Shop::open(1)?;
    let terminal = &shop.chain.terminals[0];
    terminal.join(&shop.chain.hq.invite(STORE)?)?;
    let taken = TcpListener::bind(LOOPBACK)?;
    let port = taken.local_addr()?.port().to_string();
    let run = ["run", "--no-mdns", "--listen", "127.0.0.1", "--mesh-port"];
    let mesh = [&run[..], &[&port, "--api-port", "0"]].concat();
    assert_fails(&terminal.run(mesh)?, FAILED, &[&port, "in use", "another port"]);
    let api = [&run[..], &["0", "--api-port", &port]].concat();
    assert_fails(&terminal.run(api)?, FAILED, &[&port, "in use", "another port"]);

    shop.chain.hq.stop()?;
    let serve = ["serve", "--listen", "127.0.0.1", "--port"];
    let admin = [&serve[..], &["0", "--admin-port", &port]].concat();
    assert_fails(&shop.chain.hq.run(admin)?, FAILED, &[&port, "in use", "another port"]);
    let taken = UdpSocket::bind(LOOPBACK)?;
    let port = taken.local_addr()?.port().to_string();
    let uplink = [&serve[..], &[&port, "--admin-port", "0"]].concat();
    assert_fails(&shop.chain.hq.run(uplink)?, FAILED, &[&port, "in use", "another port"]);
    Ok(())
}

/// Status line and body of one question.
fn ask(port: u16, path: &str, token: Option<&str>) -> Result<(String, Value)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n{token}\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
    let status = head.lines().next().unwrap_or_default().to_owned();
    Ok((status, serde_json::from_str(body).with_context(|| format!("reading {body:?}"))?))
}

/// A token that only we can read.
fn token(path: &Path) -> Result<String> {
    assert_eq!(fs::metadata(path)?.permissions().mode() & 0o777, 0o600, "{}", path.display());
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

fn ports(data: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(data.join("ports.json"))?)?)
}

#[test]
fn the_apis_answer_on_loopback_to_who_can_read_the_token() -> Result<()> {
    let mut shop = Shop::running(1)?;
    let terminal = &mut shop.chain.terminals[0];
    let port = terminal.daemon().context("it runs")?.port("api_port")?;
    let right = token(&terminal.data().join("api.token"))?;
    for wrong in [None, Some("wrong"), Some("")] {
        let (status, problem) = ask(port, "/v1/status", wrong)?;
        assert!(status.contains(" 401 "), "{status} {problem}");
        assert!(problem["type"].is_string() && problem["title"].is_string(), "{problem}");
    }
    let (status, body) = ask(port, "/v1/status", Some(&right))?;
    assert!(status.contains(" 200 ") && body["name"] == "t1", "{status} {body}");
    let (status, problem) = ask(port, "/v1/elsewhere", Some(&right))?;
    assert!(status.contains(" 404 ") && problem["type"].is_string(), "{status} {problem}");

    let (uplink, admin) = shop.chain.hq.ports();
    let ports = ports(&shop.chain.hq.data())?;
    assert_eq!((&ports["uplink"], &ports["admin"]), (&uplink.into(), &admin.into()));
    token(&shop.chain.hq.data().join("admin.token"))?;
    let (status, problem) = ask(admin, "/v1/fleet", None)?;
    assert!(status.contains(" 401 "), "{status} {problem}");
    Ok(())
}
