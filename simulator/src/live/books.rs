//! Which chunk HQ sent to whom and which terminal verified it, as their logs say.
//!
//! What `status` and `fleet` tell are sums, and from sums nobody can tell whether a chunk crossed the
//! line that another terminal of the store held already. So programs that were told to
//! ([`Programs::log_chunks`](super::programs::Programs::log_chunks)) write a line for each chunk: HQ
//! before it sends one, a terminal once one is verified and on its disk. A [`Mark`] is how long each
//! log was at a moment: what stands before it had happened by then, and no two clocks are compared.
//!
//! HQ's line stands for the whole chunk, so what was broken off on the way counts as sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;
use storemesh_host::logs::CHUNKS;

use super::chain::Chain;

/// Everything that was sent and verified since the programs were first started.
#[derive(Debug)]
pub struct Books {
    /// In HQ's order.
    pub sent: Vec<Sent>,
    /// By terminal, in the chain's order, and each in its own.
    pub verified: Vec<Vec<Verified>>,
}

/// HQ sent a chunk, or began to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Where the line stands in the log.
    pub at: u64,
    /// To that terminal, by its PeerId.
    pub peer: String,
    pub chunk: String,
    pub bytes: u64,
}

/// A terminal has verified a chunk that came to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub at: u64,
    pub chunk: String,
    pub bytes: u64,
    pub from_hq: bool,
}

/// A moment: how long each log was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub hq: u64,
    pub terminals: Vec<u64>,
}

/// A terminal that was taken from its store, for a while.
#[derive(Clone, Debug)]
pub struct Away {
    /// Its place in the chain.
    pub terminal: usize,
    pub peer: String,
    pub from: Mark,
    /// None while it is still away.
    pub until: Option<Mark>,
}

/// What HQ sent after a gateway was lost, in bytes of chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// All of it, but for what still went to the lost one.
    pub sent: u64,
    /// Of chunks that a terminal which stayed had verified when the gateway was lost: in vain.
    pub refetched: u64,
    /// Of chunks that had been sent to the lost one, and none that stayed had verified: whatever was
    /// on the line or on that terminal alone must come again.
    pub lost: u64,
}

impl Mark {
    pub fn now<L>(chain: &Chain<L>) -> Result<Self> {
        let terminals = chain.terminals.iter().map(|terminal| length(&terminal.log()));
        Ok(Self { hq: length(&chain.hq.log())?, terminals: terminals.collect::<Result<_>>()? })
    }
}

impl Books {
    pub fn read<L>(chain: &Chain<L>) -> Result<Self> {
        let sent = lines(&chain.hq.log())?.into_iter().filter_map(|(at, line)| {
            Some(Sent { at, peer: line.peer?, chunk: line.chunk, bytes: line.bytes })
        });
        let verified = chain.terminals.iter().map(|terminal| {
            let lines = lines(&terminal.log())?.into_iter().filter_map(|(at, line)| {
                let from_hq = line.from_hq?;
                Some(Verified { at, chunk: line.chunk, bytes: line.bytes, from_hq })
            });
            Ok(lines.collect())
        });
        Ok(Self { sent: sent.collect(), verified: verified.collect::<Result<_>>()? })
    }

    /// What HQ sent since `away` was lost.
    pub fn after(&self, away: &Away) -> After {
        let stayed = (0..self.verified.len()).filter(|terminal| *terminal != away.terminal);
        let held = self.held(&away.from, stayed);
        let back = away.until.as_ref().map_or(u64::MAX, |until| until.hq);
        let to_the_lost = |sent: &Sent| sent.peer == away.peer && sent.at < back;
        let lost: BTreeSet<&str> =
            self.sent.iter().filter(|s| to_the_lost(s)).map(|sent| sent.chunk.as_str()).collect();
        let mut after = After::default();
        for sent in self.sent.iter().filter(|s| away.from.hq <= s.at && !to_the_lost(s)) {
            after.sent += sent.bytes;
            if held.contains_key(sent.chunk.as_str()) {
                after.refetched += sent.bytes;
            } else if lost.contains(sent.chunk.as_str()) {
                after.lost += sent.bytes;
            }
        }
        after
    }

    /// Of what HQ sent from one moment to another, the bytes that somebody else than that terminal had
    /// verified by then.
    pub fn kept_without(&self, terminal: usize, from: &Mark, by: &Mark) -> u64 {
        let others = (0..self.verified.len()).filter(|other| *other != terminal);
        let held = self.held(by, others);
        let between = self.sent.iter().filter(|sent| (from.hq..by.hq).contains(&sent.at));
        let chunks: BTreeSet<&str> = between.map(|sent| sent.chunk.as_str()).collect();
        chunks.iter().filter_map(|chunk| held.get(chunk)).sum()
    }

