//! Whether a release finds room on this terminal.
//!
//! Two limits hold. The file system has so much free, and of that a reserve is left alone, for the
//! journal of sales before all. And the shop may have set a quota for what storemesh keeps. The disk
//! only measures ([`Room`]); how much is lacking is computed here, and what is done about it is
//! decided by the installer.
//!
//! What was begun is never stopped by either limit: its room is taken already.

/// What the disk measured for one release, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What the release still takes: nothing once its tree is laid out.
    pub needed: u64,
    /// Free on the file system.
    pub free: u64,
    /// Of `free`, what downloads leave alone.
    pub reserve: u64,
    /// What releases and chunks take.
    pub used: u64,
    /// How much they may.
    pub quota: Option<u64>,
    /// Of `used`, what nobody needs.
    pub garbage: u64,
    /// Of `used`, what the release takes that might be given up; nothing where there is none.
    pub previous: u64,
}

/// How much room must be made before the release fits, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    pub bytes: u64,
    pub on: Limit,
}

/// What leaves too little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The file system of the data folder.
    Disk,
    /// What the configuration lets storemesh use.
    Quota,
}

impl Room {
    /// As it would be with that release given up.
    pub(super) fn without_previous(&self) -> Self {
        let Self { previous, .. } = *self;
        Self {
            free: self.free.saturating_add(previous),
            used: self.used.saturating_sub(previous),
            previous: 0,
            ..*self
        }
    }

    /// None where the release fits; else the limit that lacks more.
    pub(super) fn lacking(&self) -> Option<Lacking> {
        if self.needed == 0 {
            return None;
        }
        let disk = self.needed.saturating_add(self.reserve).saturating_sub(self.free);
        let quota = self
            .quota
            .map_or(0, |quota| self.needed.saturating_add(self.used).saturating_sub(quota));
        match (disk, quota) {
            (0, 0) => None,
            (disk, quota) if disk < quota => Some(Lacking { bytes: quota, on: Limit::Quota }),
            (disk, _) => Some(Lacking { bytes: disk, on: Limit::Disk }),
        }
    }
}

impl Lacking {
    /// For a person, and what to do.
    pub(super) fn text(self) -> String {
        let mib = self.bytes.div_ceil(1 << 20);
        match self.on {
            Limit::Disk => format!(
                "{mib} MiB more must be free on the disk of the data folder: make room, it then \
                 goes on by itself"
            ),
            Limit::Quota => format!(
                "{mib} MiB more than disk_quota_bytes allows: raise it and start the node again"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Room = Room {
        needed: 100,
        free: 150,
        reserve: 50,
        used: 300,
        quota: Some(400),
        garbage: 0,
        previous: 0,
    };

    #[test]
    fn what_just_fits_fits_and_a_byte_less_does_not() {
        assert_eq!(ROOMY.lacking(), None);
        let short = Room { free: 149, ..ROOMY };
        assert_eq!(short.lacking(), Some(Lacking { bytes: 1, on: Limit::Disk }));
        let short = Room { quota: Some(399), ..ROOMY };
        assert_eq!(short.lacking(), Some(Lacking { bytes: 1, on: Limit::Quota }));
    }

    #[test]
    fn of_two_limits_the_one_that_lacks_more_is_named() {
        let room = Room { free: 100, quota: Some(390), ..ROOMY };
        assert_eq!(room.lacking(), Some(Lacking { bytes: 50, on: Limit::Disk }));
        let room = Room { free: 100, quota: Some(300), ..ROOMY };
        assert_eq!(room.lacking(), Some(Lacking { bytes: 100, on: Limit::Quota }));
    }

    #[test]
    fn what_was_begun_is_stopped_by_no_limit() {
        assert_eq!(Room { needed: 0, free: 0, quota: Some(0), ..ROOMY }.lacking(), None);
    }

    #[test]
    fn no_number_is_too_large() {
        let room = Room { needed: u64::MAX, used: u64::MAX, ..ROOMY };
        assert_eq!(room.lacking().map(|lacking| lacking.on), Some(Limit::Disk));
    }
}
