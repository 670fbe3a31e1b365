mod held;

use super::*;
use crate::{
    content::Manifest,
    fixtures::{name, release},
};

const NOW: Instant = Instant(9);
const ROOMY: Room =
    Room { needed: 100, free: 150, reserve: 50, used: 0, quota: None, garbage: 0, previous: 0 };

/// An installer on which that release runs.
fn running(version: &str) -> Installer {
    let (wanted, manifest) = release(version);
    let mut installer = Installer::new(std::iter::once(wanted.clone()));
    let release = wanted.release.clone();
    let standing = Input::Disk(DiskAnswer::Standing { release, manifest, current: true });
    assert_eq!(installer.handle(NOW, standing).len(), 2, "both its lists are served");
    let idle = installer.handle(NOW, Input::Disk(DiskAnswer::Ready));
    assert!(matches!(idle[..], [Output::Disk(DiskJob::Sweep)]), "{idle:?}");
    installer
}

/// From being wanted to fetching; returns what was asked of the disk and the swarm on the way.
fn to_fetching(installer: &mut Installer, wanted: &Wanted, manifest: &Arc<Manifest>) {
    let (list, id) = (list_id(&wanted.release.manifest), wanted.release.id);
    let have = Bits::new(1);
    let sought =
        installer.handle(NOW, Input::Disk(DiskAnswer::Checked { list, have: have.clone() }));
    assert!(matches!(sought[..], [Output::Seek { .. }]), "{sought:?}");
    let read = installer.handle(NOW, Input::Complete(list));
    assert!(matches!(read[..], [Output::Disk(DiskJob::ReadManifest { .. })]), "{read:?}");
    let manifest = Ok(manifest.clone());
    let measured =
        installer.handle(NOW, Input::Disk(DiskAnswer::ManifestRead { release: id, manifest }));
    assert!(matches!(measured[..], [Output::Disk(DiskJob::Measure { .. })]), "{measured:?}");
    let staged =
        installer.handle(NOW, Input::Disk(DiskAnswer::Measured { release: id, room: Ok(ROOMY) }));
    assert!(
        matches!(staged[..], [Output::Expect { .. }, Output::Disk(DiskJob::Stage { .. })]),
        "{staged:?}"
    );
    let sought =
        installer.handle(NOW, Input::Disk(DiskAnswer::Staged { release: id, have: Ok(have) }));
    assert!(matches!(sought[..], [Output::Seek { .. }]), "{sought:?}");
}

/// Version 1 runs, and the content of version 2 is on its way.
fn fetching() -> (Installer, Wanted, Arc<Manifest>) {
    let mut installer = running("1");
    let (wanted, manifest) = release("2");
    _ = installer.handle(NOW, Input::Wanted(wanted.clone()));
    to_fetching(&mut installer, &wanted, &manifest);
    (installer, wanted, manifest)
}

#[test]
fn a_wanted_release_goes_its_way_and_runs() {
    let mut installer = running("1");
    let (wanted, manifest) = release("2");
    let outputs = installer.handle(NOW, Input::Wanted(wanted.clone()));
    assert!(
        matches!(outputs[..], [Output::Event(_), Output::Disk(DiskJob::Check { .. })]),
        "{outputs:?}"
    );
    to_fetching(&mut installer, &wanted, &manifest);
    let content = list_id(manifest.chunks());
    let outputs = installer.handle(NOW, Input::Complete(content));
    assert!(
        matches!(outputs[..], [Output::Event(_), Output::Disk(DiskJob::Activate { .. })]),
        "{outputs:?}"
    );
    let done = Input::Disk(DiskAnswer::Activated { release: wanted.release.id, done: Ok(()) });
    let outputs = installer.handle(NOW, done);
    assert!(matches!(outputs[..], [Output::Event(Event::Running { .. })]), "{outputs:?}");
    let (_, product) = installer.products().next().unwrap();
    assert_eq!(product.running().unwrap().version, name("2"));
}

