//! A disk with a write cache that forgets, whose power can be cut.
//!
//! What it is for: opening a real database on what a power cut leaves. The rule: what was written can be
//! read at once, and is safe once a sync that began after it has returned. When the power goes, each
//! sector's piece of what was not synced is there, missing or torn, whichever was written first, and the
//! file has one of the lengths that it had since the last sync. From then on nothing works until the
//! power is back ([`Disk::power_on`]).
//!
//! A program can also be killed: then the cache stays, and the next program reads what was never synced.
//! When the end comes is said beforehand ([`End`]), as a number of operations. Reads are not counted:
//! they leave nothing behind.

#[cfg(test)]
mod tests;

use std::{
    io, iter, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use super::tally::Pieces;
use crate::chance::Chance;

/// What disks write as one: old ones, and flash.
const SECTORS: [usize; 2] = [512, 4096];
/// Of the pieces that a power cut leaves, how many it leaves torn.
const TORN_PER_MILLE: u32 = 100;

/// Whether a sync does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    Kept,
    /// Cheap flash has been seen to do this.
    Ignored,
}

/// What a program asks of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Write,
    SetLength,
    Sync,
}

/// How a program ends that is not asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    PowerCut,
    Kill,
}

/// The end comes in the midst of the `at`-th operation since the power came, from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) how: How,
    pub(crate) at: usize,
}

/// An end that has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) how: How,
    pub(crate) during: Operation,
    /// What the power cut made of what was not synced.
    pub(crate) pieces: Pieces,
}

#[derive(Debug)]
pub(crate) struct Disk(Arc<Mutex<State>>);

/// The disk as one program has it; of no use once that program has ended.
#[derive(Debug)]
pub(crate) struct Port {
    disk: Arc<Mutex<State>>,
    power: u64,
}

#[derive(Clone, Debug)]
struct State {
    chance: Chance,
    sector: usize,
    syncs: Syncs,
    /// What is read.
    seen: Vec<u8>,
    /// What no power cut can take away.
    safe: Vec<u8>,
    /// What makes `seen` of `safe`, in this order.
    unsynced: Vec<Piece>,
    /// How often the power came.
    power: u64,
    /// Since the power came.
    operations: Vec<Operation>,
    end: Option<End>,
    ended: Option<Ended>,
}

#[derive(Clone, Debug)]
enum Piece {
    /// Within one sector.
    Bytes {
        at: usize,
        bytes: Vec<u8>,
    },
    Length(usize),
}

/// How far the disk had come with its cache.
#[derive(Clone, Copy)]
enum Reached {
    /// So many of a thousand pieces are there.
    PerMille(u32),
    /// What checksums must find.
    AllButOne,
}

const REACHED: [Reached; 6] = [
    Reached::PerMille(0),
    Reached::PerMille(100),
    Reached::PerMille(500),
    Reached::PerMille(900),
    Reached::AllButOne,
    Reached::PerMille(1000),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Torn,
    Lost,
}

impl Disk {
    /// An empty one; `seed` decides what power cuts leave.
    pub(crate) fn new(seed: u64, syncs: Syncs) -> Self {
        let mut chance = Chance::new(seed);
        let state = State {
            sector: SECTORS[chance.below(SECTORS.len())],
            chance,
            syncs,
            seen: Vec::new(),
            safe: Vec::new(),
            unsynced: Vec::new(),
            power: 0,
            operations: Vec::new(),
            end: None,
            ended: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Another disk with the same on it, in its cache and in its future.
    pub(crate) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(lock(&self.0).clone())))
    }

    /// For the next program.
    pub(crate) fn power_on(&self, end: Option<End>) -> Port {
        let mut state = lock(&self.0);
        state.power += 1;
        state.operations.clear();
        state.end = end;
        state.ended = None;
        Port { disk: self.0.clone(), power: state.power }
    }

    /// A file that was not given its name yet is not there for the next program.
    pub(crate) fn empty(&self) {
        let mut state = lock(&self.0);
        let State { seen, safe, unsynced, .. } = &mut *state;
        (*seen, *safe, *unsynced) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// All that were asked for since the power came.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        lock(&self.0).operations.clone()
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        lock(&self.0).ended
    }
}

impl Port {
    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = lock(&self.disk);
        if state.ended.is_some() || state.power != self.power {
            return Err(io::Error::other("the power is off"));
        }
        Ok(state)
    }

    fn operate(
        &self,
        operation: Operation,
        carry_out: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.running()?;
        state.operations.push(operation);
        let number = state.operations.len();
        let Some(End { how, .. }) = state.end.filter(|end| end.at == number) else {
            return carry_out(&mut state);
        };
        // Of what it was at, a part may be there; a sync that did not return has promised nothing.
        if operation != Operation::Sync {
            carry_out(&mut state)?;
        }
        let pieces = match how {
            How::PowerCut => state.cut(),
            How::Kill => Pieces::default(),
        };
        state.ended = Some(Ended { how, during: operation, pieces });
        Err(io::Error::other("the power went"))
    }
}

