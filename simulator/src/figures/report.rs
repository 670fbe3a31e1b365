//! The file of figures: `{name: {value, unit, target, ok, how}}`, one entry for each name ever measured.
//!
//! Entries of names that were not measured this time stay as they are, also those of names that this
//! program no longer knows. The file is replaced whole, so an interrupted run leaves the old one.

use std::{
    fmt, fs, io,
    path::{self, Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Outcome, Promise};

#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    #[serde(skip)]
    name: &'static str,
    /// A number, or the words "not measured".
    value: Value,
    unit: &'static str,
    target: &'static str,
    /// `null` where nothing was measured: neither kept nor broken.
    pub(crate) ok: Option<bool>,
    how: String,
}

impl Entry {
    /// What `outcome` says about the `index`-th promise of its family.
    pub(crate) fn new(promise: &Promise, outcome: &Outcome, index: usize) -> Self {
        let (value, ok, how) = match outcome {
            Outcome::Measured(readings) => {
                let reading = &readings[index];
                (rounded(reading.value).into(), Some(reading.ok), reading.how.clone())
            }
            Outcome::NotMeasured(why) => ("not measured".into(), None, why.clone()),
        };
        let Promise { name, unit, target } = *promise;
        Self { name, value, unit, target, ok, how }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, unit, target, how, .. } = self;
        match self.ok {
            Some(true) => write!(f, "ok    {name}: {value} {unit} ({target})\n      {how}"),
            Some(false) => write!(f, "MISS  {name}: {value} {unit} ({target})\n      {how}"),
            None => write!(f, "-     {name}: not measured: {how}"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Report {
    path: PathBuf,
    folder: PathBuf,
    entries: Map<String, Value>,
}

impl Report {
    /// Takes up what earlier runs left; a file that is not ours is refused rather than replaced.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let path = path::absolute(path)?;
        let folder = path.parent().context("the file of figures needs a name")?.to_owned();
        fs::create_dir_all(&folder).with_context(|| format!("making `{}`", folder.display()))?;
        let entries = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("`{}` is not a file of figures", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => Err(error).with_context(|| format!("reading `{}`", path.display()))?,
        };
        Ok(Self { path, folder, entries })
    }

    /// Where what belongs to the figures may lie too.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn put(&mut self, entry: &Entry) {
        let value = serde_json::to_value(entry).expect("words and numbers are JSON");
        self.entries.insert(entry.name.to_owned(), value);
    }

    pub(crate) fn save(&self) -> anyhow::Result<()> {
        let write = || -> anyhow::Result<()> {
            let mut text = serde_json::to_vec_pretty(&self.entries)?;
            text.push(b'\n');
            let new = self.path.with_extension("new");
            fs::write(&new, text)?;
            Ok(fs::rename(&new, &self.path)?)
        };
        write().with_context(|| format!("writing `{}`", self.path.display()))
    }
}

/// Thousandths: what is beyond them is noise in every figure we have.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Reading;

    const JOIN: Promise = Promise { name: "join", unit: "s", target: "at most 3 s" };
    const OTHER: Promise = Promise { name: "other", ..JOIN };

    fn measured(promise: &Promise, value: f64) -> Entry {
        let reading = Reading { value, ok: value < 3.0, how: "by hand".to_owned() };
        Entry::new(promise, &Outcome::Measured(vec![reading]), 0)
    }

    #[test]
    fn a_second_run_replaces_its_own_figures_and_keeps_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/figures.json");
        for (promise, value) in [(&JOIN, 9.0), (&OTHER, 1.0), (&JOIN, 2.123_456)] {
            let mut report = Report::open(&path).unwrap();
            report.put(&measured(promise, value));
            report.save().unwrap();
        }
        let read: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            read,
            serde_json::json!({
                "join": {"value": 2.123, "unit": "s", "target": "at most 3 s", "ok": true, "how": "by hand"},
                "other": {"value": 1.0, "unit": "s", "target": "at most 3 s", "ok": true, "how": "by hand"},
            })
        );
    }

    #[test]
    fn what_could_not_be_measured_is_neither_kept_nor_broken() {
        let outcome = Outcome::NotMeasured("no harness".to_owned());
        let entry = Entry::new(&JOIN, &outcome, 0);
        assert_eq!(entry.ok, None);
        assert_eq!(serde_json::to_value(&entry).unwrap()["value"], "not measured");
        assert_eq!(serde_json::to_value(&entry).unwrap()["ok"], Value::Null);
    }

    #[test]
    fn a_file_that_is_not_ours_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures.json");
        fs::write(&path, "dear diary").unwrap();
        assert!(Report::open(&path).is_err());
    }
}