#[test]
fn a_newer_wish_in_the_middle_drops_the_older_download() {
    let (mut installer, _, manifest) = fetching();
    let (newer, _) = release("3");
    let outputs = installer.handle(NOW, Input::Wanted(newer));
    assert!(
        matches!(
            outputs[..],
            [
                Output::Event(_),
                Output::Disk(DiskJob::Abandon { .. }),
                Output::Drop(_),
                Output::Drop(_),
                Output::Disk(DiskJob::Check { .. }),
            ]
        ),
        "{outputs:?}"
    );
    let late = Input::Complete(list_id(manifest.chunks()));
    assert!(installer.handle(NOW, late).is_empty(), "nobody waits for it any more");
}

#[test]
fn a_newer_wish_while_switching_waits_for_the_switch() {
    let (mut installer, wanted, manifest) = fetching();
    _ = installer.handle(NOW, Input::Complete(list_id(manifest.chunks())));
    let outputs = installer.handle(NOW, Input::Wanted(release("3").0));
    assert!(matches!(outputs[..], [Output::Event(_)]), "{outputs:?}");
    let done = Input::Disk(DiskAnswer::Activated { release: wanted.release.id, done: Ok(()) });
    let outputs = installer.handle(NOW, done);
    assert!(
        outputs.iter().any(|o| matches!(o, Output::Disk(DiskJob::Check { .. }))),
        "{outputs:?}"
    );
}

#[test]
fn an_older_wish_and_the_same_one_again_change_nothing() {
    let mut installer = running("2");
    for version in ["1", "2"] {
        assert!(installer.handle(NOW, Input::Wanted(release(version).0)).is_empty());
    }
}

#[test]
fn a_disk_that_takes_nothing_stops_the_download_and_it_is_tried_again_later() {
    let (mut installer, _, _) = fetching();
    let why = DiskError::Failed("it is worn out".to_owned());
    let outputs = installer.handle(NOW, Input::DiskRefuses(why));
    assert!(
        matches!(outputs[..], [Output::Event(Event::Failed { .. }), Output::Hold(_)]),
        "{outputs:?}"
    );
    assert_eq!(installer.deadline(), NOW + RETRY);
    let outputs = installer.handle(NOW + RETRY, Input::Tick);
    assert!(matches!(outputs[..], [Output::Disk(DiskJob::Check { .. })]), "{outputs:?}");
}

#[test]
fn what_runs_and_is_damaged_is_installed_anew() {
    let mut installer = running("1");
    let (wanted, _) = release("1");
    let damaged = Input::Disk(DiskAnswer::Damaged { release: wanted.release.id });
    let outputs = installer.handle(NOW, damaged.clone());
    assert!(matches!(outputs[..], [Output::Disk(DiskJob::Check { .. })]), "{outputs:?}");
    assert!(installer.handle(NOW, damaged).is_empty(), "it is being mended");
}

/// Release 2 is wanted and its manifest is read; 1 runs, and 0 is the one before.
fn at_the_measure() -> (Installer, Wanted, Arc<Manifest>) {
    let mut installer = running("1");
    let (before, manifest) = release("0");
    let release_before = before.release.clone();
    let standing =
        Input::Disk(DiskAnswer::Standing { release: release_before, manifest, current: false });
    _ = installer.handle(NOW, standing);
    let (wanted, manifest) = release("2");
    _ = installer.handle(NOW, Input::Wanted(wanted.clone()));
    let list = list_id(&wanted.release.manifest);
    _ = installer.handle(NOW, Input::Disk(DiskAnswer::Checked { list, have: Bits::full(1) }));
    _ = installer.handle(NOW, Input::Complete(list));
    let read = Input::Disk(DiskAnswer::ManifestRead {
        release: wanted.release.id,
        manifest: Ok(manifest.clone()),
    });
    let outputs = installer.handle(NOW, read);
    let [Output::Disk(DiskJob::Measure { previous, .. })] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    let previous = previous.as_ref().map(|release| &release.version);
    assert_eq!(previous, Some(&name("0")), "what is measured is what is given up");
    (installer, wanted, manifest)
}

