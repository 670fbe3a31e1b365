//! Many lives, on all cores, in parts that can be taken up again.
//!
//! The rule: the seeds are cut into blocks; a block that is done is added to the progress file at once,
//! and another run of the same program with the same plan does only those that are lacking. Which core
//! did a block, and when, makes no difference to what comes out. A campaign that was ended is begun anew
//! by the next run; so is one of another build, since that may do other things.

use std::{
    collections::BTreeSet,
    env, fs,
    num::NonZeroUsize,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use storemesh_host::files;

use super::{
    life::{self, Sabotage, Workload},
    tally::Tally,
};

/// Some seconds of work: an interrupted campaign loses no more.
const BLOCK: u64 = 10;
/// More would say nothing new.
const MAX_BROKEN: usize = 10;
/// A progress file is a few numbers for each block.
const MAX_PROGRESS_BYTES: u64 = 16 << 20;

/// Which lives are lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) from: u64,
    pub(crate) lives: u64,
    pub(crate) sabotage: Sabotage,
}

/// A seed that broke the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Broken {
    pub(crate) seed: u64,
    pub(crate) rule: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) broken: Vec<Broken>,
}

#[derive(Serialize, Deserialize)]
struct Progress {
    /// The hash of the program.
    program: String,
    plan: Plan,
    done: BTreeSet<usize>,
    outcome: Outcome,
}

impl Plan {
    fn blocks(&self) -> Vec<Range<u64>> {
        let end = self.from.saturating_add(self.lives);
        let starts = (self.from..end).step_by(usize::try_from(BLOCK).expect("a small number"));
        starts.map(|start| start..end.min(start.saturating_add(BLOCK))).collect()
    }
}

/// Lives all lives of the plan; `progress` is the file to take up and to leave behind.
pub(crate) fn run<W: Workload>(plan: Plan, progress: Option<&Path>) -> anyhow::Result<Outcome> {
    let blocks = plan.blocks();
    // A failing seed that is told again leaves an interrupted campaign alone.
    let progress = progress.filter(|_| blocks.len() > 1);
    let program = progress.map(|_| program()).transpose()?.unwrap_or_default();
    let taken_up = progress.map(read).transpose()?.flatten().filter(|earlier| {
        earlier.program == program && earlier.plan == plan && earlier.done.len() < blocks.len()
    });
    let mut state = taken_up.unwrap_or_else(|| Progress {
        program,
        plan,
        done: BTreeSet::new(),
        outcome: Outcome::default(),
    });
    let lacking: Vec<usize> =
        (0..blocks.len()).filter(|block| !state.done.contains(block)).collect();

    let bar = bar(blocks.len() as u64);
    bar.set_position(state.done.len() as u64);
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        let (done, results) = mpsc::channel();
        for _ in 0..cores {
            let (done, lacking, blocks, next) = (done.clone(), &lacking, &blocks, &next);
            scope.spawn(move || {
                while let Some(block) = lacking.get(next.fetch_add(1, Relaxed)) {
                    let outcome = lives::<W>(blocks[*block].clone(), plan.sabotage);
                    if done.send((*block, outcome)).is_err() {
                        // Enough is broken.
                        return;
                    }
                }
            });
        }
        drop(done);
        for (block, outcome) in results {
            state.done.insert(block);
            state.outcome.tally += outcome.tally;
            state.outcome.broken.extend(outcome.broken);
            if let Some(path) = progress {
                files::replace(path, &serde_json::to_vec(&state)?)?;
            }
            bar.inc(1);
            if state.outcome.broken.len() >= MAX_BROKEN {
                break;
            }
        }
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    state.outcome.broken.sort_by_key(|broken| broken.seed);
    Ok(state.outcome)
}

fn lives<W: Workload>(seeds: Range<u64>, sabotage: Sabotage) -> Outcome {
    let mut outcome = Outcome::default();
    for seed in seeds {
        match life::live::<W>(seed, sabotage) {
            Ok(tally) => outcome.tally += tally,
            Err(why) => outcome.broken.push(Broken { seed, rule: format!("{why:#}") }),
        }
    }
    outcome
}

/// A file that does not read is of another program, and is replaced.
fn read(path: &Path) -> anyhow::Result<Option<Progress>> {
    let bytes = files::read_small(path, MAX_PROGRESS_BYTES)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn program() -> anyhow::Result<String> {
    let path: PathBuf = env::current_exe().context("finding this program's file")?;
    let bytes = fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

/// Hidden where nobody watches.
fn bar(blocks: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {eta} left")
        .expect("the template is well formed, it is the only one");
    ProgressBar::new(blocks).with_style(style)
}
