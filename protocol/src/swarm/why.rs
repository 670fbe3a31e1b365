//! What a person is told of where chunks come from, and of why they do not.

use storemesh_keys::PeerId;

use super::Swarm;
use crate::{Instant, content::ListId, terminal::Source};

/// What of a list is lacking, and who could bring it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacking {
    pub(crate) chunks_have: u32,
    pub(crate) chunks_total: u32,
    /// Not asked of anybody, and held by nobody in the store but HQ.
    pub(crate) only_hq: u32,
    /// Not asked of anybody, and held by a neighbour.
    pub(crate) held: u32,
    /// Who was asked for something and has not delivered it yet.
    pub(crate) asked: Vec<Source>,
    /// Neighbours that hold something of it and are not asked for now.
    pub(crate) resting: Vec<PeerId>,
    /// As the gateway: until then the neighbours may say that they hold what HQ would be asked for.
    pub(crate) asks_hq_at: Option<Instant>,
    /// As the gateway: HQ is not asked before then.
    pub(crate) hq_rests_until: Option<Instant>,
}

/// Why a neighbour is not asked for chunks, though it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It sent wrong bytes then, and is not asked again.
    Lied(Instant),
    /// It did not deliver in time.
    Stalled { until: Instant },
    /// Its stream broke, or our own disk did not take what it sent.
    Rests { until: Instant },
}

impl Swarm {
    /// None when the list is not sought.
    pub(crate) fn lacking(&self, id: &ListId, now: Instant) -> Option<Lacking> {
        let list = self.list(id).filter(|list| list.is_sought())?;
        let mut asked: Vec<Source> = list.awaited().map(|(_, from)| from).collect();
        asked.sort_unstable();
        asked.dedup();
        let resting = |(peer, n): (&PeerId, &super::Neighbour)| {
            let holds = n.bits(id).is_some_and(|bits| bits.count() > 0);
            (holds && n.pipe.rests(now)).then_some(*peer)
        };
        Some(Lacking {
            chunks_have: list.have.count(),
            chunks_total: list.have.len(),
            only_hq: list.only_hq(),
            held: u32::try_from(list.available().count()).unwrap_or(u32::MAX),
            asked,
            resting: self.neighbours.iter().filter_map(resting).collect(),
            asks_hq_at: self.hq.as_ref().and_then(|_| self.asks_hq_at(list, now)),
            hq_rests_until: self.hq.as_ref().and_then(|hq| hq.rest_until(now)),
        })
    }

    pub(crate) fn trouble(&self, peer: &PeerId, now: Instant) -> Option<Trouble> {
        if let Some((_, at)) = self.liars.iter().rev().find(|(liar, _)| liar == peer) {
            return Some(Trouble::Lied(*at));
        }
        let pipe = &self.neighbours.get(peer)?.pipe;
        let until = pipe.rest_until(now)?;
        Some(if pipe.is_mute(now) { Trouble::Stalled { until } } else { Trouble::Rests { until } })
    }

    /// How many chunks of the list `peer` has said it holds; none when it has said nothing.
    pub(crate) fn held_by(&self, peer: &PeerId, list: &ListId) -> Option<u32> {
        self.neighbours.get(peer)?.bits(list).map(crate::content::Bits::count)
    }
}
