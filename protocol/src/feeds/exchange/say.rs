//! What each side is told, asked and given at the end of a batch.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;

use super::{Exchange, GIVE_WINDOW, PUSH_MAX, PUSH_WINDOW, Policy, TELL_EVERY, side::Side};
use crate::{
    Instant,
    feeds::{
        Read,
        ledger::{FeedNo, Ledger, RUNS_MAX},
    },
    wire::feeds::{
        ACKS_MAX, Ask, BATCH_BYTES, BATCH_MAX, Batch, FEEDS_MAX, FeedFrame, Have, VOUCHERS_MAX,
    },
};

impl<S: Copy + Ord> Exchange<S> {
    /// All that is to be said now, in frames within their limits.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        storage: &dyn Read,
        ledger: &Ledger,
        policy: &impl Policy<S>,
    ) -> Vec<(S, FeedFrame)> {
        let mut asks: BTreeMap<S, Vec<Ask>> = BTreeMap::new();
        for (side, ask) in self.seek(now, ledger, policy) {
            asks.entry(side).or_default().push(ask);
        }
        let mut frames = Vec::new();
        for (side, state) in &mut self.sides {
            let mut asks = asks.remove(side).unwrap_or_default();
            loop {
                let mut frame = FeedFrame {
                    ask: some(take(&mut asks, FEEDS_MAX)),
                    lacks: some(take(&mut state.lacks, FEEDS_MAX)),
                    acks: some(acks(state, storage)),
                    batch: batch(state, storage, ledger),
                    ..FeedFrame::default()
                };
                if state.tell_at <= now && !state.untold.is_empty() {
                    frame.have = some(haves(*side, state, ledger, policy));
                    if state.untold.is_empty() {
                        state.tell_at = now + TELL_EVERY;
                    }
                }
                if frame == FeedFrame::default() {
                    break;
                }
                frames.push((*side, frame));
            }
        }
        frames
    }
}

fn haves<S: Copy + Ord>(
    side: S,
    state: &mut Side,
    ledger: &Ledger,
    policy: &impl Policy<S>,
) -> Vec<Have> {
    let mut haves = Vec::new();
    while let Some(number) = state.untold.pop_first() {
        let feed = ledger.feed(number);
        // Of what has been trimmed nobody can be given anything.
        let is_here = feed.first <= feed.last && feed.last > 0;
        if is_here && policy.may_have(side, &feed.id) {
            let keep = policy.keeps(side, &feed.id);
            if keep {
                state.told_to_keep.insert(number);
            } else {
                state.told_to_keep.remove(&number);
            }
            let acked = feed.acked_in(ledger.generation());
            let have = |(first, last)| Have { feed: feed.id.clone(), first, last, keep, acked };
            haves.extend(feed.runs().map(have));
        }
        if haves.len() + RUNS_MAX > FEEDS_MAX {
            break;
        }
    }
    haves
}

fn acks(state: &mut Side, storage: &dyn Read) -> Vec<storemesh_keys::HqSigned<crate::feeds::Ack>> {
    let mut acks = Vec::new();
    while acks.len() < ACKS_MAX {
        let Some(number) = state.acks.pop_first() else { break };
        acks.extend(Ledger::ack_of(storage, number));
    }
    acks
}

/// What is new, and then what was asked for.
fn batch(state: &mut Side, storage: &dyn Read, ledger: &Ledger) -> Option<Batch> {
    let mut filling = Filling::default();
    while let Some(number) = state.push.first().copied() {
        let (position, last) = (state.position(number), ledger.feed(number).last);
        let pushed = position < last
            && last - position <= PUSH_MAX
            && state.in_flight_bytes < PUSH_WINDOW
            && ledger.feed(number).first <= position + 1
            && !state.owed.contains_key(&number);
        if pushed && !filling.add(state, storage, ledger, number, last) {
            break;
        }
        // Even when the batch is full, what is left is asked for.
        if filling.is_full() {
            break;
        }
        state.push.remove(&number);
    }
    while let Some((number, upto)) = state.owed.first_key_value().map(|(n, u)| (*n, *u)) {
        if filling.is_full() || state.in_flight_bytes >= GIVE_WINDOW {
            break;
        }
        filling.add(state, storage, ledger, number, upto);
        if state.position(number) >= upto || filling.nothing_more {
            state.owed.remove(&number);
        }
    }
    let Filling { batch, .. } = filling;
    (!batch.entries.is_empty()).then_some(batch)
}

/// A batch in the making.
#[derive(Debug, Default)]
struct Filling {
    batch: Batch,
    bytes: usize,
    /// The feed that was added last had nothing to give.
    nothing_more: bool,
}

impl Filling {
    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
            || self.batch.entries.len() >= BATCH_MAX
            || self.batch.certificates.len() + self.batch.online.len() >= VOUCHERS_MAX
            || self.batch.bases.len() >= VOUCHERS_MAX
    }

    /// The entries of a feed that follow what the side has, to `upto` at most; whether all went in.
    fn add(
        &mut self,
        state: &mut Side,
        storage: &dyn Read,
        ledger: &Ledger,
        number: FeedNo,
        upto: u64,
    ) -> bool {
        let from = state.position(number) + 1;
        let room = BATCH_BYTES.saturating_sub(self.bytes);
        let given =
            ledger.give(storage, number, (from, upto), room, BATCH_MAX - self.batch.entries.len());
        self.nothing_more = given.entries.is_empty();
        if self.nothing_more {
            return true;
        }
        let (names, certificates, online) =
            ledger.vouchers_of(storage, number, |name| state.vouched.contains(name));
        state.vouched.extend(names);
        self.batch.certificates.extend(certificates);
        self.batch.online.extend(online);
        self.batch.bases.extend(given.base);
        let count = given.entries.len() as u64;
        let last = given.from + count - 1;
        self.bytes += given.bytes;
        self.batch.entries.extend(given.entries.into_iter().map(ByteVec::from));
        state.sent(number, last, given.bytes);
        last >= upto
    }
}

/// The first `most` of `all`.
fn take<T>(all: &mut Vec<T>, most: usize) -> Vec<T> {
    let most = most.min(all.len());
    all.drain(..most).collect()
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
