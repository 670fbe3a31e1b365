//! The smallest journal: numbered rows in one database, written in batches, trimmed from the front.
//!
//! A batch is acknowledged when [`Db::commit`] has returned. What must be there is kept beside the disk,
//! row by row, and compared whole.

use std::{iter, mem};

use anyhow::ensure;
use storemesh_host::db::Db;
use storemesh_protocol::{Rows, Save};

use super::{
    disk::Port,
    life::{InFlight, Sabotage, Workload},
};
use crate::chance::Chance;

const TABLES: &[&str] = &["journal.1"];
/// Of a small one redb writes out what is not committed yet.
const CACHES: [usize; 2] = [64 << 10, 4 << 20];
const BATCH: usize = 64;
const ROW_BYTES: std::ops::Range<usize> = 200..2001;
/// More rows than that are trimmed to half: room is given back and used again.
const KEPT: usize = 300;

#[derive(Clone)]
pub(super) struct Journal {
    cache: usize,
    sabotage: Sabotage,
    acknowledged: Rows,
    in_flight: Vec<Save>,
    next: u64,
}

impl Workload for Journal {
    type Running = Db;

    fn new(sabotage: Sabotage, chance: &mut Chance) -> Self {
        let cache = CACHES[chance.below(CACHES.len())];
        let (acknowledged, in_flight) = (Rows::default(), Vec::new());
        Self { cache, sabotage, acknowledged, in_flight, next: 1 }
    }

    fn open(&self, port: Port) -> anyhow::Result<Db> {
        Db::on(port, TABLES, self.cache)
    }

    fn check(&mut self, db: &mut Db) -> anyhow::Result<InFlight> {
        let found = db.rows()?;
        let mut with = self.acknowledged.clone();
        for save in &self.in_flight {
            with.apply(save);
        }
        let in_flight = match mem::take(&mut self.in_flight).is_empty() {
            true => InFlight::None,
            false if found == with => InFlight::Whole,
            false => InFlight::Gone,
        };
        if in_flight == InFlight::Whole {
            self.acknowledged = with;
        }
        let expected = &self.acknowledged.0;
        let lost = expected.keys().filter(|key| !found.0.contains_key(*key)).count();
        let more = found.0.keys().filter(|key| !expected.contains_key(*key)).count();
        ensure!(
            found == self.acknowledged,
            "of {} acknowledged rows {lost} are gone; {more} are there that nobody knows",
            expected.len()
        );
        Ok(in_flight)
    }

    fn batch(&mut self, db: &mut Db, chance: &mut Chance) -> anyhow::Result<u64> {
        let count = 1 + chance.below(BATCH);
        let rows = iter::repeat_with(|| {
            let bytes = ROW_BYTES.start + chance.below(ROW_BYTES.len());
            let row = chance.bytes().into_iter().cycle().take(bytes).collect();
            self.next += 1;
            Save { table: TABLES[0], key: (self.next - 1).to_be_bytes().to_vec(), value: Some(row) }
        });
        self.in_flight = rows.take(count).collect();
        if self.acknowledged.0.len() > KEPT {
            let oldest = self.acknowledged.0.keys().take(KEPT / 2);
            self.in_flight.extend(oldest.map(|(_, key)| Save::delete(TABLES[0], key)));
        }

        if self.sabotage != Sabotage::EarlyAnswers {
            db.commit(&self.in_flight)?;
        }
        let batch = mem::take(&mut self.in_flight);
        for save in &batch {
            self.acknowledged.apply(save);
        }
        if self.sabotage == Sabotage::EarlyAnswers {
            db.commit(&batch)?;
        }
        Ok(count as u64)
    }
}
