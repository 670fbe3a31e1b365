//! Who lacks what of the feeds, and who is asked for it.
//!
//! Every side - a neighbour, the gateway's HQ, HQ's terminals - tells the others, at most every
//! [`TELL_EVERY`], how far it has the feeds of which they are to know ([`Policy::tells`]), and what they bring;
//! who lacks a range asks *one* side for it, and another only when that one gives nothing for [`PATIENCE`].
//! What is new is pushed unasked to those that should have it at once ([`Policy::pushes`]); who may expect a
//! push waits [`PUSH_WAIT`] before it asks.
//!
//! The rule for long ranges: a side has at most [`GIVE_WINDOW`] bytes on its way to one that asked, and
//! goes on when that one says how far it has come. So a backlog of weeks leaves room for what is new, and
//! nobody's memory holds it.
//!
//! All of it is safe to lose and to repeat: an entry is taken once (`ledger`). What crosses the stream goes
//! in by the `hear_` methods; what is to be said comes out of [`Exchange::settle`], once a batch.

mod policy;
mod say;
mod seek;
mod side;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

pub(crate) use self::policy::{Policy, Theirs, Wants};
use self::side::Side;
use super::{
    FeedId,
    ledger::{Feed, FeedNo, Ledger},
};
use crate::{Instant, wire::feeds::Have};

/// Design: at most once per 50 ms.
pub(crate) const TELL_EVERY: Duration = Duration::from_millis(50);
/// Whoever was asked and has given nothing for so long is not waited for. A guess: a slow disk's sync and a
/// poor link's delay, several times over.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// What somebody else should push is asked for after so long.
pub(crate) const PUSH_WAIT: Duration = Duration::from_millis(200);
/// Bytes on their way to a side that asked: at 5 Mbit/s and 100 ms of delay the link is never idle.
const GIVE_WINDOW: usize = 128 * 1024;
/// Bytes on their way to a side in all; beyond it nothing is pushed, and the side asks.
const PUSH_WINDOW: usize = 1024 * 1024;
/// Entries of one feed that are pushed; a longer run is asked for.
const PUSH_MAX: u64 = 256;
/// Who cannot give, or gave what was no use, is not asked for that feed for so long.
const REST: Duration = Duration::from_secs(10);
/// Ranges asked of one side at once, and how many of them may be long.
const ASKS_MAX: usize = 8;
const LONG_ASKS_MAX: usize = 4;
/// More entries than this are a backlog.
const LONG: u64 = 256;

/// Feeds that a side may tell of before it, or anybody, has given their first entry: a day's starts of a
/// large store, and what it keeps of two years' stock.
const UNBEGUN_MAX: usize = 8192;

#[derive(Debug)]
pub(crate) struct Exchange<S> {
    sides: BTreeMap<S, Side>,
    /// Feeds that somebody has further than we, since when that is known.
    lacking: BTreeMap<FeedNo, Instant>,
    asked: BTreeMap<FeedNo, Asked<S>>,
    /// Something has changed since it was last looked for whom to ask.
    look: bool,
    /// What is expected from somebody else is asked for then.
    look_at: Instant,
    /// Feeds that nobody speaks of any more, if they have not begun.
    orphans: Vec<FeedNo>,
    /// Feeds that were looked at to tell of them.
    #[cfg(test)]
    pub(crate) looked_at: usize,
}

#[derive(Debug)]
struct Asked<S> {
    of: S,
    upto: u64,
    /// Given up then; each entry that comes puts it off.
    until: Instant,
    long: bool,
}

