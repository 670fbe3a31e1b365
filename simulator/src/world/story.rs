//! How a world is set up, told forward, and looked at when the story is over.

use std::{fmt, time::Duration};

use storemesh_keys::{Name, PeerId, SecretKey};
use storemesh_protocol::{
    feeds::terminal::RoomFor,
    hq::{Input, Order},
    terminal::UplinkView,
};

use super::{
    Broken, Carried, Store, World,
    clock::{Agenda, Time},
    disk::Disk,
    faults::{AGREED_WITHIN, LAN_RATE},
    feeds::{self, Books, Tills},
    hq::HqHost,
    link::{Lane, mbit},
    orders::Wish,
    release::{Release, name},
    terminal::{Host, Manners, Program},
    trace::Trace,
};
use crate::chance::Chance;

/// The product that every terminal is to run.
pub(super) const PRODUCT: &str = "till";
/// A shop's DSL line.
const WAN_DOWN: u64 = mbit(20);
const WAN_UP: u64 = mbit(5);
const WAN_DELAY: Duration = Duration::from_millis(20);
const LAN_DELAY: Duration = Duration::from_micros(200);

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub stores: usize,
    /// In each store.
    pub terminals: usize,
    /// Of these, the last so many are wireless.
    pub wireless: usize,
    /// All stores are on one network.
    pub one_lan: bool,
    /// What each till posts in a minute.
    pub sales: u32,
}

impl Plan {
    /// One store, all of it wired.
    pub fn store(terminals: usize, seed: u64) -> Self {
        Self { seed, stores: 1, terminals, wireless: 0, one_lan: false, sales: 0 }
    }
}

/// As the options of `storemesh-sim run`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, stores, terminals, wireless, one_lan, sales } = self;
        write!(f, "--seed {seed} --stores {stores} --terminals {terminals} --wireless {wireless}")?;
        if *one_lan {
            f.write_str(" --one-lan")?;
        }
        if *sales > 0 { write!(f, " --sales {sales}") } else { Ok(()) }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    pub trace: String,
    pub events: u64,
    pub virtual_time: Time,
    /// Chunk bytes over all WAN links against what one copy for each store would be.
    pub wan_ratio: f64,
    /// Bytes beside the chunks, both ways.
    pub wan_other: u64,
    /// Chunks that HQ was asked for while the word that a neighbour has them was under way.
    pub news_fetches: u64,
    pub broken: Option<Broken>,
}

impl World {
    /// Stores whose terminals have joined and just started.
    pub fn new(plan: Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
        let root = SecretKey::from_seed(chance.bytes());
        let hq = HqHost::new(root, SecretKey::from_seed(chance.bytes()));
        let mut world = Self {
            agenda: Agenda::new(),
            chance,
            trace: Trace::new(),
            stores: Vec::new(),
            hosts: Vec::new(),
            hq,
            conns: std::collections::BTreeMap::new(),
            conns_made: 0,
            requests_made: 0,
            releases: Vec::new(),
            ordered: std::collections::BTreeSet::new(),
            wanted: None,
            storm: 0,
            granted: std::collections::BTreeMap::new(),
            news_fetches: 0,
            tills: Tills::new(plan.seed),
            books: Books::default(),
            broken: None,
        };
        world.start_hq();
        for store in 0..plan.stores {
            world.open_store(name(&format!("shop-{store}")));
            if plan.one_lan {
                world.stores[store].lan = 0;
            }
            for place in 0..plan.terminals {
                let t = world.add_terminal(store);
                world.hosts[t].wireless = place + plan.wireless >= plan.terminals;
                world.start_terminal(t);
            }
        }
        world
    }

    /// One store.
    pub fn store(terminals: usize, seed: u64) -> Self {
        Self::new(Plan::store(terminals, seed))
    }

