//! What goes wrong, all of it chosen by the seed, and what heals it.
//!
//! A storm puts faults on the agenda, each with its end. [`World::heal`] ends them all: what the
//! storm still had in store is void, every machine has power and runs, links are as they were, and
//! boxes that lied or were mute are taken out of the shop, as an operator would.

use std::time::Duration;

use super::{
    Event, World,
    clock::Time,
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
        full: bool,
    },
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
            let down = self.chance.between(span / 8, span);
            if self.chance.hits(400) {
                self.later(at + down, Fault::KillHq);
                let up = self.chance.between(Duration::from_millis(200), Duration::from_secs(12));
                self.later(at + down + up, Fault::StartHq);
            }
        }
        self.run_until(end);
    }

    fn something_goes_wrong(&mut self, store: usize, at: Time) {
        let t = self.any_terminal(store);
        let ms = Duration::from_millis;
        let short = at + self.chance.between(ms(100), ms(10_000));
        let long = at + self.chance.between(ms(2_000), ms(20_000));
        match self.chance.below(20) {
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
            _ => {
                self.later(at, Fault::Disk { t, full: true });
                self.later(long, Fault::Disk { t, full: false });
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
            Fault::Disk { t, full } => self.hosts[t].disk_full = full,
            Fault::Publish { chunks, kept } => self.publish(chunks, kept),
        }
    }

    pub fn heal(&mut self) {
        self.storm += 1;
        for store in 0..self.stores.len() {
            self.fault(Fault::Split { store, mask: 0, wan_to_all: true });
            self.fault(Fault::Wan { store, up: true });
            self.fault(Fault::Mdns { store, on: true });
            self.fault(Fault::Loss { store, wan: 0, lan: 0 });
        }
        self.start_hq();
        for t in 0..self.hosts.len() {
            self.fault(Fault::Port { t, rate: LAN_RATE });
            self.fault(Fault::Disk { t, full: false });
            if self.hosts[t].manners == Manners::Honest {
                self.fault(Fault::Start(t));
            } else {
                self.fault(Fault::CutPower(t));
            }
        }
    }

    fn later(&mut self, at: Time, fault: Fault) {
        self.agenda.at(at, Event::Fault { storm: self.storm, fault });
    }

    fn any_terminal(&mut self, store: usize) -> usize {
        let terminals = self.stores[store].terminals.len();
        self.stores[store].terminals[self.chance.below(terminals)]
    }
}
