//! What a program must not forget, in one redb file.
//!
//! The rule: all tables of a composite lie in one file, and the saves of a batch are committed
//! together, synced, before anything that speaks of them leaves the driver. A kill at any moment
//! leaves the last committed batch. After a failed commit the program stops, since memory is ahead
//! of the disk then and start-up knows how to begin from disk.
//!
//! What a row means is `protocol`'s business: here it is bytes under a key. A composite either holds
//! all its rows in memory and says what to save ([`Db::rows`], [`Db::commit`]), or is handed the
//! storage itself ([`Db::batch`], [`Db::look`]).

mod batch;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, ensure};
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, StorageBackend, TableDefinition,
    TableHandle as _,
};
use storemesh_protocol::{Rows, Save};

use crate::files;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

#[derive(Debug)]
pub struct Db {
    redb: Database,
    tables: &'static [&'static str],
}

impl Db {
    /// Opens the file, and makes it where there is none. redb would take a gigabyte of cache.
    ///
    /// What a power cut leaves of a database that is being made is refused for ever after, so it is
    /// made beside its place and moved there when it is whole.
    pub fn open(
        path: &Path,
        tables: &'static [&'static str],
        cache_bytes: usize,
    ) -> anyhow::Result<Self> {
        let open = || {
            let mut builder = Database::builder();
            builder.set_cache_size(cache_bytes);
            if fs::exists(path)? {
                return Self::of(builder.create(path)?, tables);
            }
            let beside = files::beside(path);
            if fs::exists(&beside)? {
                fs::remove_file(&beside)?;
            }
            let db = Self::of(builder.create(&beside)?, tables)?;
            fs::rename(&beside, path)?;
            files::sync_folder_of(path)?;
            Ok(db)
        };
        open().with_context(|| format!("opening `{}`", path.display()))
    }

    /// On another storage than a file: a disk that fails on purpose, say.
    pub fn on(
        storage: impl StorageBackend,
        tables: &'static [&'static str],
        cache_bytes: usize,
    ) -> anyhow::Result<Self> {
        let redb = Database::builder().set_cache_size(cache_bytes).create_with_backend(storage);
        Self::of(redb?, tables)
    }

    fn of(redb: Database, tables: &'static [&'static str]) -> anyhow::Result<Self> {
        let db = Self { redb, tables };
        db.refuse_unknown_tables()?;
        db.make_tables()?;
        Ok(db)
    }

    /// Every row there is.
    pub fn rows(&self) -> anyhow::Result<Rows> {
        let mut rows = Rows::default();
        let reading = self.redb.begin_read()?;
        for name in self.tables {
            let table = reading.open_table(Table::new(name))?;
            for row in table.iter()? {
                let (key, value) = row?;
                rows.0.insert(((*name).to_owned(), key.value().to_vec()), value.value().to_vec());
            }
        }
        Ok(rows)
    }

    /// Writes all of `saves`, or none; they are on disk when this returns.
    pub fn commit<'a>(&self, saves: impl IntoIterator<Item = &'a Save>) -> anyhow::Result<()> {
        let writing = self.redb.begin_write()?;
        for save in saves {
            let mut table = writing.open_table(Table::new(save.table))?;
            match &save.value {
                Some(value) => table.insert(save.key.as_slice(), value.as_slice())?,
                None => table.remove(save.key.as_slice())?,
            };
        }
        writing.commit()?;
        Ok(())
    }

    fn make_tables(&self) -> anyhow::Result<()> {
        let writing = self.redb.begin_write()?;
        for name in self.tables {
            writing.open_table(Table::new(name))?;
        }
        writing.commit()?;
        Ok(())
    }

    /// A table of another name was made by a newer version: what it says would be left out.
    fn refuse_unknown_tables(&self) -> anyhow::Result<()> {
        let known: BTreeSet<&str> = self.tables.iter().copied().collect();
        for table in self.redb.begin_read()?.list_tables()? {
            ensure!(
                known.contains(table.name()),
                "it was written by a newer version (table {}): run the newer program",
                table.name()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &[&str] = &["one.1", "two.1"];
    const CACHE: usize = 1 << 20;

    fn put(key: &[u8], value: u64) -> Save {
        Save::put(TABLES[0], key, &value)
    }

    #[test]
    fn what_was_committed_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut expected = Rows::default();
        let batches = [
            vec![put(b"a", 1), put(b"b", 2)],
            vec![put(b"a", 3), Save::delete(TABLES[0], b"b")],
            vec![Save::put(TABLES[1], b"a", &4_u64)],
        ];
        for saves in batches {
            let db = Db::open(&path, TABLES, CACHE).unwrap();
            assert_eq!(db.rows().unwrap(), expected);
            db.commit(&saves).unwrap();
            for save in &saves {
                expected.apply(save);
            }
        }
        assert_eq!(Db::open(&path, TABLES, CACHE).unwrap().rows().unwrap(), expected);
    }

    #[test]
    fn what_a_power_cut_left_of_a_database_being_made_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        fs::write(files::beside(&path), [0; 4096]).unwrap();
        Db::open(&path, TABLES, CACHE).unwrap().commit(&[put(b"a", 1)]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(Db::open(&path, TABLES, CACHE).unwrap().rows().unwrap().0.len(), 1);
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let newer = Db::open(&path, &["one.1", "rollouts.1"], CACHE).unwrap();
        drop(newer);
        let error = format!("{:#}", Db::open(&path, TABLES, CACHE).unwrap_err());
        assert!(error.contains("newer") && error.contains("rollouts.1"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("terminal.redb");
        fs::write(&path, "something else entirely").unwrap();
        let error = format!("{:#}", Db::open(&path, TABLES, CACHE).unwrap_err());
        assert!(error.contains("terminal.redb"), "{error}");
    }
}
