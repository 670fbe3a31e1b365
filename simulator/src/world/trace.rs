//! Every step of a world, as one hash, and the last ones as text.
//!
//! Two runs that took the same steps have the same hash; a step that differs in one byte of one
//! frame has another.

use std::collections::VecDeque;

/// Enough to see what led to a broken rule.
const KEPT: usize = 20_000;

#[derive(Debug)]
pub(super) struct Trace {
    hasher: blake3::Hasher,
    last: VecDeque<(String, String)>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { hasher: blake3::Hasher::new(), last: VecDeque::new() }
    }

    /// A step of `who`.
    pub(super) fn step(&mut self, who: &str, what: String) {
        self.hasher.update(who.as_bytes());
        self.hasher.update(what.as_bytes());
        self.hasher.update(b"\n");
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back((who.to_owned(), what));
    }

    /// Bytes that a step's text leaves out.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    pub(super) fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// The last `count` steps of those concerned; everybody's when nobody is named.
    pub(super) fn last(&self, concerned: &[String], count: usize) -> Vec<String> {
        let theirs = |(who, _): &&(String, String)| concerned.is_empty() || concerned.contains(who);
        let steps = self.last.iter().rev().filter(theirs).take(count);
        let mut lines: Vec<String> = steps.map(|(who, what)| format!("{who:>6} {what}")).collect();
        lines.reverse();
        lines
    }
}