    fn open_store(&mut self, name: Name) {
        self.hq_now(Input::Order { ticket: 0, order: Order::AddStore { store: name.clone() } });
        self.stores.push(Store {
            name,
            lan: self.stores.len(),
            terminals: Vec::new(),
            wan_up: true,
            wan_to_all: true,
            wan_up_lane: Lane::new(WAN_UP),
            wan_down_lane: Lane::new(WAN_DOWN),
            wan_delay: WAN_DELAY,
            lan_delay: LAN_DELAY,
            wan_loss: 0,
            lan_loss: 0,
            mdns: true,
            isolated: false,
            carried: Carried::default(),
            came: std::collections::BTreeSet::new(),
            sent_again: 0,
            allowed: 0,
            copies: 0,
        });
    }

    /// A new box in a store: it has joined, and is off.
    pub fn add_terminal(&mut self, store: usize) -> usize {
        let t = self.hosts.len();
        let key = SecretKey::from_seed(self.chance.bytes());
        let address = Self::address(store, self.stores[store].terminals.len(), 0);
        self.stores[store].terminals.push(t);
        self.hosts.push(Host {
            peer: key.peer_id(),
            key,
            name: name(&format!("till-{t}")),
            label: format!("t{t}"),
            store,
            address,
            moves: 0,
            up: Lane::new(LAN_RATE),
            down: Lane::new(LAN_RATE),
            part: 0,
            wireless: false,
            unheard: false,
            hq_blocked: false,
            hq_delay: Duration::ZERO,
            asleep: None,
            powered: true,
            manners: Manners::Honest,
            disk: Disk::default(),
            room: RoomFor::All,
            boot: 0,
            program: None,
            feeds: feeds::Side::default(),
        });
        self.join(t);
        t
    }

    /// An operator publishes the next version and starts it: so many chunks, of which so many are
    /// in every version.
    pub fn publish(&mut self, chunks: u32, kept: u32) {
        let version = u32::try_from(self.releases.len() + 1).expect("few releases");
        self.releases.push(Release::new(PRODUCT, version, chunks, kept));
        self.wish(Wish::Add(self.releases.len() - 1));
    }

    pub fn run(&mut self, span: Duration) {
        self.run_until(self.agenda.now() + span);
    }

    /// Goes on until `done`, looking every 20 ms; how long that took, if it was within `most`.
    pub fn run_to(&mut self, most: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let began = self.agenda.now();
        while self.broken.is_none() {
            let took = self.agenda.now().saturating_sub(began);
            if done(self) {
                return Some(took);
            }
            if took >= most {
                return None;
            }
            self.run(Duration::from_millis(20));
        }
        None
    }

    /// A whole trial: a release, a storm, and time to agree. What went wrong is a broken rule.
    pub fn trial(plan: Plan, storm: Duration) -> Self {
        let mut world = Self::new(plan);
        world.publish(24, 0);
        if plan.sales > 0 {
            world.open_tills(storm, plan.sales);
        }
        if !storm.is_zero() {
            world.storm(storm);
        }
        if world.broken.is_none() {
            world.heal();
        }
        let took = world.run_to(AGREED_WITHIN, |world| world.disagreement().is_none());
        if took.is_none() && world.broken.is_none() {
            let why = world.disagreement().unwrap_or_default();
            let concerned = world.named_in(&why);
            let rule = format!("after {AGREED_WITHIN:?} of peace: {why}");
            world.broken = Some(Broken { at: world.now(), rule, concerned });
        }
        world
    }

    /// Who holds the newest lease of a store, the whole of it.
    pub fn gateway(&self, store: usize) -> Option<usize> {
        let newest = self.grants(store).rfind(|grant| grant.part == 0)?;
        self.hosts.iter().position(|host| host.peer == newest.holder)
    }

    fn named_in(&self, text: &str) -> Vec<String> {
        let labels = self.hosts.iter().map(|host| host.label.clone());
        labels.filter(|label| text.split(' ').any(|word| word == label)).collect()
    }

    pub fn now(&self) -> Time {
        self.agenda.now()
    }

    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// The last steps of those that a broken rule concerns.
    pub fn last_steps(&self, count: usize) -> Vec<String> {
        let mut concerned = self.broken.as_ref().map_or_else(Vec::new, |b| b.concerned.clone());
        if !concerned.is_empty() {
            concerned.push("fault".to_owned());
        }
        self.trace.last(&concerned, count)
    }

