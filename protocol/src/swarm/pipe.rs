//! What is on its way from one source, and how much more may be asked of it.
//!
//! A source is asked for as much as it delivers in [`WINDOW`], by its own measured rate, so that
//! nothing else waits long behind bulk, and always for at least two chunks, so that it never idles.
//! One that delivers nothing for far longer than it should has stalled: what it owes is asked
//! elsewhere and it rests.

use std::{collections::BTreeMap, time::Duration};

use crate::{Instant, content::ListId};

/// A chunk by its place in a list.
pub(super) type Place = (ListId, u32);

/// In flight to a neighbour: at most this much of its measured rate.
const WINDOW: Duration = Duration::from_millis(100);
/// HQ is farther away: the window must cover the round trip and HQ's disk.
const WINDOW_HQ: Duration = Duration::from_millis(300);
const WINDOW_BYTES_MAX: u64 = 4 << 20;
const WINDOW_HQ_BYTES: (u64, u64) = (1 << 20, 16 << 20);
/// Requests are small but not free.
const REQUESTS_MAX: usize = 64;
/// What a source is taken to deliver before it has been measured.
const RATE_GUESS: u64 = 4 << 20;
/// A stall: nothing for this long plus four times what the bytes in flight should take.
const STALL: Duration = Duration::from_secs(2);
/// HQ's link may be far slower than any guess, and has its own liveness below.
const STALL_HQ: Duration = Duration::from_mins(1);
/// A rate is measured over at least so long: chunks that arrive together say nothing.
const SAMPLE: Duration = Duration::from_millis(20);
/// How long a source that stalled rests; each further time in a row it is twice as long.
const REST: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_mins(5);

#[derive(Debug)]
pub(super) struct Pipe {
    kind: Kind,
    in_flight: BTreeMap<Place, u32>,
    bytes: u64,
    /// Bytes per second.
    rate: u64,
    measured: bool,
    /// What arrived since then is the next sample of the rate.
    sampled: Instant,
    unsampled: u64,
    /// When something last arrived, or the first request went out.
    progress: Instant,
    rest_until: Instant,
    stalls: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hq,
    Neighbour,
}

impl Pipe {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            in_flight: BTreeMap::new(),
            bytes: 0,
            rate: RATE_GUESS,
            measured: false,
            sampled: Instant(0),
            unsampled: 0,
            progress: Instant(0),
            rest_until: Instant(0),
            stalls: 0,
        }
    }

    pub(super) fn has_room(&self, now: Instant) -> bool {
        let few = match self.kind {
            Kind::Hq => 4,
            Kind::Neighbour => 2,
        };
        let asked = self.in_flight.len();
        !self.rests(now) && asked < REQUESTS_MAX && (asked < few || self.bytes < self.window())
    }

    pub(super) fn rests(&self, now: Instant) -> bool {
        now < self.rest_until
    }

    /// Whether it rests because it delivered nothing.
    pub(super) fn is_mute(&self, now: Instant) -> bool {
        self.stalls > 0 && self.rests(now)
    }

    /// Until when it rests, if it does.
    pub(super) fn rest_until(&self, now: Instant) -> Option<Instant> {
        self.rests(now).then_some(self.rest_until)
    }

    /// How long `bytes` more would take behind what is in flight, in microseconds.
    pub(super) fn wait(&self, bytes: u32) -> u64 {
        (self.bytes + u64::from(bytes)).saturating_mul(1_000_000) / self.rate.max(1)
    }

    pub(super) fn asked(&mut self, now: Instant, place: Place, bytes: u32) {
        if self.in_flight.is_empty() {
            self.progress = now;
            self.sampled = now;
            self.unsampled = 0;
        }
        if self.in_flight.insert(place, bytes).is_none() {
            self.bytes += u64::from(bytes);
        }
    }

    /// The chunk is no longer awaited from here; false when it was not.
    pub(super) fn dropped(&mut self, place: &Place) -> bool {
        let Some(bytes) = self.in_flight.remove(place) else { return false };
        self.bytes -= u64::from(bytes);
        true
    }

    /// A chunk came, awaited or given up before: the source delivers.
    pub(super) fn arrived(&mut self, now: Instant, place: &Place) {
        self.progress = now;
        self.stalls = 0;
        let Some(bytes) = self.in_flight.get(place).copied() else { return };
        self.dropped(place);
        self.unsampled += u64::from(bytes);
        let took = now.since(self.sampled);
        if took >= SAMPLE || self.in_flight.is_empty() {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1000);
            let sample = self.unsampled.saturating_mul(1_000_000) / took;
            self.rate = (self.rate / 4 * 3).saturating_add(sample / 4).max(1);
            self.measured = true;
            (self.sampled, self.unsampled) = (now, 0);
        }
    }

    /// Bytes per second, once something has come.
    pub(super) fn rate(&self) -> Option<u64> {
        self.measured.then_some(self.rate)
    }

    /// When it will have stalled, unless something arrives.
    pub(super) fn stalls_at(&self) -> Instant {
        if self.in_flight.is_empty() {
            return Instant::NEVER;
        }
        match self.kind {
            Kind::Hq => self.progress + STALL_HQ + self.four_times_the_wait(),
            Kind::Neighbour => self.progress + STALL + self.four_times_the_wait(),
        }
    }

    fn four_times_the_wait(&self) -> Duration {
        Duration::from_micros(self.wait(0).saturating_mul(4))
    }

    /// It stalled, or its stream broke: everything it owes is returned, and it rests a while.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<Place> {
        let rest = REST.saturating_mul(1 << self.stalls.min(6)).min(REST_MAX);
        self.stalls = self.stalls.saturating_add(1);
        self.rate = (self.rate / 2).max(1);
        self.rest(now + rest);
        self.bytes = 0;
        std::mem::take(&mut self.in_flight).into_keys().collect()
    }

    pub(super) fn rest(&mut self, until: Instant) {
        self.rest_until = self.rest_until.max(until);
    }

    /// Nothing of this list is awaited from here any more.
    pub(super) fn drop_list(&mut self, list: &ListId) {
        let owed: Vec<Place> =
            self.in_flight.keys().filter(|(of, _)| of == list).copied().collect();
        for place in owed {
            self.dropped(&place);
        }
    }

    fn window(&self) -> u64 {
        let over = |span: Duration| {
            self.rate.saturating_mul(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)) / 1000
        };
        match self.kind {
            Kind::Hq => over(WINDOW_HQ).clamp(WINDOW_HQ_BYTES.0, WINDOW_HQ_BYTES.1),
            Kind::Neighbour => over(WINDOW).min(WINDOW_BYTES_MAX),
        }
    }
}
