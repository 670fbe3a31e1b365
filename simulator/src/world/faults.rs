//! What goes wrong, all of it chosen by the seed, and what heals it.
//!
//! A storm puts faults on the agenda, each with its end. [`World::heal`] ends them all: what the
//! storm still had in store is void, every machine has power and runs, links are as they were, and
//! boxes that lied or were mute are taken out of the shop, as an operator would.

use std::time::Duration;

use storemesh_protocol::feeds::terminal::RoomFor;

use super::{
    Event, World,
    clock::Time,
    feeds::Harm,
    link::{Lane, mbit},
    terminal::Manners,
};

/// Within so long after a storm the living terminals agree: the longest pauses between two calls or
/// dials (30 s), a full disk's (1 min), and a download.
pub const AGREED_WITHIN: Duration = Duration::from_secs(90);
/// How often something new goes wrong in a store.
const PACE: Duration = Duration::from_millis(2500);

pub(super) const LAN_RATE: u64 = mbit(1000);
const SLOW_PORT: u64 = mbit(10);

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Kill(usize),
    CutPower(usize),
    Start(usize),
    KillHq,
    StartHq,
    /// Each terminal whose bit is set is on the other side.
    Split {
        store: usize,
        mask: u64,
        wan_to_all: bool,
    },
    Wan {
        store: usize,
        up: bool,
    },
    Port {
        t: usize,
        rate: u64,
    },
    Manners {
        t: usize,
        manners: Manners,
    },
    Mdns {
        store: usize,
        on: bool,
    },
    Loss {
        store: usize,
        wan: u32,
        lan: u32,
    },
    Disk {
        t: usize,
        room: RoomFor,
    },
    /// An operator stops the program.
    Stop(usize),
    /// The program does not run for a while, though its machine is up.
    Freeze(usize),
    Thaw(usize),
    /// What the terminal sends gets nowhere; it still hears.
    Unheard {
        t: usize,
        unheard: bool,
    },
    /// The terminal gets another address.
    Move(usize),
    /// Wireless terminals of the store cannot reach each other.
    Isolate {
        store: usize,
        isolated: bool,
    },
    /// One terminal's way to HQ is longer than the others'.
    Detour {
        t: usize,
        delay: Duration,
    },
    /// One terminal alone is kept from HQ.
    BlockHq {
        t: usize,
        blocked: bool,
    },
    Harm(Harm),
    /// HQ publishes another version.
    Publish {
        chunks: u32,
        kept: u32,
    },
}

impl World {
    /// Faults of all kinds for so long, beginning now.
    pub fn storm(&mut self, span: Duration) {
        let end = self.agenda.now() + span;
        self.disks_go_wrong(end);
        for store in 0..self.stores.len() {
            let mut at = self.agenda.now();
            // In most storms everybody is honest, in some one box is not.
            let bad = match self.chance.below(6) {
                0 => Some(Manners::Liar),
                1 => Some(Manners::Mute),
                _ => None,
            };
            if let Some(manners) = bad
                && self.stores[store].terminals.len() > 2
            {
                let t = self.any_terminal(store);
                let wait = self.chance.between(Duration::ZERO, span / 2);
                self.later(at + wait, Fault::Manners { t, manners });
            }
            while at < end {
                at += self.chance.between(PACE / 5, PACE * 2);
                self.something_goes_wrong(store, at);
            }
        }
        let mut at = self.agenda.now();
        while at < end {
            at += self.chance.between(span / 4, span);
            let (chunks, kept) = (8 + self.chance.below(50), self.chance.below(40));
            let count = |n: usize| u32::try_from(n).expect("small");
            let publish = Fault::Publish { chunks: count(chunks), kept: count(kept) };
            self.later(at.min(end), publish);
            let mut down = at + self.chance.between(span / 8, span);
            let restarts = match self.chance.below(10) {
                0..=4 => 0,
                5..=7 => 1,
                _ => 4,
            };
            for _ in 0..restarts {
                self.later(down, Fault::KillHq);
                let up = self.chance.between(Duration::from_millis(200), Duration::from_secs(12));
                self.later(down + up, Fault::StartHq);
                down += up + self.chance.between(Duration::from_millis(20), Duration::from_secs(4));
            }
        }
        self.run_until(end);
    }

