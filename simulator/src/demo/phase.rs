//! One release: published, started, watched until every terminal runs it.
//!
//! The clock runs from before the order to start until the switch on disk (`current`) points to the
//! release; that is looked at every few milliseconds and does not ask the program anything. Bars are
//! drawn from what the terminals say, some of them at each look, so that fifty terminals are not
//! slowed by being watched.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use storemesh_host::sizes;

use super::{
    failover::Plan,
    measure::{Figures, Phase, Row, to_ms},
    own::Release,
    progress::Progress,
    say,
};
use crate::live::{
    chain::Chain,
    status::{ReleaseStatus, Status},
    stop,
    terminal::Terminal,
};

/// Between two looks at the terminals' disks: the error of the seconds measured.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Every terminal is asked how far it is about this often.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Not a byte and not a terminal further for this long: it will not come.
const PATIENCE: Duration = Duration::from_mins(1);

/// From the switch on disk to the status that says so.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// What is done to the gateway while the release comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gateway {
    Spared,
    Killed,
}

/// Returns the figures once every terminal runs the release.
pub(super) fn carry_out(
    chain: &mut Chain,
    release: &Release,
    wan_mbit: f64,
    gateway: Gateway,
) -> Result<Phase> {
    let Release { folder, product, version } = release;
    let published = chain.hq.publish_held(folder, product, version)?;
    say(format_args!(
        "{product} {version}: {} published, {} of it new and compressed; starting it",
        sizes::bytes(published.release_bytes),
        sizes::bytes(published.moved_bytes),
    ));

    let plan = match gateway {
        Gateway::Spared => None,
        Gateway::Killed => Plan::new(chain, product, version, published.moved_bytes)?,
    };
    let names = chain.terminals.iter().map(Terminal::name);
    let mut watch = Watch {
        product,
        folder: published.folder(),
        started: Instant::now(),
        arrived: vec![None; chain.terminals.len()],
        have: vec![0; chain.terminals.len()],
        progress: Progress::new(names),
        wan_before: chain.wan.down().bytes(),
        ask_next: 0,
        plan,
    };
    let wan_up_before = chain.wan.up().bytes();
    chain.hq.start_release(product, version)?;
    let seconds = watch.until_all_run(chain)?;
    let wan_bytes = chain.wan.down().bytes() - watch.wan_before;
    let wan_up_bytes = chain.wan.up().bytes() - wan_up_before;

    let statuses = said_by_all(chain, product, version)?;
    let rows = chain.terminals.iter().zip(&statuses).zip(&seconds);
    let rows = rows.enumerate().map(|(number, ((terminal, status), seconds))| {
        let release = status.release(product).cloned().unwrap_or_default();
        let before = watch.plan.as_ref().and_then(|plan| plan.before_the_kill(number));
        row(terminal.name(), status, release, before, *seconds)
    });
    let rows = rows.collect();
    let measured = Figures {
        release_bytes: published.release_bytes,
        moved_bytes: published.moved_bytes,
        wan_bytes,
        wan_up_bytes,
        first_s: seconds.iter().copied().fold(f64::INFINITY, f64::min),
        last_s: seconds.iter().copied().fold(0.0, f64::max),
        ..Figures::default()
    };
    let (failover, no_failover) = match watch.plan.map(|plan| plan.end(chain)).transpose()? {
        None => (None, None),
        Some(Ok(failover)) => (Some(failover), None),
        Some(Err(why)) => (None, Some(why)),
    };
    Ok(Phase {
        product: published.product,
        version: published.version,
        figures: Figures::new(measured, wan_mbit),
        failover,
        no_failover,
        per_terminal: rows,
    })
}

struct Watch<'a> {
    product: &'a str,
    folder: String,
    started: Instant,
    /// When each terminal ran it.
    arrived: Vec<Option<Duration>>,
    /// How many bytes each terminal said that it has.
    have: Vec<u64>,
    progress: Progress,
    wan_before: u64,
    /// The terminal to ask at the next look.
    ask_next: usize,
    plan: Option<Plan>,
}

