//! What happens to databases: put aside, put back, copied, lost, or not what they said.

use std::time::Duration;

#[cfg(test)]
use storemesh_protocol::feeds::hq;
use storemesh_protocol::feeds::{EntryId, terminal::AckLevel};

use super::shelf::{Shelf, UNSYNCED_MAX};
use crate::world::{World, clock::Time, faults::Fault};

#[derive(Clone, Copy, Debug)]
pub(in crate::world) enum Harm {
    /// An operator puts a copy of the disk aside.
    Backup(usize),
    /// The disk is put back as it was then.
    Restore(usize),
    /// The power goes, and a lying disk had not written what it said it had.
    Lie(usize),
    /// The box is gone for good, with its disk.
    Destroy(usize),
    /// From now on its feeds are not ours.
    Turn {
        t: usize,
        forks: bool,
    },
    BackupHq,
    /// HQ is put back as it was then, and its generation raised.
    RestoreHq,
}

impl World {
    /// In a storm over tills that sell: what happens to databases until then.
    pub(in crate::world) fn disks_go_wrong(&mut self, end: Time) {
        let now = self.now();
        if self.tills.open_until <= now {
            return;
        }
        let seconds = Duration::from_secs;
        for store in 0..self.stores.len() {
            let terminals = self.stores[store].terminals.clone();
            let mut left = terminals.len();
            for _ in 0..self.tills.below(5) {
                let t = terminals[self.tills.below(terminals.len())];
                let at = self.tills.between(now, end);
                let later = at + self.tills.between(seconds(1), seconds(20));
                let up = later + self.tills.between(seconds(1), seconds(8));
                match self.tills.below(5) {
                    0 | 1 => {
                        self.later(at, Fault::Harm(Harm::Backup(t)));
                        self.later(later, Fault::Harm(Harm::Restore(t)));
                        self.later(up, Fault::Start(t));
                    }
                    2 | 3 => {
                        self.later(later, Fault::Harm(Harm::Lie(t)));
                        self.later(up, Fault::Start(t));
                    }
                    _ if left > 2 => {
                        left -= 1;
                        self.later(later, Fault::Harm(Harm::Destroy(t)));
                    }
                    _ => {}
                }
            }
        }
        let store = self.tills.below(self.stores.len());
        if self.tills.below(6) == 0 && self.stores[store].terminals.len() > 2 {
            let terminals = self.stores[store].terminals.len();
            let t = self.stores[store].terminals[self.tills.below(terminals)];
            let at = self.tills.between(now, end);
            let forks = self.tills.hits(500);
            self.later(at, Fault::Harm(Harm::Turn { t, forks }));
        }
        if self.tills.below(6) == 0 {
            let at = self.tills.between(now, end);
            let later = at + self.tills.between(seconds(1), seconds(20));
            let up = later + self.tills.between(seconds(1), seconds(10));
            self.later(at, Fault::Harm(Harm::BackupHq));
            self.later(later, Fault::Harm(Harm::RestoreHq));
            self.later(up, Fault::StartHq);
        }
    }

    pub(in crate::world) fn harm(&mut self, harm: Harm) {
        match harm {
            Harm::Backup(t) => {
                let side = &mut self.hosts[t].feeds;
                side.backup = Some(side.shelf.clone());
            }
            Harm::Restore(t) => {
                let Some(backup) = self.hosts[t].feeds.backup.clone() else { return };
                self.cut_power(t);
                self.put_back(t, backup);
            }
            Harm::Lie(t) => {
                self.cut_power(t);
                let lost = 1 + self.tills.below(UNSYNCED_MAX / 4);
                let mut left = self.hosts[t].feeds.shelf.clone();
                left.lose(lost);
                self.put_back(t, left);
            }
            Harm::Destroy(t) => {
                self.cut_power(t);
                self.hosts[t].feeds.destroyed = true;
                self.put_back(t, Shelf::default());
            }
            Harm::Turn { t, forks } => self.turn_hostile(t, forks),
            Harm::BackupHq => self.backup_hq(),
            Harm::RestoreHq => {
                if self.hq_is_put_back() {
                    self.say_restored();
                }
            }
        }
    }

    fn hq_is_put_back(&mut self) -> bool {
        let was = self.put_back_hq();
        if was {
            self.hq.feeds.restored = true;
            self.forget_of_hq();
            self.excuse();
        }
        was
    }

