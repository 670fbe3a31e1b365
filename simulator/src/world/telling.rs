//! A step in words, for the trace.

#![expect(clippy::wildcard_enum_match_arm, reason = "tells of all, carries out none")]
#![expect(clippy::format_push_string, reason = "the clearest way to tell")]

use storemesh_keys::{Expiry, HqSigned, Trust, Verified};
use storemesh_protocol::{
    Lease, hq,
    terminal::{DiskAnswer, DiskJob, Input, Output, Source},
    wire::{self, mesh},
};

use super::{World, hq::wall, terminal::micros};

impl World {
    pub(super) fn brief_input(&mut self, t: usize, input: &Input) -> String {
        let now = micros(self.agenda.now());
        let what = match input {
            Input::Frame { peer, bytes } => {
                self.trace.bytes(bytes);
                format!("frame of {} bytes from {}{}", bytes.len(), self.who(peer), parts(bytes))
            }
            Input::UplinkFrame(bytes) => {
                self.trace.bytes(bytes);
                format!("frame of {} bytes from HQ", bytes.len())
            }
            Input::Disk(answer) => answered(answer),
            Input::Connected { peer, .. } => format!("connected {}", self.who(peer)),
            Input::Disconnected { peer } => format!("disconnected {}", self.who(peer)),
            Input::Fetched { from, chunk, .. } => {
                format!("fetched {chunk:?} from {}", self.source(*from))
            }
            Input::NotFetched { from, chunk, why } => {
                format!("not fetched {chunk:?} from {}: {why:?}", self.source(*from))
            }
            Input::Discovered { peer, .. } => format!("discovered {}", self.who(peer)),
            Input::DialFailed { address, .. } => format!("dial of {address} failed"),
            other => format!("{other:?}"),
        };
        let boot = self.hosts[t].boot;
        format!("{now} #{boot} {what}")
    }

    pub(super) fn step(&mut self, t: usize, mut said: String, outputs: &[Output]) {
        for (at, output) in outputs.iter().enumerate() {
            said += if at == 0 { " -> " } else { ", " };
            said += &match output {
                Output::Save(save) => format!("save {}", save.table),
                Output::Send { peer, frame } => {
                    self.trace.bytes(frame);
                    format!("send {}{}", self.who(peer), parts(frame))
                }
                Output::SendUp(frame) => {
                    self.trace.bytes(frame);
                    format!("send up {} bytes", frame.len())
                }
                Output::Fetch { from, chunk } => {
                    format!("fetch {:?} from {}", chunk.id, self.source(*from))
                }
                Output::Cancel { from, chunk } => {
                    format!("cancel {chunk:?} from {}", self.source(*from))
                }
                Output::Disk(job) => asked(job),
                Output::Dial { peer, address } => match peer {
                    Some(peer) => format!("dial {}", self.who(peer)),
                    None => format!("dial {address}"),
                },
                Output::Close { peer, why } => format!("close {}: {why}", self.who(peer)),
                Output::Admitted { peer, .. } => format!("admitted {}", self.who(peer)),
                Output::Reject { from, why } => format!("reject {}: {why}", self.source(*from)),
                other => format!("{other:?}"),
            };
        }
        let label = self.hosts[t].label.clone();
        self.trace.step(&label, said);
    }

    pub(super) fn brief_hq_input(&mut self, input: &hq::Input) -> String {
        let now = micros(self.agenda.now());
        let what = match input {
            hq::Input::Frame { link, bytes } => {
                self.trace.bytes(bytes);
                format!("frame of {} bytes on {link}", bytes.len())
            }
            hq::Input::Connected { link, peer } => format!("link {link} to {}", self.who(peer)),
            hq::Input::Order { ticket, .. } => format!("order {ticket}"),
            other => format!("{other:?}"),
        };
        format!("{now} {what}")
    }

    pub(super) fn step_hq(&mut self, mut said: String, outputs: &[hq::Output]) {
        for (at, output) in outputs.iter().enumerate() {
            said += if at == 0 { " -> " } else { ", " };
            said += &match output {
                hq::Output::Save(save) => format!("save {}", save.table),
                hq::Output::Send { link, frame } => {
                    self.trace.bytes(frame);
                    format!("send {} bytes on {link}", frame.len())
                }
                hq::Output::Answer { ticket, .. } => format!("answer {ticket}"),
                other => format!("{other:?}"),
            };
        }
        self.trace.step("hq", said);
    }

    pub(super) fn who(&self, peer: &storemesh_keys::PeerId) -> String {
        let host = self.hosts.iter().find(|host| host.peer == *peer);
        host.map_or_else(|| "nobody".to_owned(), |host| host.label.clone())
    }

    pub(super) fn source(&self, source: Source) -> String {
        match source {
            Source::Hq => "HQ".to_owned(),
            Source::Neighbour(peer) => self.who(&peer),
        }
    }

    /// What HQ has just signed itself.
    pub(super) fn read_lease(&self, lease: &HqSigned<Lease>) -> Verified<Lease> {
        let trust = Trust { chain: self.hq.chain(), generation_min: 0 };
        let now = wall(self.agenda.now());
        lease.verify(&trust, now, Expiry::Enforced).expect("HQ signs what holds")
    }
}

fn answered(answer: &DiskAnswer) -> String {
    match answer {
        DiskAnswer::Standing { release, current, .. } => {
            format!("{} stands, current: {current}", release.version)
        }
        DiskAnswer::ManifestRead { manifest, .. } => {
            format!("manifest read: {:?}", manifest.as_ref().map(|m| m.version().clone()))
        }
        other => format!("{other:?}"),
    }
}

fn asked(job: &DiskJob) -> String {
    match job {
        DiskJob::Check { list, .. } => format!("check {list:?}"),
        DiskJob::ReadManifest { release } => format!("read manifest {}", release.version),
        DiskJob::Measure { release, .. } => format!("measure for {}", release.version),
        DiskJob::GiveUp { release } => format!("give up {}", release.version),
        DiskJob::Stage { release, .. } => format!("stage {}", release.version),
        DiskJob::Activate { release, .. } => format!("activate {}", release.version),
        DiskJob::Abandon { release } => format!("abandon {}", release.version),
        DiskJob::Sweep => "sweep".to_owned(),
    }
}

/// Which parts a frame between neighbours has.
fn parts(frame: &[u8]) -> String {
    let Ok(frame) = wire::decode::<mesh::Frame>(frame) else { return " [unreadable]".to_owned() };
    let mut parts = Vec::new();
    parts.extend(frame.hello.map(|_| "hello".to_owned()));
    parts.extend(frame.lease.map(|_| "lease".to_owned()));
    parts.extend(frame.have.map(|have| format!("have {:?} of {:?}", have.chunks, have.list)));
    parts.extend(frame.got.map(|got| format!("got {:?} of {:?}", got.chunks, got.list)));
    parts.extend(frame.presence.map(|_| "presence".to_owned()));
    parts.extend(frame.dark.map(|_| "dark".to_owned()));
    parts.extend(frame.candidate.map(|_| "candidate".to_owned()));
    parts.extend(frame.offer.map(|_| "offer".to_owned()));
    parts.extend(frame.ask_unseen.map(|_| "ask unseen".to_owned()));
    parts.extend(frame.unseen.map(|_| "unseen".to_owned()));
    parts.extend(frame.time.map(|time| format!("time {} {}", time.hq_time, time.sure)));
    format!(" [{}]", parts.join(" "))
}
