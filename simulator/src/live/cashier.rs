//! A POS program as the local API sees it: posts on a connection that stays open, one after the other.
//!
//! Plain blocking sockets, so that a thread is a cashier and nothing but the answer's own time is measured.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::terminal::Terminal;

/// Longer than any wait that a post may ask for.
const PATIENCE: Duration = Duration::from_secs(70);
/// An answer to a post is an entry's name, or a problem.
const ANSWER_MAX: usize = 64 * 1024;

/// An open till.
#[derive(Debug)]
pub struct Cashier {
    stream: BufReader<UnixStream>,
}

/// What became of a post.
#[derive(Debug)]
pub struct Receipt {
    pub status: u16,
    pub body: Vec<u8>,
}

/// An entry, as the local API and HQ's journal name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub struct EntryName {
    pub terminal: String,
    pub boot: String,
    pub topic: String,
    pub seq: u64,
}

impl Receipt {
    /// The entry that was kept.
    pub fn name(self) -> Result<EntryName> {
        let Self { status, body } = self;
        ensure!(status == 201, "a post was answered with {status}: {}", body.escape_ascii());
        serde_json::from_slice(&body).context("reading an entry's name")
    }
}

impl Cashier {
    pub fn at(terminal: &Terminal) -> Result<Self> {
        Self::open(&terminal.data().join("api.sock"))
    }

    fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Posts to a journal; `ack` is the level to wait for.
    pub fn post(&mut self, topic: &str, key: &str, body: &[u8], ack: &str) -> Result<Receipt> {
        let head = format!(
            "POST /v1/journal/{topic}?ack={ack} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nIdempotency-Key: {key}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat()).context("posting")?;
        self.receipt().context("reading the answer to a post")
    }

    /// The same, which must be kept.
    pub fn sell(&mut self, topic: &str, key: &str, body: &[u8], ack: &str) -> Result<EntryName> {
        self.post(topic, key, body, ack)?.name()
    }

    fn receipt(&mut self) -> Result<Receipt> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("the answer begins with {line:?}"))?;
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().context("the length of an answer")?;
            }
        }
        ensure!(length <= ANSWER_MAX, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Receipt { status, body })
    }
}