    /// HQ's folder is put back, and it serves it as if nothing was.
    #[cfg(test)]
    pub(in crate::world) fn put_back_hq_without_a_word(&mut self) {
        assert!(self.hq_is_put_back());
        self.hq.feeds.unsaid = Some(self.hq.generation());
    }

    /// HQ says that it serves a backup.
    #[cfg(test)]
    pub(in crate::world) fn hq_is_behind(&self) -> bool {
        hq::behind_since(&self.hq.feeds.shelf.batch(hq::TABLES)).is_some()
    }

    fn put_back(&mut self, t: usize, left: Shelf) {
        self.hosts[t].feeds.shelf = left;
        self.hosts[t].feeds.hurt = true;
        self.excuse();
    }

    /// What was promised and is nowhere any more went with the disks that promised it.
    fn excuse(&mut self) {
        let nowhere = |id: &EntryId| {
            let here = self.hosts.iter().any(|host| host.feeds.shelf.has(id));
            !here && !self.hq.feeds.shelf.has(id)
        };
        let lost: Vec<_> = self.books.promised.keys().filter(|id| nowhere(id)).cloned().collect();
        let missed = lost.iter().find_map(|id| {
            let gone = self.books.let_go.get(id)?;
            let by = gone.iter().find(|t| !self.hosts[**t].feeds.hurt)?;
            (self.books.promised[id] > AckLevel::Disk).then(|| (*by, id.clone()))
        });
        if let Some((by, id)) = missed {
            self.break_rule(by, format!("has let go of {id:?}, which was promised, and is lost"));
        }
        self.books.excused.extend(lost);
    }

    /// It may write two entries with one number.
    pub(in crate::world) fn turn_hostile(&mut self, t: usize, forks: bool) {
        self.kill_terminal(t);
        let side = &mut self.hosts[t].feeds;
        (side.hostile, side.forks) = (true, forks);
        self.start_terminal(t);
    }

    /// The disk is copied, and the copy runs in another box.
    #[cfg(test)]
    pub(in crate::world) fn clone_terminal(&mut self, of: usize) -> usize {
        let (store, t) = (self.hosts[of].store, self.add_terminal(self.hosts[of].store));
        let (from, place) = (&self.hosts[of], self.stores[store].terminals.len());
        let (key, peer, name) = (from.key.clone(), from.peer, from.name.clone());
        let (disk, copy) = (from.disk.clone(), from.feeds.shelf.clone());
        let host = &mut self.hosts[t];
        (host.key, host.peer, host.name, host.disk) = (key, peer, name, disk);
        host.address = Self::address(store, place, 0);
        (host.feeds.shelf, host.feeds.hurt) = (copy, true);
        self.start_terminal(t);
        t
    }

    /// Entries of the tills' journals that lie on a terminal's disk.
    #[cfg(test)]
    pub(in crate::world) fn journal_of(&self, t: usize) -> usize {
        let is_sale = |id: &&EntryId| id.feed.topic.name.as_str() == "sales";
        self.hosts[t].feeds.shelf.ids().filter(is_sale).count()
    }

    /// Entries that HQ says are missing there.
    #[cfg(test)]
    pub(in crate::world) fn missing_at_hq(&self) -> u64 {
        let (books, trust) = (self.hq.feeds.shelf.batch(hq::TABLES), self.hq.signs().1);
        storemesh_protocol::feeds::held(&books, &trust, None).iter().map(|row| row.missing).sum()
    }

    /// Entries on a terminal's disk that other terminals wrote.
    #[cfg(test)]
    pub(in crate::world) fn entries_by_others(&self, t: usize) -> usize {
        let terminals = self.hosts.iter().map(|host| host.peer);
        let others: Vec<_> = terminals.filter(|peer| *peer != self.hosts[t].peer).collect();
        let ids = self.hosts[t].feeds.shelf.ids();
        ids.filter(|id| others.contains(&id.feed.author.peer())).count()
    }

    #[cfg(test)]
    pub(in crate::world) fn excused(&self) -> usize {
        self.books.excused.len()
    }

    /// Entries of a terminal that were promised and are nowhere.
    #[cfg(test)]
    pub(in crate::world) fn lost_of(&self, t: usize) -> usize {
        let author = storemesh_protocol::feeds::Author::terminal(self.hosts[t].peer);
        self.books.excused.iter().filter(|id| id.feed.author == author).count()
    }
}
