//! One direction of a shop's line to HQ: a rate, a short queue, a delay and a loss.
//!
//! The rule is that of Linux' `tc tbf`, so that a run through the relay can be held against one
//! through a shaped interface: a datagram leaves when the token bucket covers its bytes, waits in a
//! queue worth [`PATIENCE`] of the rate until then, and is dropped when that queue is full.
//!
//! Time comes in as an argument; [`Link::deadline`] says when [`Link::take`] may have something.
//! Bytes are counted as the line carries them, headers included, when they leave the bucket: what
//! the queue dropped never used the line, what was lost on the way did.
//! Sockets are the relay's business.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// An IPv4 header without options and a UDP header, which the line carries with every datagram.
pub const HEADER_BYTES: usize = 20 + 8;

/// How much of the line's time the queue holds; what a cheap shop router has, within a factor of two.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// The least bucket, as the side-by-side bench gives its `tbf`.
const BURST_BYTES: u64 = 32 * 1024;

/// The bucket also covers this much of the line's time: a relay woken late by a busy machine then
/// still fills the line.
const BURST_TIME: Duration = Duration::from_millis(10);

/// What one direction of the line is like. The default is a line that only counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// 0 means unshaped: no rate and no queue.
    pub bits_per_s: u64,
    pub delay: Duration,
    /// The part of the datagrams that is lost on the way, 0 to 1.
    pub loss: f64,
    /// Decides which ones.
    pub seed: u64,
}

impl Shape {
    pub fn mbit(mbit: f64) -> Self {
        // A rate on the command line is neither negative nor near 2^64, and `as` saturates.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bits_per_s = (mbit * 1e6).round() as u64;
        Self { bits_per_s, ..Self::default() }
    }

