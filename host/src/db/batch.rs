//! Rows for a composite that is handed its storage: [`Storage`] within one transaction, and [`Read`]
//! over what was committed last.
//!
//! The rule: a batch is one transaction, and each of its tables is opened once, when it is first used.
//! A read that fails, a write that fails, or a row that does not read is noted, and the batch is then
//! not committed: what was decided from it never gets out. A batch that has written nothing is not
//! committed either, and costs no sync.
//!
//! redb could save its free pages with every commit, and then look through nothing after a power cut. It
//! syncs twice for it, which every sale would wait for (measured: 9 ms for 5); looking through takes 2 ms
//! for a MiB, once.

use std::cell::{OnceCell, RefCell};

use anyhow::Context as _;
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableDatabase as _, ReadableTable, StorageError, TableError,
    WriteTransaction,
};
use storemesh_protocol::{
    BadRow,
    feeds::{Each, Read, Storage},
};

use super::{Db, Table};

type Bytes = &'static [u8];

impl Db {
    /// Hands `work` the storage of one batch; all it has written is on disk when this returns, or none.
    pub fn batch<T>(&self, work: impl FnOnce(&mut dyn Storage) -> T) -> anyhow::Result<T> {
        let writing = self.redb.begin_write()?;
        let (done, written) = {
            let mut batch = Batch { tables: Tables::new(self.tables, &writing), written: false };
            let done = work(&mut batch);
            // Dropped unfinished, the transaction leaves nothing behind.
            batch.tables.end()?;
            (done, batch.written)
        };
        if written {
            writing.commit()?;
        }
        Ok(done)
    }

    /// Hands `look` what was committed last; writers are not held up.
    pub fn look<T>(&self, look: impl FnOnce(&dyn Read) -> T) -> anyhow::Result<T> {
        let reading = self.redb.begin_read()?;
        let tables = Tables::new(self.tables, &reading);
        let seen = look(&tables);
        tables.end()?;
        Ok(seen)
    }
}

/// A transaction, of either kind.
trait Opens {
    type Table: ReadableTable<Bytes, Bytes>;

    fn open(&self, name: &'static str) -> Result<Self::Table, TableError>;
}

impl<'t> Opens for &'t WriteTransaction {
    type Table = redb::Table<'t, Bytes, Bytes>;

    fn open(&self, name: &'static str) -> Result<Self::Table, TableError> {
        self.open_table(Table::new(name))
    }
}

impl Opens for &ReadTransaction {
    type Table = ReadOnlyTable<Bytes, Bytes>;

    fn open(&self, name: &'static str) -> Result<Self::Table, TableError> {
        self.open_table(Table::new(name))
    }
}

struct Tables<O: Opens> {
    transaction: O,
    /// Those that were used.
    open: Vec<(&'static str, OnceCell<O::Table>)>,
    /// The first thing that went wrong.
    failed: RefCell<Option<anyhow::Error>>,
}

struct Batch<'t> {
    tables: Tables<&'t WriteTransaction>,
    written: bool,
}

impl<O: Opens> Tables<O> {
    fn new(names: &[&'static str], transaction: O) -> Self {
        let open = names.iter().map(|name| (*name, OnceCell::new())).collect();
        Self { transaction, open, failed: RefCell::new(None) }
    }

    /// Whether all went well.
    fn end(self) -> anyhow::Result<()> {
        self.failed.into_inner().map_or(Ok(()), Err)
    }

    fn place(&self, name: &str) -> usize {
        let place = self.open.iter().position(|(known, _)| *known == name);
        place.expect("the database was opened with every table of the composite")
    }

    fn table(&self, name: &'static str) -> anyhow::Result<&O::Table> {
        let cell = &self.open[self.place(name)].1;
        if cell.get().is_none() {
            let table = self.transaction.open(name)?;
            assert!(cell.set(table).is_ok(), "opening a table opens no other");
        }
        Ok(cell.get().expect("it was set above"))
    }

    fn note(&self, name: &'static str, error: impl Into<anyhow::Error>) {
        let error = error.into().context(format!("table {name}"));
        self.failed.borrow_mut().get_or_insert(error);
    }

    fn find(&self, name: &'static str, key: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.table(name)?.get(key)?.map(|row| row.value().to_vec()))
    }

    fn walk(
        &self,
        name: &'static str,
        from: &[u8],
        to: &[u8],
        each: &mut Each<'_>,
    ) -> anyhow::Result<()> {
        if to <= from {
            return Ok(());
        }
        for row in self.table(name)?.range::<&[u8]>(from..to)? {
            let (key, value) = row?;
            if each(key.value(), value.value()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl<O: Opens> Read for Tables<O> {
    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
        self.find(table, key).unwrap_or_else(|why| {
            self.note(table, why);
            None
        })
    }

    fn scan(&self, table: &'static str, from: &[u8], to: &[u8], each: &mut Each<'_>) {
        if let Err(why) = self.walk(table, from, to, each) {
            self.note(table, why);
        }
    }

    fn fail(&self, why: BadRow) {
        self.failed.borrow_mut().get_or_insert(why.into());
    }
}

impl Batch<'_> {
    fn write(
        &mut self,
        name: &'static str,
        write: impl FnOnce(&mut redb::Table<'_, Bytes, Bytes>) -> Result<(), StorageError>,
    ) {
        self.written = true;
        let opened = self.tables.table(name).map(drop);
        let place = self.tables.place(name);
        let table = self.tables.open[place].1.get_mut();
        let written = opened.and_then(|()| {
            let table = table.context("it was not opened")?;
            Ok(write(table)?)
        });
        if let Err(why) = written {
            self.tables.note(name, why);
        }
    }
}

impl Read for Batch<'_> {
    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
        self.tables.get(table, key)
    }

    fn scan(&self, table: &'static str, from: &[u8], to: &[u8], each: &mut Each<'_>) {
        self.tables.scan(table, from, to, each);
    }

    fn fail(&self, why: BadRow) {
        self.tables.fail(why);
    }
}

impl Storage for Batch<'_> {
    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]) {
        self.write(table, |table| table.insert(key, value).map(drop));
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) {
        self.write(table, |table| table.remove(key).map(drop));
    }
}

#[cfg(test)]
mod tests;
