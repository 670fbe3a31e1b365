//! What neighbours and HQ say on the stream for feeds, part by part.

use std::collections::BTreeMap;

use storemesh_keys::{Timestamp, Verified};

use super::{Event, FromFeeds, Output, RoomFor, TerminalFeeds};
use crate::{
    Instant,
    feeds::{
        Ack, FeedId, Storage,
        exchange::Policy as _,
        ledger::{FeedNo, Ledger, Refused},
    },
    terminal::Source,
    wire::feeds::{Ask, Batch, Cloned, FeedFrame},
};

impl TerminalFeeds {
    pub(super) fn frame(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        from: Source,
        bytes: &[u8],
        outputs: &mut Vec<Output>,
    ) {
        if !self.exchange.is_up(from) {
            return;
        }
        match FeedFrame::read(bytes) {
            Ok(frame) => self.parts(now, storage, from, frame, outputs),
            Err(why) => {
                self.down(now, from);
                outputs.push(Output::Close { side: from, why });
            }
        }
    }

    fn parts(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        from: Source,
        frame: FeedFrame,
        outputs: &mut Vec<Output>,
    ) {
        if let (Some(boot), Source::Neighbour(peer)) = (frame.boot, from) {
            self.boot_seen(peer, boot, outputs);
        }
        // What is given first, since what is told after it speaks of it.
        if let Some(batch) = frame.batch {
            self.batch(now, storage, from, batch, outputs);
        }
        for ack in frame.acks.into_iter().flatten() {
            match self.ledger.verify_ack(&ack) {
                Ok(ack) => self.acked(storage, from, &ack, outputs),
                Err(why) => outputs.push(Output::Reject { from, why }),
            }
        }
        let told = frame.have.unwrap_or_default();
        for haves in told.chunk_by(|one, next| one.feed == next.feed) {
            if let Some(number) = self.heard_of(from, &haves[0].feed) {
                self.exchange.hear_have(now, from, number, haves, &self.ledger);
                self.look_back.insert(number);
            }
        }
        for Ask { feed, from: first, upto } in frame.ask.into_iter().flatten() {
            // What we do not know of we have not told of.
            let known = self.ledger.number(&feed).filter(|_| self.roles.may_have(from, &feed));
            if let Some(number) = known {
                self.exchange.hear_ask(from, number, first, upto, &self.ledger);
            }
        }
        for feed in frame.lacks.into_iter().flatten() {
            if let Some(number) = self.ledger.number(&feed) {
                self.exchange.hear_lacks(now, from, number);
            }
        }
        for fork in frame.forks.into_iter().flatten() {
            if let Some(author) = self.ledger.hear_fork(storage, &fork) {
                outputs.push(Output::Event(Event::Forked(author)));
                self.evidence.forks.push(fork);
            }
        }
        for cloned in frame.clones.into_iter().flatten() {
            let (Source::Neighbour(by), Cloned { author, boots }) = (from, cloned) else { break };
            if boots[0] != boots[1] && self.evidence.claimed(cloned) {
                outputs.push(Output::Event(Event::CloneClaimed { author, boots, by }));
            }
        }
    }

    fn batch(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        from: Source,
        batch: Batch,
        outputs: &mut Vec<Output>,
    ) {
        for certificate in &batch.certificates {
            self.ledger.vouch(storage, certificate);
        }
        for online in &batch.online {
            self.ledger.vouch_online(storage, online);
        }
        let mut bases = BTreeMap::new();
        let told = if batch.entries.is_empty() { &[][..] } else { &batch.bases };
        for base in told {
            if let Ok(base) = self.ledger.verify_ack(base) {
                bases.insert(base.feed.clone(), base);
            }
        }
        for bytes in &batch.entries {
            self.entry(now, storage, from, bytes, &bases, outputs);
        }
        // What is left out is left out because HQ has it: who does not know that would look for it again.
        for base in bases.values() {
            self.acked(storage, from, base, outputs);
        }
    }

    fn entry(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        from: Source,
        bytes: &[u8],
        bases: &BTreeMap<FeedId, Verified<Ack>>,
        outputs: &mut Vec<Output>,
    ) {
        let mut place = None;
        let roles = &self.roles;
        let is_ours = |header: &crate::feeds::Header| {
            let feed = header.feed();
            let ours = roles.may_have(from, &feed) && !roles.is_being_written(&feed);
            let room = roles.has_room_for(&feed);
            place = Some((feed, header.seq));
            ours && room
        };
        match self.ledger.take(storage, bytes, is_ours, bases) {
            Ok(taken) => self.taken(now, storage, Some(from), taken, outputs),
            Err(why) => {
                if let Refused::Forked(number) = why {
                    let author = self.ledger.feed(number).id.author;
                    outputs.push(Output::Event(Event::Forked(author)));
                    self.evidence.forks.extend(Ledger::fork_of(storage, author));
                }
                let number = place.and_then(|(feed, seq)| Some((self.ledger.number(&feed)?, seq)));
                self.refused(now, from, number, &why);
                if why.is_the_senders_fault() && self.roles.room == RoomFor::All {
                    outputs.push(Output::Reject { from, why: why.to_string() });
                }
            }
        }
    }

    fn refused(&mut self, now: Instant, from: Source, place: Option<(FeedNo, u64)>, why: &Refused) {
        let Some((number, seq)) = place else { return };
        // It has it, and so have we.
        if *why == Refused::Known {
            self.exchange.taken(now, from, number, seq);
            return;
        }
        if *why == Refused::Unlinked {
            self.exchange.unlinked(now, from, number, seq);
            return;
        }
        let later = matches!(why, Refused::Later { .. });
        let full = self.roles.room < RoomFor::All;
        let rest = full || later || why.is_the_senders_fault();
        self.exchange.refused(now, from, number, seq, rest);
    }

    /// The number of a feed that somebody tells of, if it is for this terminal.
    fn heard_of(&mut self, from: Source, feed: &FeedId) -> Option<FeedNo> {
        let ours = self.roles.may_have(from, feed);
        ours.then(|| self.exchange.hear_of(from, feed, &mut self.ledger)).flatten()
    }

    /// HQ's word is passed on to those whom it concerns.
    fn acked(
        &mut self,
        storage: &mut dyn Storage,
        from: Source,
        ack: &Verified<Ack>,
        outputs: &mut Vec<Output>,
    ) {
        self.raise_generation(ack.generation, outputs);
        let Some(number) = self.ledger.acked(storage, ack) else { return };
        let author = Source::Neighbour(ack.feed.author.peer());
        self.exchange.acked(number, Some(author), Some(from));
        self.look_back.insert(number);
        self.hq_signed(ack.at, outputs);
    }

    pub(super) fn hq_signed(&mut self, at: Timestamp, outputs: &mut Vec<Output>) {
        if self.hq_signed.is_none_or(|known| known < at) {
            self.hq_signed = Some(at);
            outputs.push(Output::Tell(FromFeeds::HqTime(at)));
        }
    }
}