    /// The chunks that one of these terminals had verified by then, with their bytes.
    pub fn held(
        &self,
        mark: &Mark,
        terminals: impl IntoIterator<Item = usize>,
    ) -> BTreeMap<&str, u64> {
        let of = |terminal: usize| {
            let by_then = move |verified: &&Verified| verified.at < mark.terminals[terminal];
            self.verified[terminal].iter().filter(by_then)
        };
        let verified = terminals.into_iter().flat_map(of);
        verified.map(|verified| (verified.chunk.as_str(), verified.bytes)).collect()
    }
}

/// A line about a chunk; HQ's names a terminal, a terminal's where it came from.
#[derive(Deserialize)]
struct Line {
    target: String,
    chunk: String,
    bytes: u64,
    peer: Option<String>,
    from_hq: Option<bool>,
}

fn length(log: &Path) -> Result<u64> {
    match fs::metadata(log) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).with_context(|| format!("looking at `{}`", log.display())),
    }
}

/// Every line about a chunk, with where it stands; lines of other kinds and half ones are skipped.
fn lines(log: &PathBuf) -> Result<Vec<(u64, Line)>> {
    let text = match fs::read(log) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading `{}`", log.display())),
    };
    let mut at = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if let Ok(read) = serde_json::from_slice::<Line>(line)
            && read.target == CHUNKS
        {
            lines.push((at, read));
        }
        at += line.len() as u64;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIED: &str = concat!(
        r#"{"timestamp":"2026-11-23T03:10:13.123456Z","level":"DEBUG","message":"verified","#,
        r#""chunk":"aa","bytes":7,"from_hq":true,"target":"storemesh::chunks"}"#,
    );

    #[test]
    fn lines_about_chunks_are_found_among_the_rest_with_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(length(&log).unwrap(), 0);
        assert!(lines(&log).unwrap().is_empty());
        let other = r#"{"level":"INFO","message":"the node runs","target":"storemesh::run"}"#;
        fs::write(&log, format!("{other}\n{VERIFIED}\n{}", &VERIFIED[..40])).unwrap();
        let found = lines(&log).unwrap();
        let [(at, line)] = &found[..] else { panic!("{} lines", found.len()) };
        assert_eq!(*at, other.len() as u64 + 1);
        assert_eq!((line.chunk.as_str(), line.bytes, line.from_hq), ("aa", 7, Some(true)));
        assert!(line.peer.is_none());
    }

    #[test]
    fn what_comes_again_is_told_apart_by_who_had_verified_it() {
        let verified =
            |at, chunk: &str, from_hq| Verified { at, chunk: chunk.into(), bytes: 1, from_hq };
        let sent = |at, peer: &str, chunk: &str, bytes| Sent {
            at,
            peer: peer.into(),
            chunk: chunk.into(),
            bytes,
        };
        let books = Books {
            sent: vec![
                sent(0, "one", "shared", 1),
                sent(1, "one", "alone", 2),
                sent(2, "one", "on the line", 4),
                // HQ has not noticed yet.
                sent(3, "one", "sent in vain", 8),
                sent(4, "two", "alone", 16),
                sent(5, "two", "on the line", 32),
                sent(6, "two", "new", 64),
                sent(7, "two", "shared", 128),
                sent(8, "one", "shared", 256),
            ],
            verified: vec![
                vec![verified(0, "shared", true), verified(1, "alone", true)],
                vec![verified(0, "shared", false), verified(1, "new", true)],
            ],
        };
        let from = Mark { hq: 3, terminals: vec![2, 1] };
        let until = Some(Mark { hq: 8, terminals: vec![2, 2] });
        let away = Away { terminal: 0, peer: "one".into(), from, until };
        let expected = After { sent: 496, refetched: 128 + 256, lost: 16 + 32 };
        assert_eq!(books.after(&away), expected);
        let start = Mark { hq: 0, terminals: vec![0, 0] };
        assert_eq!(books.kept_without(0, &start, &away.from), 1);
        assert_eq!(books.kept_without(1, &start, &away.from), 2);
        let away = Away { until: None, ..away };
        assert_eq!(books.after(&away), After { sent: 240, refetched: 128, ..expected });
    }

    #[test]
    fn what_was_verified_after_a_mark_was_not_held_at_it() {
        let verified =
            |at, chunk: &str| Verified { at, chunk: chunk.into(), bytes: at + 1, from_hq: false };
        let books = Books {
            sent: Vec::new(),
            verified: vec![vec![verified(0, "a"), verified(9, "b")], vec![verified(3, "c")]],
        };
        let mark = Mark { hq: 0, terminals: vec![9, 4] };
        assert_eq!(books.held(&mark, [0, 1]), BTreeMap::from([("a", 1), ("c", 4)]));
        assert_eq!(books.held(&mark, [1]), BTreeMap::from([("c", 4)]));
    }
}
