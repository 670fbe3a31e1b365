//! What terminals say on the stream for feeds, part by part.

use std::collections::BTreeMap;

use storemesh_keys::{Name, Timestamp, Verified};

use super::{
    Event, HqFeeds, Output, notes,
    own::Back,
    reach::{Member, is_control},
};
use crate::{
    Instant,
    feeds::{
        Ack, Author, Boot, Control, Entry, EntryId, FeedId, Header, STOCK, Storage,
        ended::is_ended,
        exchange::Policy as _,
        ledger::{Gap, Refused, Taken},
        stock::{self, At, Record},
    },
    hq::LinkId,
    wire::{
        self,
        feeds::{Ask, Batch, FeedFrame, Have},
    },
};

/// When a frame came, and from whom.
#[derive(Clone, Copy, Debug)]
struct From {
    now: Instant,
    wall: Timestamp,
    link: LinkId,
}

impl HqFeeds {
    pub(super) fn frame(
        &mut self,
        now: Instant,
        wall: Timestamp,
        storage: &mut dyn Storage,
        link: LinkId,
        bytes: &[u8],
        outputs: &mut Vec<Output>,
    ) {
        let Some(member) = self.reach.links.get(&link).cloned() else { return };
        match FeedFrame::read(bytes) {
            Ok(frame) => {
                let from = From { now, wall, link };
                self.parts(from, &member, storage, frame, outputs);
            }
            Err(why) => {
                self.down(link);
                outputs.push(Output::Close { link, why });
            }
        }
    }

    fn parts(
        &mut self,
        from: From,
        member: &Member,
        storage: &mut dyn Storage,
        frame: FeedFrame,
        outputs: &mut Vec<Output>,
    ) {
        let From { now, link, .. } = from;
        self.alive(from, member, storage, frame.boot, outputs);
        // What is given first, since what is told after it speaks of it.
        if let Some(batch) = frame.batch {
            self.batch(from, storage, &batch, outputs);
        }
        let told = frame.have.unwrap_or_default();
        for haves in told.chunk_by(|one, next| one.feed == next.feed) {
            self.have(from, member, haves, outputs);
        }
        for ack in frame.acks.into_iter().flatten() {
            if let Ok(ack) = self.ledger.verify_ack(&ack) {
                self.shown_ack(from.wall, storage, &ack, outputs);
            }
        }
        for Ask { feed, from: first, upto } in frame.ask.into_iter().flatten() {
            let number = self.ledger.number(&feed).filter(|_| self.reach.may_have(link, &feed));
            match (number, self.exchanges.get_mut(&member.store)) {
                (Some(number), Some(exchange)) => {
                    exchange.hear_ask(link, number, first, upto, &self.ledger);
                }
                _ => outputs.push(reject(link, "asked for what is not for it, or not here")),
            }
        }
        if frame.stock == Some(true) {
            self.tell_of_stock(link, &member.store);
        }
        for feed in frame.lacks.into_iter().flatten() {
            if let (Some(number), Some(exchange)) =
                (self.ledger.number(&feed), self.exchanges.get_mut(&member.store))
            {
                exchange.hear_lacks(now, link, number);
            }
        }
        for fork in frame.forks.into_iter().flatten() {
            let headers = [&fork.one, &fork.other].map(Clone::clone);
            let mut entries = headers.map(|header| Entry { header, payload: None }).into_iter();
            if entries.any(|entry| self.shown_entry(from.wall, storage, entry, outputs)) {
                continue;
            }
            if let Some(author) = self.ledger.hear_fork(storage, &fork) {
                self.forked(storage, author, outputs);
            }
        }
        for cloned in frame.clones.into_iter().flatten() {
            self.clone_claimed(storage, (member.peer, &member.store), cloned, outputs);
        }
    }

