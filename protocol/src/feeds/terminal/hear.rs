//! What neighbours and HQ say on the stream for feeds, part by part.

use std::collections::BTreeMap;

use storemesh_keys::{HqSigned, Timestamp, Verified};

use super::{Event, FromFeeds, Output, RoomFor, TerminalFeeds};
use crate::{
    Instant,
    feeds::{
        Ack, Author, FeedId, Storage,
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
        match (frame.boot, from) {
            (Some(boot), Source::Neighbour(peer)) => self.boot_seen(peer, boot, outputs),
            (Some(boot), Source::Hq) => {
                self.hq_speaks = Some(boot.0);
                let own = self.ledger.of(Author::terminal(self.roles.me)).map(|(number, _)| number);
                own.collect::<Vec<_>>().into_iter().for_each(|number| self.hq_has(now, number));
            }
            (None, _) => {}
        }
        // What is given first, since what is told after it speaks of it.
        if let Some(batch) = frame.batch {
            self.batch(now, storage, from, batch, outputs);
        }
        for ack in frame.acks.into_iter().flatten() {
            if let Err(why) = self.hear_ack(now, storage, from, &ack, outputs) {
                outputs.push(Output::Reject { from, why });
            }
        }
        for have in frame.have.into_iter().flatten() {
            if let Some(number) = self.heard_of(from, &have.feed) {
                self.exchange.hear_have(now, from, number, &have, &self.ledger);
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
        let told: Vec<_> = told.iter().filter_map(|base| self.ledger.verify_ack(base).ok()).collect();
        for base in &told {
            // No word of HQ's makes a terminal drop what it wrote: HQ may have been restored since.
            let number = self.ledger.number(&base.feed);
            let kept = number.is_some_and(|number| self.roles.goes_on(self.ledger.feed(number)));
            if !kept {
                bases.insert(base.feed.clone(), base.clone());
            }
        }
        for bytes in &batch.entries {
            self.entry(now, storage, from, bytes, &bases, outputs);
        }
        // What is left out is left out because HQ has it: who does not know that would look for it again.
        for base in &told {
            self.acked(now, storage, from, base, outputs);
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
    fn hear_ack(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        from: Source,
        ack: &HqSigned<Ack>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), String> {
        let ack = self.ledger.verify_ack(ack)?;
        self.acked(now, storage, from, &ack, outputs);
        Ok(())
    }

    fn acked(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        from: Source,
        ack: &Verified<Ack>,
        outputs: &mut Vec<Output>,
    ) {
        self.raise_generation(ack.generation, outputs);
        let Some(number) = self.ledger.acked(storage, ack) else { return };
        let author = Source::Neighbour(ack.feed.author.peer());
        self.exchange.acked(number, Some(author), Some(from));
        self.hq_has(now, number);
        self.look_back.insert(number);
        self.hq_signed(ack.at, outputs);
    }

    /// What HQ has acknowledged of an own feed, beyond what is here, it can give back.
    pub(super) fn hq_has(&mut self, now: Instant, number: FeedNo) {
        let (feed, generation) = (self.ledger.feed(number), self.ledger.generation());
        let acked = feed.acked_in(generation);
        // One that was restored since has it no more.
        let still = self.hq_speaks == Some(generation);
        if still && feed.last < acked && self.roles.goes_on(feed) {
            self.exchange.held_by(now, Source::Hq, number, acked);
        }
    }

    pub(super) fn hq_signed(&mut self, at: Timestamp, outputs: &mut Vec<Output>) {
        if self.hq_signed.is_none_or(|known| known < at) {
            self.hq_signed = Some(at);
            outputs.push(Output::Tell(FromFeeds::HqTime(at)));
        }
    }
}
