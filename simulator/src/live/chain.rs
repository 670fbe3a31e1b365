//! A whole small chain on this machine: one HQ, the line to it, and one store of terminals.
//!
//! The line is a [`Relay`], with everything on the loopback interface, or a [`Lan`], with each party on
//! a machine of its own; either way every byte of the uplink crosses it. Everything lies in one folder,
//! which is the caller's to remove.

use std::{path::Path, thread, time::Duration};

use anyhow::{Result, anyhow};

use super::{
    hq::Hq,
    lan::{HQ_PORT, Lan},
    programs::Programs,
    relay::{Relay, Wan},
    status::Status,
    stop,
    terminal::Terminal,
};

/// The name of the one store.
pub const STORE: &str = "store-1";

/// Nobody else has HQ's machine in a LAN.
const HQ_ADMIN_PORT: u16 = 7401;

/// Enough that fifty terminals are started in some seconds, few enough for two cores.
const AT_ONCE: usize = 4;

/// HQ, the line and the store; dropping it kills what runs.
#[derive(Debug)]
pub struct Chain<L = Relay> {
    pub hq: Hq,
    pub terminals: Vec<Terminal>,
    pub wan: L,
}

impl Chain<Relay> {
    /// HQ serving behind the line, the store registered, and no terminal joined yet.
    pub fn open(programs: &Programs, folder: &Path, wan: Wan, terminals: usize) -> Result<Self> {
        let wan = Relay::open(wan)?;
        let mut hq = Hq::new(programs, folder);
        hq.init("demo-chain")?;
        hq.serve(["--listen", "127.0.0.1", "--advertise", &wan.address().to_string()])?;
        wan.lead_to(hq.address());
        hq.add_store(STORE)?;
        let terminals =
            (1..=terminals).map(|number| Terminal::new(programs, folder, &format!("t{number}")));
        Ok(Self { hq, terminals: terminals.collect(), wan })
    }

    /// Starts HQ again after it was stopped or killed.
    pub fn serve_again(&mut self) -> Result<()> {
        let relay = self.wan.address().to_string();
        self.hq.serve(["--listen", "127.0.0.1", "--advertise", &relay])?;
        self.wan.lead_to(self.hq.address());
        Ok(())
    }

    /// Starts every terminal.
    pub fn start(&mut self) -> Result<()> {
        each(&mut self.terminals, Terminal::start)
    }
}

impl Chain<Lan> {
    /// HQ serving on its machine, the store registered, and no terminal joined yet.
    pub fn open_on_lan(
        programs: &Programs,
        folder: &Path,
        wan: Wan,
        terminals: usize,
    ) -> Result<Self> {
        let names: Vec<_> = (1..=terminals).map(|number| format!("t{number}")).collect();
        let wan = Lan::lay(&names.iter().map(String::as_str).collect::<Vec<_>>(), wan)?;
        let hq = Hq::new(&wan.hq_programs(programs), folder).on_ports(HQ_PORT, HQ_ADMIN_PORT);
        let terminals =
            names.iter().map(|name| Terminal::new(&wan.programs(programs, name), folder, name));
        let mut chain = Self { hq, terminals: terminals.collect(), wan };
        chain.hq.init("demo-chain")?;
        chain.serve_again()?;
        chain.hq.add_store(STORE)?;
        Ok(chain)
    }

    /// Starts HQ again after it was stopped or killed.
    pub fn serve_again(&mut self) -> Result<()> {
        self.hq.serve(["--advertise", &self.wan.hq_address().to_string()])
    }

    /// Starts every terminal as it is meant to run, on its usual ports and with mDNS.
    pub fn start(&mut self) -> Result<()> {
        each(&mut self.terminals, |terminal| terminal.start_with([] as [&str; 0]))
    }

    /// Starts one of them.
    pub fn start_one(&mut self, index: usize) -> Result<()> {
        self.terminals[index].start_with([] as [&str; 0])
    }
}

impl<L> Chain<L> {
    /// Invites every terminal and joins it with its code.
    pub fn join(&mut self) -> Result<()> {
        let hq = &self.hq;
        each(&mut self.terminals, |terminal| terminal.join(&hq.invite(STORE)?))
    }

    /// Until the terminals have found each other, agree on one gateway, and it is connected to HQ.
    pub fn meet(&self, patience: Duration) -> Result<Vec<Status>> {
        stop::until("the terminals agreeing on one gateway", patience, || {
            let statuses = self.statuses()?;
            Ok(met(&statuses).then_some(statuses))
        })
    }

    pub fn statuses(&self) -> Result<Vec<Status>> {
        self.terminals.iter().map(Terminal::status).collect()
    }

    /// Politely: all are asked to end before the first is waited for. The first that did not end well
    /// is the one reported.
    pub fn stop(&mut self) -> Result<()> {
        for terminal in &mut self.terminals {
            if let Some(daemon) = terminal.daemon() {
                daemon.close();
            }
        }
        let ended: Vec<_> = self.terminals.iter_mut().map(Terminal::stop).collect();
        ended.into_iter().chain([self.hq.stop()]).collect()
    }
}

/// Whether all know each other and name the same gateway, which is up.
fn met(statuses: &[Status]) -> bool {
    let all_know_each_other = statuses.iter().all(|status| status.neighbours + 1 >= statuses.len());
    let mut gateways = statuses.iter().map(|status| status.gateway.as_ref());
    let Some(Some(gateway)) = gateways.next() else { return false };
    let all_agree = gateways.all(|other| other.is_some_and(|other| other.peer == gateway.peer));
    let up = statuses.iter().any(|status| status.is_gateway() && status.uplink == "up");
    all_know_each_other && all_agree && up
}

/// Some at a time; the first failure is the one reported.
fn each(
    terminals: &mut [Terminal],
    act: impl Fn(&mut Terminal) -> Result<()> + Sync,
) -> Result<()> {
    let share = terminals.len().div_ceil(AT_ONCE).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = terminals
            .chunks_mut(share)
            .map(|share| scope.spawn(|| share.iter_mut().try_for_each(&act)))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| anyhow!("a worker of the live run panicked"))?
        })
    })
}
