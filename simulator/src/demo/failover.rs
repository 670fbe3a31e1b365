//! The gateway is killed in the middle of a release, and another terminal takes over.
//!
//! The gateway is asked at every look how much of the release HQ has sent it; at a third it is killed,
//! as by `kill -9`. The clock then runs until another terminal says of itself that it is the gateway
//! and that its uplink is up. The killed one is started again and goes on with what it had verified.
//!
//! What crossed the line again is told chunk by chunk from HQ's and the terminals' logs
//! ([`books`](crate::live::books)). Chunks that a terminal which stayed had verified must not; what
//! was on the line to the killed one, or on its disk alone, may.
//!
//! A release that goes too fast to be met in the middle is left alone, and the report says so.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use serde::Serialize;
use storemesh_host::sizes;

use super::measure::to_ms;
use crate::live::{
    books::{After, Away, Books, Mark},
    chain::Chain,
    failover,
    status::ReleaseStatus,
    terminal::Terminal,
};

/// The gateway is killed once HQ has sent it this part of what the store lacked.
const KILLED_AT: u64 = 3;

/// How it went, for the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Failover {
    pub(super) killed: String,
    /// Who took over.
    pub(super) gateway: String,
    /// From the order to start the release.
    pub(super) killed_after_s: f64,
    /// From the kill until the other one's status says that it is the gateway, with HQ on the line.
    #[expect(clippy::struct_field_names, reason = "it is the report's word")]
    pub(super) failover_s: f64,
    /// Chunks that a terminal which lived on had verified, and that HQ sent again.
    pub(super) refetched_bytes: u64,
    /// Bytes that had been sent to the killed one, that nobody else had verified, and that had to come
    /// again. HQ's log counts whole chunks of which only a part may have crossed the line; so it is no
    /// more than what the line had carried by the time another took over, less what others had of it.
    pub(super) lost_bytes: u64,
}

/// The plan for one release, and how far it is.
#[derive(Debug)]
pub(super) struct Plan {
    product: String,
    version: String,
    moved_bytes: u64,
    gateway: usize,
    /// Before the release was started.
    mark: Mark,
    carried: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The release has not come far enough.
    Waiting,
    Killed(Killed),
    Starting(Killed, TakenOver, Starting),
    Back(Killed, TakenOver),
}

#[derive(Debug)]
struct Killed {
    at: Instant,
    /// From the order to start the release.
    after: Duration,
    peer: String,
    mark: Mark,
    /// What it said a moment before.
    release: ReleaseStatus,
}

#[derive(Debug)]
struct TakenOver {
    by: String,
    after: Duration,
    mark: Mark,
    /// What the line had carried by then.
    carried: u64,
}

impl Plan {
    /// For a release that is about to be started; none when no terminal says that it is the gateway.
    pub(super) fn new(
        chain: &Chain,
        product: &str,
        version: &str,
        moved_bytes: u64,
    ) -> Result<Option<Self>> {
        let Some(gateway) = failover::gateway(&chain.statuses()?) else { return Ok(None) };
        Ok(Some(Self {
            product: product.to_owned(),
            version: version.to_owned(),
            moved_bytes,
            gateway,
            mark: Mark::now(chain)?,
            carried: chain.wan.down().bytes(),
            stage: Stage::Waiting,
        }))
    }

    /// Looks once, and does what is due. Returns the news, for whoever watches.
    pub(super) fn look(&mut self, chain: &mut Chain, started: Instant) -> Result<Option<String>> {
        let stage = std::mem::replace(&mut self.stage, Stage::Waiting);
        let (stage, news) = match stage {
            Stage::Waiting => self.kill_when_due(chain, started)?,
            Stage::Killed(killed) => self.restart_when_replaced(chain, killed)?,
            Stage::Starting(killed, taken, starting) => match starting.done() {
                Ok(again) => {
                    chain.terminals[self.gateway] = again?;
                    (Stage::Back(killed, taken), None)
                }
                Err(starting) => (Stage::Starting(killed, taken, starting), None),
            },
            Stage::Back(..) => (stage, None),
        };
        self.stage = stage;
        Ok(news)
    }

