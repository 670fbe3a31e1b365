//! What this composite and the terminal's feeds tell each other.
//!
//! The rule: the feeds hear who speaks to HQ for the store, and what time it is once that is sure, whenever
//! it changes; from them come HQ's orders, of which the last for each product is kept, so that a start need
//! not wait for them. A terminal that they say is to be kept out is not let in, like one
//! without a certificate, until they say otherwise. One that HQ has ended is the gateway only where there is
//! no other.

use storemesh_keys::{PeerId, Timestamp};

use super::{Output, Terminal, WANTED};
use crate::{
    Instant, Save,
    feeds::terminal::{FromFeeds, ToFeeds},
    gateway, install,
    time::clock,
};

/// HQ time that differs less from what was told is no news: the feeds measure days by it.
const TIME_DIFFERS_MS: u64 = 1000;

/// What the feeds were told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    gateway: Option<PeerId>,
    time: Option<(Timestamp, Instant)>,
    speaks: bool,
}

impl Terminal {
    pub(super) fn hear_feeds(&mut self, now: Instant, told: FromFeeds, outputs: &mut Vec<Output>) {
        match told {
            FromFeeds::Wanted(wanted) => {
                if self.installer.is_news(&wanted) {
                    self.time(now, clock::Input::Signed(wanted.at), outputs);
                    let key = wanted.product().as_ref().as_bytes();
                    outputs.push(Output::Save(Save::put(WANTED, key, &wanted)));
                    self.install(now, install::Input::Wanted(wanted), outputs);
                }
            }
            FromFeeds::HqTime(at) => self.time(now, clock::Input::Signed(at), outputs),
            FromFeeds::KeepOut(peer) => {
                self.kept_out.insert(peer);
                if self.neighbours.contains_key(&peer) {
                    self.turn_away(now, peer, KEPT_OUT.to_owned(), outputs);
                }
            }
            FromFeeds::LetIn(peer) => _ = self.kept_out.remove(&peer),
            FromFeeds::NoRoom(no_room) => {
                self.no_room_for_feeds = no_room;
                self.tell_room(now, outputs);
            }
            FromFeeds::Ended(ended) => {
                self.gateway(now, gateway::Input::JournalEnded(ended.all), outputs);
                self.ended = ended;
            }
        }
    }

    /// Who has no room, for a release or for what the others sell, is the gateway only where nobody has.
    pub(super) fn tell_room(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let no_room = self.no_room_for_feeds || self.installer.lacks_room();
        if no_room != self.gateway.candidate(now).no_room {
            self.gateway(now, gateway::Input::NoRoom(no_room), outputs);
        }
    }

    pub(super) fn tell_feeds(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let gateway = self.gateway.gateway().map(|lease| lease.holder);
        if self.told.gateway != gateway {
            self.told.gateway = gateway;
            outputs.push(Output::Feeds(ToFeeds::Gateway(gateway)));
        }
        // What is old is dropped by it: a guess will not do.
        let view = self.clock.view(now);
        let time = view.hq_time;
        let known = self.told.time.map(|(told, at)| told.plus(now.since(at)));
        let differs = known.is_none_or(|known| known.0.abs_diff(time.0) >= TIME_DIFFERS_MS);
        if view.is_sure() && differs {
            self.told.time = Some((time, now));
            outputs.push(Output::Feeds(ToFeeds::HqTime(time)));
        }
        let speaks = self.gateway.speaks();
        if speaks && !self.told.speaks {
            outputs.push(Output::OpenFeeds);
        }
        self.told.speaks = speaks;
    }
}

/// Why a terminal of the store is not let in though its certificate is good.
pub(super) const KEPT_OUT: &str = "two copies of its disk were in use at once: HQ has to decide";
