//! HQ's time, as one terminal knows it.
//!
//! HQ signs its time. The highest signed time ever seen is the *floor*, kept on disk: HQ time is never
//! below it, whatever a clock or a neighbour says. HQ's own answer to a question makes the time sure,
//! and so does a signed time of this start together with a neighbour that is sure ([`FRESH`]); from
//! then on only the monotonic clock counts, and what HQ signs. Until then it is a guess and marked
//! unsure: the median of what the neighbours say and the machine's own clock, as read at start; alone,
//! the own clock.
//!
//! What may go wrong: a box that lies. No signature is from the future, so what is signed can only
//! be late. A guess takes the lower of two middle voices, the own clock among them, and none below
//! the floor: liars who are half of the voices cannot push it ahead of all honest ones, not even the
//! one neighbour in a store of two. A terminal that is sure because of neighbours is ahead by
//! [`FRESH`] at most, and late by no more than the signed times that were kept from it. A guess is
//! shown to people; it never becomes the floor and shuts nobody out, neither HQ nor a neighbour whose
//! certificate ended ([`HqClock::certain`]): else two clocks in 2100 could close a shop. So in a store
//! that starts anew while HQ is away the grace of certificates lasts longer, by the time for which
//! all were off. A machine that was suspended is late until it hears the next signed time.
//!
//! In and out: [`Input`], [`Output`]. Signatures are checked before.

use std::{collections::BTreeMap, time::Duration};

use storemesh_keys::{PeerId, Timestamp, Verified};

use super::Instant;
use crate::statements::HqTime;

/// The gateway asks HQ for its time again so often: some 500 bytes.
const REFRESH: Duration = Duration::from_mins(5);
/// A signed time is at most so old where HQ is reached: one that was lost on the way, and the next.
const FRESH: Duration = Duration::from_mins(10);
/// HQ's answer came at once, or it does not say what time it is by now.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(5);
/// A newer signed time is passed on only if it is so much newer: acknowledgements bring many.
const PASS_ON: Duration = Duration::from_mins(1);
/// The floor on disk may be so much behind: a sync for every signed time would cost sales theirs.
const FLOOR_STEP: Duration = Duration::from_secs(30);
/// The machine's own clock is worth a warning from here on: two that are kept right differ by less.
const CLOCK_OFF: Duration = Duration::from_mins(2);

#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// HQ has signed something at that time: a lease, an order, an acknowledgement.
    Signed(Timestamp),
    /// HQ was greeted just now, and answers with its time.
    Greeted,
    /// HQ's answer, on the line to HQ.
    Answered(Verified<HqTime>),
    /// An admitted neighbour says what time it is, how sure it is, and what HQ signed last.
    Told {
        peer: PeerId,
        time: Timestamp,
        sure: bool,
        signed: Option<Verified<HqTime>>,
    },
    NeighbourLost(PeerId),
    /// Whether HQ is on the line and this terminal speaks for its store.
    Speaks(bool),
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// Keep this floor.
    Keep(Timestamp),
    /// Ask HQ what time it is.
    Ask,
    /// Tell the neighbours what time it is, all but this one.
    Tell { but: Option<PeerId> },
    /// For the shopkeeper: the machine's own clock is wrong by so much, ahead or behind.
    ClockOff { by: Duration, ahead: bool },
}

/// Where HQ time comes from, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// From HQ's signature in this start. All others are unsure.
    Signed,
    /// The median of what so many say, the machine's own clock among them if it can be right.
    Median { voices: usize },
    /// The machine's own clock, as it was read at start.
    OwnClock,
    /// That one is behind what HQ has signed: the last signed time, and the time since the start.
    Floor,
}

/// What is known of HQ's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeView {
    pub hq_time: Timestamp,
    /// As late as it is by what HQ has signed, and HQ time itself where that is sure: whatever is
    /// deleted for its age, or shut out, goes by this.
    pub certain: Timestamp,
    pub source: TimeSource,
    /// Since a time that HQ signed last came; none when none has since the start.
    pub signed_ago: Option<Duration>,
    /// The highest time that HQ has signed.
    pub floor: Timestamp,
}

impl TimeView {
    pub fn is_sure(&self) -> bool {
        self.source == TimeSource::Signed
    }
}

/// A time, and when it was that. Carried on by the monotonic clock alone.
#[derive(Clone, Copy, Debug)]
struct Reading {
    time: Timestamp,
    at: Instant,
}

impl Reading {
    fn by(self, now: Instant) -> Timestamp {
        self.time.plus(now.since(self.at))
    }
}

#[derive(Debug)]
pub(crate) struct HqClock {
    /// The machine's own clock, read once.
    own: Reading,
    /// The highest time that HQ has signed.
    floor: Timestamp,
    /// What the disk has of it.
    kept: Timestamp,
    /// By HQ's signatures it is at least that late.
    least: Reading,
    /// The same by those of this start alone.
    heard: Option<Reading>,
    heard_at: Option<Instant>,
    sure: Option<Reading>,
    /// To be passed on.
    newest: Option<Verified<HqTime>>,
    told: BTreeMap<PeerId, Told>,
    /// HQ was asked then, and has not answered.
    asked: Option<Instant>,
    speaks: bool,
    refresh_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    reading: Reading,
    sure: bool,
}

impl HqClock {
    /// `wall` is the machine's own clock, `kept` the floor on disk, and `signed` the highest other
    /// time that HQ signed and that is on disk.
    pub(crate) fn new(wall: Timestamp, kept: Timestamp, signed: Timestamp, now: Instant) -> Self {
        let floor = kept.max(signed);
        Self {
            own: Reading { time: wall, at: now },
            floor,
            kept,
            least: Reading { time: floor, at: now },
            heard: None,
            heard_at: None,
            sure: None,
            newest: None,
            told: BTreeMap::new(),
            asked: None,
            speaks: false,
            refresh_at: now + REFRESH,
        }
    }

