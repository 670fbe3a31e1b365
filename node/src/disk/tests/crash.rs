//! A kill is simulated by doing some of the steps and opening the folder anew.

use super::*;
use crate::disk::product::Product;

/// The steps of an activation, in their order.
const STEPS: usize = 5;

fn activate_up_to(terminal: &Terminal, release: &Release, steps: usize) {
    let product = Product::of(&terminal.data.path().join("releases"), &release.head);
    let pieces = terminal.disk.manifest_pieces(&release.head).unwrap().concat();
    let do_step = [
        &|| product.keep(&release.head, &pieces).unwrap() as (),
        &|| tree::finish(&product.staging(&release.head), &release.manifest).unwrap(),
        &|| product.stand(&release.head).unwrap(),
        &|| std::os::unix::fs::symlink("nowhere", product.folder().join(".current.new")).unwrap(),
        &|| product.switch(&release.head).unwrap(),
    ] as [&dyn Fn(); STEPS];
    do_step.iter().take(steps).for_each(|step| step());
}

#[test]
fn whenever_it_is_killed_a_complete_release_runs_and_nothing_is_fetched_twice() {
    for steps in 0..=STEPS {
        let mut terminal = Terminal::new();
        let [oldest, old, new] = ["1.0", "1.1", "1.2"].map(software);
        terminal.install(&oldest);
        terminal.install(&old);
        terminal.fetch(&new);
        activate_up_to(&terminal, &new, steps);
        terminal.restart();

        terminal.assert_runs(if steps < STEPS { &old } else { &new });
        assert!(terminal.disk.standing().len() <= 2);
        assert_eq!(terminal.install(&new), 0, "killed after {steps} steps");
        assert_eq!(terminal.cached(), 0);
        assert_eq!(terminal.names().len(), 5);
    }
}

#[test]
fn a_removal_that_was_cut_short_is_ended_at_the_next_start() {
    let mut terminal = Terminal::new();
    let (one, two) = (software("1.0"), software("1.1"));
    terminal.install(&one);
    terminal.install(&two);
    let removed = terminal.product().join(format!(".{}.removed", dir_name(&one.head)));
    fs::rename(terminal.tree(&one), &removed).unwrap();
    terminal.restart();
    assert_eq!(terminal.names().len(), 3, "{:?}", terminal.names());
    terminal.assert_runs(&two);
}

#[test]
fn a_release_that_lacks_a_file_or_its_manifest_is_removed_unless_it_runs() {
    for lacking in ["manifest", "file"] {
        let mut terminal = Terminal::new();
        let (one, two) = (software("1.0"), software("1.1"));
        terminal.install(&one);
        terminal.install(&two);
        for release in [&one, &two] {
            let kept = format!(".{}.manifest", dir_name(&release.head));
            match lacking {
                "manifest" => fs::remove_file(terminal.product().join(kept)).unwrap(),
                _ => fs::remove_file(terminal.tree(release).join("bin/tool")).unwrap(),
            }
        }
        terminal.restart();
        assert!(!terminal.tree(&one).exists());
        assert!(terminal.tree(&two).join("bin/till").exists());
        assert!(terminal.disk.standing().is_empty(), "it is not taken for complete");
        // Installing it again repairs it, under a program that may be running.
        let fetched = terminal.install(&two);
        assert!(fetched > 0);
        if lacking == "file" {
            assert!(fetched < two.chunks.len(), "the other files are still good");
        }
    }
}
