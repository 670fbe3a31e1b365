//! A machine's clock that shows what a test says, by libfaketime.
//!
//! What it shows can be changed while a program runs, as somebody would set a clock. The monotonic clock
//! is left alone, as it is on a machine.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Where Debian's package puts it.
pub fn library() -> PathBuf {
    format!("/usr/lib/{ARCH}-linux-gnu/faketime/libfaketimeMT.so.1").into()
}

/// The test must [`require`](crate::require) `faketime`.
#[derive(Debug)]
pub struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// `shows` is an offset, as `-1d` is, or a time from which it goes on, as `@1970-01-02 00:00:00` is.
    pub fn showing(file: &Path, shows: &str) -> Result<Self> {
        let clock = Self { file: file.to_owned() };
        clock.set(shows)?;
        Ok(clock)
    }

    /// Programs see it within a second.
    pub fn set(&self, shows: &str) -> Result<()> {
        // They must not read half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, shows)
            .and_then(|()| fs::rename(&new, &self.file))
            .with_context(|| format!("setting a clock in `{}`", self.file.display()))
    }

    /// The command that runs a program by this clock.
    pub fn command(&self) -> Vec<String> {
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", library().display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_CACHE_DURATION=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ]
    }
}
