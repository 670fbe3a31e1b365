//! A database for feeds: what was committed, and the batch in the making.
//!
//! The rule: a commit is there whole or not at all. A disk that lies about its syncs may lose the last few
//! commits when the power goes; they are kept for that ([`Shelf::lose`]).

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
};

use storemesh_keys::Authored;
use storemesh_protocol::{
    BadRow,
    feeds::{Each, Entry, EntryId, Header, Read, Storage},
    wire,
};

/// The table in which both composites keep entries.
const ENTRIES: &str = "entries.1";
/// A lying disk's cache: more commits than these are on the platter.
pub(in crate::world) const UNSYNCED_MAX: usize = 64;

type Key = (&'static str, Vec<u8>);
/// What a batch writes; none deletes.
pub(in crate::world) type Changes = BTreeMap<Key, Option<Vec<u8>>>;

#[derive(Clone, Debug, Default)]
pub(in crate::world) struct Shelf {
    rows: BTreeMap<Key, Vec<u8>>,
    /// The entries among them.
    entries: BTreeMap<EntryId, Vec<u8>>,
    /// What the last commits replaced, the newest last.
    undo: VecDeque<Changes>,
}

/// An entry as a reader finds it, verified by nobody.
#[derive(Clone, Debug)]
pub(in crate::world) struct Found {
    pub(in crate::world) header: Header,
    pub(in crate::world) payload: Option<Vec<u8>>,
    pub(in crate::world) bytes: Vec<u8>,
}

impl Found {
    pub(in crate::world) fn read(bytes: &[u8]) -> Option<Self> {
        let entry: Entry = wire::decode(bytes).ok()?;
        let mut claimed = None;
        _ = Authored::verify_claim(entry.header, |header: &Header| {
            claimed = Some(header.clone());
            None
        });
        Some(Self { header: claimed?, payload: entry.payload, bytes: bytes.to_vec() })
    }

    pub(in crate::world) fn id(&self) -> EntryId {
        EntryId { feed: self.header.feed(), seq: self.header.seq }
    }
}

/// What a commit brought and took.
#[derive(Debug, Default)]
pub(in crate::world) struct Committed {
    pub(in crate::world) came: Vec<Found>,
    pub(in crate::world) went: Vec<EntryId>,
    /// There under two keys: it would be read twice.
    pub(in crate::world) doubled: Vec<EntryId>,
}

impl Shelf {
    pub(in crate::world) fn commit(&mut self, changes: Changes) -> Committed {
        let (undo, committed) = self.apply(changes);
        self.undo.push_back(undo);
        if self.undo.len() > UNSYNCED_MAX {
            self.undo.pop_front();
        }
        committed
    }

    fn apply(&mut self, changes: Changes) -> (Changes, Committed) {
        let mut undo = Changes::new();
        let mut committed = Committed::default();
        for (key, value) in changes {
            let before = match &value {
                Some(value) => self.rows.insert(key.clone(), value.clone()),
                None => self.rows.remove(&key),
            };
            if key.0 == ENTRIES && before != value {
                if let Some(gone) = before.as_deref().and_then(Found::read) {
                    self.entries.remove(&gone.id());
                    committed.went.push(gone.id());
                }
                if let Some(found) = value.as_deref().and_then(Found::read) {
                    if self.entries.insert(found.id(), key.1.clone()).is_some() {
                        committed.doubled.push(found.id());
                    }
                    committed.came.push(found);
                }
            }
            undo.insert(key, before);
        }
        (undo, committed)
    }

    /// The last so many commits were never on the platter.
    pub(in crate::world) fn lose(&mut self, commits: usize) {
        for _ in 0..commits {
            let Some(undo) = self.undo.pop_back() else { return };
            self.apply(undo);
        }
    }

    pub(in crate::world) fn has(&self, id: &EntryId) -> bool {
        self.entries.contains_key(id)
    }

    pub(in crate::world) fn ids(&self) -> impl Iterator<Item = &EntryId> {
        self.entries.keys()
    }

    pub(in crate::world) fn entry(&self, id: &EntryId) -> Option<Found> {
        let key = self.entries.get(id)?;
        Found::read(self.rows.get(&(ENTRIES, key.clone()))?)
    }

    /// A transaction on these tables; the real database has no others.
    pub(in crate::world) fn batch(&self, tables: &'static [&'static str]) -> Batch<'_> {
        Batch { shelf: self, tables, changes: Changes::new(), failed: RefCell::new(None) }
    }
}

