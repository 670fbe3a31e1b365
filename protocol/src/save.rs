//! What a composite wants kept on disk.
//!
//! Machines keep all they need in memory and tell the driver, as [`Save`]s, what must outlive them.
//! The driver commits the saves of a batch in one transaction before it lets any other effect of
//! that batch go, so a message only ever speaks of what is on disk. At start it hands the rows
//! back, as [`Rows`].

use std::collections::BTreeMap;

/// One row to write, or to delete when `value` is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// One of the composite's `TABLES`.
    pub table: &'static str,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl Save {
    /// Writes `value`, encoded, under `key`.
    pub fn put(table: &'static str, key: &[u8], value: &impl minicbor::Encode<()>) -> Self {
        let value = minicbor::to_vec(value).expect("encoding into memory cannot fail");
        Self { table, key: key.to_vec(), value: Some(value) }
    }

    pub fn delete(table: &'static str, key: &[u8]) -> Self {
        Self { table, key: key.to_vec(), value: None }
    }
}

/// All rows a program kept, by table and key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(pub BTreeMap<(String, Vec<u8>), Vec<u8>>);

impl Rows {
    /// Carries one save out, as a disk would.
    pub fn apply(&mut self, save: &Save) {
        let at = (save.table.to_owned(), save.key.clone());
        match &save.value {
            Some(value) => self.0.insert(at, value.clone()),
            None => self.0.remove(&at),
        };
    }

    /// The decoded rows of `table`.
    ///
    /// # Errors
    /// A row that does not decode was written by a newer version or damaged: it names the row.
    pub fn read<'a, T: minicbor::Decode<'a, ()>>(
        &'a self,
        table: &'a str,
    ) -> impl Iterator<Item = Result<(&'a [u8], T), BadRow>> + 'a {
        self.0.iter().filter(move |((t, _), _)| t == table).map(move |((_, key), value)| {
            match minicbor::decode(value) {
                Ok(row) => Ok((key.as_slice(), row)),
                Err(why) => Err(BadRow { table: table.to_owned(), why: why.to_string() }),
            }
        })
    }

    /// The one row under `key`, if there is one.
    ///
    /// # Errors
    /// As [`Rows::read`].
    pub fn one<'a, T: minicbor::Decode<'a, ()>>(
        &'a self,
        table: &'static str,
        key: &[u8],
    ) -> Result<Option<T>, BadRow> {
        let Some(value) = self.0.get(&(table.to_owned(), key.to_vec())) else { return Ok(None) };
        let bad =
            |why: minicbor::decode::Error| BadRow { table: table.to_owned(), why: why.to_string() };
        minicbor::decode(value).map(Some).map_err(bad)
    }
}

/// The data folder holds what this program cannot read.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a row of table {table} does not read ({why}): written by a newer version, or damaged")]
pub struct BadRow {
    pub table: String,
    pub why: String,
}
