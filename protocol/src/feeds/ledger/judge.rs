//! Whether an entry counts: by its own words, and the certificate and schema that it names.

use super::{Ledger, Refused};
use crate::feeds::{
    Author, CONTROL, Control, Header, PAYLOAD_MAX, Scope, TopicKind, Writers, stock,
};

/// What becomes of an entry that is rightly signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Counts,
    /// It counts nowhere, and its payload is not kept.
    Void,
    /// It counts nowhere; its payload is what shows that.
    VoidAsItIs,
}

impl Ledger {
    /// Whether a feed may exist at all: who has no right from the beginning has no feed.
    pub(super) fn has_feed(&self, header: &Header) -> Result<(), Refused> {
        if header.author == Author::hq(self.trust.chain) {
            return Ok(());
        }
        let store = self.certificate(&header.certificate).map(|certificate| &certificate.store);
        let own = match &header.topic.scope {
            Scope::Store(other) => store == Some(other),
            Scope::Terminal(peer) => *peer == header.author.peer(),
            Scope::Chain | Scope::Region(_) => false,
        };
        if own { Ok(()) } else { Err(Refused::NoRight) }
    }

    pub(super) fn judge(
        &self,
        header: &Header,
        payload: Option<&[u8]>,
    ) -> Result<Verdict, Refused> {
        let from_hq = header.author == Author::hq(self.trust.chain);
        if header.topic.name.as_str() == CONTROL {
            let right = from_hq && header.topic.scope == Scope::Chain && header.schema == 0;
            let fits = header.length as usize <= PAYLOAD_MAX;
            return by(right && fits, payload, |payload| {
                crate::wire::decode::<Control>(payload).is_ok()
            });
        }
        let Some(schema) = self.schemas.get(&header.schema) else {
            // HQ numbers its schemas without a gap, from 1.
            let known = self.schema().map_or(0, |schema| schema.version);
            return if header.schema > known {
                Err(Refused::Later { schema: header.schema })
            } else {
                Ok(Verdict::Void)
            };
        };
        let Some(rule) = schema.topic(&header.topic.name) else { return Ok(Verdict::Void) };
        let right = (rule.writers == Writers::Hq) == from_hq
            && rule.scope == header.topic.scope.kind()
            && header.length <= rule.bytes_max;
        by(right, payload, |payload| match rule.kind {
            TopicKind::Journal => true,
            TopicKind::Stock => stock::Record::decode(payload).is_ok(),
        })
    }
}

fn by(
    right: bool,
    payload: Option<&[u8]>,
    reads: impl FnOnce(&[u8]) -> bool,
) -> Result<Verdict, Refused> {
    match payload {
        _ if !right => Ok(Verdict::Void),
        None => Err(Refused::NoPayload),
        Some(payload) if reads(payload) => Ok(Verdict::Counts),
        Some(_) => Ok(Verdict::VoidAsItIs),
    }
}
