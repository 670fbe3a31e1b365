//! What HQ has said to the chain, and how it goes on after it was restored from a backup.
//!
//! Every order is an entry of the control feed; what holds is kept beside it in rows, for the service's own
//! reading. The rule after a restore: HQ begins a new feed of its new generation, behind the last entry that
//! it knows, and writes there again all that holds; so a reader of the newest feed alone knows everything.
//! What a former generation had said after the backup comes back from the stores: its schemas and ends hold
//! on every machine that heard of them, so they are said again; what was wanted, or set, a person decides.

use std::collections::{BTreeMap, BTreeSet};

use storemesh_keys::Name;

use super::{AppendError, Lost};
use crate::feeds::{
    Author, COPIES_MAX, Clones, Control, End, Ended, Read, Schema, Settings, Storage, Wanted,
    WantedRelease, Writers,
    storage::{put, row, rows},
};

pub(crate) const WANTED: &str = "wanted.1";
pub(crate) const SCHEMAS: &str = "schemas.1";
pub(crate) const SETTINGS: &str = "settings.1";
pub(crate) const ENDS: &str = "ends.1";
pub(crate) const CLONES: &str = "clones.1";

/// The one key of [`SETTINGS`].
const THE: &[u8] = b"";
/// `journal.retention`: under a day a terminal would drop what a restored HQ wants back.
const RETENTION_MIN_S: u64 = 86_400;
/// Ten years: longer is meant as for ever, and fills disks.
const RETENTION_MAX_S: u64 = 10 * 366 * 86_400;

/// All that holds.
#[derive(Debug, Default)]
pub(super) struct Own {
    wanted: BTreeMap<Name, Wanted>,
    schemas: BTreeMap<u32, Schema>,
    settings: Option<Settings>,
    ends: Vec<End>,
    clones: BTreeMap<Author, Clones>,
}

/// What comes of an order of a former generation.
#[derive(Debug)]
pub(super) enum Back {
    /// HQ says it again.
    Again(Control),
    Lost(Lost),
    /// It holds already, or something later does.
    Nothing,
}

impl Own {
    pub(super) fn load(storage: &dyn Read) -> Self {
        let wanted = rows::<Wanted>(storage, WANTED, b"").into_iter();
        let schemas = rows::<Schema>(storage, SCHEMAS, b"").into_iter();
        let ends = rows::<End>(storage, ENDS, b"").into_iter();
        let clones = rows::<Clones>(storage, CLONES, b"").into_iter();
        Self {
            wanted: wanted.map(|(_, row)| (row.product().clone(), row)).collect(),
            schemas: schemas.map(|(_, row)| (row.version, row)).collect(),
            settings: row(storage, SETTINGS, THE),
            ends: ends.map(|(_, end)| end).collect(),
            clones: clones.map(|(_, row)| (row.author, row)).collect(),
        }
    }

    /// What a new chain begins with.
    pub(super) fn first() -> Vec<Control> {
        let schema = Control { schema: Some(Schema::first()), ..Control::default() };
        let settings = Control { settings: Some(Settings::default()), ..Control::default() };
        vec![schema, settings]
    }

    /// All that holds, as orders of a new generation.
    pub(super) fn again(&self) -> Vec<Control> {
        let schemas = self.schemas.values().cloned();
        let schemas = schemas.map(|it| Control { schema: Some(it), ..Control::default() });
        let settings = Control { settings: self.settings, ..Control::default() };
        let ends = self.ends.iter().cloned();
        let ends = ends.map(|it| Control { end: Some(it), ..Control::default() });
        let clones = self.clones.values().cloned();
        let clones = clones.map(|it| Control { clones: Some(it), ..Control::default() });
        let wanted = self.wanted.values().map(|Wanted { release, at, .. }| {
            let wanted = WantedRelease { release: release.clone(), at: *at };
            Control { wanted: Some(wanted), ..Control::default() }
        });
        schemas.chain([settings]).chain(ends).chain(clones).chain(wanted).collect()
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        self.wanted.values()
    }

