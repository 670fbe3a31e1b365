//! How far each terminal is, on stderr: a bar each where a person watches, else a line a second.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use storemesh_host::sizes;

use super::say;
use crate::live::status::ReleaseStatus;

const LINE_EVERY: Duration = Duration::from_secs(1);

/// Ends with what it showed last left on the screen.
#[derive(Debug)]
pub(super) enum Progress {
    Bars {
        screen: MultiProgress,
        bars: Vec<ProgressBar>,
    },
    Lines {
        /// The share of the release that each terminal has, 0 to 1.
        shares: Vec<f64>,
        running: usize,
        next: Duration,
    },
}

impl Progress {
    pub(super) fn new<'a>(terminals: impl Iterator<Item = &'a str>) -> Self {
        if !stderr().is_terminal() {
            let shares = terminals.map(|_| 0.0).collect();
            return Self::Lines { shares, running: 0, next: LINE_EVERY };
        }
        // Lines that wrap would be left behind on the screen: the message gives way.
        let style = ProgressStyle::with_template("{prefix:>3} {bar:20} {percent:>3} %  {wide_msg}")
            .expect("the template is well formed, it is the only one");
        let screen = MultiProgress::new();
        let bars = terminals.map(|terminal| {
            let bar = screen.add(ProgressBar::new(1)).with_style(style.clone());
            bar.set_prefix(terminal.to_owned());
            bar.set_message("waiting");
            bar
        });
        let bars = bars.collect();
        Self::Bars { screen, bars }
    }

    /// What a terminal said about a release that it does not run yet.
    pub(super) fn has(&mut self, number: usize, release: &ReleaseStatus) {
        if release.phase == "running" {
            // Still the one before.
            return;
        }
        match self {
            Self::Bars { bars, .. } => {
                bars[number].set_length(release.bytes_total.max(1));
                bars[number].set_position(release.bytes_have);
                bars[number].set_message(format!(
                    "{}: HQ {}, neighbours {}",
                    release.phase,
                    sizes::bytes(release.bytes_from_hq),
                    sizes::bytes(release.bytes_from_neighbours),
                ));
            }
            Self::Lines { shares, .. } => {
                // Shown as whole percents.
                #[expect(clippy::cast_precision_loss)]
                let share = release.bytes_have as f64 / release.bytes_total.max(1) as f64;
                shares[number] = share;
            }
        }
    }

    /// A terminal runs the release.
    pub(super) fn runs(&mut self, number: usize, after: Duration) {
        match self {
            Self::Bars { bars, .. } => {
                bars[number].set_position(bars[number].length().unwrap_or(1));
                let message = format!("runs after {:.1} s", after.as_secs_f64());
                bars[number].finish_with_message(message);
            }
            Self::Lines { shares, running, .. } => {
                shares[number] = 1.0;
                *running += 1;
            }
        }
    }

    /// Something happened that is no terminal's progress.
    pub(super) fn say(&self, now: Duration, news: &str) {
        let line = format!("{:>5.1} s: {news}", now.as_secs_f64());
        match self {
            // As for `say`: nobody need read it.
            Self::Bars { screen, .. } => _ = screen.println(line),
            Self::Lines { .. } => say(line),
        }
    }

    /// Time has passed.
    pub(super) fn line(&mut self, now: Duration, wan_bytes: u64) {
        let Self::Lines { shares, running, next } = self else { return };
        if now < *next {
            return;
        }
        *next = now + LINE_EVERY;
        #[expect(clippy::cast_precision_loss)]
        let share = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        say(format_args!(
            "{:>5.1} s: terminals have {:.0} %, {running} of {} run it, line {}",
            now.as_secs_f64(),
            share * 100.0,
            shares.len(),
            sizes::bytes(wan_bytes),
        ));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bars { bars, .. } = self {
            bars.iter().filter(|bar| !bar.is_finished()).for_each(ProgressBar::abandon);
        }
    }
}