impl<S: Copy + Ord> Exchange<S> {
    pub(crate) fn new() -> Self {
        Self {
            sides: BTreeMap::new(),
            lacking: BTreeMap::new(),
            asked: BTreeMap::new(),
            look: false,
            look_at: Instant::NEVER,
            orphans: Vec::new(),
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// A side comes; it is told of those `feeds` at once.
    pub(crate) fn up<'a>(
        &mut self,
        now: Instant,
        side: S,
        feeds: impl Iterator<Item = (FeedNo, &'a Feed)>,
        policy: &impl Policy<S>,
    ) {
        self.down(side);
        self.sides.insert(side, Side::new(now));
        self.tell(side, feeds, policy);
    }

    /// The side is to know how far these are here, as far as that is for it.
    pub(crate) fn tell<'a>(
        &mut self,
        side: S,
        feeds: impl Iterator<Item = (FeedNo, &'a Feed)>,
        policy: &impl Policy<S>,
    ) {
        let Some(state) = self.sides.get_mut(&side) else { return };
        for (number, feed) in feeds {
            #[cfg(test)]
            let () = self.looked_at += 1;
            if feed.last > 0 && policy.may_have(side, &feed.id) && policy.tells(side, feed) {
                state.untold.insert(number);
            }
            state.has(number, policy.has(side, feed));
        }
    }

    pub(crate) fn down(&mut self, side: S) {
        let gone = self.sides.remove(&side);
        self.orphans.extend(gone.into_iter().flat_map(|gone| gone.unbegun));
        self.look = true;
        self.asked.retain(|_, asked| asked.of != side);
    }

    pub(crate) fn is_up(&self, side: S) -> bool {
        self.sides.contains_key(&side)
    }

    pub(crate) fn sides(&self) -> impl Iterator<Item = S> {
        self.sides.keys().copied()
    }

    /// How far `side` says that it has the feed: on its disk, that is.
    pub(crate) fn has(&self, side: S, feed: FeedNo) -> u64 {
        let theirs = self.sides.get(&side).and_then(|side| side.theirs.get(&feed));
        theirs.map_or(0, |theirs| theirs.last)
    }

    /// The number of a feed that a side tells of; none where it has told of too many that nobody gives.
    pub(crate) fn hear_of(
        &mut self,
        side: S,
        feed: &FeedId,
        ledger: &mut Ledger,
    ) -> Option<FeedNo> {
        if let Some(number) = ledger.number(feed) {
            return Some(number);
        }
        let unbegun = &mut self.sides.get_mut(&side)?.unbegun;
        if unbegun.len() >= UNBEGUN_MAX {
            unbegun.retain(|number| ledger.is_unbegun(*number));
        }
        (unbegun.len() < UNBEGUN_MAX).then(|| ledger.intern(feed))
    }

    /// What only sides that are gone have told of, and nobody has given, is not kept in mind.
    pub(crate) fn forget_orphans(&mut self, ledger: &mut Ledger) {
        for number in std::mem::take(&mut self.orphans) {
            let told = self.sides.values().any(|side| side.theirs.contains_key(&number));
            if !told && ledger.forget_unbegun(number) {
                self.lacking.remove(&number);
                self.asked.remove(&number);
            }
        }
    }

    /// Whether `side` has said that of what follows `last` it cannot give the beginning.
    pub(crate) fn begins_late(&self, side: S, feed: FeedNo, last: u64) -> bool {
        let theirs = self.sides.get(&side).and_then(|side| side.theirs.get(&feed));
        theirs.is_some_and(|theirs| theirs.begins_late(last))
    }

    /// How far `side` has one feed, run after run.
    pub(crate) fn hear_have(
        &mut self,
        now: Instant,
        side: S,
        number: FeedNo,
        haves: &[Have],
        ledger: &Ledger,
    ) {
        let Some(heard) = self.sides.get_mut(&side) else { return };
        let (feed, theirs) = (ledger.feed(number), Theirs::told(haves));
        for Have { first, last, .. } in haves {
            heard.confirm(number, *first, *last);
        }
        if feed.last == 0 {
            heard.unbegun.insert(number);
        }
        if theirs.acked < theirs.acked_of(feed, ledger.generation()) {
            heard.acks.insert(number);
        }
        if theirs.brings_to(feed).is_some() {
            self.lacking.entry(number).or_insert(now);
            self.look = true;
        }
        heard.theirs.insert(number, theirs);
    }

    pub(crate) fn hear_ask(
        &mut self,
        side: S,
        number: FeedNo,
        from: u64,
        upto: u64,
        ledger: &Ledger,
    ) {
        let (feed, begin) = (ledger.feed(number), ledger.begin_of(number, from));
        let skips = from < begin;
        // Somebody is about to bring just what would be skipped: who asked does so again.
        if skips && self.is_elsewhere(number, from.saturating_sub(1), begin, side) {
            return;
        }
        let missing = feed.last.min(upto) < begin || feed.gap_at(begin).is_some();
        let Some(asker) = self.sides.get_mut(&side) else { return };
        // HQ's word is given for what is skipped.
        if missing || (skips && feed.acked.is_none()) {
            asker.lacks.push(feed.id.clone());
            return;
        }
        // What it knows of us may be as old as its question.
        asker.untold.insert(number);
        asker.rewind(number, from.saturating_sub(1));
        asker.owed.insert(number, upto.min(feed.last));
    }

    /// It cannot give what it was asked for.
    pub(crate) fn hear_lacks(&mut self, now: Instant, side: S, number: FeedNo) {
        self.rest(now, side, number);
        if let Some(heard) = self.sides.get_mut(&side) {
            heard.theirs.remove(&number);
        }
    }

    /// `side` has brought entry `seq`, and it was taken, or had been before: it is told that it arrived.
    pub(crate) fn taken(&mut self, now: Instant, side: S, number: FeedNo, seq: u64) {
        if let Some(side) = self.sides.get_mut(&side) {
            side.untold.insert(number);
            let theirs = side.theirs.entry(number).or_default();
            theirs.last = theirs.last.max(seq);
            side.sent.entry(number).and_modify(|sent| *sent = seq.max(*sent)).or_insert(seq);
        }
        if let Some(asked) = self.asked.get_mut(&number).filter(|asked| asked.of == side) {
            asked.until = now + PATIENCE;
            if asked.upto <= seq {
                self.asked.remove(&number);
                self.look = true;
            }
        }
    }

    /// `side` has brought entry `seq`, which did not fit to what is here; or, with `rest`, was no use.
    pub(crate) fn refused(&mut self, now: Instant, side: S, number: FeedNo, seq: u64, rest: bool) {
        if rest {
            self.rest(now, side, number);
        }
        if let Some(side) = self.sides.get_mut(&side) {
            let theirs = side.theirs.entry(number).or_default();
            theirs.last = theirs.last.max(seq);
            self.lacking.entry(number).or_insert(now);
            self.look = true;
        }
    }

    /// `side` has brought an entry that does not follow what is here. It has another one before it, if it is
    /// honest, and is asked for that too, after a rest.
    pub(crate) fn unlinked(&mut self, now: Instant, side: S, number: FeedNo, seq: u64) {
        self.refused(now, side, number, seq, true);
        if let Some(side) = self.sides.get_mut(&side) {
            side.doubted.insert(number);
        }
    }

    /// The feed has more entries than before: those who lack them are told, or given.
    pub(crate) fn grown(&mut self, number: FeedNo, ledger: &Ledger, policy: &impl Policy<S>) {
        let feed = ledger.feed(number);
        for (side, state) in &mut self.sides {
            if !policy.may_have(*side, &feed.id) {
                continue;
            }
            if policy.tells(*side, feed) {
                state.untold.insert(number);
            }
            if policy.pushes(*side, &feed.id) {
                state.has(number, policy.has(*side, feed));
                state.push.insert(number);
            }
        }
    }

    /// HQ has acknowledged more of the feed: told to those who have some of it, but for who said so.
    pub(crate) fn acked(&mut self, number: FeedNo, author: Option<S>, from: Option<S>) {
        for (side, state) in self.sides.iter_mut().filter(|(side, _)| from != Some(**side)) {
            let has = state.theirs.get(&number).is_some_and(|theirs| theirs.last > 0);
            if has || author == Some(*side) || state.sent.contains_key(&number) {
                state.acks.insert(number);
            }
        }
    }

    /// What this machine wants has changed, or whom it serves: all is looked at again.
    pub(crate) fn rethink(&mut self, now: Instant, ledger: &Ledger, policy: &impl Policy<S>) {
        self.look = true;
        for (side, state) in &mut self.sides {
            for (number, theirs) in &state.theirs {
                if ledger.get(*number).is_some_and(|feed| theirs.brings_to(feed).is_some()) {
                    self.lacking.entry(*number).or_insert(now);
                }
            }
            for (number, feed) in ledger.feeds().filter(|(_, feed)| feed.last > 0) {
                let kept = state.told_to_keep.contains(&number) != policy.keeps(*side, &feed.id);
                let untold = !state.sent.contains_key(&number) && policy.tells(*side, feed);
                if kept || untold {
                    state.untold.insert(number);
                }
            }
        }
    }

    /// HQ was restored from a backup: what it was given, and what it had acknowledged, it may have lost.
    pub(crate) fn forget(&mut self, side: S) {
        if let Some(state) = self.sides.get_mut(&side) {
            state.forget();
        }
    }

    /// HQ speaks in a new generation: what anybody had heard it acknowledge does not hold, and nobody is to
    /// go by what this machine has told of that.
    pub(crate) fn forget_acks(&mut self, ledger: &Ledger, policy: &impl Policy<S>) {
        for state in self.sides.values_mut() {
            for theirs in state.theirs.values_mut() {
                theirs.acked = 0;
            }
        }
        for side in self.sides().collect::<Vec<_>>() {
            self.tell(side, ledger.feeds(), policy);
        }
    }

    /// Whether a side, other than this one, has some of the feed after the one entry and before the other, and
    /// has not just been asked for it in vain.
    pub(crate) fn is_elsewhere(&self, number: FeedNo, after: u64, before: u64, except: S) -> bool {
        let others = self.sides.iter().filter(|(side, _)| **side != except);
        let others = others.filter(|(_, side)| !side.resting.contains_key(&number));
        let mut told = others.filter_map(|(_, side)| side.theirs.get(&number));
        told.any(|theirs| theirs.has_between(after, before))
    }

    /// More of the feed is missing than before.
    pub(crate) fn reopened(&mut self, now: Instant, number: FeedNo) {
        self.look = true;
        self.lacking.insert(number, now);
    }

    fn rest(&mut self, now: Instant, side: S, number: FeedNo) {
        self.look = true;
        self.asked.retain(|feed, asked| *feed != number || asked.of != side);
        if let Some(side) = self.sides.get_mut(&side) {
            side.resting.insert(number, now + REST);
        }
    }

    /// When [`Exchange::settle`] has something to say again, if nothing is heard until then.
    pub(crate) fn deadline(&self) -> Instant {
        let sides = self.sides.values().map(Side::deadline);
        let asked = self.asked.values().map(|asked| asked.until);
        sides.chain(asked).fold(self.look_at, Instant::min)
    }
}
