//! The order in which entries of the stores' journals came to HQ.
//!
//! Each has an arrival number, from 1 and without a gap, given in the transaction that takes the entry. A
//! reader goes on behind the number that it has seen last, as a [`Cursor`]. An HQ restored from a backup
//! gives numbers again that it had given before; so a cursor also names the generation in which its entry
//! came, and one that this HQ did not give is told from one that it did.

use std::{fmt, ops::ControlFlow, str::FromStr};

use minicbor::{Decode, Encode};
use storemesh_keys::Timestamp;

use crate::feeds::{
    Read, Storage,
    ledger::FeedNo,
    storage::{put, row},
};

pub(crate) const ARRIVALS: &str = "arrivals.1";

/// What came under one number.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct Arrival {
    #[n(0)]
    feed: u32,
    #[n(1)]
    pub(crate) seq: u64,
    /// HQ's time.
    #[n(2)]
    pub(crate) at: Timestamp,
    /// HQ's, at that time.
    #[n(3)]
    generation: u64,
    /// False when it is void, or its author had been ended before.
    #[n(4)]
    pub(crate) counts: bool,
}

impl Arrival {
    pub(crate) fn feed(&self) -> FeedNo {
        FeedNo::of(self.feed)
    }
}

/// A place in the order of arrivals: behind that entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    generation: u64,
    number: u64,
}

/// Why a reader cannot go on behind its cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    #[error("`{0}` is no cursor: take one that HQ gave, or leave it out to begin with the first")]
    Malformed(String),
    #[error(
        "this HQ did not give cursor {0}: where another HQ did, begin with the first, 0-0; where this one was restored from a backup since, go on from {1}: what it has lost comes again, leave out by their ids what you have"
    )]
    NotOurs(Cursor, Cursor),
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.number)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let malformed = || CursorError::Malformed(text.chars().take(64).collect());
        let (generation, number) = text.split_once('-').ok_or_else(malformed)?;
        let number_of = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| plain).ok_or_else(malformed)
        };
        Ok(Self { generation: number_of(generation)?, number: number_of(number)? })
    }
}

impl Cursor {
    /// Before the first entry.
    pub const BEGINNING: Self = Self { generation: 0, number: 0 };

    /// Whether this HQ gave it.
    pub fn check(self, storage: &dyn Read) -> Result<(), CursorError> {
        let given = |at: Arrival| at.generation == self.generation;
        if self == Self::BEGINNING || arrival(storage, self.number).is_some_and(given) {
            return Ok(());
        }
        // Numbers and generations rise together.
        let is_before =
            |number| arrival(storage, number).is_some_and(|at| at.generation <= self.generation);
        let common = last_where(is_before).min(self.number);
        Err(CursorError::NotOurs(self, Self::at(storage, common)))
    }

    /// Behind the last entry of all.
    pub fn newest(storage: &dyn Read) -> Self {
        Self::at(storage, newest(storage))
    }

    fn at(storage: &dyn Read, number: u64) -> Self {
        let generation = arrival(storage, number).map(|at| at.generation);
        generation.map_or(Self::BEGINNING, |generation| Self { generation, number })
    }
}

/// Each arrival behind `cursor`, until `each` has had enough.
pub(crate) fn each_after(
    storage: &dyn Read,
    cursor: Cursor,
    each: &mut dyn FnMut(Cursor, Arrival) -> ControlFlow<()>,
) {
    let from = (cursor.number + 1).to_be_bytes();
    storage.scan(ARRIVALS, &from, &[u8::MAX; 9], &mut |key, bytes| {
        let number = key.try_into().ok().map(u64::from_be_bytes);
        let arrival = minicbor::decode::<Arrival>(bytes);
        match (number, arrival) {
            (Some(number), Ok(arrival)) => {
                each(Cursor { generation: arrival.generation, number }, arrival)
            }
            (_, Err(why)) => {
                let table = ARRIVALS.to_owned();
                storage.fail(crate::BadRow { table, why: why.to_string() });
                ControlFlow::Break(())
            }
            (None, Ok(_)) => ControlFlow::Continue(()),
        }
    });
}

/// Gives numbers.
#[derive(Debug)]
pub(super) struct Arrivals {
    newest: u64,
    generation: u64,
}

impl Arrivals {
    pub(super) fn load(storage: &dyn Read, generation: u64) -> Self {
        Self { newest: newest(storage), generation }
    }

    pub(super) fn note(
        &mut self,
        storage: &mut dyn Storage,
        at: Timestamp,
        (feed, seq): (FeedNo, u64),
        counts: bool,
    ) {
        self.newest += 1;
        let generation = self.generation;
        let arrival = Arrival { feed: feed.number(), seq, at, generation, counts };
        put(storage, ARRIVALS, &self.newest.to_be_bytes(), &arrival);
    }
}

fn newest(storage: &dyn Read) -> u64 {
    last_where(|number| storage.get(ARRIVALS, &u64::to_be_bytes(number)).is_some())
}

fn arrival(storage: &dyn Read, number: u64) -> Option<Arrival> {
    row(storage, ARRIVALS, &number.to_be_bytes())
}

/// The last number, from 1, for which `holds`, which holds for all before it; 0 where there is none.
fn last_where(holds: impl Fn(u64) -> bool) -> u64 {
    let mut step = 1;
    while holds(step) {
        step *= 2;
    }
    let mut last = step / 2;
    while step > 1 {
        step /= 2;
        if holds(last + step) {
            last += step;
        }
    }
    last
}
