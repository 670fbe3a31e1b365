//! How soon a store has another gateway when its own is lost, and what that costs the line.
//!
//! A store of five behind a line of its own loses its gateway again and again, each time at another
//! moment of the terminals' beats, by `kill -9` or by dropping every packet from and to its machine;
//! the lost one is brought back, and the next loss waits until the mesh is whole. The clock is ours: it runs from just before the loss until another terminal's status
//! says that it is the gateway with HQ on the line, so it counts some milliseconds too many.
//!
//! What crossed the line again is told chunk by chunk from the programs' logs ([`books`]).

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use super::{Family, Outcome, Promise, Reading, Setup, harness::median};
use crate::live::{
    books::{After, Away, Books, Mark},
    chain::Chain,
    failover::{gateway, next_gateway},
    lan::Lan,
    link::Shape,
    programs::Programs,
    relay::Wan,
    status::Published,
    stop, tree,
};

pub(crate) const KILL: Family = Family {
    figures: &[Promise { name: "failover_kill", unit: "s", target: TARGET }],
    measure: |setup| kill(setup.programs),
};

pub(crate) const DROP: Family = Family {
    figures: &[Promise { name: "failover_drop", unit: "s", target: TARGET }],
    measure: |setup| drop_packets(setup.programs),
};

pub(crate) const REFETCHED: Family = Family {
    figures: &[Promise {
        name: "failover_refetched",
        unit: "bytes",
        target: "no chunk that a living terminal has verified crosses the WAN again",
    }],
    measure: refetched,
};

const TARGET: &str = "median of 20 at most 3 s, worst at most 10 s";
const MEDIAN_S_MAX: f64 = 3.0;
const WORST_S_MAX: f64 = 10.0;

const TERMINALS: usize = 5;
const LOSSES: usize = 20;

/// A line that a shop may have; a round trip takes twice the delay, where there is one.
const WAN_MBIT: f64 = 20.0;
const WAN_DELAY: Duration = Duration::from_millis(15);

/// Far beyond the target: a figure that is missed is still a figure.
const PATIENCE: Duration = Duration::from_mins(1);

/// A node takes a connection that ends sooner than five seconds for one that never worked, and dials
/// ever more slowly. A LAN that is cut every few seconds would be another measurement.
const LASTING: Duration = Duration::from_secs(6);

/// Losses come at random within this time of a whole mesh: longer than any beat or pause of a node.
const SPREAD_MS: u32 = 1_500;

/// Twenty-five chunks or so, and four seconds of the line.
const RELEASE_BYTES: usize = 8 * 1024 * 1024;

fn kill(programs: &Programs) -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let mut chain = open(programs, folder.path())?;
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut seconds = Vec::new();
    for _ in 0..LOSSES {
        let lost =
            whole_for(&chain, Duration::from_millis((random.next_u32() % SPREAD_MS).into()))?;
        let killed = Instant::now();
        chain.terminals[lost].kill();
        seconds.push(until_replaced(&chain, lost, killed)?);
        chain.terminals[lost].start()?;
    }
    chain.stop()?;
    let what = format!("kill -9 of the gateway, {} ms each way to HQ", WAN_DELAY.as_millis());
    Ok(Outcome::Measured(vec![reading(seconds, &what)]))
}

/// The gateway itself lives on, and no socket of anybody hears of it.
fn drop_packets(programs: &Programs) -> anyhow::Result<Outcome> {
    if let Some(missing) = Lan::missing() {
        return Ok(Outcome::NotMeasured(format!("needs {missing}")));
    }
    let folder = tempfile::tempdir()?;
    let mut chain = Chain::open_on_lan(programs, folder.path(), Wan::mbit(WAN_MBIT), TERMINALS)?;
    chain.join()?;
    chain.start()?;
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let mut seconds = Vec::new();
    for _ in 0..LOSSES {
        let some_more = Duration::from_millis((random.next_u32() % SPREAD_MS).into());
        let lost = whole_for(&chain, LASTING + some_more)?;
        let name = chain.terminals[lost].name();
        let cut = Instant::now();
        chain.wan.cut(name)?;
        seconds.push(until_replaced(&chain, lost, cut)?);
        chain.wan.restore(name)?;
    }
    chain.stop()?;
    let what = "every packet of the gateway dropped, each terminal in its own network namespace";
    Ok(Outcome::Measured(vec![reading(seconds, what)]))
}

fn refetched(setup: &Setup<'_>) -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let mut chain = open(&setup.programs.clone().log_chunks(), folder.path())?;
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (mut total, mut in_the_middle, mut seconds) = (After::default(), 0_u32, Vec::new());
    for number in 1..=LOSSES {
        let lost = whole(&chain)?;
        let directory = release(folder.path(), number, &mut random)?;
        let published = chain.hq.publish_held(&directory, "product", &number.to_string())?;
        chain.hq.start_release("product", &published.version)?;
        // Somewhere between its first chunk and its last.
        let bytes = published.moved_bytes * u64::from(5 + random.next_u32() % 90) / 100;
        let peer = until_fetched(&chain, lost, &published, bytes)?;
        let killed = Instant::now();
        chain.terminals[lost].kill();
        let from = Mark::now(&chain)?;
        seconds.push(until_replaced(&chain, lost, killed)?);
        let until = Some(Mark::now(&chain)?);
        chain.terminals[lost].start()?;
        until_all_run(&chain, &published, &directory)?;

        let after = Books::read(&chain)?.after(&Away { terminal: lost, peer, from, until });
        tracing::info!(number, ?after, "measured");
        in_the_middle += u32::from(after.sent > 0);
        total.sent += after.sent;
        total.refetched += after.refetched;
        total.lost += after.lost;
        fs::remove_dir_all(&directory).context("removing a release that has arrived")?;
    }
    chain.stop()?;
    anyhow::ensure!(in_the_middle > 0, "no gateway was killed before the store held the release");
    let how = format!(
        "kill -9 of the gateway of {TERMINALS} terminals while 8 MiB come, {LOSSES} times, {in_the_middle} \
         of them before the store held all of it; HQ sent {:.1} MiB afterwards, {:.1} MiB of them \
         chunks that only the killed one had been sent; another gateway after {}",
        mib(total.sent),
        mib(total.lost),
        in_words(&seconds),
    );
    let value = float(total.refetched);
    Ok(Outcome::Measured(vec![Reading { value, ok: total.refetched == 0, how }]))
}