    /// Whether a terminal is down that is still to come back.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::Killed(_) | Stage::Starting(..))
    }

    /// What a terminal had said of the release when it was killed.
    pub(super) fn before_the_kill(&self, terminal: usize) -> Option<&ReleaseStatus> {
        match &self.stage {
            Stage::Waiting => None,
            Stage::Killed(killed) | Stage::Starting(killed, ..) | Stage::Back(killed, _) => {
                (terminal == self.gateway).then_some(&killed.release)
            }
        }
    }

    /// What came of it once every terminal runs the release; the error is why it was not to be.
    pub(super) fn end(self, chain: &Chain) -> Result<Result<Failover, String>> {
        let Stage::Back(killed, taken) = self.stage else {
            return Ok(Err(
                "the gateway was not killed: it had the release before it was seen in the middle; \
                 a larger release or a slower line (--wan-mbit) leaves the time"
                    .to_owned(),
            ));
        };
        let books = Books::read(chain)?;
        let held = books.kept_without(self.gateway, &self.mark, &killed.mark);
        let in_vain = (taken.carried - self.carried).saturating_sub(held);
        let away = Away {
            terminal: self.gateway,
            peer: killed.peer,
            from: killed.mark,
            until: Some(taken.mark),
        };
        let After { sent, refetched, lost } = books.after(&away);
        if sent == 0 {
            return Ok(Err(format!(
                "the gateway was killed too late to be in the middle: the store held all of the \
                 release already ({} took over after {:.1} s)",
                taken.by,
                taken.after.as_secs_f64()
            )));
        }
        Ok(Ok(Failover {
            killed: chain.terminals[self.gateway].name().to_owned(),
            gateway: taken.by,
            killed_after_s: to_ms(killed.after.as_secs_f64()),
            failover_s: to_ms(taken.after.as_secs_f64()),
            refetched_bytes: refetched,
            lost_bytes: lost.min(in_vain),
        }))
    }

    fn kill_when_due(
        &mut self,
        chain: &mut Chain,
        started: Instant,
    ) -> Result<(Stage, Option<String>)> {
        let gateway = &mut chain.terminals[self.gateway];
        let status = gateway.status()?;
        if !status.is_gateway() {
            // It has handed over to a better one.
            self.gateway = failover::gateway(&chain.statuses()?).unwrap_or(self.gateway);
            return Ok((Stage::Waiting, None));
        }
        let release =
            status.release(&self.product).filter(|release| self.is_in_the_middle(release));
        let Some(release) = release.cloned() else { return Ok((Stage::Waiting, None)) };
        let (at, after) = (Instant::now(), started.elapsed());
        gateway.kill();
        let news = format!(
            "{}, the gateway, is killed: HQ had sent it {} of {}",
            gateway.name(),
            sizes::bytes(release.bytes_from_hq),
            sizes::bytes(self.moved_bytes)
        );
        let mark = Mark::now(chain)?;
        Ok((Stage::Killed(Killed { at, after, peer: status.peer, mark, release }), Some(news)))
    }

    fn is_in_the_middle(&self, release: &ReleaseStatus) -> bool {
        release.wanted.as_deref() == Some(&self.version)
            && release.phase == "fetching"
            && release.bytes_from_hq * KILLED_AT >= self.moved_bytes
            && release.bytes_have < release.bytes_total
    }

    fn restart_when_replaced(
        &self,
        chain: &Chain,
        killed: Killed,
    ) -> Result<(Stage, Option<String>)> {
        let Some(next) = failover::next_gateway(&chain.terminals, self.gateway)? else {
            return Ok((Stage::Killed(killed), None));
        };
        let after = killed.at.elapsed();
        let by = chain.terminals[next].name().to_owned();
        let (mark, carried) = (Mark::now(chain)?, chain.wan.down().bytes());
        let taken = TakenOver { by, after, mark, carried };
        let down = &chain.terminals[self.gateway];
        let news = format!(
            "{} is the gateway after {:.1} s; {} is started again",
            taken.by,
            after.as_secs_f64(),
            down.name()
        );
        let starting = Starting::new(down.again());
        Ok((Stage::Starting(killed, taken, starting), Some(news)))
    }
}

/// A terminal on its way up, on a thread of its own: the others are watched meanwhile. Dropped, it is
/// waited for and ended, so that it does not outlive its folder.
#[derive(Debug)]
struct Starting(Option<JoinHandle<Result<Terminal>>>);

impl Starting {
    fn new(mut terminal: Terminal) -> Self {
        Self(Some(thread::spawn(move || terminal.start().map(|()| terminal))))
    }

    /// The terminal that runs, or this again.
    fn done(mut self) -> Result<Result<Terminal>, Self> {
        match self.0.take_if(|thread| thread.is_finished()) {
            Some(thread) => Ok(joined(thread)),
            None => Err(self),
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // Something else has failed, and is what will be reported.
            _ = joined(thread);
        }
    }
}

fn joined(thread: JoinHandle<Result<Terminal>>) -> Result<Terminal> {
    thread.join().map_err(|_| anyhow!("the thread that starts a terminal panicked"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            product: "pos".into(),
            version: "2".into(),
            moved_bytes: 3_000,
            gateway: 0,
            mark: Mark { hq: 0, terminals: Vec::new() },
            carried: 0,
            stage: Stage::Waiting,
        }
    }

    fn has(bytes_from_hq: u64) -> ReleaseStatus {
        ReleaseStatus {
            wanted: Some("2".into()),
            phase: "fetching".into(),
            bytes_have: 7_000 + bytes_from_hq,
            bytes_total: 10_000,
            bytes_from_hq,
            ..ReleaseStatus::default()
        }
    }

    #[test]
    fn the_middle_is_from_a_third_on_while_something_lacks() {
        let plan = plan();
        for (bytes, middle) in [(0, false), (999, false), (1_000, true), (2_999, true)] {
            assert_eq!(plan.is_in_the_middle(&has(bytes)), middle, "{bytes}");
        }
        assert!(!plan.is_in_the_middle(&has(3_000)), "it has all");
        let before = ReleaseStatus { wanted: Some("1".into()), ..has(2_000) };
        assert!(!plan.is_in_the_middle(&before), "the release before");
    }
}
