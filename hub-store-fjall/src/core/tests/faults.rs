//! Operations that fail while the power stays on.

use hub_core::conformance::store::Random;
use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{Batch, BatchId, Change, Entries, Entry, StoreErrorKind};
use hub_core::time::Timestamp;

use super::super::command::{Answer, Command};
use super::super::work::Work;
use super::crashes::{GROUPS, Reference, recover, reference, run};
use super::rig::{PARTITIONS, Rig, all_ok, told};

fn kinds(answers: &[Answer]) -> Vec<Option<StoreErrorKind>> {
    answers.iter().map(|answer| answer.as_ref().err().map(|error| error.kind())).collect()
}

fn all(answers: &[Answer], kind: StoreErrorKind) -> bool {
    kinds(answers).iter().all(|found| *found == Some(kind))
}

/// Runs to the end although one operation fails; whether a failed sync has ended the store.
fn fail_at(reference: &Reference, at: u64, seed: u64) -> bool {
    let place = format!("seed {seed}, operation {at} fails");
    let mut rig = Rig::new();
    rig.disk.world().faults.fails_at = Some(at);
    if rig.open().is_err() {
        rig.open().unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    for group in 0..GROUPS {
        let mut answers = rig.group(&reference.groups[group]);
        if all(&answers, StoreErrorKind::Unavailable) {
            // Nothing happened: not even a number is gone.
            answers = rig.group(&reference.groups[group]);
        }
        if all(&answers, StoreErrorKind::Fatal) {
            let later = rig.group(&reference.groups[group]);
            assert!(all(&later, StoreErrorKind::Fatal), "{place}: it stays so");
            let said = rig.core().poisoned().unwrap();
            assert!(said.contains("could not be synced"), "{said}");
            let mut random = Random::new(seed ^ at);
            let mut rig = rig.after_power_loss(&mut random);
            rig.open().unwrap_or_else(|error| panic!("{place}: {error}"));
            let happened = recover(&mut rig, reference, group, &place);
            assert_eq!(run(&mut rig, reference, happened, &place), GROUPS, "{place}");
            return true;
        }
        assert!(all_ok(&answers), "{place}, group {group}: {answers:?}");
        assert_eq!(told(answers), reference.told[group], "{place}, group {group}");
    }
    assert_eq!(rig.see(reference.batches), reference.seen[GROUPS], "{place}");
    false
}

#[test]
fn every_operation_fails_once() {
    for seed in 10..13 {
        let reference = reference(seed);
        let fatal = (1..=reference.operations).filter(|at| fail_at(&reference, *at, seed)).count();
        assert!(fatal > GROUPS / 2, "failed syncs of the journal end the store: {fatal}");
    }
}

#[test]
fn a_full_disk_is_said_and_recovers() {
    let mut refused = 0;
    for seed in 20..30 {
        let reference = reference(seed);
        let mut rig = Rig::new();
        rig.open().unwrap();
        for group in 0..GROUPS {
            // From here on, no file may grow, and none be made.
            rig.disk.world().faults.bytes_max = (group % 4 > 0).then_some(1);
            let mut answers = rig.group(&reference.groups[group]);
            if all(&answers, StoreErrorKind::Unavailable) {
                refused += 1;
                let error = answers.remove(0).unwrap_err();
                let said = std::error::Error::source(&error).unwrap().to_string();
                assert!(said.contains("the disk is full"), "{said}");
                assert_eq!(rig.see(reference.batches), reference.seen[group], "seed {seed}");
                rig.disk.world().faults.bytes_max = None;
                answers = rig.group(&reference.groups[group]);
            }
            assert_eq!(told(answers), reference.told[group], "seed {seed}, group {group}");
        }
        rig.disk.world().faults.bytes_max = None;
        let mut rig = rig.after_power_loss(&mut Random::new(seed));
        rig.open().unwrap();
        assert_eq!(rig.see(reference.batches), reference.seen[GROUPS], "seed {seed}");
    }
    assert!(refused > 5, "the disk was full: {refused}");
}

#[test]
fn a_state_that_cannot_be_written_is_back_pressure_and_recovers() {
    let mut refused = 0;
    for seed in 30..40 {
        let reference = reference(seed);
        let mut rig = Rig::new();
        rig.open().unwrap();
        rig.disk.world().faults.tree_fails = true;
        for group in 0..GROUPS {
            let mut answers = rig.group(&reference.groups[group]);
            while all(&answers, StoreErrorKind::Unavailable) {
                refused += 1;
                assert_eq!(rig.see(reference.batches), reference.seen[group], "seed {seed}");
                rig.disk.world().faults.tree_fails = false;
                answers = rig.group(&reference.groups[group]);
                assert!(refused < 1000, "seed {seed}: it recovers");
            }
            assert_eq!(told(answers), reference.told[group], "seed {seed}, group {group}");
        }
        let mut rig = rig.after_power_loss(&mut Random::new(seed));
        rig.open().unwrap();
        assert_eq!(rig.see(reference.batches), reference.seen[GROUPS], "seed {seed}");
    }
    assert!(refused > 5, "memory was full: {refused}");
}

#[test]
fn the_bound_on_bytes_keeps_the_newest_entries() {
    for seed in 40..46 {
        let reference = reference(seed);
        let mut rig = Rig::bounded(4 * 6 * 1024);
        rig.open().unwrap();
        assert_eq!(run(&mut rig, &reference, 0, "bounded"), GROUPS);
        for reopened in [false, true] {
            if reopened {
                rig = rig.after_power_loss(&mut Random::new(seed));
                rig.open().unwrap();
            }
            let (kept, all) = (rig.see(0).entries, &reference.seen[GROUPS].entries);
            for partition in 0..PARTITIONS {
                let of = |entries: &[(Partition, Entry)]| -> Vec<Entry> {
                    let own = entries.iter().filter(|(of, _)| of.0 == partition);
                    own.map(|(_, entry)| entry.clone()).collect()
                };
                let (kept, all) = (of(&kept), of(all));
                assert!(all.ends_with(&kept), "seed {seed}: the newest, without a gap");
            }
        }
    }
}

#[test]
fn a_trim_leaves_what_is_appended_after_it_in_its_group() {
    let mut rig = Rig::new();
    rig.open().unwrap();
    let append = |id| {
        let entries = Entries::one("x".into());
        let change = Change::new().append(Partition(0), Timestamp::ZERO, entries);
        Command::Commit(Work::new(&Batch {
            id: BatchId(id),
            changes: vec![change],
            nudges: vec![],
        }))
    };
    let trim = Command::Trim(Partition(0), SequenceNumber(100));
    assert!(all_ok(&rig.group(&[append(1), trim, append(2)])));
    for _ in 0..2 {
        let kept = rig.entries(Partition(0)).unwrap();
        let numbers: Vec<_> = kept.iter().map(|entry| entry.sequence.0).collect();
        assert_eq!(numbers, [2]);
        rig.open().unwrap();
    }
}
