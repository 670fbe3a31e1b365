//! What HQ's control feed does on a terminal.

use storemesh_keys::PeerId;

use super::{Event, FromFeeds, Output, TerminalFeeds};
use crate::{
    Instant,
    feeds::{
        Author, Boot, Clones, Control, Ended, Header, Storage, Wanted, WantedRelease,
        control::COPIES_MAX, ended,
    },
    wire::{self, feeds::Cloned},
};

/// Boots of one terminal that are kept in mind, to tell a clone by.
const BOOTS_MAX: usize = 16;

impl TerminalFeeds {
    pub(super) fn control(
        &mut self,
        now: Instant,
        storage: &mut dyn Storage,
        header: &Header,
        payload: &[u8],
        outputs: &mut Vec<Output>,
    ) {
        let control: Control =
            wire::decode(payload).expect("one that does not read does not count");
        let generation = header.boot.0;
        // An entry that was written by a schema says by which: it is kept, whoever speaks for HQ now.
        if let Some(schema) = control.schema
            && schema.check().is_ok()
        {
            outputs.push(Output::Event(Event::Schema { version: schema.version }));
            self.ledger.add_schema(schema);
        }
        if let Some(end) = control.end {
            let (store, author) = (self.roles.store.clone(), end.author);
            ended::end(&mut self.ledger, storage, end, |_| Some(store.clone()));
            // Of one that has forked nothing was taken; what HQ lets count is, from now on.
            self.rethink = true;
            if author == Author::terminal(self.roles.me) {
                let ended = Ended::of(&self.ledger.ends(author));
                outputs.push(Output::Tell(FromFeeds::Ended(ended)));
            }
        }
        self.raise_generation(generation, outputs);
        if generation < self.ledger.generation() {
            return;
        }
        if let Some(WantedRelease { release, at }) = control.wanted {
            self.hq_signed(at, outputs);
            let wanted = Wanted { generation, number: header.seq, release, at };
            outputs.push(Output::Tell(FromFeeds::Wanted(wanted)));
        }
        if let Some(settings) = control.settings {
            self.settings = settings;
            self.roles.copies = settings.journal_copies.min(COPIES_MAX) as usize;
            self.exchange.rethink(now, &self.ledger, &self.roles);
            outputs.push(Output::Event(Event::Settings(settings)));
        }
        if let Some(Clones { author, settled, .. }) = control.clones {
            let peer = author.peer();
            self.boots.remove(&peer);
            self.evidence.decided(author);
            outputs.push(Output::Tell(if settled {
                FromFeeds::LetIn(peer)
            } else {
                FromFeeds::KeepOut(peer)
            }));
        }
    }

    pub(super) fn raise_generation(&mut self, generation: u64, outputs: &mut Vec<Output>) {
        if generation <= self.ledger.generation() {
            return;
        }
        let first = self.ledger.generation() == 0;
        self.ledger.raise_generation(generation);
        self.roles.generation = generation;
        // What the lost HQ had acknowledged is offered again.
        self.exchange.forget(crate::terminal::Source::Hq);
        self.exchange.forget_acks(&self.ledger, &self.roles);
        self.rethink = true;
        if !first {
            outputs.push(Output::Event(Event::Generation(generation)));
        }
    }

    /// `peer` is here, in this boot. One that is seen again after a later one is alive beside it.
    pub(super) fn boot_seen(&mut self, peer: PeerId, boot: Boot, outputs: &mut Vec<Output>) {
        let boots = self.boots.entry(peer).or_default();
        let newest = boots.last().copied();
        if newest == Some(boot) {
            return;
        }
        if let (true, Some(other)) = (boots.contains(&boot), newest) {
            let author = Author::terminal(peer);
            let boots = [boot, other];
            self.evidence.seen(Cloned { author, boots });
            outputs.push(Output::Event(Event::Cloned { author, boots }));
            outputs.push(Output::Tell(FromFeeds::KeepOut(peer)));
            return;
        }
        if boots.len() == BOOTS_MAX {
            boots.remove(0);
        }
        boots.push(boot);
    }
}