fn measured(installer: &mut Installer, now: Instant, id: ReleaseId, room: Room) -> Vec<Output> {
    installer.handle(now, Input::Disk(DiskAnswer::Measured { release: id, room: Ok(room) }))
}

fn job(installer: &Installer) -> &Job {
    installer.products().next().unwrap().1.job.as_ref().unwrap()
}

#[test]
fn a_release_that_finds_no_room_waits_says_so_once_and_goes_on_when_there_is() {
    let (mut installer, wanted, _) = at_the_measure();
    let id = wanted.release.id;
    let short = Room { free: 120, ..ROOMY };
    let outputs = measured(&mut installer, NOW, id, short);
    assert!(matches!(outputs[..], [Output::Event(Event::NoRoom { .. })]), "{outputs:?}");
    assert_eq!(job(&installer).phase, Phase::NoRoom);
    assert_eq!(job(&installer).lacking, Some(Lacking { bytes: 30, on: Limit::Disk }));
    let mut now = NOW;
    for free in [120, 149] {
        now = now + LOOK_FOR_ROOM;
        assert_eq!(installer.deadline(), now);
        let outputs = installer.handle(now, Input::Tick);
        assert!(matches!(outputs[..], [Output::Disk(DiskJob::Measure { .. })]), "{outputs:?}");
        assert!(installer.deadline() > now);
        let outputs = measured(&mut installer, now, id, Room { free, ..ROOMY });
        assert!(outputs.is_empty(), "{outputs:?}");
        assert_eq!(job(&installer).lacking.unwrap().bytes, 150 - free);
    }
    now = now + LOOK_FOR_ROOM;
    _ = installer.handle(now, Input::Tick);
    let outputs = measured(&mut installer, now, id, ROOMY);
    assert!(
        matches!(outputs[..], [Output::Expect { .. }, Output::Disk(DiskJob::Stage { .. })]),
        "{outputs:?}"
    );
    assert_eq!(job(&installer).phase, Phase::Staging);
    assert_eq!((&job(&installer).note, job(&installer).lacking), (&None, None));
    assert_eq!(installer.deadline(), Instant::NEVER);
}

#[test]
fn garbage_goes_before_anything_that_somebody_may_want() {
    let (mut installer, wanted, _) = at_the_measure();
    let id = wanted.release.id;
    let room = Room { free: 120, garbage: 1, previous: 1000, ..ROOMY };
    let outputs = measured(&mut installer, NOW, id, room);
    assert!(
        matches!(
            outputs[..],
            [Output::Disk(DiskJob::Sweep), Output::Disk(DiskJob::Measure { .. })]
        ),
        "{outputs:?}"
    );
    // What cannot be deleted is not deleted again and again.
    let outputs = measured(&mut installer, NOW, id, Room { previous: 0, ..room });
    assert!(matches!(outputs[..], [Output::Event(Event::NoRoom { .. })]), "{outputs:?}");
}

#[test]
fn the_release_before_is_given_up_only_where_that_is_enough() {
    let (mut installer, wanted, _) = at_the_measure();
    let id = wanted.release.id;
    let outputs = measured(&mut installer, NOW, id, Room { free: 120, previous: 29, ..ROOMY });
    assert!(matches!(outputs[..], [Output::Event(Event::NoRoom { .. })]), "{outputs:?}");

    let (mut installer, wanted, _) = at_the_measure();
    let id = wanted.release.id;
    let outputs = measured(&mut installer, NOW, id, Room { free: 120, previous: 30, ..ROOMY });
    let [
        Output::Disk(DiskJob::GiveUp { release: gone }),
        Output::Disk(DiskJob::Measure { .. }),
        drops @ ..,
    ] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(gone.version, name("0"));
    assert!(matches!(drops, [Output::Drop(_), Output::Drop(_)]), "{drops:?}");
    let outputs = measured(&mut installer, NOW, id, ROOMY);
    assert!(
        matches!(outputs[..], [Output::Expect { .. }, Output::Disk(DiskJob::Stage { .. })]),
        "{outputs:?}"
    );
}

