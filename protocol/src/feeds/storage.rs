//! Where feeds are kept, as the composites see it.
//!
//! Feeds are too many to be held in memory, so the composites are handed their storage like the time:
//! within one batch they read and write in one transaction, which the driver commits before it lets any
//! output go. A read that fails, or a row that does not read, is noted by the storage, and its commit then
//! fails: nothing that was decided from it gets out, and the process stops.

use std::{collections::BTreeMap, ops::ControlFlow};

use crate::BadRow;

/// What a scan hands each row to, key and value.
pub type Each<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Reads rows: within a transaction, or a snapshot of what was committed last.
pub trait Read {
    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>>;

    /// The rows of the keys from `from` to before `to`, in order, until `each` has had enough.
    fn scan(&self, table: &'static str, from: &[u8], to: &[u8], each: &mut Each<'_>);

    /// A row does not read: nothing may be committed any more.
    fn fail(&self, why: BadRow);
}

/// The one transaction of a batch.
pub trait Storage: Read {
    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]);
    fn delete(&mut self, table: &'static str, key: &[u8]);
}

/// The decoded row under `key`.
pub(crate) fn row<T>(storage: &(impl Read + ?Sized), table: &'static str, key: &[u8]) -> Option<T>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    storage.get(table, key).and_then(|bytes| decode(storage, table, &bytes))
}

/// Writes `value`, encoded, under `key`.
pub(crate) fn put(
    storage: &mut (impl Storage + ?Sized),
    table: &'static str,
    key: &[u8],
    value: &impl minicbor::Encode<()>,
) {
    storage.put(table, key, &crate::wire::encode(value));
}

/// Every decoded row of `table` whose key begins with `prefix`.
pub(crate) fn rows<T>(
    storage: &(impl Read + ?Sized),
    table: &'static str,
    prefix: &[u8],
) -> Vec<(Vec<u8>, T)>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    let mut found = Vec::new();
    storage.scan(table, prefix, &after_prefix(prefix), &mut |key, bytes| {
        if let Some(row) = decode(storage, table, bytes) {
            found.push((key.to_vec(), row));
        }
        ControlFlow::Continue(())
    });
    found
}

/// The first key after all that begin with `prefix`; where there is none, longer than any key is.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.pop() {
        if last < u8::MAX {
            next.push(last + 1);
            return next;
        }
    }
    vec![u8::MAX; KEY_MAX + 1]
}

/// No key of ours is longer: a feed's id is the longest.
const KEY_MAX: usize = 512;

/// One row's value; one that does not read fails the batch.
pub(crate) fn decode<T>(
    storage: &(impl Read + ?Sized),
    table: &'static str,
    bytes: &[u8],
) -> Option<T>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    match minicbor::decode(bytes) {
        Ok(row) => Some(row),
        Err(why) => {
            storage.fail(BadRow { table: table.to_owned(), why: why.to_string() });
            None
        }
    }
}

/// Rows in memory: for tests, and for what is simulated.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub BTreeMap<(&'static str, Vec<u8>), Vec<u8>>);

impl Read for Memory {
    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&(table, key.to_vec())).cloned()
    }

    fn scan(&self, table: &'static str, from: &[u8], to: &[u8], each: &mut Each<'_>) {
        for ((_, key), value) in self.0.range((table, from.to_vec())..(table, to.to_vec())) {
            if each(key, value).is_break() {
                return;
            }
        }
    }

    fn fail(&self, why: BadRow) {
        panic!("{why}");
    }
}

impl Storage for Memory {
    fn put(&mut self, table: &'static str, key: &[u8], value: &[u8]) {
        self.0.insert((table, key.to_vec()), value.to_vec());
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) {
        self.0.remove(&(table, key.to_vec()));
    }
}
