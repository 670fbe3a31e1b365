//! What a person is told of who speaks to HQ: a few facts, no decision.

use storemesh_keys::PeerId;

use super::{Gateway, Uplink};
use crate::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Who the gateway is here, and its epoch, as far as this terminal has heard.
    pub(crate) holder: Option<(PeerId, u64)>,
    /// 0, or while the store's network is split the number of the part it is the gateway of.
    pub(crate) part: u32,
    /// The holder has said that it does not reach HQ.
    pub(crate) holder_is_dark: bool,
    /// This terminal is the gateway and HQ is on the line.
    pub(crate) serving: bool,
    pub(crate) call: Call,
}

/// This terminal's own next word with HQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// The gateway speaks for it.
    NotDue,
    DueAt(Instant),
    UnderWay,
}

impl Gateway {
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            holder: self.gateway().map(|lease| (lease.holder, lease.epoch)),
            part: self.gateway().map_or(0, |lease| lease.part),
            holder_is_dark: self.holder_is_dark,
            serving: self.speaks(),
            call: match self.uplink {
                Uplink::Closed if self.call_at == Instant::NEVER => Call::NotDue,
                Uplink::Closed => Call::DueAt(self.call_at),
                Uplink::Calling(_) => Call::UnderWay,
                Uplink::Ready => Call::NotDue,
            },
        }
    }
}
