//! What a power cut and a kill leave of a disk.

use super::*;

const LENGTH: u64 = 64 << 10;
const SEEDS: u64 = 200;

fn read(port: &Port) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(port.len().unwrap()).unwrap()];
    port.read(0, &mut bytes).unwrap();
    bytes
}

/// A disk full of ones, synced, and the power cut at the `at`-th operation after that.
fn ones(seed: u64, how: How, at: usize) -> (Disk, Port) {
    let disk = Disk::new(seed, Syncs::Kept);
    let port = disk.power_on(Some(End { how, at: at + 3 }));
    port.set_len(LENGTH).unwrap();
    port.write(0, &vec![1; usize::try_from(LENGTH).unwrap()]).unwrap();
    port.sync_data().unwrap();
    (disk, port)
}

#[test]
fn what_was_synced_survives_and_nothing_works_until_the_power_is_back() {
    for seed in 0..SEEDS {
        let (disk, port) = ones(seed, How::PowerCut, 1);
        assert!(port.write(0, &[2; 512]).is_err());
        assert!(port.len().is_err() && port.read(0, &mut [0]).is_err());
        assert!(port.write(0, &[2]).is_err() && port.sync_data().is_err());

        let left = read(&disk.power_on(None));
        assert!(left[512..].iter().all(|byte| *byte == 1), "seed {seed}");
        assert!(port.len().is_err(), "the program that had it is gone");
    }
}

#[test]
fn of_what_was_not_synced_everything_nothing_and_torn_sectors_are_left_sometimes() {
    let (mut all, mut none, mut torn) = (0, 0, 0);
    for seed in 0..SEEDS {
        let (disk, port) = ones(seed, How::PowerCut, 2);
        port.write(0, &[2; 16 << 10]).unwrap();
        assert_eq!(read(&port)[..16 << 10], [2; 16 << 10], "it is read at once");
        port.sync_data().unwrap_err();

        let left = read(&disk.power_on(None));
        let new = |part: &[u8]| part.iter().map(|byte| usize::from(*byte == 2)).sum::<usize>();
        all += u64::from(new(&left) == 16 << 10);
        none += u64::from(new(&left) == 0);
        torn += u64::from(left.chunks(512).any(|sector| !matches!(new(sector), 0 | 512)));
    }
    assert!(all > SEEDS / 10 && none > SEEDS / 10 && torn > SEEDS / 10, "{all} {none} {torn}");
}

#[test]
fn of_two_writes_of_one_sector_either_may_be_the_one_that_is_left() {
    let left = |seed| {
        let (disk, port) = ones(seed, How::PowerCut, 3);
        port.write(512, &[2]).unwrap();
        port.write(512, &[3]).unwrap();
        port.sync_data().unwrap_err();
        read(&disk.power_on(None))[512]
    };
    let found: std::collections::BTreeSet<u8> = (0..SEEDS).map(left).collect();
    assert_eq!(found, [1, 2, 3].into());
}

#[test]
fn a_file_that_grew_and_shrank_has_any_of_its_lengths_and_zeros_where_it_was_cut() {
    let left = |seed| {
        let (disk, port) = ones(seed, How::PowerCut, 4);
        port.set_len(LENGTH / 2).unwrap();
        port.set_len(LENGTH * 2).unwrap();
        port.write(LENGTH, &[2; 512]).unwrap();
        port.sync_data().unwrap_err();
        let bytes = read(&disk.power_on(None));
        if bytes.len() as u64 == LENGTH * 2 {
            let (cut, after) = (LENGTH / 2, LENGTH);
            let cut = usize::try_from(cut).unwrap()..usize::try_from(after).unwrap();
            assert!(bytes[cut].iter().all(|byte| *byte == 0), "seed {seed}");
        }
        bytes.len() as u64
    };
    let found: std::collections::BTreeSet<u64> = (0..SEEDS).map(left).collect();
    assert_eq!(found, [LENGTH / 2, LENGTH, LENGTH * 2].into());
}

#[test]
fn a_killed_programs_writes_are_read_by_the_next_and_a_later_cut_may_take_them() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let (disk, port) = ones(seed, How::Kill, 2);
        port.write(0, &[2; 512]).unwrap();
        port.sync_data().unwrap_err();

        let port = disk.power_on(Some(End { how: How::PowerCut, at: 1 }));
        assert_eq!(read(&port)[0], 2, "seed {seed}");
        port.sync_data().unwrap_err();
        lost += u64::from(read(&disk.power_on(None))[0] == 1);
    }
    assert!(lost > SEEDS / 10, "{lost}");
}

#[test]
fn a_disk_that_ignores_syncs_loses_what_was_synced() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let disk = Disk::new(seed, Syncs::Ignored);
        let port = disk.power_on(Some(End { how: How::PowerCut, at: 4 }));
        port.set_len(LENGTH).unwrap();
        port.write(0, &[1; 4096]).unwrap();
        port.sync_data().unwrap();
        port.sync_data().unwrap_err();
        let left = read(&disk.power_on(None));
        lost += u64::from(left.get(..4096) != Some(&[1; 4096]));
    }
    assert!(lost > SEEDS / 2, "{lost}");
}