    /// The link's terminal runs, in the boot that its first frame names.
    fn alive(
        &mut self,
        From { now, link, .. }: From,
        member: &Member,
        storage: &mut dyn Storage,
        boot: Option<Boot>,
        outputs: &mut Vec<Output>,
    ) {
        let (peer, began) = (member.peer, !self.running.contains_key(&link));
        let twice = match (boot, began) {
            (Some(boot), true) => {
                self.running.insert(link, boot);
                self.boots.began(now, peer, boot)
            }
            _ => self.running.get(&link).and_then(|boot| self.boots.spoke(now, peer, *boot)),
        };
        if let Some(boots) = twice {
            self.cloned(storage, Author::terminal(peer), boots, outputs);
        }
    }

    /// From now on, and of what is here at once.
    fn tell_of_stock(&mut self, link: LinkId, store: &Name) {
        let Some(member) = self.reach.links.get_mut(&link) else { return };
        // Told once, it is told of what changes.
        if std::mem::replace(&mut member.told_of_stock, true) {
            return;
        }
        let feeds = self.reach.stock_of(store).map(|number| (number, self.ledger.feed(number)));
        if let Some(exchange) = self.exchanges.get_mut(store) {
            exchange.tell(link, feeds, &self.reach);
        }
    }

    fn have(
        &mut self,
        From { now, link, .. }: From,
        member: &Member,
        haves: &[Have],
        outputs: &mut Vec<Output>,
    ) {
        let feed = &haves[0].feed;
        if !self.reach.may_have(link, feed) {
            outputs.push(reject(link, "told of a feed of another store"));
            return;
        }
        let Some(exchange) = self.exchanges.get_mut(&member.store) else { return };
        let Some(number) = exchange.hear_of(link, feed, &mut self.ledger) else { return };
        exchange.hear_have(now, link, number, haves, &self.ledger);
    }

    fn batch(
        &mut self,
        from: From,
        storage: &mut dyn Storage,
        batch: &Batch,
        outputs: &mut Vec<Output>,
    ) {
        for certificate in &batch.certificates {
            let hash = self.ledger.vouch(storage, certificate);
            if let Some(certificate) = hash.and_then(|hash| self.ledger.certificate(&hash)) {
                self.reach.certified(certificate);
            }
        }
        for online in &batch.online {
            self.ledger.vouch_online(storage, online);
        }
        let mut bases = BTreeMap::new();
        let told = if batch.entries.is_empty() { &[][..] } else { &batch.bases };
        for base in told {
            let Ok(base) = self.ledger.verify_ack(base) else { continue };
            self.shown_ack(from.wall, storage, &base, outputs);
            // What was pushed by the word of an HQ that is no more is asked for again, from further back,
            // unless that is what its bringer does not have.
            if base.generation < self.generation && !self.begins_late(from.link, &base.feed) {
                continue;
            }
            bases.insert(base.feed.clone(), base);
        }
        for bytes in &batch.entries {
            self.entry(from, storage, bytes, &bases, outputs);
        }
    }

    /// Whether that side has said that it cannot give what follows the last that is here.
    fn begins_late(&self, link: LinkId, feed: &FeedId) -> bool {
        let exchange = self.reach.links.get(&link).and_then(|it| self.exchanges.get(&it.store));
        exchange.zip(self.ledger.number(feed)).is_some_and(|(exchange, number)| {
            exchange.begins_late(link, number, self.ledger.feed(number).last)
        })
    }

