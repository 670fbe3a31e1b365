//! The shop's line to HQ, in user space: what is between terminals and HQ in a live run without root.
//!
//! Terminals speak to the relay's address as if it were HQ's. Each address that speaks gets a socket
//! of its own towards HQ, as a router with address translation does, and everybody shares one
//! [`Link`] per direction. The line exists from [`Relay::open`]; HQ may start, stop and move behind
//! it ([`Relay::lead_to`]), and what is sent meanwhile is lost like on any line.
//!
//! It runs on a thread of its own, so that a busy caller does not slow the line.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    runtime::{self, Runtime},
    sync::{Notify, oneshot},
};

use super::link::{Counts, Link, Shape};

/// More than any datagram on the uplink, and than a loopback interface carries in one piece.
const DATAGRAM_MAX: usize = 65_535;

/// What the kernel should hold for us while the machine is busy; it gives what it permits.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// A client that was silent for this long has ended: the uplink says something every second.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// The two directions of a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wan {
    /// From HQ to the store.
    pub down: Shape,
    /// From the store to HQ.
    pub up: Shape,
}

impl Wan {
    /// A line of the kind shops have: a quarter of the rate down is the rate up. 0 is unshaped.
    pub fn mbit(down: f64) -> Self {
        Self { down: Shape::mbit(down), up: Shape::mbit(down / 4.0) }
    }
}

/// A running line; dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    hq: Arc<Mutex<Option<SocketAddr>>>,
    down: Arc<Counts>,
    up: Arc<Counts>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Opens the line on any free port of the loopback interface.
    pub fn open(wan: Wan) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the relay's runtime")?;
        let door = runtime.block_on(async { socket() }).context("opening the relay's socket")?;
        let address = door.local_addr().context("asking for the relay's port")?;
        let line = Arc::new(Line {
            door,
            down: Way::new(wan.down),
            up: Way::new(wan.up),
            clients: Mutex::default(),
            hq: Arc::default(),
        });
        let (hq, down, up) = (
            Arc::clone(&line.hq),
            locked(&line.down.link).counts(),
            locked(&line.up.link).counts(),
        );
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("relay".into())
            .spawn(move || carry(&runtime, &line, ended))
            .context("starting the relay's thread")?;
        Ok(Self { address, hq, down, up, end: Some(end), thread: Some(thread) })
    }

    /// Where terminals find HQ.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// HQ listens there now.
    pub fn lead_to(&self, hq: SocketAddr) {
        *locked(&self.hq) = Some(hq);
    }

    /// From HQ to the store.
    pub fn down(&self) -> &Counts {
        &self.down
    }

    /// From the store to HQ.
    pub fn up(&self) -> &Counts {
        &self.up
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A relay that panicked has said so on stderr; there is nothing to add while dropping.
            _ = thread.join();
        }
    }
}

/// One direction: its link, and the news that something was offered.
#[derive(Debug)]
struct Way {
    link: Mutex<Link<SocketAddr>>,
    offered: Notify,
}

impl Way {
    fn new(shape: Shape) -> Self {
        Self { link: Mutex::new(Link::new(shape, Instant::now())), offered: Notify::new() }
    }

    fn offer(&self, client: SocketAddr, datagram: &[u8]) {
        locked(&self.link).offer(client, datagram.to_vec());
        self.offered.notify_one();
    }

    /// Hands every datagram to `send` when the link lets it out.
    async fn drain(&self, send: impl Fn(SocketAddr, &[u8])) {
        loop {
            let deadline = {
                let mut link = locked(&self.link);
                let now = Instant::now();
                while let Some((client, datagram)) = link.take(now) {
                    send(client, &datagram);
                }
                link.deadline()
            };
            let Some(deadline) = deadline else {
                self.offered.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(deadline.into()) => {}
                () = self.offered.notified() => {}
            }
        }
    }
}

#[derive(Debug)]
struct Line {
    /// Where the store's side comes in.
    door: UdpSocket,
    down: Way,
    up: Way,
    /// Every client's socket towards HQ.
    clients: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    hq: Arc<Mutex<Option<SocketAddr>>>,
}

fn carry(runtime: &Runtime, line: &Arc<Line>, ended: oneshot::Receiver<()>) {
    runtime.block_on(async {
        tokio::select! {
            _ = ended => {}
            () = line.from_store() => {}
            () = line.down.drain(|client, datagram| line.to_store(client, datagram)) => {}
            () = line.up.drain(|client, datagram| line.to_hq(client, datagram)) => {}
        }
    });
}

impl Line {
    async fn from_store(self: &Arc<Self>) {
        let mut datagram = vec![0; DATAGRAM_MAX];
        loop {
            let Some((bytes, client)) = receive(&self.door, &mut datagram).await else { return };
            if let Entry::Vacant(place) = locked(&self.clients).entry(client) {
                let Ok(towards_hq) = socket() else { continue };
                let towards_hq = Arc::new(towards_hq);
                place.insert(Arc::clone(&towards_hq));
                tokio::spawn(Arc::clone(self).from_hq(client, towards_hq));
            }
            self.up.offer(client, &datagram[..bytes]);
        }
    }

