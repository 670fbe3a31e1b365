//! What the neighbours hear while a release comes.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    content::Bits,
    disk::{DiskAnswer, DiskJob},
    feeds::terminal::FromFeeds,
    fixtures::release,
    install::Room,
    swarm,
    terminal::Source,
    wire::mesh::{Candidate, Phase},
};

const ROOMY: Room =
    Room { needed: 100, free: 150, reserve: 50, used: 0, quota: None, garbage: 0, previous: 0 };

fn answer(to: &mut Terminal, answer: DiskAnswer) -> Vec<Output> {
    to.handle(NOW, Input::Disk(answer))
}

/// The last thing that the disk is asked.
fn asked(outputs: &[Output]) -> DiskJob {
    let job = |output: &Output| {
        let Output::Disk(job) = output else { return None };
        Some(job.clone())
    };
    outputs.iter().filter_map(job).next_back().unwrap_or_else(|| panic!("{outputs:?}"))
}

/// Hears of a release and looks for its pieces, which are all on its disk, up to the question what
/// room there is.
fn to_the_measure(one: &mut Terminal, version: &str) {
    let (wanted, manifest) = release(version);
    let id = wanted.release.id;
    let outputs = one.handle(NOW, Input::Feeds(FromFeeds::Wanted(wanted)));
    let DiskJob::Check { list, .. } = asked(&outputs) else { panic!("{outputs:?}") };
    let outputs = answer(one, DiskAnswer::Checked { list, have: Bits::full(1) });
    assert!(matches!(asked(&outputs), DiskJob::ReadManifest { .. }));
    let read = DiskAnswer::ManifestRead { release: id, manifest: Ok(manifest) };
    let outputs = answer(one, read);
    assert!(matches!(asked(&outputs), DiskJob::Measure { .. }));
}

#[test]
fn neighbours_hear_that_a_terminal_has_no_room_and_that_it_has_again() {
    let (mut one, _) = met();
    _ = answer(&mut one, DiskAnswer::Ready);
    to_the_measure(&mut one, "2");
    let id = release("2").0.release.id;
    let said = |outputs: &[Output]| -> Vec<bool> {
        let candidates = frames(outputs).into_iter().filter_map(|frame| frame.candidate);
        candidates.map(|candidate| candidate.no_room).collect()
    };
    let short = Room { free: 120, ..ROOMY };
    let outputs = answer(&mut one, DiskAnswer::Measured { release: id, room: Ok(short) });
    assert_eq!(said(&outputs), [true], "{outputs:?}");
    let outputs = answer(&mut one, DiskAnswer::Measured { release: id, room: Ok(ROOMY) });
    assert_eq!(said(&outputs), [], "that there is room is yet to be seen: {outputs:?}");
    let outputs = answer(&mut one, DiskAnswer::Staged { release: id, have: Ok(Bits::new(1)) });
    assert_eq!(said(&outputs), [false], "{outputs:?}");
}

#[test]
fn all_neighbours_hear_what_lasts_and_the_gateway_alone_every_step() {
    let (mut one, two) = met();
    let mut three = terminal(3, "s1");
    meet(&mut one, &mut three);
    let lease = Some(lease(1, two.me).into_signed());
    _ = say(&mut one, two.me, &Frame { lease, ..Frame::default() });
    _ = answer(&mut one, DiskAnswer::Ready);
    to_the_measure(&mut one, "2");
    let id = release("2").0.release.id;
    let mut now = NOW;
    // What comes of an answer, a while after the last one, so that the gateway may hear of it.
    let mut told = |answer| -> BTreeMap<PeerId, Phase> {
        now = now + Duration::from_secs(1);
        let outputs = one.handle(now, Input::Disk(answer));
        let presence = |output: &Output| {
            let Output::Send { peer, frame } = output else { return None };
            Some((*peer, wire::decode::<Frame>(frame).unwrap().presence?.products[0].phase))
        };
        outputs.iter().filter_map(presence).collect()
    };
    let to_both = |phase| BTreeMap::from([(two.me, phase), (three.me, phase)]);

    let short = Room { free: 120, ..ROOMY };
    let measured = |room| DiskAnswer::Measured { release: id, room: Ok(room) };
    assert_eq!(told(measured(short)), to_both(Phase::NoRoom));
    assert_eq!(told(measured(ROOMY)), to_both(Phase::Staging), "it is over");
    let staged = |have| DiskAnswer::Staged { release: id, have: Ok(have) };
    assert_eq!(told(staged(Bits::full(1))), BTreeMap::from([(two.me, Phase::Activating)]));
    let done = DiskAnswer::Activated { release: id, done: Ok(()) };
    assert_eq!(told(done), to_both(Phase::Running));
}

#[test]
fn a_gateway_does_not_wait_for_word_of_a_neighbour_that_says_it_has_no_room() {
    let (mut one, two) = met();
    _ = answer(&mut one, DiskAnswer::Ready);
    let outputs = one.handle(NOW, Input::Feeds(FromFeeds::Wanted(release("2").0)));
    let DiskJob::Check { list, .. } = asked(&outputs) else { panic!("{outputs:?}") };
    _ = answer(&mut one, DiskAnswer::Checked { list, have: Bits::new(1) });
    _ = one.swarm.handle(NOW, swarm::Input::HqUp { away: BTreeSet::new() });
    let from_hq = |outputs: &[Output]| {
        outputs.iter().any(|o| matches!(o, Output::Fetch { from: Source::Hq, .. }))
    };
    assert!(!from_hq(&one.handle(NOW, Input::Tick)), "it may hold it");
    let candidate = Some(Candidate { no_room: true, ..Candidate::default() });
    let outputs = say(&mut one, two.me, &Frame { candidate, ..Frame::default() });
    assert!(from_hq(&outputs), "{outputs:?}");
}