    fn something_goes_wrong(&mut self, store: usize, at: Time) {
        let t = self.any_terminal(store);
        let ms = Duration::from_millis;
        let short = at + self.chance.between(ms(100), ms(10_000));
        let long = at + self.chance.between(ms(2_000), ms(20_000));
        match self.chance.below(29) {
            0..=4 => {
                self.later(at, Fault::Kill(t));
                self.later(short, Fault::Start(t));
            }
            5 | 6 => {
                self.later(at, Fault::CutPower(t));
                self.later(short, Fault::Start(t));
            }
            7..=9 => {
                let mask = self.chance.number();
                let wan_to_all = self.chance.hits(500);
                self.later(at, Fault::Split { store, mask, wan_to_all });
                self.later(short, Fault::Split { store, mask: 0, wan_to_all: true });
            }
            10..=12 => {
                self.later(at, Fault::Wan { store, up: false });
                self.later(short, Fault::Wan { store, up: true });
            }
            13 | 14 => {
                let mut flap = at;
                for _ in 0..3 + self.chance.below(5) {
                    self.later(flap, Fault::Wan { store, up: false });
                    flap += self.chance.between(ms(50), ms(6000));
                    self.later(flap, Fault::Wan { store, up: true });
                    flap += self.chance.between(ms(50), ms(3000));
                }
            }
            15 | 16 => {
                self.later(at, Fault::Port { t, rate: SLOW_PORT });
                self.later(long, Fault::Port { t, rate: LAN_RATE });
            }
            17 => {
                self.later(at, Fault::Mdns { store, on: false });
                self.later(long, Fault::Mdns { store, on: true });
            }
            18 => {
                let wan = u32::try_from(self.chance.below(100)).expect("small");
                let lan = u32::try_from(self.chance.below(50)).expect("small");
                self.later(at, Fault::Loss { store, wan, lan });
                self.later(long, Fault::Loss { store, wan: 0, lan: 0 });
            }
            19 => {
                let full = if self.tills.hits(500) { RoomFor::Nothing } else { RoomFor::OwnPosts };
                self.later(at, Fault::Disk { t, room: full });
                self.later(long, Fault::Disk { t, room: RoomFor::All });
            }
            20 | 21 => {
                self.later(at, Fault::Stop(t));
                self.later(short, Fault::Start(t));
            }
            22 | 23 => {
                self.later(at, Fault::Freeze(t));
                self.later(short, Fault::Thaw(t));
            }
            24 => {
                self.later(at, Fault::Unheard { t, unheard: true });
                self.later(short, Fault::Unheard { t, unheard: false });
            }
            25 => self.later(at, Fault::Move(t)),
            26 => {
                self.later(at, Fault::Isolate { store, isolated: true });
                self.later(long, Fault::Isolate { store, isolated: false });
            }
            27 => {
                let delay = self.chance.between(ms(0), ms(300));
                self.later(at, Fault::Detour { t, delay });
                self.later(long, Fault::Detour { t, delay: Duration::ZERO });
            }
            _ => {
                self.later(at, Fault::BlockHq { t, blocked: true });
                self.later(long, Fault::BlockHq { t, blocked: false });
            }
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        let now = super::terminal::micros(self.agenda.now());
        self.trace.step("fault", format!("{now} {fault:?}"));
        match fault {
            Fault::Kill(t) => self.kill_terminal(t),
            Fault::CutPower(t) => self.cut_power(t),
            Fault::Start(t) => {
                self.hosts[t].powered = true;
                self.paths_changed();
                if self.hosts[t].program.as_ref().is_some_and(|program| program.stopping) {
                    self.kill_terminal(t);
                }
                self.start_terminal(t);
            }
            Fault::KillHq => self.kill_hq(),
            Fault::StartHq => self.start_hq(),
            Fault::Split { store, mask, wan_to_all } => {
                self.stores[store].wan_to_all = wan_to_all;
                if mask != 0 {
                    self.allow_another_copy(store);
                }
                for (at, t) in self.stores[store].terminals.clone().into_iter().enumerate() {
                    self.hosts[t].part = u8::from(mask >> (at % 64) & 1 == 1);
                }
                self.paths_changed();
            }
            Fault::Wan { store, up } => {
                self.stores[store].wan_up = up;
                self.paths_changed();
            }
            Fault::Port { t, rate } => {
                self.hosts[t].up = Lane::new(rate);
                self.hosts[t].down = Lane::new(rate);
            }
            Fault::Manners { t, manners } => {
                self.hosts[t].manners = manners;
                self.allow_another_copy(self.hosts[t].store);
            }
            Fault::Mdns { store, on } => self.stores[store].mdns = on,
            Fault::Loss { store, wan, lan } => {
                (self.stores[store].wan_loss, self.stores[store].lan_loss) = (wan, lan);
            }
            Fault::Disk { t, room } => {
                self.hosts[t].room = room;
                self.push_feeds(t, storemesh_protocol::feeds::terminal::Input::Room(room));
            }
            Fault::Harm(harm) => self.harm(harm),
            Fault::Publish { chunks, kept } => self.publish(chunks, kept),
            Fault::Stop(t) => self.stop_terminal(t),
            Fault::Freeze(t) => self.freeze(t),
            Fault::Thaw(t) => self.thaw(t),
            Fault::Unheard { t, unheard } => {
                self.allow_for_uplink(t);
                self.allow_another_copy(self.hosts[t].store);
                self.hosts[t].unheard = unheard;
                self.paths_changed();
            }
            Fault::Move(t) => self.move_terminal(t),
            Fault::Isolate { store, isolated } => {
                self.stores[store].isolated = isolated;
                if isolated {
                    self.allow_another_copy(store);
                }
                self.paths_changed();
            }
            Fault::Detour { t, delay } => self.hosts[t].hq_delay = delay,
            Fault::BlockHq { t, blocked } => {
                self.hosts[t].hq_blocked = blocked;
                self.paths_changed();
            }
        }
    }

    pub fn heal(&mut self) {
        self.storm += 1;
        for store in 0..self.stores.len() {
            self.fault(Fault::Split { store, mask: 0, wan_to_all: true });
            self.fault(Fault::Wan { store, up: true });
            self.fault(Fault::Mdns { store, on: true });
            self.fault(Fault::Loss { store, wan: 0, lan: 0 });
            self.fault(Fault::Isolate { store, isolated: false });
        }
        self.start_hq();
        for t in 0..self.hosts.len() {
            self.fault(Fault::Thaw(t));
            self.fault(Fault::Unheard { t, unheard: false });
            self.fault(Fault::BlockHq { t, blocked: false });
            self.fault(Fault::Detour { t, delay: Duration::ZERO });
            self.fault(Fault::Port { t, rate: LAN_RATE });
            self.fault(Fault::Disk { t, room: RoomFor::All });
            if self.hosts[t].feeds.hostile {
                self.fault(Fault::Harm(Harm::Destroy(t)));
            } else if self.hosts[t].manners == Manners::Honest {
                self.fault(Fault::Start(t));
            } else {
                self.fault(Fault::CutPower(t));
            }
        }
    }

    pub(super) fn later(&mut self, at: Time, fault: Fault) {
        self.agenda.at(at, Event::Fault { storm: self.storm, fault });
    }

    fn any_terminal(&mut self, store: usize) -> usize {
        let terminals = self.stores[store].terminals.len();
        self.stores[store].terminals[self.chance.below(terminals)]
    }
}