/// One transaction: reads what was committed, and what it has written itself.
#[derive(Debug)]
pub(in crate::world) struct Batch<'a> {
    shelf: &'a Shelf,
    tables: &'static [&'static str],
    changes: Changes,
    failed: RefCell<Option<BadRow>>,
}

impl Batch<'_> {
    fn knows(&self, table: &str) {
        assert!(self.tables.contains(&table), "the database has no table {table}");
    }

    /// What is to be committed, or the row that did not read.
    pub(in crate::world) fn done(self) -> Result<Changes, BadRow> {
        match self.failed.into_inner() {
            Some(why) => Err(why),
            None => Ok(self.changes),
        }
    }
}

impl Read for Batch<'_> {
    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
        self.knows(table);
        let key = (table, key.to_vec());
        match self.changes.get(&key) {
            Some(changed) => changed.clone(),
            None => self.shelf.rows.get(&key).cloned(),
        }
    }

    fn scan(&self, table: &'static str, from: &[u8], to: &[u8], each: &mut Each<'_>) {
        self.knows(table);
        let range = || (table, from.to_vec())..(table, to.to_vec());
        let mut old = self.shelf.rows.range(range()).peekable();
        let mut new = self.changes.range(range()).peekable();
        loop {
            // Of one key in both, the batch's is the one that counts.
            let (key, value) = match (old.peek(), new.peek()) {
                (Some((old_key, value)), Some((new_key, _))) if old_key < new_key => {
                    let row = (*old_key, Some(*value));
                    old.next();
                    row
                }
                (Some((old_key, value)), None) => {
                    let row = (*old_key, Some(*value));
                    old.next();
                    row
                }
                (before, Some((new_key, value))) => {
                    let replaced = before.is_some_and(|(old_key, _)| old_key == new_key);
                    let row = (*new_key, value.as_ref());
                    if replaced {
                        old.next();
                    }
                    new.next();
                    row
                }
                (None, None) => return,
            };
            if let Some(value) = value
                && each(&key.1, value) == ControlFlow::Break(())
            {
                return;
            }
        }
    }

    fn fail(&self, why: BadRow) {
        self.failed.borrow_mut().get_or_insert(why);
    }
}

impl Storage for Batch<'_> {
    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]) {
        self.knows(table);
        self.changes.insert((table, key.to_vec()), Some(value.to_vec()));
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) {
        self.knows(table);
        self.changes.insert((table, key.to_vec()), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "table.1";

    fn write(shelf: &mut Shelf, rows: &[(u8, Option<u8>)]) {
        let mut batch = shelf.batch(&[TABLE]);
        for (key, value) in rows {
            match value {
                Some(value) => batch.put(TABLE, &[*key], &[*value]),
                None => batch.delete(TABLE, &[*key]),
            }
        }
        let changes = batch.done().unwrap();
        shelf.commit(changes);
    }

    fn rows(read: &impl Read) -> Vec<(u8, u8)> {
        let mut rows = Vec::new();
        read.scan(TABLE, &[0], &[9], &mut |key, value| {
            rows.push((key[0], value[0]));
            ControlFlow::Continue(())
        });
        rows
    }

    #[test]
    fn a_batch_reads_its_own_writes_among_those_before() {
        let mut shelf = Shelf::default();
        write(&mut shelf, &[(1, Some(1)), (3, Some(3)), (5, Some(5))]);
        let mut batch = shelf.batch(&[TABLE]);
        batch.put(TABLE, &[2], &[2]);
        batch.put(TABLE, &[3], &[30]);
        batch.delete(TABLE, &[5]);
        batch.put(TABLE, &[6], &[6]);
        assert_eq!(rows(&batch), [(1, 1), (2, 2), (3, 30), (6, 6)]);
        assert_eq!(batch.get(TABLE, &[5]), None);
        assert_eq!(rows(&shelf.batch(&[TABLE])), [(1, 1), (3, 3), (5, 5)]);
    }

    #[test]
    fn a_lying_disk_is_as_it_was_some_commits_ago() {
        let mut shelf = Shelf::default();
        write(&mut shelf, &[(1, Some(1)), (2, Some(2))]);
        write(&mut shelf, &[(1, Some(10)), (2, None)]);
        write(&mut shelf, &[(3, Some(3))]);
        shelf.lose(2);
        assert_eq!(rows(&shelf.batch(&[TABLE])), [(1, 1), (2, 2)]);
    }
}