    /// Until HQ has been silent towards this client for a while.
    async fn from_hq(self: Arc<Self>, client: SocketAddr, socket: Arc<UdpSocket>) {
        let mut datagram = vec![0; DATAGRAM_MAX];
        while let Ok(Some((bytes, from))) =
            tokio::time::timeout(FORGET_AFTER, receive(&socket, &mut datagram)).await
        {
            if *locked(&self.hq) == Some(from) {
                self.down.offer(client, &datagram[..bytes]);
            }
        }
        locked(&self.clients).remove(&client);
    }

    fn to_store(&self, client: SocketAddr, datagram: &[u8]) {
        send(&self.door, datagram, client);
    }

    fn to_hq(&self, client: SocketAddr, datagram: &[u8]) {
        let Some(hq) = *locked(&self.hq) else { return };
        let Some(socket) = locked(&self.clients).get(&client).cloned() else { return };
        send(&socket, datagram, hq);
    }
}

/// A full socket buffer drops the datagram, as everywhere on a line. Past tokio, which would hold
/// back the first datagram of a new socket until its event loop has seen the socket.
fn send(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) {
    _ = SockRef::from(socket).send_to(datagram, &to.into());
}

/// The next datagram; none when the socket has failed for good.
async fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> Option<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(datagram).await {
            Ok(received) => return Some(received),
            // The echo of a datagram that nobody listened to: HQ is down, or a terminal has ended.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(_) => return None,
        }
    }
}

/// Any free port of the loopback interface; needs a runtime.
fn socket() -> std::io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let options = SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER)?;
    options.set_send_buffer_size(SOCKET_BUFFER)?;
    UdpSocket::from_std(socket)
}

/// What these locks guard is whole at every step, so a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1_200;
    const ON_THE_LINE: f64 = 1_228.0;

    fn far_end() -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    /// HQ sends for `time`, a tenth over the rate, to a terminal that said hello through the relay.
    /// Returns the Mbit/s that arrived.
    fn measured_mbit(wan_mbit: f64, time: Duration) -> f64 {
        let relay = Relay::open(Wan::mbit(wan_mbit)).unwrap();
        let (hq, terminal) = (far_end(), far_end());
        relay.lead_to(hq.local_addr().unwrap());
        terminal.send_to(b"hello", relay.address()).unwrap();
        let (_, back) = hq.recv_from(&mut [0; 16]).unwrap();

        let sender = thread::spawn(move || {
            let started = Instant::now();
            let mut sent = 0.0;
            while started.elapsed() < time {
                let due = started.elapsed().as_secs_f64() * wan_mbit * 1.1e6 / 8.0;
                while sent < due {
                    hq.send_to(&[0; SIZE], back).unwrap();
                    sent += ON_THE_LINE;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut arrived = 0.0;
        let started = Instant::now();
        while started.elapsed() < time {
            assert_eq!(terminal.recv(&mut [0; 2_000]).unwrap(), SIZE);
            arrived += ON_THE_LINE;
        }
        sender.join().unwrap();
        assert!(relay.down().dropped() > 0, "the queue never overflowed");
        arrived * 8.0 / 1e6 / time.as_secs_f64()
    }

    #[test]
    fn a_shaped_line_carries_its_rate_within_a_few_percent() {
        for mbit in [20.0, 100.0] {
            let measured = measured_mbit(mbit, Duration::from_secs(3));
            // One bucket more than the rate may pass at the start.
            assert!((0.97 * mbit..1.05 * mbit).contains(&measured), "{measured} of {mbit} Mbit/s");
        }
    }

    #[test]
    fn each_terminal_gets_its_own_answers_and_the_line_counts_both_ways() {
        let relay = Relay::open(Wan::default()).unwrap();
        let hq = far_end();
        relay.lead_to(hq.local_addr().unwrap());
        let terminals = [far_end(), far_end()];
        for (number, terminal) in (0_u8..).zip(&terminals) {
            terminal.send_to(&[number; 100], relay.address()).unwrap();
        }
        for _ in 0..2 {
            let mut question = [0; 200];
            let (bytes, from) = hq.recv_from(&mut question).unwrap();
            hq.send_to(&[question[0]; 1_000], from).unwrap();
            assert_eq!(bytes, 100);
        }
        for (number, terminal) in (0_u8..).zip(&terminals) {
            let mut answer = [0; 2_000];
            assert_eq!(terminal.recv(&mut answer).unwrap(), 1_000);
            assert_eq!(answer[0], number);
        }
        assert_eq!((relay.up().bytes(), relay.down().bytes()), (2 * 128, 2 * 1_028));
    }

    #[test]
    fn the_line_outlives_a_restart_of_hq_on_another_port() {
        let relay = Relay::open(Wan::default()).unwrap();
        let terminal = far_end();
        terminal.send_to(b"nobody there", relay.address()).unwrap();
        for _ in 0..2 {
            let hq = far_end();
            relay.lead_to(hq.local_addr().unwrap());
            terminal.send_to(b"hello", relay.address()).unwrap();
            let mut heard = [0; 64];
            // What was sent before may still arrive first.
            while hq.recv(&mut heard).unwrap() != 5 {}
            assert_eq!(&heard[..5], b"hello");
        }
    }
}