    fn entry(
        &mut self,
        from: From,
        storage: &mut dyn Storage,
        bytes: &[u8],
        bases: &BTreeMap<FeedId, Verified<Ack>>,
        outputs: &mut Vec<Output>,
    ) {
        let From { now, link, .. } = from;
        let mut place = None;
        let reach = &self.reach;
        let is_ours = |header: &Header| {
            let feed = header.feed();
            let ours = reach.is_welcome(link, &feed);
            place = Some((feed, header.seq));
            ours
        };
        let why = match self.ledger.take(storage, bytes, is_ours, bases) {
            Ok(taken) => return self.taken(from, storage, taken, outputs),
            Err(why) => why,
        };
        // What HQ says now comes from nobody, and was asked for to see whether it is true.
        let shown = wire::decode(bytes).ok().filter(|_| why == Refused::OutOfScope);
        let proof = shown.is_some_and(|it| self.shown_entry(from.wall, storage, it, outputs));
        if let Refused::Forked(number) = why {
            let author = self.ledger.feed(number).id.author;
            self.forked(storage, author, outputs);
        }
        let number = place.and_then(|(feed, seq)| Some((self.ledger.number(&feed)?, seq)));
        let store = self.reach.links.get(&link).map(|member| member.store.clone());
        let exchange = store.and_then(|store| self.exchanges.get_mut(&store));
        if let (Some((number, seq)), Some(exchange)) = (number, exchange) {
            if why == Refused::Known {
                // It has it, and so has HQ.
                exchange.taken(now, link, number, seq);
            } else if why == Refused::Unlinked {
                exchange.unlinked(now, link, number, seq);
            } else {
                let later = matches!(why, Refused::Later { .. });
                exchange.refused(now, link, number, seq, later || why.is_the_senders_fault());
            }
        }
        if why.is_the_senders_fault() && !proof {
            outputs.push(Output::Reject { link, why: why.to_string() });
        }
    }

    fn taken(
        &mut self,
        From { now, wall, link }: From,
        storage: &mut dyn Storage,
        taken: Taken,
        outputs: &mut Vec<Output>,
    ) {
        let Taken { feed: number, seq, opens, closes, counts, entry } = taken;
        let feed = entry.header().feed();
        if opens.is_some() || closes {
            let FeedId { author, boot, ref topic } = feed;
            let topic = topic.name.clone();
            outputs.push(Output::Event(match opens {
                Some(Gap { from, upto }) => Event::Gap { author, boot, topic, from, upto },
                None => Event::Filled { author, boot, topic, upto: seq },
            }));
        }
        if is_control(&feed) {
            if let (true, Some(payload)) = (counts, entry.payload()) {
                self.read_back(storage, payload, outputs);
            }
        } else {
            self.arrivals.note(storage, wall, (number, seq), counts);
            self.grown.insert(number);
            self.reach.begun(number, &feed);
            let id = EntryId { feed: feed.clone(), seq };
            if !counts && self.ledger.counts(&id) && notes::void(storage, wall, number, seq) {
                outputs.push(Output::Event(Event::Void(id.clone())));
            }
            if counts {
                self.apply(storage, &id, entry.payload());
            }
        }
        let store = self.reach.links.get(&link).map(|member| &member.store);
        if let Some(exchange) = store.and_then(|store| self.exchanges.get_mut(store)) {
            exchange.taken(now, link, number, seq);
            exchange.grown(number, &self.ledger, &self.reach);
        }
    }

    /// The stock read model of the entry's store.
    fn apply(&self, storage: &mut dyn Storage, id: &EntryId, payload: Option<&[u8]>) {
        if id.feed.topic.name.as_str() != STOCK {
            return;
        }
        let record = payload.and_then(|payload| Record::decode(payload).ok());
        if let (Some(record), Some(store)) = (record, self.reach.store_of(&id.feed)) {
            let ended = |at: &At| is_ended(&self.ledger, store, at);
            stock::apply(storage, store, id, &record, &ended);
        }
    }

    /// HQ had said this, and lost it.
    fn read_back(&mut self, storage: &mut dyn Storage, payload: &[u8], outputs: &mut Vec<Output>) {
        let control: Control =
            wire::decode(payload).expect("one that does not read does not count");
        for back in self.own.back(&control) {
            match back {
                Back::Again(control) => {
                    // It was short enough when it was said first.
                    _ = self.append(storage, control, outputs);
                }
                Back::Lost(lost) => outputs.push(Output::Event(Event::Lost(lost))),
                Back::Nothing => {}
            }
        }
    }
}

fn reject(link: LinkId, why: &str) -> Output {
    Output::Reject { link, why: why.to_owned() }
}
