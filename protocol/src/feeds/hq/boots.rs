//! Which boots of each terminal were seen alive, to tell a cloned disk by.
//!
//! A terminal draws a new boot at every start, so an old one never comes back. The rule: a boot that opens a
//! stream, or goes on speaking for [`GRACE`], after a later one was seen runs on a second disk. What is
//! already on its way when a terminal starts anew is no clone, so a while passes first.

use std::{collections::BTreeMap, time::Duration};

use storemesh_keys::PeerId;

use crate::{Instant, feeds::Boot};

/// For what a dead link still had on its way: twice what QUIC takes to give a link up.
const GRACE: Duration = Duration::from_secs(10);
/// Boots of one terminal that are kept in mind: more starts within one run of HQ are not a clone's.
const BOOTS_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Boots {
    /// In the order in which they were first seen.
    seen: BTreeMap<PeerId, Vec<(Boot, Instant)>>,
}

impl Boots {
    /// A stream of `peer` begins, in this boot; the two that are alive at once, if so.
    pub(super) fn began(&mut self, now: Instant, peer: PeerId, boot: Boot) -> Option<[Boot; 2]> {
        let seen = self.seen.entry(peer).or_default();
        let newest = seen.last().map(|(boot, _)| *boot);
        if newest == Some(boot) {
            return None;
        }
        if seen.iter().any(|(known, _)| *known == boot) {
            return newest.map(|newest| [boot, newest]);
        }
        if seen.len() == BOOTS_MAX {
            seen.remove(0);
        }
        seen.push((boot, now));
        None
    }

    /// A stream that began in this boot goes on.
    pub(super) fn spoke(&self, now: Instant, peer: PeerId, boot: Boot) -> Option<[Boot; 2]> {
        let (newest, since) = *self.seen.get(&peer)?.last()?;
        (newest != boot && since + GRACE <= now).then_some([boot, newest])
    }

    /// Somebody has decided: what was seen until now is no evidence any more.
    pub(super) fn settled(&mut self, peer: PeerId) {
        self.seen.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::peer;

    #[test]
    fn a_terminal_that_starts_anew_is_no_clone() {
        let (mut boots, till) = (Boots::default(), peer(1));
        let now = Instant::default();
        assert_eq!(boots.began(now, till, Boot(1)), None);
        assert_eq!(boots.began(now, till, Boot(2)), None);
        // The last of what it had said before.
        assert_eq!(boots.spoke(now, till, Boot(1)), None);
        assert_eq!(boots.began(now, till, Boot(2)), None, "it may call again");
    }

    #[test]
    fn a_boot_that_is_there_after_a_later_one_is_a_clone() {
        let (mut boots, till) = (Boots::default(), peer(1));
        let now = Instant::default();
        _ = boots.began(now, till, Boot(1));
        _ = boots.began(now, till, Boot(2));
        assert_eq!(boots.spoke(now + GRACE, till, Boot(1)), Some([Boot(1), Boot(2)]));
        assert_eq!(boots.spoke(now + GRACE, till, Boot(2)), None);
        assert_eq!(boots.began(now, till, Boot(1)), Some([Boot(1), Boot(2)]));
        assert_eq!(boots.began(now, peer(2), Boot(1)), None, "another terminal's");
        boots.settled(till);
        assert_eq!(boots.began(now, till, Boot(1)), None);
    }
}