impl Watch<'_> {
    /// Returns the seconds of each terminal.
    fn until_all_run(&mut self, chain: &mut Chain) -> Result<Vec<f64>> {
        let looks = ASK_EVERY.as_millis() / LOOK_EVERY.as_millis();
        let asked_per_look = chain.terminals.len().div_ceil(usize::try_from(looks).unwrap_or(1));
        let mut last_news = Instant::now();
        loop {
            for (number, terminal) in chain.terminals.iter().enumerate() {
                let runs = terminal.running_folder(self.product).as_ref() == Some(&self.folder);
                if runs && self.arrived[number].is_none() {
                    self.arrived[number] = Some(self.started.elapsed());
                    self.progress.runs(number, self.started.elapsed());
                    last_news = Instant::now();
                }
            }
            if let Some(plan) = &mut self.plan
                && let Some(news) = plan.look(chain, self.started)?
            {
                self.progress.say(self.started.elapsed(), &news);
                last_news = Instant::now();
            }
            let under_way = self.plan.as_ref().is_some_and(Plan::is_under_way);
            if self.arrived.iter().all(Option::is_some) && !under_way {
                let seconds = self.arrived.iter().flatten().map(Duration::as_secs_f64);
                return Ok(seconds.map(to_ms).collect());
            }
            for _ in 0..asked_per_look {
                let number = self.ask_next;
                let terminal = &chain.terminals[number];
                self.ask_next = (number + 1) % chain.terminals.len();
                let asked = terminal.is_running() && self.arrived[number].is_none();
                if asked && self.ask(number, terminal)? {
                    last_news = Instant::now();
                }
            }
            let carried = chain.wan.down().bytes() - self.wan_before;
            self.progress.line(self.started.elapsed(), carried);
            if last_news.elapsed() > PATIENCE {
                bail!("{}", self.stuck(chain));
            }
            stop::pause(LOOK_EVERY)?;
        }
    }

    /// Whether it has more than when it was last asked.
    fn ask(&mut self, number: usize, terminal: &Terminal) -> Result<bool> {
        let status = terminal.status()?;
        // Until it has heard of the release it speaks of the one before.
        let Some(release) = status.release(self.product) else { return Ok(false) };
        self.progress.has(number, release);
        let more = release.bytes_have != self.have[number];
        self.have[number] = release.bytes_have;
        Ok(more)
    }

    /// Which terminals do not get on, in their own words.
    fn stuck(&self, chain: &Chain) -> String {
        let late = chain.terminals.iter().zip(&self.arrived).filter(|(_, at)| at.is_none());
        let words = late.map(|(terminal, _)| {
            let status = terminal.status().ok();
            let release = status.as_ref().and_then(|status| status.release(self.product)).cloned();
            let ReleaseStatus { phase, bytes_have, bytes_total, note, .. } =
                release.unwrap_or_default();
            let note = note.map_or_else(String::new, |note| format!(", {note}"));
            format!("{} ({phase}, {bytes_have} of {bytes_total} bytes{note})", terminal.name())
        });
        let words: Vec<_> = words.collect();
        format!("no news for {} s from {}", PATIENCE.as_secs(), words.join(", "))
    }
}

/// The statuses, once each says what its disk already showed. One that does not say so in time is
/// left as it is: the checks will name it.
fn said_by_all(chain: &Chain, product: &str, version: &str) -> Result<Vec<Status>> {
    let until = Instant::now() + SAID_WITHIN;
    loop {
        let statuses = chain.statuses()?;
        let all = statuses.iter().all(|status| status.runs(product, version));
        if all || until < Instant::now() {
            return Ok(statuses);
        }
        stop::pause(LOOK_EVERY)?;
    }
}

/// `before` is what a terminal that was killed had said of the release by then: its new process counts
/// from zero, and takes what the old one had fetched for held.
fn row(
    name: &str,
    status: &Status,
    release: ReleaseStatus,
    before: Option<&ReleaseStatus>,
    seconds: f64,
) -> Row {
    let bytes = |of: fn(&ReleaseStatus) -> u64| of(&release) + before.map_or(0, of);
    Row {
        terminal: name.to_owned(),
        seconds,
        gateway: status.is_gateway(),
        killed: before.is_some(),
        bytes_from_hq: bytes(|release| release.bytes_from_hq),
        bytes_from_neighbours: bytes(|release| release.bytes_from_neighbours),
        bytes_local: before.unwrap_or(&release).bytes_local,
        version: release.running,
    }
}
