//! How far publishing is, on stderr, where a person looks on.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows nothing when stderr is not a terminal.
#[derive(Clone, Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn start(bytes: u64) -> Self {
        let style =
            "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left";
        let style = ProgressStyle::with_template(style).expect("the template is good");
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        Self(bar.with_style(style))
    }

    pub(super) fn read(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