#[test]
fn the_release_before_is_not_given_up_when_it_is_the_one_that_is_wanted() {
    let (mut installer, wanted, manifest) = at_the_measure();
    let (mut before, id) = (wanted.release.clone(), wanted.release.id);
    before.version = name("0");
    let standing = DiskAnswer::Standing { release: before, manifest, current: false };
    _ = installer.handle(NOW, Input::Disk(standing));
    let outputs = measured(&mut installer, NOW, id, Room { free: 120, previous: 99, ..ROOMY });
    assert!(matches!(outputs[..], [Output::Event(Event::NoRoom { .. })]), "{outputs:?}");
    let outputs = installer.handle(NOW + LOOK_FOR_ROOM, Input::Tick);
    assert!(
        matches!(outputs[..], [Output::Disk(DiskJob::Measure { previous: None, .. })]),
        "{outputs:?}"
    );
}

#[test]
fn what_would_go_anyway_need_not_be_made_room_for_and_nothing_else_is_left_out() {
    let short = Room { free: 120, previous: 20, ..ROOMY };
    let (mut installer, wanted, _) = at_the_measure();
    _ = measured(&mut installer, NOW, wanted.release.id, short);
    assert_eq!(job(&installer).lacking.unwrap().bytes, 10);

    let (mut installer, wanted, manifest) = at_the_measure();
    let (release, id) = (wanted.release.clone(), wanted.release.id);
    let standing = DiskAnswer::Standing { release, manifest, current: false };
    _ = installer.handle(NOW, Input::Disk(standing));
    _ = measured(&mut installer, NOW, id, short);
    assert_eq!(job(&installer).lacking.unwrap().bytes, 30, "it is the one that is wanted");

    let mut installer = running("1");
    _ = installer.handle(NOW, Input::Wanted(wanted.clone()));
    let list = list_id(&wanted.release.manifest);
    _ = installer.handle(NOW, Input::Disk(DiskAnswer::Checked { list, have: Bits::new(1) }));
    _ = installer.handle(NOW, Input::DiskRefuses(DiskError::NoRoom));
    _ = measured(&mut installer, NOW, id, short);
    assert_eq!(job(&installer).lacking.unwrap().bytes, 30, "there is none before");
}

#[test]
fn a_disk_that_fills_up_in_the_middle_stops_the_download_where_it_is() {
    let mut installer = running("1");
    let (wanted, manifest) = release("2");
    let id = wanted.release.id;
    _ = installer.handle(NOW, Input::Wanted(wanted.clone()));
    to_fetching(&mut installer, &wanted, &manifest);
    let outputs = installer.handle(NOW, Input::DiskRefuses(DiskError::NoRoom));
    let event = matches!(outputs[..], [Output::Event(Event::NoRoom { .. }), Output::Hold(_)]);
    assert!(event, "{outputs:?}");
    let later = NOW + LOOK_FOR_ROOM;
    let outputs = installer.handle(later, Input::Tick);
    assert!(matches!(outputs[..], [Output::Disk(DiskJob::Measure { .. })]), "{outputs:?}");
    // Its tree is laid out: nothing more is needed than that the disk takes it.
    let room = Room { needed: 0, free: 0, ..ROOMY };
    let outputs = measured(&mut installer, later, id, room);
    assert!(
        matches!(outputs[..], [Output::Expect { .. }, Output::Disk(DiskJob::Stage { .. })]),
        "{outputs:?}"
    );
    let staged = Input::Disk(DiskAnswer::Staged { release: id, have: Ok(Bits::full(1)) });
    let outputs = installer.handle(later, staged);
    assert!(matches!(&outputs[..], [Output::Seek { have, .. }] if have.is_full()), "{outputs:?}");
}

