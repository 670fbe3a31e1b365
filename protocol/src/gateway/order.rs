//! The published order of candidates: which terminal of a store should be its gateway.
//!
//! One that HQ has ended comes last, and before it one whose disk has no room for what HQ wants or the others sell,
//! since only the gateway fetches from HQ and brings to it. Then: wired before wireless, mains before battery, then the uplink as measured (delay, then rate), then
//! uptime, then PeerId. Each terminal tells its neighbours what it is, so all of one mesh know the
//! same order. What is measured counts in powers of two: a difference that a person would not notice
//! is none. Two terminals that judge a borderline differently call HQ in the same turn, and HQ
//! decides.
//!
//! A neighbour that has said nothing of itself comes last.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use storemesh_keys::PeerId;

use crate::{Instant, terminal::Hardware, wire::mesh::Candidate};

/// Delays below this are all alike: a busy terminal adds as much by itself.
const DELAY_UNIT_MS: u32 = 16;
/// The shortest delay of so many calls counts: one that waited behind a release says nothing.
const CALLS: usize = 3;
/// As are rates: nothing can be fetched with less.
const RATE_UNIT: u64 = 64 << 10;
/// Uptimes count by this: what has run for a while is not about to be switched off again.
const UPTIME_UNIT_S: u32 = 60;
/// One delay is worth a hand-over when it is at least so many times shorter, as a power of two:
/// four times, which neither a queue nor one slow call makes.
const WORTH_CLASSES: u32 = 2;

#[derive(Debug)]
pub(super) struct Order {
    me: PeerId,
    started: Instant,
    mine: Candidate,
    /// Of the last calls.
    delays: VecDeque<u32>,
    /// What I last told the neighbours, but for the uptime.
    told: Option<Class>,
    others: BTreeMap<PeerId, (Candidate, Instant)>,
}

/// Where a terminal stands in the order; the lowest is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(Class, Reverse<u32>, PeerId);

/// What of it does not change by itself.
#[expect(clippy::struct_excessive_bools, reason = "each is a step of the order")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    ended: bool,
    no_room: bool,
    wireless: bool,
    battery: bool,
    delay: u32,
    rate: Reverse<u32>,
}

impl Order {
    pub(super) fn new(me: PeerId, now: Instant) -> Self {
        let mut order = Self {
            me,
            started: now,
            mine: Candidate::default(),
            delays: VecDeque::new(),
            told: None,
            others: BTreeMap::new(),
        };
        order.hardware(Hardware::default());
        order
    }

    pub(super) fn hardware(&mut self, hardware: Hardware) {
        (self.mine.wired, self.mine.mains) = (hardware.wired, hardware.mains);
    }

    pub(super) fn no_room(&mut self, no_room: bool) {
        self.mine.no_room = no_room;
    }

    pub(super) fn ended(&mut self, ended: bool) {
        self.mine.ended = ended;
    }

    pub(super) fn delay(&mut self, delay: Duration) {
        self.delays.push_back(u32::try_from(delay.as_millis()).unwrap_or(u32::MAX));
        if self.delays.len() > CALLS {
            self.delays.pop_front();
        }
        self.mine.delay_ms = self.delays.iter().min().copied();
    }

    pub(super) fn rate(&mut self, bytes_per_s: u64) {
        self.mine.bytes_per_s = Some(bytes_per_s);
    }

    /// A neighbour's word on itself.
    pub(super) fn heard(&mut self, now: Instant, peer: PeerId, candidate: Candidate) {
        self.others.insert(peer, (candidate, now));
    }

    pub(super) fn lost(&mut self, peer: &PeerId) {
        self.others.remove(peer);
    }

    /// What this terminal tells of itself.
    pub(super) fn mine(&self, now: Instant) -> Candidate {
        let uptime_s = u32::try_from(now.since(self.started).as_secs()).unwrap_or(u32::MAX);
        Candidate { uptime_s, ..self.mine }
    }

    /// Whether the neighbours should hear it anew; true once for each change.
    pub(super) fn is_news(&mut self) -> bool {
        let class = Class::of(&self.mine);
        self.told.replace(class) != Some(class)
    }

    pub(super) fn rank(&self, now: Instant, peer: PeerId) -> Rank {
        let candidate = if peer == self.me {
            self.mine(now)
        } else {
            let known = self.others.get(&peer);
            known.map_or_else(Candidate::default, |(candidate, at)| {
                let since = u32::try_from(now.since(*at).as_secs()).unwrap_or(u32::MAX);
                Candidate { uptime_s: candidate.uptime_s.saturating_add(since), ..*candidate }
            })
        };
        let uptime = (candidate.uptime_s / UPTIME_UNIT_S).saturating_add(1).ilog2();
        Rank(Class::of(&candidate), Reverse(uptime), peer)
    }

    /// The best of the neighbours, if it is so much better than this terminal that the lease should
    /// be its; only one that has reached HQ.
    pub(super) fn better(&self, now: Instant) -> Option<PeerId> {
        let mine = Class::of(&self.mine);
        let reached = self.others.iter().filter(|(_, (c, _))| c.delay_ms.is_some());
        let best = reached.map(|(peer, _)| *peer).min_by_key(|peer| self.rank(now, *peer))?;
        let Rank(theirs, ..) = self.rank(now, best);
        let built = |class: &Class| (class.ended, class.no_room, class.wireless, class.battery);
        let closer = theirs.delay.saturating_add(WORTH_CLASSES) <= mine.delay;
        let worth = built(&theirs) < built(&mine) || (built(&theirs) == built(&mine) && closer);
        worth.then_some(best)
    }
}

