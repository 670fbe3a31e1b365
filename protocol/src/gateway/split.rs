//! Asking for an auxiliary lease: the store's network is split and the gateway is on the other side.
//!
//! HQ's answer that the gateway is there carries a number. Every neighbour is asked to sign, with that
//! number, that it does not see the gateway either; with the words of all of them HQ may grant a
//! lease for this part of the store. One neighbour that does see it, or does not answer within
//! [`ANSWERS`], is reason enough not to ask: what the gateway has then comes by way of that one.

use std::{collections::BTreeSet, time::Duration};

use storemesh_keys::{Authored, PeerId};

use crate::{Instant, statements::Unseen};

/// A neighbour answers in milliseconds, or is about to be lost.
const ANSWERS: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Split {
    challenge: u64,
    awaited: BTreeSet<PeerId>,
    words: Vec<Authored<Unseen>>,
    until: Instant,
}

/// What came of an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Others are still awaited.
    Wait,
    /// Nobody near sees the gateway: HQ may be asked, with these words.
    Alone { challenge: u64, words: Vec<Authored<Unseen>> },
    /// Somebody does.
    NotAlone,
}

impl Split {
    pub(super) fn new(now: Instant, challenge: u64, neighbours: &BTreeSet<PeerId>) -> Self {
        let (awaited, words) = (neighbours.clone(), Vec::new());
        Self { challenge, awaited, words, until: now + ANSWERS }
    }

    pub(super) fn step(&mut self) -> Step {
        if self.awaited.is_empty() {
            let (challenge, words) = (self.challenge, std::mem::take(&mut self.words));
            Step::Alone { challenge, words }
        } else {
            Step::Wait
        }
    }

    pub(super) fn answered(&mut self, peer: PeerId, word: Option<Authored<Unseen>>) -> Step {
        if !self.awaited.contains(&peer) {
            return Step::Wait;
        }
        let mine = |word: &Authored<Unseen>| word.statement().challenge == self.challenge;
        let Some(word) = word.filter(mine) else { return Step::NotAlone };
        self.awaited.remove(&peer);
        self.words.push(word);
        self.step()
    }

    /// A lost neighbour's word is not needed.
    pub(super) fn lost(&mut self, peer: &PeerId) -> Step {
        if self.awaited.remove(peer) { self.step() } else { Step::Wait }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.until
    }
}
