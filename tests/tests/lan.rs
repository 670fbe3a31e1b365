//! The network that other tests stand on: it carries what it should, and drops and counts as it says.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    panic::resume_unwind,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use storemesh_sim::live::{
    lan::{HQ_PORT, Lan},
    link::Shape,
    relay::Wan,
};
use storemesh_tests::require;

const PORT: u16 = 9;
/// Of 1,028 bytes with their headers, 1,042 with Ethernet's; 32 KiB of them may pass a rate at once.
const PACKETS: u64 = 100;
/// The first packet waits until the other machine's hardware address is known.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// What comes at all comes within some milliseconds.
const SILENT_FOR: Duration = Duration::from_millis(300);

/// A socket of each machine, HQ's last.
fn sockets(lan: &Lan, terminals: &[&str]) -> Result<Vec<UdpSocket>> {
    let bind = |port| move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
    let terminals = terminals.iter().map(|terminal| Ok(lan.inside(terminal, bind(PORT))??));
    terminals.chain([Ok(lan.inside_hq(bind(HQ_PORT))??)]).collect()
}

/// Whether something that `from` sends to `address` comes to `to`, alive within that time.
fn heard(
    from: &UdpSocket,
    address: SocketAddr,
    to: &UdpSocket,
    patience: Duration,
) -> Result<bool> {
    from.send_to(b"hello", address)?;
    to.set_read_timeout(Some(patience))?;
    match to.recv(&mut [0; 16]) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn a_terminal_that_is_cut_off_hears_and_is_heard_by_nobody_until_it_is_back() -> Result<()> {
    require!(netns);
    let lan = Lan::lay(&["t1", "t2"], Wan::default())?;
    let [one, two, hq] = &sockets(&lan, &["t1", "t2"])?[..] else { anyhow::bail!("three") };
    let at = |terminal| Ok::<_, anyhow::Error>(SocketAddr::from((lan.address(terminal)?, PORT)));
    let ways = [
        (one, at("t2")?, two),
        (two, at("t1")?, one),
        (one, lan.hq_address(), hq),
        (hq, at("t1")?, one),
    ];
    for (from, address, to) in ways {
        assert!(heard(from, address, to, HEARD_WITHIN)?, "to {address}");
    }
    lan.cut("t1")?;
    for (from, address, to) in ways {
        assert!(!heard(from, address, to, SILENT_FOR)?, "to {address} in spite of the cut");
    }
    assert!(heard(two, lan.hq_address(), hq, HEARD_WITHIN)?, "the others go on");
    lan.restore("t1")?;
    for (from, address, to) in ways {
        assert!(heard(from, address, to, HEARD_WITHIN)?, "to {address} after the cut");
    }

    lan.cut_wan()?;
    assert!(!heard(one, lan.hq_address(), hq, SILENT_FOR)?);
    assert!(!heard(hq, at("t2")?, two, SILENT_FOR)?);
    assert!(heard(one, at("t2")?, two, HEARD_WITHIN)?, "the store goes on");
    lan.restore_wan()?;
    assert!(heard(one, lan.hq_address(), hq, HEARD_WITHIN)?);
    Ok(())
}

#[test]
fn isolated_terminals_reach_only_those_that_are_not() -> Result<()> {
    require!(netns);
    let lan = Lan::lay(&["till", "tablet", "phone"], Wan::default())?;
    lan.isolate("tablet")?;
    lan.isolate("phone")?;
    let sockets = sockets(&lan, &["till", "tablet", "phone"])?;
    let [till, tablet, phone, hq] = &sockets[..] else { anyhow::bail!("four") };
    let at = |terminal| Ok::<_, anyhow::Error>(SocketAddr::from((lan.address(terminal)?, PORT)));
    assert!(!heard(tablet, at("phone")?, phone, SILENT_FOR)?);
    assert!(heard(tablet, at("till")?, till, HEARD_WITHIN)?);
    assert!(heard(till, at("phone")?, phone, HEARD_WITHIN)?);
    assert!(heard(phone, lan.hq_address(), hq, HEARD_WITHIN)?);
    Ok(())
}

#[test]
fn a_rate_holds_and_the_interface_counts_every_packets_header() -> Result<()> {
    require!(netns);
    let lan = Lan::lay(&["t1"], Wan { down: Shape::default(), up: Shape::mbit(2.0) })?;
    let [one, hq] = &sockets(&lan, &["t1"])?[..] else { anyhow::bail!("two") };
    assert!(heard(one, lan.hq_address(), hq, HEARD_WITHIN)?);
    let before = lan.wan()?.sent;
    hq.set_read_timeout(Some(HEARD_WITHIN))?;
    let started = Instant::now();
    for _ in 0..PACKETS {
        one.send_to(&[0; 1000], lan.hq_address())?;
        // One at a time, so that no queue overflows.
        hq.recv(&mut [0; 2000])?;
    }
    let (took, carried) = (started.elapsed(), lan.wan()?.sent - before);
    assert!((PACKETS * 1042..PACKETS * 1042 + 500).contains(&carried), "{carried} bytes");
    assert!(took > Duration::from_millis(250), "{took:?} for {carried} bytes");

    lan.shape_wan(Wan::default())?;
    lan.shape("t1", Shape::mbit(2.0))?;
    let started = Instant::now();
    for _ in 0..PACKETS {
        one.send_to(&[0; 1000], lan.hq_address())?;
        hq.recv(&mut [0; 2000])?;
    }
    let took = started.elapsed();
    assert!(took > Duration::from_millis(250), "{took:?} through a port of 2 Mbit/s");
    Ok(())
}

#[test]
fn nothing_is_left_of_a_lan_even_after_a_panic() -> Result<()> {
    require!(netns);
    let panicked = thread::spawn(|| {
        let lan = Lan::lay(&["t1"], Wan::default()).unwrap();
        let names = lan.namespaces();
        assert!(names.iter().all(|name| name.exists()), "{names:?}");
        resume_unwind(Box::new(names));
    });
    let names = panicked.join().expect_err("it panics");
    let names = names.downcast::<Vec<PathBuf>>().expect("what it panicked with");
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| !name.exists()), "{names:?}");
    Ok(())
}