impl Class {
    fn of(candidate: &Candidate) -> Self {
        let delay = candidate.delay_ms.map_or(u32::MAX, |ms| (ms / DELAY_UNIT_MS + 1).ilog2());
        let rate = candidate.bytes_per_s.map_or(0, |rate| (rate / RATE_UNIT + 1).ilog2());
        let Candidate { wired, mains, no_room, ended, .. } = *candidate;
        Self { ended, no_room, wireless: !wired, battery: !mains, delay, rate: Reverse(rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::peer;

    const NOW: Instant = Instant(1);

    /// The best there is, but for the rate.
    fn good() -> Candidate {
        Candidate {
            wired: true,
            mains: true,
            delay_ms: Some(5),
            bytes_per_s: None,
            uptime_s: 100,
            no_room: false,
            ended: false,
        }
    }

    fn order(others: &[(u8, Candidate)]) -> Order {
        let mut order = Order::new(peer(99), NOW);
        for (n, candidate) in others {
            order.heard(NOW, peer(*n), *candidate);
        }
        order
    }

    #[test]
    fn the_order_is_the_published_one() {
        let worse_and_worse = [
            Candidate { bytes_per_s: Some(2 << 20), ..good() },
            Candidate { uptime_s: 10_000, ..good() },
            good(),
            Candidate { delay_ms: Some(100), bytes_per_s: Some(2 << 20), ..good() },
            Candidate { delay_ms: None, ..good() },
            Candidate { mains: false, uptime_s: 10_000, ..good() },
            Candidate { wired: false, ..good() },
            Candidate { wired: false, mains: false, ..good() },
            Candidate { no_room: true, ..good() },
            Candidate { ended: true, ..good() },
        ];
        // The highest PeerId first, so that PeerIds alone would turn the order around.
        let numbered = (1..=10).rev().zip(worse_and_worse);
        let order = order(&numbered.collect::<Vec<_>>());
        let mut by_rank: Vec<u8> = (1..=10).collect();
        by_rank.sort_by_key(|n| order.rank(NOW, peer(*n)));
        assert_eq!(by_rank, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn alike_they_are_told_apart_by_their_peer_ids() {
        let a_little_slower = Candidate { delay_ms: Some(9), uptime_s: 90, ..good() };
        let order = order(&[(1, a_little_slower), (2, good())]);
        assert!(order.rank(NOW, peer(1)) < order.rank(NOW, peer(2)));
    }

    #[test]
    fn whoever_has_said_nothing_comes_last() {
        let worst = Candidate { wired: false, mains: false, ..Candidate::default() };
        let order = order(&[(2, worst)]);
        assert!(order.rank(NOW, peer(2)) < order.rank(NOW, peer(3)));
    }

    #[test]
    fn uptime_goes_on_while_nothing_is_said() {
        let order = order(&[(1, Candidate { uptime_s: 0, ..good() })]);
        let later = NOW + Duration::from_hours(1);
        assert!(order.rank(later, peer(1)) < order.rank(NOW, peer(1)));
    }

    #[test]
    fn only_a_clear_advantage_is_worth_a_hand_over() {
        let mine = |order: &mut Order, hardware, delay| {
            order.hardware(hardware);
            order.delay(Duration::from_millis(delay));
        };
        let (desk, tablet) = (Hardware::default(), Hardware { wired: false, mains: true });
        let cases = [
            (good(), tablet, 5, Some(1)),
            (good(), desk, 5, None),
            (good(), desk, 40, None),
            (good(), desk, 80, Some(1)),
            (Candidate { uptime_s: 1_000_000, ..good() }, desk, 5, None),
            (Candidate { delay_ms: None, ..good() }, tablet, 5, None),
            (Candidate { wired: false, ..good() }, desk, 500, None),
        ];
        for (theirs, hardware, delay, expected) in cases {
            let mut order = order(&[(1, theirs)]);
            mine(&mut order, hardware, delay);
            assert_eq!(order.better(NOW), expected.map(peer), "{theirs:?} beside {delay} ms");
        }
    }

    #[test]
    fn one_slow_call_is_forgiven_and_a_line_that_became_slow_is_not() {
        let mut order = order(&[]);
        order.delay(Duration::from_millis(5));
        order.delay(Duration::from_millis(500));
        assert_eq!(order.mine(NOW).delay_ms, Some(5));
        for _ in 0..2 {
            order.delay(Duration::from_millis(400));
        }
        assert_eq!(order.mine(NOW).delay_ms, Some(400));
    }

    #[test]
    fn the_neighbours_hear_of_changes_once() {
        let mut order = order(&[]);
        assert!(order.is_news());
        assert!(!order.is_news());
        order.delay(Duration::from_millis(3));
        assert!(order.is_news());
        order.delay(Duration::from_millis(4));
        assert!(!order.is_news(), "as good as before");
        order.hardware(Hardware { wired: false, mains: true });
        assert!(order.is_news());
    }
}