    #[must_use]
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let (was_sure, mut tell) = (self.sure.is_some(), None);
        match input {
            Input::Signed(at) => self.signed(now, at),
            Input::Greeted => self.ask(now),
            Input::Answered(time) => {
                let asked = self.asked.take();
                self.signed(now, time.at);
                if let Some(asked) = asked {
                    self.answered(now, time.at, now.since(asked));
                }
                tell = self.is_news(time).then_some(Output::Tell { but: None });
            }
            Input::Told { peer, time, sure, signed } => {
                self.told.insert(peer, Told { reading: Reading { time, at: now }, sure });
                if let Some(signed) = signed {
                    self.signed(now, signed.at);
                    tell = self.is_news(signed).then_some(Output::Tell { but: Some(peer) });
                }
            }
            Input::NeighbourLost(peer) => _ = self.told.remove(&peer),
            Input::Speaks(speaks) => self.speaks = speaks,
            Input::Tick => {}
        }
        let mut outputs = Vec::new();
        if self.speaks && self.refresh_at <= now {
            self.ask(now);
            outputs.push(Output::Ask);
        }
        self.agree(now);
        if self.kept.plus(FLOOR_STEP) <= self.floor {
            self.kept = self.floor;
            outputs.push(Output::Keep(self.floor));
        }
        if !was_sure && self.sure.is_some() {
            tell = Some(Output::Tell { but: None });
            outputs.extend(self.clock_off(now));
        }
        outputs.extend(tell);
        outputs
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub(crate) fn deadline(&self) -> Instant {
        if self.speaks { self.refresh_at } else { Instant::NEVER }
    }

    /// HQ time.
    pub(crate) fn at(&self, now: Instant) -> Timestamp {
        self.guess(now).0
    }

    /// As late as it is by what HQ has signed: by this is judged whom to shut out.
    pub(crate) fn certain(&self, now: Instant) -> Timestamp {
        if self.sure.is_some() { self.at(now) } else { self.least.by(now) }
    }

    pub(crate) fn view(&self, now: Instant) -> TimeView {
        let (hq_time, source) = self.guess(now);
        let signed_ago = self.heard_at.map(|at| now.since(at));
        TimeView { hq_time, certain: self.certain(now), source, signed_ago, floor: self.floor }
    }

    /// What HQ signed last, to be passed on.
    pub(crate) fn newest(&self) -> Option<&Verified<HqTime>> {
        self.newest.as_ref()
    }

    fn guess(&self, now: Instant) -> (Timestamp, TimeSource) {
        let least = self.least.by(now);
        if let Some(sure) = self.sure {
            return (sure.by(now).max(least), TimeSource::Signed);
        }
        // Who is behind the floor is wrong.
        let can_be = |reading: Reading| Some(reading.by(now)).filter(|time| least <= *time);
        let own = can_be(self.own);
        let mut voices: Vec<_> =
            self.told.values().filter_map(|told| can_be(told.reading)).collect();
        if voices.is_empty() {
            return own.map_or((least, TimeSource::Floor), |own| (own, TimeSource::OwnClock));
        }
        voices.extend(own);
        let count = voices.len();
        (lower_median(voices).unwrap_or(least), TimeSource::Median { voices: count })
    }

    fn ask(&mut self, now: Instant) {
        self.asked = Some(now);
        self.refresh_at = now + REFRESH;
    }

    /// HQ's time was at least `at` when that was signed, whenever that was.
    fn signed(&mut self, now: Instant, at: Timestamp) {
        let reading = Reading { time: at, at: now };
        self.floor = self.floor.max(at);
        if self.least.by(now) < at {
            self.least = reading;
        }
        if self.heard.is_none_or(|heard| heard.by(now) < at) {
            self.heard = Some(reading);
        }
        self.heard_at = Some(now);
    }

    /// HQ's time was `at` at some moment of the last `round_trip`.
    fn answered(&mut self, now: Instant, at: Timestamp, round_trip: Duration) {
        if ROUND_TRIP_MAX < round_trip {
            return;
        }
        let possible = at..=at.plus(round_trip);
        if !self.sure.is_some_and(|sure| possible.contains(&sure.by(now))) {
            self.sure = Some(Reading { time: at, at: now });
        }
    }

    /// A neighbour that is sure and HQ's signature of a while ago bear each other out.
    fn agree(&mut self, now: Instant) {
        let (None, Some(heard)) = (self.sure, self.heard) else { return };
        let possible = self.least.by(now)..=heard.by(now).plus(FRESH);
        let sure = self.told.values().filter(|told| told.sure).map(|told| told.reading.by(now));
        let time = lower_median(sure.filter(|time| possible.contains(time)).collect());
        self.sure = time.map(|time| Reading { time, at: now });
    }

    fn is_news(&mut self, time: Verified<HqTime>) -> bool {
        let known = self.newest.as_ref();
        let news = known.is_none_or(|known| known.at.plus(PASS_ON) <= time.at);
        if known.is_none_or(|known| known.at < time.at) {
            self.newest = Some(time);
        }
        news
    }

    fn clock_off(&self, now: Instant) -> Option<Output> {
        let (own, right) = (self.own.by(now), self.at(now));
        let (by, ahead) = (own.max(right).since(own.min(right)), right < own);
        (CLOCK_OFF < by).then_some(Output::ClockOff { by, ahead })
    }
}

/// Of an even number the earlier of the two in the middle: too early is lenient, too late shuts a
/// shop.
fn lower_median(mut times: Vec<Timestamp>) -> Option<Timestamp> {
    times.sort_unstable();
    times.get(times.len().checked_sub(1)? / 2).copied()
}