fn open(programs: &Programs, folder: &Path) -> anyhow::Result<Chain> {
    let shape = |mbit| Shape { delay: WAN_DELAY, ..Shape::mbit(mbit) };
    let wan = Wan { down: shape(WAN_MBIT), up: shape(WAN_MBIT / 4.0) };
    let mut chain = Chain::open(programs, folder, wan, TERMINALS)?;
    chain.join()?;
    chain.start()?;
    Ok(chain)
}

/// The gateway of a mesh that is whole, and was that time ago; it may have been another one then.
fn whole_for<L>(chain: &Chain<L>, time: Duration) -> anyhow::Result<usize> {
    whole(chain)?;
    stop::pause(time)?;
    whole(chain)
}

/// Waits until all terminals know each other and agree on a gateway, and says which it is.
fn whole<L>(chain: &Chain<L>) -> anyhow::Result<usize> {
    let statuses = chain.meet(PATIENCE)?;
    gateway(&statuses).context("a store that has met has a gateway")
}

fn until_replaced<L>(chain: &Chain<L>, lost: usize, since: Instant) -> anyhow::Result<f64> {
    stop::until("another terminal being the gateway", PATIENCE, || {
        Ok(next_gateway(&chain.terminals, lost)?.map(|_| since.elapsed().as_secs_f64()))
    })
}

/// Until HQ has sent the gateway that much of the release, or it has all of it. Returns its PeerId.
fn until_fetched<L>(
    chain: &Chain<L>,
    gateway: usize,
    published: &Published,
    bytes: u64,
) -> anyhow::Result<String> {
    let terminal = &chain.terminals[gateway];
    stop::until("the gateway having a part of the release", PATIENCE, || {
        let status = terminal.status()?;
        let release = status.release(&published.product);
        let far_enough = release.is_some_and(|release| {
            release.wanted.as_ref() == Some(&published.version)
                && (release.bytes_from_hq >= bytes
                    || release.running.as_ref() == Some(&published.version))
        });
        Ok(far_enough.then_some(status.peer))
    })
}

fn until_all_run<L>(
    chain: &Chain<L>,
    published: &Published,
    directory: &Path,
) -> anyhow::Result<()> {
    let Published { product, version, .. } = published;
    for terminal in &chain.terminals {
        let name = terminal.name();
        stop::until(&format!("{name} running {version}"), PATIENCE, || {
            Ok(terminal.status()?.runs(product, version).then_some(()))
        })?;
        if let Some(difference) = tree::difference(directory, &terminal.current(product))? {
            anyhow::bail!("{name} does not hold what was published: {difference}");
        }
    }
    Ok(())
}

fn release(folder: &Path, number: usize, random: &mut ChaCha8Rng) -> anyhow::Result<PathBuf> {
    let directory = folder.join(format!("release-{number}"));
    fs::create_dir(&directory).context("making a directory to publish")?;
    let mut bytes = vec![0; RELEASE_BYTES];
    random.fill_bytes(&mut bytes);
    fs::write(directory.join("program"), bytes).context("writing a program to publish")?;
    Ok(directory)
}

fn reading(seconds: Vec<f64>, what: &str) -> Reading {
    let worst = seconds.iter().copied().fold(0.0, f64::max);
    let how = format!(
        "{what}, {TERMINALS} terminals behind {WAN_MBIT} Mbit/s, {} times: {}",
        seconds.len(),
        in_words(&seconds),
    );
    let value = median(seconds).unwrap_or(f64::INFINITY);
    Reading { value, ok: value <= MEDIAN_S_MAX && worst <= WORST_S_MAX, how }
}

fn in_words(seconds: &[f64]) -> String {
    let worst = seconds.iter().copied().fold(0.0, f64::max);
    let all = seconds.iter().map(|it| format!("{it:.2}")).collect::<Vec<_>>().join(", ");
    format!("{all} s, the worst {worst:.2} s")
}

fn mib(bytes: u64) -> f64 {
    float(bytes) / 1024.0 / 1024.0
}

/// Exact for anything that this measurement could move.
#[expect(clippy::cast_precision_loss)]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_needs_both_its_median_and_its_worst() {
        let mut seconds = vec![1.2; 20];
        assert!(reading(seconds.clone(), "a loss").ok);
        seconds[7] = 10.1;
        assert!(!reading(seconds, "a loss").ok);
        let reading = reading([vec![1.0; 10], vec![3.1; 10]].concat(), "a loss");
        assert_eq!((reading.value, reading.ok), (3.1, false));
        assert!(reading.how.contains("the worst 3.10 s"), "{}", reading.how);
    }
}