    /// Why the living terminals do not agree yet; none when all run what is wanted and know one
    /// and the same living gateway, which HQ hears.
    pub fn disagreement(&self) -> Option<String> {
        if !self.orders_done() {
            return Some("HQ has not confirmed an order".to_owned());
        }
        let stores = (0..self.stores.len()).find_map(|store| self.disagreement_of(store));
        stores.or_else(|| self.feeds_disagreement())
    }

    fn disagreement_of(&self, store: usize) -> Option<String> {
        let mut gateway: Option<PeerId> = None;
        for t in &self.stores[store].terminals {
            let host = &self.hosts[*t];
            let Some(program) = &host.program else { continue };
            let status = program.terminal.status(program.local(self.now()));
            let Some(seen) = status.gateway else {
                return Some(format!("{} knows no gateway", host.label));
            };
            let first = *gateway.get_or_insert(seen.peer);
            if first != seen.peer || seen.part != 0 {
                return Some(format!("{} has another gateway", host.label));
            }
            if status.uplink == UplinkView::Up && !seen.me {
                return Some(format!("{} is on the line to HQ and no gateway", host.label));
            }
            let wanted = self.wanted.map(|at| &self.releases[at].head);
            let running = host.disk.running(&name(PRODUCT));
            if let Some(wanted) = wanted
                && running.is_none_or(|running| running.id != wanted.id)
            {
                let releases = format!("{:?}", status.releases);
                return Some(format!("{} does not run {}: {releases}", host.label, wanted.version));
            }
        }
        self.unmet(store).or_else(|| self.unheard_gateway(store)).or_else(|| self.wrong_time(store))
    }

    /// The terminals of a store that run.
    pub(super) fn alive(&self, store: usize) -> impl Iterator<Item = (&Host, &Program)> {
        let hosts = self.stores[store].terminals.iter().map(|t| &self.hosts[*t]);
        hosts.filter_map(|host| Some((host, host.program.as_ref()?)))
    }

    /// Neighbours that could know each other and do not yet.
    pub(super) fn unmet(&self, store: usize) -> Option<String> {
        for (host, program) in self.alive(store) {
            let stranger = |(other, _): &(&Host, _)| {
                let isolated = self.stores[store].isolated && host.wireless && other.wireless;
                let met = program.admitted.contains_key(&other.peer);
                other.peer != host.peer && !isolated && !met
            };
            if let Some((other, _)) = self.alive(store).find(stranger) {
                return Some(format!("{} has not met {}", host.label, other.label));
            }
        }
        None
    }

    /// A gateway that HQ does not hear, or that is gone.
    fn unheard_gateway(&self, store: usize) -> Option<String> {
        for (host, program) in self.alive(store) {
            let status = program.terminal.status(program.local(self.now()));
            if status.gateway.as_ref().is_some_and(|gateway| gateway.me)
                && status.uplink != UplinkView::Up
            {
                return Some(format!("the gateway {} has no line to HQ", host.label));
            }
            let gone = |peer| self.alive(store).all(|(other, _)| other.peer != peer);
            if status.gateway.is_some_and(|gateway| gone(gateway.peer)) {
                return Some(format!("{}'s gateway is gone", host.label));
            }
        }
        None
    }

    pub fn summary(&self) -> Summary {
        let unique: u64 = {
            let all = self.releases.iter().flat_map(|release| &release.chunks);
            let unique: std::collections::BTreeMap<_, _> = all.collect();
            unique.values().map(|chunk| u64::from(chunk.stored)).sum()
        };
        let carried = self.stores.iter().map(|store| store.carried);
        let (chunks, other) = carried
            .fold((0, 0), |(chunks, other), c| (chunks + c.chunks, other + c.other_down + c.up));
        let once = unique.saturating_mul(self.stores.len() as u64);
        Summary {
            trace: self.trace.hash(),
            events: self.agenda.happened(),
            virtual_time: self.now(),
            wan_ratio: if once == 0 { 0.0 } else { as_f64(chunks) / as_f64(once) },
            wan_other: other,
            news_fetches: self.news_fetches,
            broken: self.broken.clone(),
        }
    }
}

fn as_f64(bytes: u64) -> f64 {
    u32::try_from(bytes >> 10).map_or(f64::MAX, f64::from)
}