    pub(super) fn schemas(&self) -> impl Iterator<Item = &Schema> {
        self.schemas.values()
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = &End> {
        self.ends.iter()
    }

    /// Of each cloned terminal the last that was said.
    pub(super) fn all_clones(&self) -> impl Iterator<Item = &Clones> {
        self.clones.values()
    }

    pub(super) fn clones(&self, author: Author) -> Option<&Clones> {
        self.clones.get(&author)
    }

    /// Whether an operator's order is one.
    pub(super) fn check(&self, control: &Control) -> Result<(), AppendError> {
        if let Some(schema) = &control.schema {
            schema.check()?;
            let newest = self.schemas.keys().next_back().copied().unwrap_or(0);
            if schema.version != newest + 1 {
                return Err(AppendError::Version { found: schema.version, newest });
            }
        }
        if let Some(Settings { journal_copies, journal_retention_s }) = control.settings {
            if journal_copies > COPIES_MAX {
                return Err(AppendError::Settings(format!(
                    "journal.copies is {journal_copies}: from 0 to {COPIES_MAX} is possible"
                )));
            }
            if !(RETENTION_MIN_S..=RETENTION_MAX_S).contains(&journal_retention_s) {
                return Err(AppendError::Settings(format!(
                    "journal.retention is {journal_retention_s} s: from a day to ten years is possible"
                )));
            }
        }
        Ok(())
    }

    /// HQ has said this, as entry `number` of its control feed.
    pub(super) fn said(
        &mut self,
        storage: &mut dyn Storage,
        (generation, number): (u64, u64),
        control: Control,
    ) -> Option<Wanted> {
        let Control { wanted, schema, settings, end, clones } = control;
        if let Some(schema) = schema {
            put(storage, SCHEMAS, &schema.version.to_be_bytes(), &schema);
            self.schemas.insert(schema.version, schema);
        }
        if let Some(settings) = settings {
            put(storage, SETTINGS, THE, &settings);
            self.settings = Some(settings);
        }
        if let Some(end) = end.filter(|end| !self.ends.contains(end)) {
            put(storage, ENDS, &(self.ends.len() as u64).to_be_bytes(), &end);
            self.ends.push(end);
        }
        if let Some(clones) = clones {
            put(storage, CLONES, clones.author.as_bytes(), &clones);
            self.clones.insert(clones.author, clones);
        }
        let WantedRelease { release, at } = wanted?;
        let wanted = Wanted { generation, number, release, at };
        let product = wanted.product().clone();
        put(storage, WANTED, product.as_str().as_bytes(), &wanted);
        self.wanted.insert(product, wanted.clone());
        Some(wanted)
    }

    /// HQ had said this in a former generation, and lost it.
    pub(super) fn back(&self, control: &Control) -> Vec<Back> {
        let mut backs = Vec::new();
        if let Some(schema) = &control.schema {
            backs.push(self.schema_back(schema));
        }
        if let Some(end) = control.end.as_ref().filter(|end| !self.ends.contains(end)) {
            backs.push(Back::Again(Control { end: Some(end.clone()), ..Control::default() }));
        }
        if let Some(clones) = &control.clones
            && !clones.settled
            && !self.clones.contains_key(&clones.author)
        {
            let clones = Some(clones.clone());
            backs.push(Back::Again(Control { clones, ..Control::default() }));
        }
        if let Some(settings) = control.settings
            && self.settings != Some(settings)
        {
            backs.push(Back::Lost(Lost::Settings));
        }
        if let Some(WantedRelease { release, .. }) = &control.wanted {
            let known = self.wanted.get(&release.product);
            if known.is_none_or(|known| known.release.id != release.id) {
                let (product, version) = (release.product.clone(), release.version.clone());
                backs.push(Back::Lost(Lost::Wanted { product, version }));
            }
        }
        backs
    }

    fn schema_back(&self, schema: &Schema) -> Back {
        let newest = self.schemas.keys().next_back().copied().unwrap_or(0);
        match self.schemas.get(&schema.version) {
            Some(known) if known == schema => Back::Nothing,
            // Its entries come in order, so the next one is what was lost.
            None if schema.version == newest + 1 && schema.check().is_ok() => {
                Back::Again(Control { schema: Some(schema.clone()), ..Control::default() })
            }
            Some(_) | None => Back::Lost(Lost::Schema { version: schema.version }),
        }
    }
}

/// The newest schema.
pub fn schema(storage: &dyn Read) -> Option<Schema> {
    rows::<Schema>(storage, SCHEMAS, b"").pop().map(|(_, schema)| schema)
}

pub fn settings(storage: &dyn Read) -> Settings {
    row(storage, SETTINGS, THE).unwrap_or_default()
}

/// On what each author that HQ has ended is ended.
pub fn ended(storage: &dyn Read) -> BTreeMap<Author, Ended> {
    let mut by_author = BTreeMap::<Author, Vec<End>>::new();
    for end in ends(storage) {
        by_author.entry(end.author).or_default().push(end);
    }
    by_author.into_iter().map(|(author, ends)| (author, Ended::of(&ends))).collect()
}

/// Every topic that terminals may write, or might by an earlier schema.
pub fn topics(storage: &dyn Read) -> BTreeSet<Name> {
    let schemas = rows::<Schema>(storage, SCHEMAS, b"").into_iter();
    let rules = schemas.flat_map(|(_, schema)| schema.topics);
    let written = rules.filter(|rule| rule.writers == Writers::Terminals);
    written.map(|rule| rule.name).collect()
}

pub(crate) fn ends(storage: &dyn Read) -> Vec<End> {
    rows::<End>(storage, ENDS, b"").into_iter().map(|(_, end)| end).collect()
}
