//! The addresses of one other terminal, and in which order they are dialled.
//!
//! A round dials them all, the most promising first, the next one whenever one has failed or has not
//! answered for [`STAGGER`]: so an address where nobody answers any more costs a redial a moment,
//! not the time that a dial takes to fail. Most promising is what the terminal itself says or
//! somebody just found, what answered last, and what looks to be in this terminal's own network.
//! Addresses that it no longer says are kept, since it may come back to them, and tried last. Of
//! more than [`ADDRESSES_MAX`] the best stay.

use core::net::{IpAddr, SocketAddr};
use std::{cmp::Reverse, time::Duration};

use super::FoundBy;
use crate::Instant;

/// Between one address's dial and the next one's (RFC 8305 recommends 250 ms).
pub(super) const STAGGER: Duration = Duration::from_millis(250);
/// A dial that has not been answered for so long will not be: a lost first packet is sent again
/// after one second and after three.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses remembered for each terminal: IPv4 and some of IPv6 on two interfaces.
pub(super) const ADDRESSES_MAX: usize = 8;
/// Addresses that share so many leading bits are taken for neighbours in one network. A guess for
/// IPv4, where a shop has one small network; the rule for IPv6. Being wrong costs one [`STAGGER`].
const NEAR_BITS_V4: u32 = 24;
const NEAR_BITS_V6: u32 = 64;

#[derive(Debug, Default)]
pub(super) struct Places {
    /// The most promising first.
    all: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    address: SocketAddr,
    by: FoundBy,
    /// The terminal has since named other addresses than this one.
    old: bool,
    /// The last dial came to nothing.
    failed: bool,
    /// Of all, this one answered last.
    worked: bool,
    round: Round,
}

/// How far an address is in the round of dials that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Ahead,
    /// Dialled, and no answer expected after that.
    Dialled(Instant),
    Over,
}

impl Places {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The most promising one.
    pub(super) fn first(&self) -> Option<(SocketAddr, FoundBy)> {
        self.all.first().map(|place| (place.address, place.by))
    }

    /// The most promising first.
    pub(super) fn all(&self) -> impl Iterator<Item = (SocketAddr, FoundBy)> {
        self.all.iter().map(|place| (place.address, place.by))
    }

    pub(super) fn all_by(&self, by: FoundBy) -> bool {
        self.all.iter().all(|place| place.by == by)
    }

    /// Returns whether that is news. The newest is tried first.
    pub(super) fn found(&mut self, address: SocketAddr, by: FoundBy, here: &[IpAddr]) -> bool {
        if let Some(known) = self.all.iter_mut().find(|place| place.address == address) {
            return std::mem::take(&mut known.old);
        }
        let (old, failed, worked, round) = (false, false, false, Round::Ahead);
        self.all.insert(0, Place { address, by, old, failed, worked, round });
        self.sort(here);
        let kept = self.all.iter().take(ADDRESSES_MAX).any(|place| place.address == address);
        self.all.truncate(ADDRESSES_MAX);
        kept
    }

    /// The terminal itself named these, the best first, and no others. Returns whether one is news.
    pub(super) fn told(&mut self, told: &[SocketAddr], here: &[IpAddr]) -> bool {
        for place in &mut self.all {
            place.old = !told.contains(&place.address);
        }
        let mut news = false;
        for address in told.iter().take(ADDRESSES_MAX).rev() {
            news |= self.found(*address, FoundBy::Hello, here);
        }
        self.sort(here);
        news
    }

    /// Somebody answered there.
    pub(super) fn works(&mut self, address: SocketAddr) {
        if let Some(at) = self.all.iter().position(|place| place.address == address) {
            self.all.iter_mut().for_each(|place| place.worked = false);
            let mut place = self.all.remove(at);
            (place.old, place.failed, place.worked) = (false, false, true);
            self.all.insert(0, place);
        }
    }

    pub(super) fn begin_round(&mut self, here: &[IpAddr]) {
        for place in &mut self.all {
            place.round = Round::Ahead;
        }
        self.sort(here);
    }

    /// The next address of the round to dial, if one is left.
    pub(super) fn dial(&mut self, now: Instant) -> Option<SocketAddr> {
        let next = self.all.iter_mut().find(|place| place.round == Round::Ahead)?;
        next.round = Round::Dialled(now + DIAL_TIMEOUT);
        Some(next.address)
    }

    pub(super) fn failed(&mut self, address: SocketAddr) {
        if let Some(place) = self.all.iter_mut().find(|place| place.address == address) {
            (place.failed, place.round) = (true, Round::Over);
        }
    }

    /// Whether there are addresses left to dial in this round.
    pub(super) fn is_any_ahead(&self) -> bool {
        self.all.iter().any(|place| place.round == Round::Ahead)
    }

    /// When the last answer to this round's dials is due; none when all have failed.
    pub(super) fn last_answer(&self) -> Option<Instant> {
        let due = |place: &Place| match place.round {
            Round::Dialled(until) => Some(until),
            Round::Ahead | Round::Over => None,
        };
        self.all.iter().filter_map(due).max()
    }

    fn sort(&mut self, here: &[IpAddr]) {
        // Stable: what was found last stays before its like.
        self.all.sort_by_key(|place| {
            let near = here.iter().any(|mine| is_near(*mine, place.address.ip()));
            (place.old, place.failed, Reverse(place.worked), Reverse(near))
        });
    }
}

/// Whether anybody could be reached there from another machine: an IPv6 address that holds on one
/// link only needs the name of the interface beside it, which no message carries.
pub(super) fn is_dialable(address: &SocketAddr) -> bool {
    let special = match address.ip() {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unicast_link_local(),
    };
    !special && !address.ip().is_unspecified() && address.port() != 0
}

fn is_near(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).leading_zeros() >= NEAR_BITS_V4
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).leading_zeros() >= NEAR_BITS_V6
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
