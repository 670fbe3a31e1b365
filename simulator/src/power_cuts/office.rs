//! The head office of a till whose power is cut: HQ's real feeds, on a disk that forgets nothing.
//!
//! The rule: HQ is told only what the till has committed, so nothing that the till says after a cut may
//! surprise it. What HQ objects to, a fork or an entry that does not follow, is a fault of the till's disk.

use std::time::Duration;

use anyhow::{bail, ensure};
use storemesh_keys::{
    Certificate, ChainId, HqSigned, HqSigner, Name, OnlineKey, Roles, SecretKey, Signed, Timestamp,
    Trust,
};
use storemesh_protocol::{
    Instant,
    feeds::{
        Control, Entry, Memory, Settings, entries,
        hq::{HqFeeds, Input, Output},
    },
};

/// The keys are no secrets here, and the same in every life.
const ROOT: [u8; 32] = [1; 32];
const ONLINE: [u8; 32] = [2; 32];
const TILL: [u8; 32] = [3; 32];
/// When a life begins.
const BEGAN: Timestamp = Timestamp(1_800_000_000_000);

#[derive(Clone)]
pub(super) struct Office {
    disk: Memory,
    pub(super) wall: Timestamp,
}

/// HQ with its one link.
pub(super) struct Line(HqFeeds);

const LINK: u64 = 1;

pub(super) fn till() -> SecretKey {
    SecretKey::from_seed(TILL)
}

pub(super) fn store() -> Name {
    name("s1")
}

pub(super) fn trust() -> Trust {
    Trust { chain: ChainId::of_root(SecretKey::from_seed(ROOT).public()), generation_min: 0 }
}

pub(super) fn online() -> SecretKey {
    SecretKey::from_seed(ONLINE)
}

/// HQ's word for the till.
pub(super) fn certificate() -> HqSigned<Certificate> {
    let certificate = Certificate {
        chain: trust().chain,
        serial: 1,
        peer: till().peer_id(),
        door: None,
        name: name("till-1"),
        store: store(),
        roles: Roles::TERMINAL,
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    };
    signer().sign(&certificate).into_signed()
}

fn signer() -> HqSigner {
    let online_key = OnlineKey {
        chain: trust().chain,
        name: name("chain"),
        generation: 1,
        key: online().public(),
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    };
    let signed = Signed::sign(&SecretKey::from_seed(ROOT), &online_key);
    HqSigner::new(online(), signed, &trust()).expect("the root has just signed it")
}

fn name(text: &str) -> Name {
    text.parse().expect("it is a name")
}

impl Office {
    pub(super) fn new() -> Self {
        Self { disk: Memory::default(), wall: BEGAN }
    }

    /// The till is on the line again; what HQ says to it comes out.
    pub(super) fn connect(&mut self, now: Instant) -> anyhow::Result<(Line, Vec<Vec<u8>>)> {
        let (feeds, _) = HqFeeds::load(signer(), trust(), &mut self.disk);
        let mut line = Line(feeds);
        let up = Input::Up { link: LINK, peer: till().peer_id(), store: store() };
        let said = self.handle(&mut line, now, vec![up])?;
        Ok((line, said))
    }

    /// What HQ answers to these frames of the till.
    pub(super) fn hear(
        &mut self,
        line: &mut Line,
        now: Instant,
        frames: Vec<Vec<u8>>,
    ) -> anyhow::Result<Vec<Vec<u8>>> {
        let frames = frames.into_iter().map(|bytes| Input::Frame { link: LINK, bytes });
        self.handle(line, now, frames.chain([Input::Tick]).collect())
    }

    /// An operator has the tills keep what HQ has acknowledged for so long.
    pub(super) fn keep_for(
        &mut self,
        line: &mut Line,
        now: Instant,
        retention: Duration,
    ) -> anyhow::Result<Vec<Vec<u8>>> {
        let settings =
            Some(Settings { journal_retention_s: retention.as_secs(), ..Settings::default() });
        let control = Control { settings, ..Control::default() };
        self.handle(line, now, vec![Input::Append { ticket: 1, control }])
    }

    /// All that HQ holds.
    pub(super) fn entries(&self) -> Vec<Entry> {
        entries(&self.disk)
    }

    fn handle(
        &mut self,
        line: &mut Line,
        now: Instant,
        inputs: Vec<Input>,
    ) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut said = Vec::new();
        for output in line.0.handle(now, self.wall, &mut self.disk, inputs) {
            match output {
                Output::Send { frame, .. } => said.push(frame),
                Output::Close { why, .. } | Output::Reject { why, .. } => {
                    bail!("HQ refuses what the till says: {why}")
                }
                Output::Event(event) => bail!("HQ is surprised: {event:?}"),
                Output::Appended { answer, .. } => ensure!(answer.is_ok(), "{answer:?}"),
                Output::Tell(_) => {}
            }
        }
        Ok(said)
    }
}
