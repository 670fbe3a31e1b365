//! The UDP socket under QUIC.
//!
//! The rule: one socket serves IPv4 and IPv6 (`[::]`), with buffers that hold a burst while the
//! process waits for a core: at 1 Gbit/s the kernel's usual 208 KiB are 1.7 ms. The kernel may
//! grant less than asked for; that costs speed on a busy machine and nothing else.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use anyhow::{Context as _, anyhow};
use socket2::{Domain, Protocol, Socket, Type};

/// Asked of the kernel for either direction.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

pub(super) fn bind(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    open(address).map_err(|error| {
        if error.kind() != io::ErrorKind::AddrInUse {
            return anyhow!(error).context(format!("listening on UDP {address}"));
        }
        anyhow!(
            "UDP port {} of {} is in use: stop the program that has it, or choose another port \
             with --port",
            address.port(),
            address.ip()
        )
    })
}

/// Any free port; IPv4 alone where the machine has no IPv6.
pub(super) fn bind_any() -> anyhow::Result<UdpSocket> {
    open((Ipv6Addr::UNSPECIFIED, 0).into())
        .or_else(|_| open((Ipv4Addr::UNSPECIFIED, 0).into()))
        .context("opening a UDP socket")
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    for result in [
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES),
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES),
    ] {
        if let Err(error) = result {
            tracing::debug!(%error, "no larger UDP buffer");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
