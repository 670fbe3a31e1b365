//! What a campaign has done: numbers that add up, over lives and over runs.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::disk::{Ended, How, Operation};

/// Where in a program's run its end came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The database was being made: there was none before.
    First,
    /// What a clean end had left was being opened.
    Opening,
    /// What a power cut or a kill had left was being opened: a double cut.
    Recovering,
    Working,
    Closing,
}

/// What power cuts made of the pieces that were not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pieces {
    pub(crate) kept: u64,
    pub(crate) torn: u64,
    pub(crate) lost: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct During {
    pub(crate) write: u64,
    pub(crate) set_length: u64,
    pub(crate) sync: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moments {
    pub(crate) first: u64,
    pub(crate) opening: u64,
    pub(crate) recovering: u64,
    pub(crate) working: u64,
    pub(crate) closing: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Disks, each cut many times.
    pub(crate) lives: u64,
    /// Power cuts; kills are not among them.
    pub(crate) cuts: u64,
    pub(crate) kills: u64,
    /// Of the power cuts.
    pub(crate) moments: Moments,
    /// Of the power cuts.
    pub(crate) during: During,
    pub(crate) pieces: Pieces,
    pub(crate) acknowledged: u64,
    /// Of them, those that were no longer needed.
    pub(crate) dropped: u64,
    /// Batches that were not acknowledged when the end came.
    pub(crate) in_flight_whole: u64,
    pub(crate) in_flight_gone: u64,
}

impl Tally {
    pub(crate) fn end(&mut self, ended: Ended, moment: Moment) {
        if ended.how == How::Kill {
            self.kills += 1;
            return;
        }
        self.cuts += 1;
        *match moment {
            Moment::First => &mut self.moments.first,
            Moment::Opening => &mut self.moments.opening,
            Moment::Recovering => &mut self.moments.recovering,
            Moment::Working => &mut self.moments.working,
            Moment::Closing => &mut self.moments.closing,
        } += 1;
        *match ended.during {
            Operation::Write => &mut self.during.write,
            Operation::SetLength => &mut self.during.set_length,
            Operation::Sync => &mut self.during.sync,
        } += 1;
        self.pieces += ended.pieces;
    }
}

impl AddAssign for Pieces {
    fn add_assign(&mut self, other: Self) {
        let Self { kept, torn, lost } = other;
        self.kept += kept;
        self.torn += torn;
        self.lost += lost;
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self { lives, cuts, kills, moments, during, pieces, acknowledged, dropped, .. } = other;
        self.lives += lives;
        self.cuts += cuts;
        self.kills += kills;
        self.moments.first += moments.first;
        self.moments.opening += moments.opening;
        self.moments.recovering += moments.recovering;
        self.moments.working += moments.working;
        self.moments.closing += moments.closing;
        self.during.write += during.write;
        self.during.set_length += during.set_length;
        self.during.sync += during.sync;
        self.pieces += pieces;
        self.acknowledged += acknowledged;
        self.dropped += dropped;
        self.in_flight_whole += other.in_flight_whole;
        self.in_flight_gone += other.in_flight_gone;
    }
}
