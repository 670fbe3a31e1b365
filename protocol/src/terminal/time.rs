//! HQ's time, from HQ and from neighbours, and told to them.

use storemesh_keys::{Expiry, HqSigned, PeerId, Timestamp, Verified};

use super::{Event, Output, Source, Terminal, mesh, uplink};
use crate::{
    BadRow, HqTime, Instant, Rows, Save,
    time::clock::{HqClock, Input, Output as Told},
    wire::mesh::{Frame, Time},
};

/// The floor: the highest time that HQ has signed.
pub(super) const TIME: &str = "time.1";

/// The floor that a data folder has, if it has one yet.
///
/// # Errors
/// The row does not read.
pub fn floor(rows: &Rows) -> Result<Timestamp, BadRow> {
    Ok(rows.one::<Timestamp>(TIME, b"")?.unwrap_or(Timestamp(0)))
}

/// From what was kept, and from when HQ signed what else is kept.
pub(super) fn load(
    wall: Timestamp,
    rows: &Rows,
    signed: impl Iterator<Item = Timestamp>,
    now: Instant,
) -> Result<HqClock, BadRow> {
    let signed = signed.fold(Timestamp(0), Timestamp::max);
    Ok(HqClock::new(wall, floor(rows)?, signed, now))
}

impl Terminal {
    pub(super) fn time(&mut self, now: Instant, input: Input, outputs: &mut Vec<Output>) {
        for output in self.clock.handle(now, input) {
            match output {
                Told::Keep(floor) => outputs.push(Output::Save(Save::put(TIME, b"", &floor))),
                Told::Ask => outputs.push(uplink::ask_time()),
                Told::Tell { but } => {
                    let others = self.admitted().filter(|peer| Some(*peer) != but);
                    outputs.extend(others.map(|peer| self.tell_time(now, peer)));
                }
                Told::ClockOff { by, ahead } => {
                    outputs.push(Output::Event(Event::ClockOff { by, ahead }));
                }
            }
        }
    }

    pub(super) fn tell_time(&self, now: Instant, peer: PeerId) -> Output {
        let view = self.clock.view(now);
        let signed = self.clock.newest().map(|newest| newest.signed().clone());
        let time = Some(Time { hq_time: view.hq_time, sure: view.is_sure(), signed });
        mesh::send(peer, &Frame { time, ..Frame::default() })
    }

    /// An admitted neighbour tells what time it is.
    pub(super) fn hear_time(
        &mut self,
        now: Instant,
        peer: PeerId,
        Time { hq_time, sure, signed }: Time,
        outputs: &mut Vec<Output>,
    ) {
        let signed = signed
            .and_then(|signed| self.verify_time(now, Source::Neighbour(peer), &signed, outputs));
        self.time(now, Input::Told { peer, time: hq_time, sure, signed }, outputs);
    }

    /// HQ answers.
    pub(super) fn hear_hq_time(
        &mut self,
        now: Instant,
        time: &HqSigned<HqTime>,
        outputs: &mut Vec<Output>,
    ) {
        if let Some(time) = self.verify_time(now, Source::Hq, time, outputs) {
            self.time(now, Input::Answered(time), outputs);
        }
    }

    fn verify_time(
        &self,
        now: Instant,
        from: Source,
        signed: &HqSigned<HqTime>,
        outputs: &mut Vec<Output>,
    ) -> Option<Verified<HqTime>> {
        match signed.verify(&self.trust, self.clock.at(now), Expiry::Ignored) {
            Ok(time) => Some(time),
            Err(why) => {
                outputs.push(Output::Reject { from, why: why.to_string() });
                None
            }
        }
    }
}