#[test]
fn a_disk_that_has_no_room_for_the_manifest_is_looked_at_again_from_the_start() {
    let mut installer = running("1");
    let (wanted, _) = release("2");
    _ = installer.handle(NOW, Input::Wanted(wanted.clone()));
    let list = list_id(&wanted.release.manifest);
    _ = installer.handle(NOW, Input::Disk(DiskAnswer::Checked { list, have: Bits::new(1) }));
    let outputs = installer.handle(NOW, Input::DiskRefuses(DiskError::NoRoom));
    let event = matches!(outputs[..], [Output::Event(Event::NoRoom { .. }), Output::Hold(_)]);
    assert!(event, "{outputs:?}");
    let later = NOW + LOOK_FOR_ROOM;
    let outputs = installer.handle(later, Input::Tick);
    assert!(
        matches!(outputs[..], [Output::Disk(DiskJob::Measure { manifest: None, .. })]),
        "{outputs:?}"
    );
    let outputs = measured(&mut installer, later, wanted.release.id, ROOMY);
    assert!(matches!(outputs[..], [Output::Disk(DiskJob::Check { .. })]), "{outputs:?}");
    assert!(installer.lacks_room(), "that there is room is yet to be seen");
    _ = installer.handle(later, Input::Disk(DiskAnswer::Checked { list, have: Bits::new(1) }));
    let outputs = installer.handle(later, Input::DiskRefuses(DiskError::NoRoom));
    assert!(matches!(outputs[..], [Output::Hold(_)]), "it was said before: {outputs:?}");
}

#[test]
fn a_disk_with_room_one_moment_and_none_the_next_lacks_room_all_the_while() {
    let (mut installer, wanted, _) = at_the_measure();
    let id = wanted.release.id;
    assert!(!installer.lacks_room());
    _ = measured(&mut installer, NOW, id, Room { free: 120, ..ROOMY });
    let mut now = NOW;
    for _ in 0..3 {
        assert!(installer.lacks_room());
        now = now + LOOK_FOR_ROOM;
        _ = installer.handle(now, Input::Tick);
        _ = measured(&mut installer, now, id, ROOMY);
        assert_eq!(job(&installer).phase, Phase::Staging);
        assert!(installer.lacks_room(), "that there is room is yet to be seen");
        let staged = DiskAnswer::Staged { release: id, have: Err(DiskError::NoRoom) };
        assert!(installer.handle(now, Input::Disk(staged)).is_empty(), "it was said before");
    }
    now = now + LOOK_FOR_ROOM;
    _ = installer.handle(now, Input::Tick);
    _ = measured(&mut installer, now, id, ROOMY);
    let staged = DiskAnswer::Staged { release: id, have: Ok(Bits::new(1)) };
    _ = installer.handle(now, Input::Disk(staged));
    assert!(!installer.lacks_room());
}

#[test]
fn a_switch_that_finds_no_room_lacks_it_until_it_is_done() {
    let (mut installer, wanted, manifest) = at_the_measure();
    let id = wanted.release.id;
    let to_the_switch = |installer: &mut Installer| {
        _ = measured(installer, NOW, id, ROOMY);
        let staged = DiskAnswer::Staged { release: id, have: Ok(Bits::full(1)) };
        _ = installer.handle(NOW, Input::Disk(staged));
        let content = list_id(manifest.chunks());
        let outputs = installer.handle(NOW, Input::Complete(content));
        assert!(matches!(outputs[..], [_, Output::Disk(DiskJob::Activate { .. })]), "{outputs:?}");
    };
    let activated = |done| Input::Disk(DiskAnswer::Activated { release: id, done });
    to_the_switch(&mut installer);
    _ = installer.handle(NOW, activated(Err(DiskError::NoRoom)));
    to_the_switch(&mut installer);
    assert!(installer.lacks_room());
    _ = installer.handle(NOW, activated(Ok(())));
    assert!(!installer.lacks_room());
}

#[test]
fn a_release_that_fails_for_another_reason_does_not_lack_room() {
    let (mut installer, wanted, _) = at_the_measure();
    let id = wanted.release.id;
    _ = measured(&mut installer, NOW, id, Room { free: 120, ..ROOMY });
    let failed = Input::Disk(DiskAnswer::Measured { release: id, room: Err("worn".to_owned()) });
    _ = installer.handle(NOW, failed);
    assert_eq!(job(&installer).phase, Phase::Failed);
    assert!(!installer.lacks_room());
}
