//! The life of one disk: a program works on it, is cut off, starts again on what is left, and again.
//!
//! The rule: whenever the program opens the disk it finds all that it had acknowledged and, of the batch
//! in flight, everything or nothing ([`Workload::check`]); what it found it has from then on, as if
//! acknowledged, since it may already have told somebody. An error while the power is on breaks the rule
//! too, and so does a panic.
//!
//! Each run is rehearsed on a copy of the disk, without an end. That tells its operations, so that an end
//! can be drawn from all of them, or from those of the recovery, and it opens each disk once without a
//! cut. The seed decides everything.
//!
//! Until the database has been made, each program begins on an empty disk: `storemesh_host::db` gives the
//! file its name when it is whole, and removes what has none.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::{
    disk::{Disk, End, How, Operation, Port, Syncs},
    tally::{Moment, Tally},
};
use crate::chance::Chance;

/// Enough for a disk that has been through much, few enough to be told again at once.
pub(crate) const CUTS: u64 = 10;
/// Of a life's cuts, at least so many come in a recovery.
pub(crate) const DOUBLE_CUTS: u64 = 2;
/// A run without an end works through at most so many batches.
const BATCHES: usize = 12;
/// Of a thousand runs so many end as they should, and so many of the others by a kill.
const CLEAN_PER_MILLE: u32 = 100;
const KILLS_PER_MILLE: u32 = 100;
/// Of a thousand recoveries so many are cut, beside the last that are due.
const DOUBLE_PER_MILLE: u32 = 100;

/// What is broken on purpose, so that a campaign can be seen to fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum Sabotage {
    #[default]
    None,
    /// The disk says that it synced, and did not
    LyingDisk,
    /// A batch is acknowledged before it is committed
    EarlyAnswers,
}

/// A program that acknowledges what it was given, seen from outside: it knows what it has acknowledged.
pub(crate) trait Workload: Clone {
    type Database;
    type Running;

    fn new(sabotage: Sabotage, chance: &mut Chance) -> Self;

    /// Opens the database, or makes it.
    fn open(&self, port: Port) -> anyhow::Result<Self::Database>;

    /// Starts the program on what is there.
    fn start(
        &mut self,
        database: Self::Database,
        chance: &mut Chance,
    ) -> anyhow::Result<Self::Running>;

    /// Looks at everything there is; fails when it is not what was acknowledged. It writes nothing.
    fn check(&mut self, running: &mut Self::Running) -> anyhow::Result<InFlight>;

    /// Hands in one batch and waits for the acknowledgement.
    fn batch(&mut self, running: &mut Self::Running, chance: &mut Chance) -> anyhow::Result<Done>;
}

/// What a batch came to.
pub(crate) struct Done {
    pub(crate) acknowledged: u64,
    /// Of what was acknowledged before, so much is no longer needed, and gone.
    pub(crate) dropped: u64,
}

/// What became of the batch that had not been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InFlight {
    /// There was none.
    None,
    Whole,
    Gone,
}

/// What a run came to.
#[derive(Default)]
struct Run {
    operations: Vec<Operation>,
    /// The database was whole.
    made: bool,
    /// How many of them until it was open and looked at; none when it did not get so far.
    opening: Option<usize>,
    /// Until it was asked to end.
    worked: Option<usize>,
    acknowledged: u64,
    dropped: u64,
    in_flight: Option<InFlight>,
}

/// A seed's life, and its tally when no rule was broken.
pub(crate) fn live<W: Workload>(seed: u64, sabotage: Sabotage) -> anyhow::Result<Tally> {
    let life = AssertUnwindSafe(|| lived::<W>(seed, sabotage));
    panic::catch_unwind(life).unwrap_or_else(|panic| bail!("it panicked: {}", words(&*panic)))
}

