//! How fast chunks come from and go to each neighbour and from HQ, from counters that are read now and then.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::Said;

/// Over so long a rate is taken: shorter jumps about, longer is old news.
const OVER: Duration = Duration::from_secs(3);

/// What HQ is called among the neighbours: no terminal has this identity.
pub(super) const HQ: &str = "HQ";

/// Bytes per second, in and out.
pub(super) type Rate = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Rates {
    /// The oldest first.
    samples: VecDeque<(Instant, BTreeMap<String, Rate>)>,
}

impl Rates {
    pub(super) fn add(&mut self, now: Instant, said: &Said) {
        let peers = said.peers.iter();
        let mut sample: BTreeMap<String, Rate> =
            peers.map(|peer| (peer.peer.clone(), (peer.bytes_in, peer.bytes_out))).collect();
        let from_hq = said.status.releases.iter().map(|release| release.bytes_from_hq).sum();
        sample.insert(HQ.to_owned(), (from_hq, 0));
        self.samples.push_back((now, sample));
        while self.samples.front().is_some_and(|(at, _)| *at + OVER < now) {
            self.samples.pop_front();
        }
    }

    /// A neighbour that has come back counts from nothing again.
    pub(super) fn of(&self, peer: &str) -> Rate {
        let mut known =
            self.samples.iter().filter_map(|(at, sample)| Some((*at, *sample.get(peer)?)));
        let Some((begun, mut before)) = known.next() else { return (0, 0) };
        let (mut ended, mut came, mut went) = (begun, 0, 0);
        for (at, bytes) in known {
            came += bytes.0.saturating_sub(before.0);
            went += bytes.1.saturating_sub(before.1);
            (ended, before) = (at, bytes);
        }
        let ms = u64::try_from((ended - begun).as_millis()).unwrap_or(u64::MAX);
        let rate = |bytes: u64| bytes.saturating_mul(1000).checked_div(ms).unwrap_or(0);
        (rate(came), rate(went))
    }
}
