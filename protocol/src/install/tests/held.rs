//! What of a release that does not come on goes on being served, and when that ends.

use super::*;

/// Version 2 on its way, as far as its content, which the disk then does not take.
fn refused(why: DiskError) -> (Installer, Wanted, Arc<Manifest>) {
    let (mut installer, wanted, manifest) = fetching();
    let outputs = installer.handle(NOW, Input::DiskRefuses(why));
    let content = list_id(manifest.chunks());
    assert!(matches!(outputs[..], [_, Output::Hold(list)] if list == content), "{outputs:?}");
    (installer, wanted, manifest)
}

fn dropped(outputs: &[Output]) -> Vec<ListId> {
    let dropped = |output: &Output| match output {
        Output::Drop(list) => Some(*list),
        Output::Disk(_)
        | Output::Expect { .. }
        | Output::Seek { .. }
        | Output::Hold(_)
        | Output::Event(_) => None,
    };
    outputs.iter().filter_map(dropped).collect()
}

#[test]
fn what_a_disk_took_before_it_was_full_is_served_until_the_release_is_not_wanted() {
    for why in [DiskError::NoRoom, DiskError::Failed("it is worn out".to_owned())] {
        let (mut installer, wanted, manifest) = refused(why);
        let lists = [list_id(&wanted.release.manifest), list_id(manifest.chunks())];
        // It may have begun again meanwhile.
        let outputs = installer.handle(NOW + RETRY, Input::Tick);
        assert_eq!(dropped(&outputs), []);
        let outputs = installer.handle(NOW + RETRY, Input::Wanted(release("3").0));
        assert_eq!(dropped(&outputs), lists, "{outputs:?}");
    }
}

#[test]
fn a_switch_that_fails_leaves_nothing_behind_of_what_is_not_wanted_any_more() {
    let (mut installer, wanted, manifest) = fetching();
    _ = installer.handle(NOW, Input::Complete(list_id(manifest.chunks())));
    let outputs = installer.handle(NOW, Input::Wanted(release("3").0));
    assert_eq!(dropped(&outputs), [], "what is being switched to goes through first");
    let done = Err(DiskError::NoRoom);
    let failed = DiskAnswer::Activated { release: wanted.release.id, done };
    let outputs = installer.handle(NOW, Input::Disk(failed));
    let lists = [list_id(&wanted.release.manifest), list_id(manifest.chunks())];
    assert_eq!(dropped(&outputs), lists, "{outputs:?}");
}
