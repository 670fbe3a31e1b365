use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use redb::{StorageBackend, backends::InMemoryBackend};

use super::*;

const ONE: &str = "one.1";
const TWO: &str = "two.1";
const TABLES: &[&str] = &[ONE, TWO];
const CACHE: usize = 1 << 20;

/// A disk that fails when told to, and counts syncs.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<InMemoryBackend>,
    unreadable: Arc<AtomicBool>,
    unwritable: Arc<AtomicBool>,
    syncs: Arc<AtomicUsize>,
}

impl Disk {
    fn open(&self) -> Db {
        // No cache, so that what is read is read from the disk.
        Db::on(self.clone(), TABLES, 0).unwrap()
    }

    fn fail_if(flag: &AtomicBool) -> io::Result<()> {
        if flag.load(Ordering::Relaxed) { Err(io::Error::other("the disk failed")) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        Self::fail_if(&self.unreadable)?;
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::fail_if(&self.unwritable)?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Self::fail_if(&self.unwritable)?;
        self.bytes.write(offset, data)
    }
}

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

fn fill(db: &Db, numbers: std::ops::Range<u32>) {
    let filled = db.batch(|storage| {
        for number in numbers {
            storage.put(ONE, &key(number), &[7; 100]);
        }
    });
    filled.unwrap();
}

fn value(db: &Db, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
    db.look(|read| read.get(table, key)).unwrap()
}

fn keys(read: &dyn Read, from: &[u8], to: &[u8], most: usize) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    read.scan(ONE, from, to, &mut |key, _| {
        keys.push(key.to_vec());
        if keys.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    keys
}

#[test]
fn a_batch_reads_what_it_has_written_and_the_file_has_it_all_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feeds.redb");
    let db = Db::open(&path, TABLES, CACHE).unwrap();
    let seen = db.batch(|storage| {
        storage.put(ONE, b"a", b"1");
        storage.put(ONE, b"b", b"2");
        storage.put(TWO, b"a", b"3");
        storage.delete(ONE, b"b");
        (storage.get(ONE, b"a"), storage.get(ONE, b"b"), storage.get(TWO, b"a"))
    });
    assert_eq!(seen.unwrap(), (Some(b"1".to_vec()), None, Some(b"3".to_vec())));
    drop(db);
    let db = Db::open(&path, TABLES, CACHE).unwrap();
    assert_eq!(value(&db, ONE, b"a"), Some(b"1".to_vec()));
    assert_eq!(value(&db, ONE, b"b"), None);
    assert_eq!(value(&db, TWO, b"a"), Some(b"3".to_vec()));
}

#[test]
fn a_scan_goes_in_order_from_one_key_to_before_another_until_it_has_had_enough() {
    let db = Disk::default().open();
    fill(&db, 0..1000);
    let look = |from, to, most| db.look(|read| keys(read, &key(from), &key(to), most)).unwrap();
    let expected = |range: std::ops::Range<u32>| range.map(|n| key(n).to_vec()).collect::<Vec<_>>();
    assert_eq!(look(250, 260, 1000), expected(250..260));
    assert_eq!(look(250, 260, 3), expected(250..253));
    assert_eq!(look(260, 250, 1000), expected(0..0));
    assert_eq!(look(990, u32::MAX, 1000), expected(990..1000));
    // While it scans, a batch may look elsewhere.
    let nested = db.batch(|storage| {
        let mut seen = 0;
        storage.scan(ONE, &key(0), &key(3), &mut |_, _| {
            seen += usize::from(storage.get(TWO, b"a").is_none());
            ControlFlow::Continue(())
        });
        seen
    });
    assert_eq!(nested.unwrap(), 3);
}

#[test]
fn who_looks_sees_the_last_commit_and_nothing_of_a_batch_under_way() {
    let db = Disk::default().open();
    fill(&db, 0..1);
    let seen = db.batch(|storage| {
        storage.delete(ONE, &key(0));
        storage.put(ONE, &key(1), b"new");
        (value(&db, ONE, &key(0)).is_some(), value(&db, ONE, &key(1)).is_some())
    });
    assert_eq!(seen.unwrap(), (true, false));
    assert_eq!(value(&db, ONE, &key(1)), Some(b"new".to_vec()));
}

#[test]
fn a_batch_that_writes_nothing_costs_no_sync() {
    let disk = Disk::default();
    let db = disk.open();
    fill(&db, 0..10);
    let syncs = || disk.syncs.load(Ordering::Relaxed);
    let before = syncs();
    assert!(db.batch(|storage| storage.get(ONE, &key(3))).unwrap().is_some());
    assert_eq!(syncs(), before);
    fill(&db, 10..11);
    assert!(syncs() > before);
}

#[test]
fn a_row_that_does_not_read_keeps_its_whole_batch_from_being_committed() {
    let db = Disk::default().open();
    let failed = db.batch(|storage| {
        storage.put(TWO, b"a", b"decided from it");
        storage.fail(BadRow { table: ONE.to_owned(), why: "not a feed".to_owned() });
    });
    let error = format!("{:#}", failed.unwrap_err());
    assert!(error.contains(ONE) && error.contains("not a feed"), "{error}");
    assert_eq!(value(&db, TWO, b"a"), None);
    let failed = db.look(|read| {
        read.fail(BadRow { table: ONE.to_owned(), why: "not a feed".to_owned() });
    });
    assert!(failed.is_err());
}

#[test]
fn a_read_that_fails_keeps_its_whole_batch_from_being_committed() {
    let disk = Disk::default();
    let db = disk.open();
    fill(&db, 0..1000);
    drop(db);
    for scans in [false, true] {
        let db = disk.open();
        let failed = db.batch(|storage| {
            storage.put(TWO, b"a", b"before");
            disk.unreadable.store(true, Ordering::Relaxed);
            if scans {
                let nothing = keys(storage, &key(0), &key(1000), 1000);
                assert!(nothing.len() < 1000, "the disk does not fail");
            } else {
                assert_eq!(storage.get(ONE, &key(500)), None, "the disk does not fail");
            }
            storage.put(TWO, b"b", b"decided from it");
        });
        disk.unreadable.store(false, Ordering::Relaxed);
        let error = format!("{:#}", failed.unwrap_err());
        assert!(error.contains("the disk failed") || error.contains("one.1"), "{error}");
        drop(db);
        let db = disk.open();
        assert_eq!((value(&db, TWO, b"a"), value(&db, TWO, b"b")), (None, None));
    }
}

#[test]
fn a_commit_that_fails_says_so_and_the_batch_before_it_stays() {
    let disk = Disk::default();
    let db = disk.open();
    fill(&db, 0..10);
    disk.unwritable.store(true, Ordering::Relaxed);
    assert!(db.batch(|storage| storage.put(ONE, &key(3), b"lost")).is_err());
    disk.unwritable.store(false, Ordering::Relaxed);
    // Memory may be ahead of the disk: nothing more is written before it is opened anew.
    assert!(db.batch(|storage| storage.put(ONE, &key(4), b"lost too")).is_err());
    drop(db);
    let db = disk.open();
    assert_eq!(value(&db, ONE, &key(3)), Some(vec![7; 100]));
    assert_eq!(value(&db, ONE, &key(4)), Some(vec![7; 100]));
    fill(&db, 10..11);
}
