//! Whether HQ serves a backup that nobody has told it of.
//!
//! The rule: only HQ's own signature proves it, in this generation or a later one, on what HQ does not know:
//! an acknowledgement, or an entry of its own feed. What a terminal merely claims to have leads to a question
//! (`reach`), so one that lies accuses nobody but itself. Who was restored and has said so is in a generation
//! of which nobody has heard yet, and nothing is proved against it.
//!
//! What is proved is kept until then, for people: HQ goes on, since a shop must, but asks for nothing that it
//! has lost.

use minicbor::{Decode, Encode};
use storemesh_keys::Timestamp;

use super::{Event, HqFeeds, Output};
use crate::feeds::{
    Ack, Entry, Header, Read, Storage,
    entry::Proven,
    storage::{put, row},
};

/// One row, and none where nothing is proved.
pub(crate) const BEHIND: &str = "behind.1";
const THE: &[u8] = b"";

#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
struct Behind {
    /// In which HQ had said more than it knows.
    #[n(0)]
    generation: u64,
    /// HQ's time when it was shown that.
    #[n(1)]
    at: Timestamp,
}

impl HqFeeds {
    /// A terminal shows an acknowledgement that HQ has signed.
    pub(super) fn shown_ack(
        &mut self,
        wall: Timestamp,
        storage: &mut dyn Storage,
        ack: &Ack,
        outputs: &mut Vec<Output>,
    ) {
        let number = self.ledger.number(&ack.feed);
        let known = number.and_then(|number| self.ledger.feed(number).acked);
        if ack.generation >= self.generation && known.map(|it| it.order()) < Some(ack.order()) {
            let known = known.map_or(0, |known| known.reach());
            self.proved(wall, storage, (ack.generation, ack.reach(), known), outputs);
        }
    }

    /// A terminal shows an entry; whether it is one that HQ has signed in this generation and does not know.
    pub(super) fn shown_entry(
        &mut self,
        wall: Timestamp,
        storage: &mut dyn Storage,
        entry: Entry,
        outputs: &mut Vec<Output>,
    ) -> bool {
        let signer = |header: &Header| {
            let own = self.reach.is_said_now(&header.feed());
            own.then(|| self.ledger.signer(header)).flatten()
        };
        let Ok(entry) = Proven::verify(entry, signer) else { return false };
        let Header { boot, seq, .. } = *entry.header();
        let number = self.ledger.number(&entry.header().feed());
        let last = number.map_or(0, |number| self.ledger.feed(number).last);
        let here = number.filter(|_| seq <= last);
        let here = here.and_then(|number| self.ledger.hash_at(storage, number, seq));
        if here == Some(entry.hash()) {
            return false;
        }
        self.proved(wall, storage, (boot.0, seq, last), outputs);
        true
    }

    fn proved(
        &mut self,
        at: Timestamp,
        storage: &mut dyn Storage,
        (generation, seq, known): (u64, u64, u64),
        outputs: &mut Vec<Output>,
    ) {
        if !self.reach.behind {
            self.reach.behind = true;
            put(storage, BEHIND, THE, &Behind { generation, at });
            outputs.push(Output::Event(Event::Behind { generation, seq, known }));
        }
    }
}

/// HQ begins in that generation: whether what was proved before still holds.
pub(super) fn still_behind(storage: &mut dyn Storage, generation: u64) -> bool {
    let Some(behind) = row::<Behind>(storage, BEHIND, THE) else { return false };
    let still = generation <= behind.generation;
    if !still {
        storage.delete(BEHIND, THE);
    }
    still
}

/// Since when HQ has known that it serves a backup, and was not told so with `storemesh-hq restored`.
pub fn behind_since(storage: &dyn Read) -> Option<Timestamp> {
    row::<Behind>(storage, BEHIND, THE).map(|behind| behind.at)
}