    /// How long the line is busy with that many bytes.
    fn time_for(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 8_000_000_000 / u128::from(self.bits_per_s.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn bytes_in(&self, time: Duration) -> u64 {
        let bytes = u128::from(self.bits_per_s) * time.as_nanos() / 8_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    pub(super) fn burst_bytes(&self) -> u64 {
        self.bytes_in(BURST_TIME).max(BURST_BYTES)
    }
}

/// What went over a direction so far; shared with those who only read it.
#[derive(Debug, Default)]
pub struct Counts {
    bytes: AtomicU64,
    datagrams: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
}

impl Counts {
    /// With the headers of IP and UDP.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub fn datagrams(&self) -> u64 {
        self.datagrams.load(Relaxed)
    }

    /// Datagrams that found the queue full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Datagrams that vanished on the line.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// A direction that carries datagrams to destinations of type `T`.
#[derive(Debug)]
pub struct Link<T> {
    shape: Shape,
    burst: Duration,
    queue_bytes_max: u64,
    /// When the bucket would be full again if nothing more came: never more than `burst` ahead of
    /// the last datagram that left.
    full_at: Instant,
    queue: VecDeque<(T, Vec<u8>)>,
    queue_bytes: u64,
    /// Left the bucket and arrives then.
    on_the_way: VecDeque<(Instant, T, Vec<u8>)>,
    chance: ChaCha8Rng,
    counts: Arc<Counts>,
}

impl<T> Link<T> {
    pub fn new(shape: Shape, now: Instant) -> Self {
        Self {
            shape,
            burst: shape.time_for(shape.burst_bytes()),
            queue_bytes_max: shape.bytes_in(PATIENCE) + shape.burst_bytes(),
            full_at: now,
            queue: VecDeque::new(),
            queue_bytes: 0,
            on_the_way: VecDeque::new(),
            chance: ChaCha8Rng::seed_from_u64(shape.seed),
            counts: Arc::default(),
        }
    }

    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// A datagram arrives at the near end.
    pub fn offer(&mut self, to: T, datagram: Vec<u8>) {
        let bytes = on_the_line(&datagram);
        if self.shape.bits_per_s > 0 && self.queue_bytes + bytes > self.queue_bytes_max {
            self.counts.dropped.fetch_add(1, Relaxed);
            return;
        }
        self.queue_bytes += bytes;
        self.queue.push_back((to, datagram));
    }

    /// The next datagram that has arrived at the far end by now.
    pub fn take(&mut self, now: Instant) -> Option<(T, Vec<u8>)> {
        while let Some(leaves_at) = self.leaves_at()
            && leaves_at <= now
        {
            self.leave(now);
        }
        let (arrives_at, ..) = self.on_the_way.front()?;
        if now < *arrives_at {
            return None;
        }
        self.on_the_way.pop_front().map(|(_, to, datagram)| (to, datagram))
    }

    /// When [`Self::take`] is worth calling again; nothing before the next [`Self::offer`] if none.
    pub fn deadline(&self) -> Option<Instant> {
        let arrives_at = self.on_the_way.front().map(|(at, ..)| *at);
        match (arrives_at, self.leaves_at()) {
            (Some(arrival), Some(leaving)) => Some(arrival.min(leaving)),
            (arrival, leaving) => arrival.or(leaving),
        }
    }

    /// When the bucket covers the datagram at the head of the queue.
    fn leaves_at(&self) -> Option<Instant> {
        let (_, datagram) = self.queue.front()?;
        if self.shape.bits_per_s == 0 {
            return Some(self.full_at);
        }
        let cost = self.shape.time_for(on_the_line(datagram));
        // The bucket lacks `full_at - now` of being full; it covers the cost once it lacks no more
        // than `burst - cost`. No UDP datagram is longer than the bucket.
        Some((self.full_at + cost).checked_sub(self.burst).unwrap_or(self.full_at))
    }

    fn leave(&mut self, now: Instant) {
        let Some((to, datagram)) = self.queue.pop_front() else { return };
        let bytes = on_the_line(&datagram);
        self.queue_bytes -= bytes;
        if self.shape.bits_per_s > 0 {
            self.full_at = self.full_at.max(now) + self.shape.time_for(bytes);
        }
        self.counts.bytes.fetch_add(bytes, Relaxed);
        self.counts.datagrams.fetch_add(1, Relaxed);
        if f64::from(self.chance.next_u32()) < self.shape.loss * f64::from(u32::MAX) {
            self.counts.lost.fetch_add(1, Relaxed);
            return;
        }
        self.on_the_way.push_back((now + self.shape.delay, to, datagram));
    }
}

fn on_the_line(datagram: &[u8]) -> u64 {
    (datagram.len() + HEADER_BYTES) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Offers 1,200 byte datagrams as fast as the queue takes them, and looks every `step`.
    fn carried_in(shape: Shape, time: Duration, step: Duration) -> u64 {
        let start = Instant::now();
        let mut link = Link::new(shape, start);
        let counts = link.counts();
        let mut now = start;
        while now < start + time {
            let dropped = counts.dropped();
            while counts.dropped() == dropped {
                link.offer((), vec![0; 1_200]);
            }
            while link.take(now).is_some() {}
            now += step;
        }
        counts.bytes()
    }

    #[test]
    fn a_busy_line_carries_its_rate_however_late_the_relay_wakes() {
        for mbit in [1.0, 20.0, 100.0] {
            for step in [MS / 10, MS, 8 * MS] {
                let shape = Shape::mbit(mbit);
                let limit = shape.bytes_in(Duration::from_secs(10));
                let carried = carried_in(shape, Duration::from_secs(10), step);
                assert!(
                    carried <= limit + shape.burst_bytes(),
                    "{mbit} Mbit/s, {step:?}: {carried}"
                );
                assert!(limit - 2_000 <= carried, "{mbit} Mbit/s, {step:?}: {carried} of {limit}");
            }
        }
    }

    #[test]
    fn the_queue_holds_50_ms_and_drops_the_rest() {
        let shape = Shape::mbit(20.0);
        let mut link = Link::new(shape, Instant::now());
        for _ in 0..1_000 {
            link.offer((), vec![0; 1_222]);
        }
        let kept = (shape.bytes_in(PATIENCE) + shape.burst_bytes()) / 1_250;
        assert_eq!(link.counts().dropped(), 1_000 - kept);
        assert_eq!(link.counts().bytes(), 0);
    }

    #[test]
    fn an_idle_line_saves_up_no_more_than_one_bucket() {
        let start = Instant::now();
        let shape = Shape::mbit(20.0);
        let mut link = Link::new(shape, start);
        let later = start + Duration::from_mins(1);
        for _ in 0..100 {
            link.offer((), vec![0; 1_222]);
        }
        let mut at_once = 0;
        while link.take(later).is_some() {
            at_once += 1_250;
        }
        assert!(
            at_once <= shape.burst_bytes() && shape.burst_bytes() < at_once + 2_500,
            "{at_once}"
        );
        assert!(link.deadline().is_some_and(|at| later < at && at < later + MS));
    }

    #[test]
    fn headers_count_and_an_unshaped_line_passes_at_once() {
        let now = Instant::now();
        let mut link = Link::new(Shape::default(), now);
        link.offer(7, vec![1, 2, 3]);
        assert_eq!(link.take(now), Some((7, vec![1, 2, 3])));
        assert_eq!((link.counts().bytes(), link.counts().datagrams()), (31, 1));
        assert_eq!(link.deadline(), None);
    }

    #[test]
    fn a_delayed_datagram_arrives_when_its_time_has_come() {
        let now = Instant::now();
        let mut link = Link::new(Shape { delay: 30 * MS, ..Shape::mbit(20.0) }, now);
        link.offer((), vec![0; 10]);
        assert_eq!(link.take(now), None);
        assert_eq!(link.deadline(), Some(now + 30 * MS));
        assert_eq!(link.take(now + 29 * MS), None);
        assert_eq!(link.take(now + 30 * MS), Some(((), vec![0; 10])));
    }

    #[test]
    fn one_seed_loses_the_same_datagrams() {
        let arrived = |seed| {
            let now = Instant::now();
            let mut link = Link::new(Shape { loss: 0.1, seed, ..Shape::default() }, now);
            for number in 0..1_000 {
                link.offer(number, Vec::new());
            }
            std::iter::from_fn(|| link.take(now)).map(|(number, _)| number).collect::<Vec<u32>>()
        };
        assert_eq!(arrived(1), arrived(1));
        assert_ne!(arrived(1), arrived(2));
        assert!((860..940).contains(&arrived(3).len()), "{}", arrived(3).len());
    }
}
