//! Which side is asked for what is lacking.
//!
//! HQ's control feed goes first, then feeds that lack little, then backlogs, the feed begun first before
//! later ones.

use super::{ASKS_MAX, Asked, Exchange, LONG, LONG_ASKS_MAX, PATIENCE, PUSH_WAIT, Policy, Wants};
use crate::{
    Instant,
    feeds::{
        CONTROL, EntryId,
        ledger::{FeedNo, Ledger},
    },
    wire::feeds::Ask,
};

impl<S: Copy + Ord> Exchange<S> {
    /// Whom to ask for what, now.
    pub(super) fn seek(
        &mut self,
        now: Instant,
        ledger: &Ledger,
        policy: &impl Policy<S>,
    ) -> Vec<(S, Ask)> {
        let late = self.asked.iter().filter(|(_, asked)| asked.until <= now);
        let late: Vec<(FeedNo, S)> = late.map(|(number, asked)| (*number, asked.of)).collect();
        for (number, side) in late {
            self.rest(now, side, number);
        }
        for side in self.sides.values_mut() {
            let resting = side.resting.len();
            side.resting.retain(|_, until| now < *until);
            self.look |= side.resting.len() < resting;
        }
        // Feeds that lack something may be thousands, and batches come every millisecond.
        if !std::mem::take(&mut self.look) && now < self.look_at {
            return Vec::new();
        }
        let mut turns = Vec::new();
        self.lacking.retain(|number, _| {
            // Of HQ's exchanges, one for each store, another may have forgotten it.
            let Some(feed) = ledger.get(*number) else { return false };
            let theirs = self.sides.values().filter_map(|side| side.theirs.get(number));
            let lacks = theirs.filter_map(|theirs| theirs.brings_to(feed));
            let Some(is_long) = lacks.map(|(from, upto)| upto - from >= LONG).max() else {
                return false;
            };
            if !self.asked.contains_key(number) {
                let control = feed.id.topic.name.as_str() == CONTROL;
                turns.push((!control, is_long, *number));
            }
            true
        });
        turns.sort_unstable();
        let asks = turns
            .into_iter()
            .filter_map(|(_, _, number)| self.ask(now, number, ledger, policy))
            .collect();
        let unasked = self.lacking.iter().filter(|(number, _)| !self.asked.contains_key(number));
        // Who was looked for now and not found comes with an answer, or when somebody has rested.
        let expected = unasked.map(|(_, since)| *since + PUSH_WAIT).filter(|at| now < *at);
        self.look_at = expected.fold(Instant::NEVER, Instant::min);
        asks
    }

    fn ask(
        &mut self,
        now: Instant,
        number: FeedNo,
        ledger: &Ledger,
        policy: &impl Policy<S>,
    ) -> Option<(S, Ask)> {
        let feed = ledger.feed(number);
        let since = *self.lacking.get(&number)?;
        let mut best: Option<(usize, S, u64, u64, bool)> = None;
        let mut wanted = false;
        for (side, state) in &self.sides {
            let Some(theirs) = state.theirs.get(&number) else { continue };
            let Some((lacked, _)) = theirs.brings_to(feed) else { continue };
            // It would not be taken.
            if !ledger.believes(&EntryId { feed: feed.id.clone(), seq: lacked }) {
                continue;
            }
            let from = match policy.wants(*side, feed, theirs) {
                Wants::No => continue,
                Wants::From(from) => from,
                Wants::Soon(from) if since + PUSH_WAIT <= now => from,
                Wants::Soon(_) => {
                    wanted = true;
                    continue;
                }
            };
            wanted = true;
            let upto = feed.gap_at(from).map_or(u64::MAX, |gap| gap.upto).min(theirs.run_end(from));
            let long = upto.saturating_sub(from) > LONG;
            let busy = self.asked.values().filter(|asked| asked.of == *side).count();
            let long_asks = self.asked.values().filter(|asked| asked.of == *side && asked.long);
            let full = busy >= ASKS_MAX || (long && long_asks.count() >= LONG_ASKS_MAX);
            if full || upto < from || state.is_resting(now, number) {
                continue;
            }
            if best.as_ref().is_none_or(|(least, ..)| busy < *least) {
                best = Some((busy, *side, from, upto, long));
            }
        }
        if !wanted {
            self.lacking.remove(&number);
        }
        let (_, of, from, upto, long) = best?;
        let doubted = self.sides.get_mut(&of)?.doubted.remove(&number);
        let from = if doubted { from.saturating_sub(1).max(1) } else { from };
        self.asked.insert(number, Asked { of, upto, until: now + PATIENCE, long });
        Some((of, Ask { feed: feed.id.clone(), from, upto }))
    }
}