impl StorageBackend for Port {
    fn len(&self) -> io::Result<u64> {
        Ok(self.running()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.running()?;
        let from = place(offset)?;
        let bytes = from.checked_add(out.len()).and_then(|to| state.seen.get(from..to));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let length = place(len)?;
        self.operate(Operation::SetLength, |state| {
            state.set_length(length);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(Operation::Sync, |state| {
            state.sync();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = place(offset)?;
        self.operate(Operation::Write, |state| state.write(at, data))
    }
}

impl State {
    fn write(&mut self, at: usize, data: &[u8]) -> io::Result<()> {
        let room = self.seen.get_mut(at..).and_then(|rest| rest.get_mut(..data.len()));
        // A file would grow; whoever counts on that has not asked for the length.
        room.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        let (mut at, mut data) = (at, data);
        while !data.is_empty() {
            let (bytes, rest) = data.split_at(data.len().min(self.sector - at % self.sector));
            self.unsynced.push(Piece::Bytes { at, bytes: bytes.to_vec() });
            at += bytes.len();
            data = rest;
        }
        Ok(())
    }

    fn set_length(&mut self, length: usize) {
        // What lies beyond leaves the cache, also where the file grows again.
        for piece in &mut self.unsynced {
            if let Piece::Bytes { at, bytes } = piece {
                bytes.truncate(length.saturating_sub(*at));
            }
        }
        self.seen.resize(length, 0);
        self.unsynced.push(Piece::Length(length));
    }

    fn sync(&mut self) {
        if self.syncs == Syncs::Ignored {
            return;
        }
        for piece in self.unsynced.drain(..) {
            match piece {
                Piece::Bytes { at, bytes } => put(&mut self.safe, at, &bytes),
                Piece::Length(length) => self.safe.resize(length, 0),
            }
        }
    }

    /// The power goes: what is left is all there is from now on.
    fn cut(&mut self) -> Pieces {
        let (mut lengths, mut writes) = (vec![self.safe.len()], Vec::new());
        for piece in mem::take(&mut self.unsynced) {
            match piece {
                Piece::Bytes { at, bytes } => writes.push((at, bytes)),
                Piece::Length(length) => lengths.push(length),
            }
        }
        let reached = REACHED[self.chance.below(REACHED.len())];
        self.shorten_or_grow(&lengths, reached);

        let odd_one = self.chance.below(writes.len());
        let fates: Vec<Fate> =
            (0..writes.len()).map(|index| self.fate(reached, index == odd_one)).collect();
        let mut pieces = Pieces::default();
        for index in self.any_order(writes.len()) {
            let (at, bytes) = &writes[index];
            match fates[index] {
                Fate::Kept => {
                    pieces.kept += 1;
                    put(&mut self.safe, *at, bytes);
                }
                Fate::Torn => {
                    pieces.torn += 1;
                    let (first, second) = bytes.split_at(self.chance.below(bytes.len()));
                    if self.chance.hits(500) {
                        put(&mut self.safe, *at, first);
                    } else {
                        put(&mut self.safe, *at + first.len(), second);
                    }
                }
                Fate::Lost => pieces.lost += 1,
            }
        }
        self.seen.clone_from(&self.safe);
        pieces
    }

    /// The file gets one of the lengths it had, and loses what a shorter one before it cut off.
    fn shorten_or_grow(&mut self, lengths: &[usize], reached: Reached) {
        let last = match reached {
            Reached::PerMille(0) => 0,
            Reached::PerMille(1000) => lengths.len() - 1,
            Reached::PerMille(_) | Reached::AllButOne => self.chance.below(lengths.len()),
        };
        let shortest = lengths[..=last].iter().min().expect("the safe length is among them");
        self.safe.truncate(*shortest);
        self.safe.resize(lengths[last], 0);
    }

    fn fate(&mut self, reached: Reached, odd_one: bool) -> Fate {
        match reached {
            Reached::PerMille(1000) => Fate::Kept,
            Reached::AllButOne if !odd_one => Fate::Kept,
            Reached::AllButOne if self.chance.hits(500) => Fate::Torn,
            Reached::AllButOne => Fate::Lost,
            Reached::PerMille(kept) if !self.chance.hits(kept) => Fate::Lost,
            Reached::PerMille(_) if self.chance.hits(TORN_PER_MILLE) => Fate::Torn,
            Reached::PerMille(_) => Fate::Kept,
        }
    }

    /// The numbers below `count`, shuffled.
    fn any_order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for index in (1..count).rev() {
            order.swap(index, self.chance.below(index + 1));
        }
        order
    }
}

/// What lies beyond the end of the file is lost.
fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    let Some(room) = file.get_mut(at..) else { return };
    iter::zip(room, bytes).for_each(|(old, new)| *old = *new);
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// A panic of the program that is tried leaves the disk as good as a kill does.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
