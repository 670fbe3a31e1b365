//! What HQ says: its own entries, acknowledgements, and what the exchange has to tell.

use storemesh_keys::{Name, Timestamp};

use super::{
    AppendError, Event, FromFeeds, HqFeeds, Output, clones::told_of, own::Own, reach::is_control,
};
use crate::{
    Instant,
    feeds::{
        Ack, Author, Boot, CONTROL, Control, End, EntryId, FeedId, Header, HeaderHash, LastCounted,
        PAYLOAD_MAX, PayloadHash, Run, Scope, Storage, Topic, ended, entry::Proven, ledger::FeedNo,
    },
    hq::LinkId,
    wire::{self, feeds::Over},
};

impl HqFeeds {
    /// The first entries of HQ's feed, or of its feed in a new generation.
    pub(super) fn begin(&mut self, storage: &mut dyn Storage, outputs: &mut Vec<Output>) {
        let own = self.ledger.of(self.author).filter(|(_, feed)| is_control(&feed.id));
        let newest = own.map(|(_, feed)| feed.id.boot.0).max();
        let orders = match newest {
            None => Own::first(),
            Some(newest) if newest < self.generation => self.own.again(),
            Some(_) => return,
        };
        for control in orders {
            let said = self.append(storage, control, outputs);
            said.expect("what holds was short enough when it was ordered");
        }
    }

    /// One entry more of the control feed.
    pub(super) fn append(
        &mut self,
        storage: &mut dyn Storage,
        control: Control,
        outputs: &mut Vec<Output>,
    ) -> Result<EntryId, AppendError> {
        let payload = wire::encode(&control);
        if payload.len() > PAYLOAD_MAX {
            return Err(AppendError::TooLarge { found: payload.len(), max: PAYLOAD_MAX });
        }
        let topic = Topic { name: CONTROL.parse().expect("it is a name"), scope: Scope::Chain };
        let boot = Boot(self.generation);
        let (seq, previous, after) = self.ledger.next(self.author, boot, &topic);
        let header = Header {
            author: self.author,
            boot,
            topic: topic.clone(),
            seq,
            previous,
            certificate: self.online,
            schema: 0,
            payload: PayloadHash::of(&payload),
            length: u32::try_from(payload.len()).expect("compared above"),
            after,
        };
        let proven = Proven::sign(|header| self.signer.author(header), header, payload);
        let taken = self.ledger.append(storage, proven);
        let number = taken.expect("it follows the last that HQ has signed").feed;
        self.holds(storage, seq, control, outputs);
        for exchange in self.exchanges.values_mut() {
            exchange.grown(number, &self.ledger, &self.reach);
        }
        Ok(EntryId { feed: FeedId { author: self.author, boot, topic }, seq })
    }

    /// What HQ has just said holds for itself too.
    fn holds(
        &mut self,
        storage: &mut dyn Storage,
        seq: u64,
        control: Control,
        outputs: &mut Vec<Output>,
    ) {
        if let Some(schema) = &control.schema {
            self.ledger.add_schema(schema.clone());
        }
        if let Some(end) = control.end.clone() {
            let store_of = |feed: &FeedId| self.reach.store_of(feed).cloned();
            ended::end(&mut self.ledger, storage, end, store_of);
        }
        outputs.extend(control.clones.as_ref().map(|clones| Output::Tell(told_of(clones))));
        let wanted = self.own.said(storage, (self.generation, seq), control);
        outputs.extend(wanted.map(|wanted| Output::Tell(FromFeeds::Wanted(wanted))));
    }

    /// Nothing of this author counts after what HQ holds now.
    pub(super) fn end(
        &mut self,
        storage: &mut dyn Storage,
        author: Author,
        topic: Option<Name>,
        outputs: &mut Vec<Output>,
    ) -> Result<EntryId, AppendError> {
        let ended = |name: &Name| topic.as_ref().is_none_or(|topic| topic == name);
        let held = self.ledger.of(author).filter(|(_, feed)| feed.last > 0);
        let last: Vec<LastCounted> = held
            .filter(|(_, feed)| ended(&feed.id.topic.name))
            .map(|(_, feed)| {
                let FeedId { boot, topic, .. } = feed.id.clone();
                LastCounted { boot, topic, seq: feed.last }
            })
            .collect();
        let mut said = Err(AppendError::Nothing(author, topic.clone()));
        for end in End::all(author, topic.as_ref(), &last) {
            let control = Control { end: Some(end), ..Control::default() };
            said = Ok(self.append(storage, control, outputs)?);
        }
        said
    }

    /// Two entries with one number end their author, at what HQ holds: what it has acknowledged stays.
    pub(super) fn forked(
        &mut self,
        storage: &mut dyn Storage,
        author: Author,
        outputs: &mut Vec<Output>,
    ) {
        outputs.push(Output::Event(Event::Forked(author)));
        if author == self.author {
            return;
        }
        match self.end(storage, author, None, outputs) {
            // One that HQ holds nothing of has no end: nothing of it counts, and nothing will be taken.
            Ok(_) | Err(AppendError::Nothing(..)) => {}
            Err(why) => unreachable!("an end fits into an entry, and is no news to others: {why}"),
        }
    }

    /// Signs for what has come, when it is time.
    pub(super) fn acknowledge(&mut self, now: Instant, wall: Timestamp, storage: &mut dyn Storage) {
        if self.grown.is_empty() || now < self.ack_at {
            return;
        }
        self.ack_at = now + super::ACK_EVERY;
        for _ in 0..super::ACKS_AT_ONCE {
            let Some(number) = self.grown.pop_first() else { return };
            self.acknowledge_feed(wall, storage, number);
        }
    }

    fn acknowledge_feed(&mut self, wall: Timestamp, storage: &mut dyn Storage, number: FeedNo) {
        let feed = self.ledger.feed(number);
        let hash = |seq| self.ledger.hash_at(storage, number, seq).expect("it is here");
        let seq = feed.whole();
        let ack = self.signer.sign(&Ack {
            chain: self.trust.chain,
            generation: self.generation,
            feed: feed.id.clone(),
            seq,
            hash: if seq > 0 { hash(seq) } else { HeaderHash::NONE },
            at: wall,
            behind: feed.behind().map(|(from, upto)| Run { from, upto, hash: hash(upto) }),
        });
        if self.ledger.acked(storage, &ack).is_none() {
            return;
        }
        let store = self.reach.store_of(&ack.feed);
        let Some(exchange) = store.and_then(|store| self.exchanges.get_mut(store)) else { return };
        let peer = ack.feed.author.peer();
        let is_author =
            |link: &LinkId| self.reach.links.get(link).is_some_and(|member| member.peer == peer);
        let author = exchange.sides().find(is_author);
        exchange.acked(number, author, None);
    }

    /// What the exchanges have to say now.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        storage: &dyn Storage,
        outputs: &mut Vec<Output>,
    ) {
        for exchange in self.exchanges.values_mut() {
            for (link, frame) in exchange.settle(now, storage, &self.ledger, &self.reach) {
                let bytes = self.reach.out_of_scope(link, &frame);
                if bytes > 0 {
                    outputs.push(Output::Event(Event::OutOfScope { bytes }));
                    continue;
                }
                outputs.push(Output::Send { link, frame: frame.write(Over::Wan) });
            }
        }
    }
}