fn lived<W: Workload>(seed: u64, sabotage: Sabotage) -> anyhow::Result<Tally> {
    let mut chance = Chance::new(seed);
    let syncs = if sabotage == Sabotage::LyingDisk { Syncs::Ignored } else { Syncs::Kept };
    let disk = Disk::new(chance.number(), syncs);
    let mut workload = W::new(sabotage, &mut chance);
    let mut tally = Tally { lives: 1, ..Tally::default() };
    let (mut made, mut recovering) = (false, false);
    loop {
        if !made {
            disk.empty();
        }
        let story = chance.number();
        let rehearsal = run(&mut workload.clone(), &disk.copy(), None, story)
            .with_context(|| format!("after {} cuts", tally.cuts))?;
        if tally.cuts == CUTS {
            return Ok(tally);
        }
        let end = if chance.hits(CLEAN_PER_MILLE) {
            None
        } else {
            let lacking = DOUBLE_CUTS.saturating_sub(tally.moments.recovering);
            let due = CUTS - tally.cuts <= 2 * lacking || chance.hits(DOUBLE_PER_MILLE);
            let within = rehearsal.opening.filter(|_| made && recovering && due);
            let within = &rehearsal.operations[..within.unwrap_or(rehearsal.operations.len())];
            let how = if chance.hits(KILLS_PER_MILLE) { How::Kill } else { How::PowerCut };
            Some(End { how, at: point(within, &mut chance) })
        };

        let run = run(&mut workload, &disk, end, story)
            .with_context(|| format!("after {} cuts, up to {end:?}", tally.cuts))?;
        tally.acknowledged += run.acknowledged;
        tally.dropped += run.dropped;
        match run.in_flight {
            Some(InFlight::Whole) => tally.in_flight_whole += 1,
            Some(InFlight::Gone) => tally.in_flight_gone += 1,
            Some(InFlight::None) | None => {}
        }
        let opening = match (made, run.made, recovering) {
            (false, false, _) => Moment::First,
            (true, _, true) => Moment::Recovering,
            _ => Moment::Opening,
        };
        (made, recovering) = (made || run.made, end.is_some());
        if end.is_none() {
            continue;
        }
        // The same story on the same disk has the same operations.
        let ended = disk.ended().context("the end did not come: two runs of one story differ")?;
        let moment = match run {
            Run { opening: None, .. } => opening,
            Run { worked: None, .. } => Moment::Working,
            Run { .. } => Moment::Closing,
        };
        tally.end(ended, moment);
    }
}

/// Opens, looks, works and closes; errors count only while the disk works.
fn run<W: Workload>(
    workload: &mut W,
    disk: &Disk,
    end: Option<End>,
    story: u64,
) -> anyhow::Result<Run> {
    let mut run = Run::default();
    let worked = work(workload, disk, end, story, &mut run);
    run.operations = disk.operations();
    match worked {
        Err(error) if disk.ended().is_none() => Err(error),
        _ => Ok(run),
    }
}

fn work<W: Workload>(
    workload: &mut W,
    disk: &Disk,
    end: Option<End>,
    story: u64,
    run: &mut Run,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(story);
    let database = workload.open(disk.power_on(end)).context("opening what is left")?;
    run.made = disk.ended().is_none();
    let mut running = workload.start(database, &mut chance).context("starting on what is left")?;
    if disk.ended().is_some() {
        // What it would say now is in memory only.
        return Ok(());
    }
    run.in_flight = Some(workload.check(&mut running)?);
    run.opening = Some(disk.operations().len());
    for _ in 0..=chance.below(BATCHES) {
        let done = workload.batch(&mut running, &mut chance).context("a batch")?;
        run.acknowledged += done.acknowledged;
        run.dropped += done.dropped;
    }
    run.worked = disk.ended().is_none().then(|| disk.operations().len());
    Ok(())
}

/// Where the end comes. Each kind is as likely: syncs are few beside writes, and matter more.
fn point(operations: &[Operation], chance: &mut Chance) -> usize {
    let mut kinds = vec![Operation::Write, Operation::SetLength, Operation::Sync];
    kinds.retain(|kind| operations.contains(kind));
    let Some(kind) = kinds.get(chance.below(kinds.len())) else { return 1 };
    let numbered = (1..).zip(operations).filter(|(_, operation)| *operation == kind);
    let numbers: Vec<usize> = numbered.map(|(number, _)| number).collect();
    numbers[chance.below(numbers.len())]
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}
