//! What happens to databases: put aside, put back, copied, lost, or not what they said.

use storemesh_protocol::feeds::EntryId;

use super::shelf::{Shelf, UNSYNCED_MAX};
use crate::world::World;

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
    BackupHq,
    /// HQ is put back as it was then, and its generation raised.
    RestoreHq,
}

impl World {
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
                let mut shelf = self.hosts[t].feeds.shelf.clone();
                shelf.lose(lost);
                self.put_back(t, shelf);
            }
            Harm::Destroy(t) => {
                self.cut_power(t);
                self.hosts[t].feeds.destroyed = true;
                self.put_back(t, Shelf::default());
            }
            Harm::BackupHq => self.backup_hq(),
            Harm::RestoreHq => {
                if self.restore_hq() {
                    self.hq.feeds.restored = true;
                    self.excuse();
                }
            }
        }
    }

    fn put_back(&mut self, t: usize, shelf: Shelf) {
        self.hosts[t].feeds.shelf = shelf;
        self.hosts[t].feeds.hurt = true;
        self.excuse();
    }

    /// What was promised and is nowhere any more went with the disks that promised it.
    fn excuse(&mut self) {
        let nowhere = |id: &EntryId| {
            let here = self.hosts.iter().any(|host| host.feeds.shelf.has(id));
            !here && !self.hq.feeds.shelf.has(id)
        };
        let lost: Vec<_> =
            self.books.promised.keys().filter(|id| nowhere(id)).cloned().collect();
        self.books.excused.extend(lost);
    }

    /// Whose box is not there any more, the till that was promised least is the only one to lose.
    #[cfg(test)]
    pub(in crate::world) fn lost_of(&self, t: usize) -> usize {
        let author = storemesh_protocol::feeds::Author::terminal(self.hosts[t].peer);
        self.books.excused.iter().filter(|id| id.feed.author == author).count()
    }
}
