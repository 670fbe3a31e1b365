//! Being asked to end: Ctrl-C, a closed terminal window, `kill`.
//!
//! The first signal only sets a flag. Every wait of a live run looks at it ([`check`], [`pause`])
//! and fails, so that a run ends the way a failed one does: children stopped, folder removed.
//! A second signal ends us at once; the children still end with their stdin.

use std::{
    process,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// Short against what a person notices, long against what a look at the flag costs.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// As shells report a program that Ctrl-C ended.
const ENDED_BY_SIGNAL: i32 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on signals are heard. Once per process.
pub fn listen() -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime that hears signals")?;
    let (mut interrupt, mut terminate, mut hangup) = runtime
        .block_on(async {
            std::io::Result::Ok((
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ))
        })
        .context("asking to hear signals")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    if ASKED.swap(true, Relaxed) {
                        process::exit(ENDED_BY_SIGNAL);
                    }
                }
            });
        })
        .context("starting the thread that hears signals")?;
    Ok(())
}

/// Fails once a signal has asked us to end.
pub fn check() -> Result<()> {
    if ASKED.load(Relaxed) {
        bail!("stopped by a signal");
    }
    Ok(())
}

/// Sleeps, unless asked to end.
pub fn pause(time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}

/// Looks until there is something, or fails with what was being waited for.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > patience {
            bail!("{what} did not happen within {} s", patience.as_secs());
        }
        pause(LOOK_EVERY)?;
    }
}
