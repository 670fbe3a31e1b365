//! Who was turned away, and is not dialled for a while however often it is announced.
//!
//! Two stores on one network hear each other's announcements again and again, and each such dial
//! ends at the certificate. A terminal that was moved to this store is not kept out by it: it has a
//! new identity, and whoever dials us is judged anew.

use std::{collections::BTreeMap, time::Duration};

use storemesh_keys::PeerId;

use crate::Instant;

/// Two stores of fifty on one network then dial each other some eight times a second, all together.
pub(super) const PAUSE: Duration = Duration::from_mins(5);
/// Twice the largest store; past that the one whose pause ends first may be dialled again.
const REFUSED_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<PeerId, Instant>);

impl Refused {
    pub(super) fn insert(&mut self, now: Instant, peer: PeerId) {
        self.0.retain(|_, until| now < *until);
        if self.0.len() >= REFUSED_MAX
            && let Some(first) = self.0.iter().min_by_key(|(_, until)| **until).map(|(id, _)| *id)
        {
            self.0.remove(&first);
        }
        self.0.insert(peer, now + PAUSE);
    }

    pub(super) fn contains(&self, now: Instant, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|until| now < *until)
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }
}
