use storemesh_keys::Timestamp;

use super::*;
use crate::{
    content::{Builder, RelPath, pack},
    fixtures::{name, signer},
};

const NOW: Instant = Instant(9);

/// A release of one file with one chunk, and HQ's wish for it.
fn release(version: &str) -> (Verified<Wanted>, Arc<Manifest>) {
    let mut builder = Builder::new();
    let path = RelPath::new("pos").unwrap();
    builder.file(path, 0o755, vec![pack(version.as_bytes()).0]);
    let (manifest, encoded) = builder.finish(name("pos"), name(version)).unwrap();
    let (release, _) = ReleaseHead::new(&manifest, &encoded);
    let signer = signer();
    let described = signer.described();
    let wanted = signer.sign(&Wanted {
        chain: described.chain,
        generation: described.generation,
        number: u64::from(version.as_bytes()[0]),
        release,
        at: Timestamp(1),
    });
    (wanted, Arc::new(manifest))
}

/// An installer on which that release runs.
fn running(version: &str) -> Installer {
    let (wanted, manifest) = release(version);
    let mut installer = Installer::new(std::iter::once(wanted.clone()));
    let release = wanted.release.clone();
    let standing = Input::Standing { release, manifest, current: true };
    assert_eq!(installer.handle(NOW, standing).len(), 2, "both its lists are served");
    let idle = installer.handle(NOW, Input::Ready);
    assert!(matches!(idle[..], [Output::Sweep]), "{idle:?}");
    installer
}

/// From being wanted to fetching; returns what was asked of the disk and the swarm on the way.
fn to_fetching(installer: &mut Installer, wanted: &Verified<Wanted>, manifest: &Arc<Manifest>) {
    let (list, id) = (list_id(&wanted.release.manifest), wanted.release.id);
    let have = Bits::new(1);
    let sought = installer.handle(NOW, Input::Checked { list, have: have.clone() });
    assert!(matches!(sought[..], [Output::Seek { .. }]), "{sought:?}");
    let read = installer.handle(NOW, Input::Complete(list));
    assert!(matches!(read[..], [Output::ReadManifest { .. }]), "{read:?}");
    let manifest = Ok(manifest.clone());
    let staged = installer.handle(NOW, Input::ManifestRead { release: id, manifest });
    assert!(matches!(staged[..], [Output::Expect { .. }, Output::Stage { .. }]), "{staged:?}");
    let sought = installer.handle(NOW, Input::Staged { release: id, have: Ok(have) });
    assert!(matches!(sought[..], [Output::Seek { .. }]), "{sought:?}");
}

#[test]
fn a_wanted_release_goes_its_way_and_runs() {
    let mut installer = running("1");
    let (wanted, manifest) = release("2");
    let outputs = installer.handle(NOW, Input::Wanted(wanted.clone()));
    assert!(matches!(outputs[..], [Output::Event(_), Output::Check { .. }]), "{outputs:?}");
    to_fetching(&mut installer, &wanted, &manifest);
    let content = list_id(manifest.chunks());
    let outputs = installer.handle(NOW, Input::Complete(content));
    assert!(matches!(outputs[..], [Output::Event(_), Output::Activate { .. }]), "{outputs:?}");
    let done = Input::Activated { release: wanted.release.id, done: Ok(()) };
    let outputs = installer.handle(NOW, done);
    assert!(matches!(outputs[..], [Output::Event(Event::Running { .. })]), "{outputs:?}");
    let (_, product) = installer.products().next().unwrap();
    assert_eq!(product.running().unwrap().version, name("2"));
}

#[test]
fn a_newer_wish_in_the_middle_drops_the_older_download() {
    let mut installer = running("1");
    let (wanted, manifest) = release("2");
    _ = installer.handle(NOW, Input::Wanted(wanted.clone()));
    to_fetching(&mut installer, &wanted, &manifest);
    let (newer, _) = release("3");
    let outputs = installer.handle(NOW, Input::Wanted(newer));
    assert!(
        matches!(
            outputs[..],
            [
                Output::Event(_),
                Output::Abandon { .. },
                Output::Drop(_),
                Output::Drop(_),
                Output::Check { .. },
            ]
        ),
        "{outputs:?}"
    );
    let late = Input::Complete(list_id(manifest.chunks()));
    assert!(installer.handle(NOW, late).is_empty(), "nobody waits for it any more");
}

#[test]
fn a_newer_wish_while_switching_waits_for_the_switch() {
    let mut installer = running("1");
    let (wanted, manifest) = release("2");
    _ = installer.handle(NOW, Input::Wanted(wanted.clone()));
    to_fetching(&mut installer, &wanted, &manifest);
    _ = installer.handle(NOW, Input::Complete(list_id(manifest.chunks())));
    let outputs = installer.handle(NOW, Input::Wanted(release("3").0));
    assert!(matches!(outputs[..], [Output::Event(_)]), "{outputs:?}");
    let done = Input::Activated { release: wanted.release.id, done: Ok(()) };
    let outputs = installer.handle(NOW, done);
    assert!(outputs.iter().any(|o| matches!(o, Output::Check { .. })), "{outputs:?}");
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
    let mut installer = running("1");
    let (wanted, manifest) = release("2");
    _ = installer.handle(NOW, Input::Wanted(wanted.clone()));
    to_fetching(&mut installer, &wanted, &manifest);
    let outputs = installer.handle(NOW, Input::DiskRefuses);
    assert!(
        matches!(outputs[..], [Output::Event(Event::Failed { .. }), Output::Drop(_)]),
        "{outputs:?}"
    );
    assert_eq!(installer.deadline(), NOW + RETRY);
    let outputs = installer.handle(NOW + RETRY, Input::Tick);
    assert!(matches!(outputs[..], [Output::Check { .. }]), "{outputs:?}");
}

#[test]
fn what_runs_and_is_damaged_is_installed_anew() {
    let mut installer = running("1");
    let (wanted, _) = release("1");
    let damaged = Input::Damaged { release: wanted.release.id };
    let outputs = installer.handle(NOW, damaged.clone());
    assert!(matches!(outputs[..], [Output::Check { .. }]), "{outputs:?}");
    assert!(installer.handle(NOW, damaged).is_empty(), "it is being mended");
}
