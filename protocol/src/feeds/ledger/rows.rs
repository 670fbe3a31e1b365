//! Entries as they lie in storage: given to others, looked up, and dropped.

use std::ops::ControlFlow;

use storemesh_keys::{Certificate, HqSigned, OnlineKey, Signed};

use super::{ACKS, Acked, ENTRIES, Feed, FeedNo, Gap, Keeps, Ledger, PROOFS};
use crate::{
    feeds::{
        Ack, CertificateHash, Entry, HeaderHash, Read, Storage,
        entry::Proven,
        storage::{put, row, rows},
    },
    wire,
};

/// Entries that one call drops: what is old goes a piece at a time, so that nobody waits for it.
pub(crate) const TRIM_MAX: u64 = 4096;

/// A run of one feed's entries, for somebody else.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) bytes: usize,
    /// The number of the first of them.
    pub(crate) from: u64,
    /// HQ's word for what is before, where the run begins after what HQ has acknowledged.
    pub(crate) base: Option<HqSigned<Ack>>,
}

/// Every entry that is kept, feed after feed, for whoever looks through a whole disk.
pub fn entries(storage: &dyn Read) -> Vec<Entry> {
    rows(storage, ENTRIES, b"").into_iter().map(|(_, entry)| entry).collect()
}

impl Ledger {
    /// The entries of a feed from `from` to `upto`, as many as fit into `bytes_max` and `count_max`, one at
    /// least.
    pub(crate) fn give(
        &self,
        storage: &dyn Read,
        number: FeedNo,
        (from, upto): (u64, u64),
        bytes_max: usize,
        count_max: usize,
    ) -> Given {
        let feed = self.feed(number);
        let from = self.begin_of(number, from);
        let mut given = Given { from, ..Given::default() };
        let upto = upto.min(feed.run_end(from));
        if upto < from {
            return given;
        }
        let mut entries = Vec::new();
        storage.scan(ENTRIES, &number.entry(from), &number.entry(upto + 1), &mut |_, entry| {
            let more = given.bytes + entry.len();
            if (more > bytes_max && given.bytes > 0) || entries.len() == count_max {
                return ControlFlow::Break(());
            }
            given.bytes = more;
            entries.push(entry.to_vec());
            ControlFlow::Continue(())
        });
        given.entries = entries;
        let is_begin = from == feed.first || feed.gap_at(from - 1).is_some();
        let begins = |seq: u64| seq + 1 == from || (is_begin && seq >= from);
        let word =
            |acked: &Acked| begins(acked.seq) || acked.behind.is_some_and(|(_, upto)| begins(upto));
        given.base = feed
            .acked
            .filter(|acked| from > 1 && word(acked))
            .and_then(|_| row(storage, ACKS, &number.key()));
        if given.base.is_none() && from > 1 && is_begin && self.keeps != Keeps::All {
            given.base = row(storage, PROOFS, &number.key());
        }
        given
    }

    /// What vouches for a feed.
    pub(crate) fn vouchers_of(
        &self,
        storage: &dyn Read,
        number: FeedNo,
        except: impl Fn(&CertificateHash) -> bool,
    ) -> (Vec<CertificateHash>, Vec<HqSigned<Certificate>>, Vec<Signed<OnlineKey>>) {
        let feed = self.feed(number);
        let names: Vec<_> =
            feed.certificates.iter().filter(|name| !except(name)).copied().collect();
        let (certificates, online) = self.vouchers(storage, &feed.id, &names);
        (names, certificates, online)
    }

    /// HQ's newest word on a feed, to be passed on.
    pub(crate) fn ack_of(storage: &dyn Read, number: FeedNo) -> Option<HqSigned<Ack>> {
        row(storage, ACKS, &number.key())
    }

    /// HQ's newest word on any feed, by its own time.
    pub(crate) fn last_word(&self, storage: &dyn Read) -> Option<HqSigned<Ack>> {
        let acked = |(number, feed): (_, &Feed)| Some((feed.acked?, number));
        let acked = self.feeds().filter_map(acked);
        let (_, number) = acked.max_by_key(|(acked, _)| (acked.generation, acked.at))?;
        Self::ack_of(storage, number)
    }

    /// The entry itself, verified when it was taken.
    pub(crate) fn entry(&self, storage: &dyn Read, number: FeedNo, seq: u64) -> Option<Proven> {
        let bytes = storage.get(ENTRIES, &number.entry(seq))?;
        let entry = wire::decode::<Entry>(&bytes).ok()?;
        Proven::verify(entry, |header| self.signer(header)).ok()
    }

    /// The hash of a header that is here, or of the last one before what is here.
    pub(crate) fn hash_at(
        &self,
        storage: &dyn Read,
        number: FeedNo,
        seq: u64,
    ) -> Option<HeaderHash> {
        let feed = self.feed(number);
        if seq == feed.last {
            return feed.hash;
        }
        self.entry(storage, number, seq).map(|entry| entry.hash())
    }

    /// What comes goes on behind `seq`: a terminal leaves out what HQ has; HQ itself has a gap there, and a
    /// terminal in what it wrote.
    pub(super) fn skip_to(
        &mut self,
        storage: &mut dyn Storage,
        number: FeedNo,
        seq: u64,
        hash: Option<HeaderHash>,
    ) -> Option<Gap> {
        let keeps = self.keeps.all_of(self.feed(number).id.author);
        if !keeps {
            while self.trim(storage, number, seq) == TRIM_MAX {}
        }
        let feed = self.feeds.get_mut(&number).expect("it is looked up by who calls");
        let gap = Gap { from: feed.last + 1, upto: seq };
        let opens = keeps.then_some(gap);
        feed.gaps.extend(opens);
        if opens.is_none() && feed.last < feed.first {
            feed.first = seq + 1;
        }
        feed.last = seq;
        feed.hash = hash;
        self.dirty.insert(number);
        opens
    }

    /// Keeps HQ's word for what is before the last run.
    pub(super) fn prove(&self, storage: &mut dyn Storage, number: FeedNo, base: &HqSigned<Ack>) {
        if self.keeps != Keeps::All {
            put(storage, PROOFS, &number.key(), base);
        }
    }

    /// Drops at most [`TRIM_MAX`] entries up to `upto`; how many went.
    pub(crate) fn trim(&mut self, storage: &mut dyn Storage, number: FeedNo, upto: u64) -> u64 {
        let feed = self.feeds.get_mut(&number).expect("it is looked up by who calls");
        let until = (upto + 1).min(feed.last + 1).min(feed.first + TRIM_MAX);
        let gone = until.saturating_sub(feed.first);
        for seq in feed.first..until {
            storage.delete(ENTRIES, &number.entry(seq));
        }
        if gone > 0 {
            feed.begin_at(until);
            self.dirty.insert(number);
        }
        gone
    }
}
