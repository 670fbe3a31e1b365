//! HQ's journal as it grows: what a program at the head office reads.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use super::{cashier::EntryName, hq::Hq};

/// Reads `GET /v1/journal/tail` from its beginning on a thread of its own, until HQ ends.
#[derive(Debug)]
pub struct Tail {
    count: Arc<AtomicU64>,
    arrivals: Arc<Mutex<Vec<(EntryName, Instant)>>>,
}

impl Tail {
    pub fn follow(hq: &Hq) -> Result<Self> {
        let token = fs::read_to_string(hq.data().join("admin.token")).context("HQ's token")?;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, hq.ports().1))?;
        write!(
            stream,
            "GET /v1/journal/tail HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            token.trim()
        )?;
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        ensure!(line.contains(" 200"), "HQ answers the tail with {line:?}");
        while line.trim_end() != "" {
            line.clear();
            lines.read_line(&mut line)?;
        }
        let tail = Self { count: Arc::default(), arrivals: Arc::default() };
        let (count, arrivals) = (Arc::clone(&tail.count), Arc::clone(&tail.arrivals));
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let Ok(name) = serde_json::from_str::<EntryName>(&line) else { continue };
                let now = Instant::now();
                arrivals.lock().unwrap_or_else(PoisonError::into_inner).push((name, now));
                count.fetch_add(1, Relaxed);
            }
        });
        Ok(tail)
    }

    /// Entries that have arrived.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Each with the time when it was read.
    pub fn arrivals(&self) -> Vec<(EntryName, Instant)> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
