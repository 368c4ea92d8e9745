//! Loss of power at every operation in turn.
//!
//! Everything acknowledged is there afterwards, nothing else is there half, and from then on the
//! store answers to the letter what it would have answered without the crash: the same versions, the
//! same numbers, the same items.

use hub_core::conformance::store::Random;

use super::super::command::Command;
use super::rig::{Rig, Script, Seen, all_ok, told};

pub(super) const GROUPS: usize = 40;

/// A run without faults.
pub(super) struct Reference {
    pub(super) groups: Vec<Vec<Command>>,
    /// What was answered to each group.
    pub(super) told: Vec<Vec<String>>,
    /// What could be seen before each group, and after the last.
    pub(super) seen: Vec<Seen>,
    pub(super) operations: u64,
    pub(super) batches: u64,
    recycled: u32,
}

pub(super) fn reference(seed: u64) -> Reference {
    let mut script = Script::new(seed);
    let mut rig = Rig::new();
    rig.open().unwrap();
    let (mut groups, mut answers, mut seen) = (Vec::new(), Vec::new(), vec![rig.see(0)]);
    // A first run finds how many batches there are, so that all looks are for the same ones.
    let batches = 4 * GROUPS as u64;
    seen[0] = rig.see(batches);
    for _ in 0..GROUPS {
        let group = script.group(seen.last().unwrap());
        let answered = rig.group(&group);
        assert!(all_ok(&answered), "seed {seed}: {answered:?}");
        answers.push(told(answered));
        seen.push(rig.see(batches));
        groups.push(group);
    }
    assert!(script.batches() <= batches);
    let operations = rig.disk.world().operations;
    assert!(rig.checkpoints > 1, "{}", rig.checkpoints);
    let recycled = rig.recycled;
    Reference { groups, told: answers, seen, operations, batches, recycled }
}

/// Runs groups from a place on until the power is lost; the first that was not acknowledged.
pub(super) fn run(rig: &mut Rig, reference: &Reference, from: usize, place: &str) -> usize {
    for at in from..GROUPS {
        let answers = rig.core().run(&reference.groups[at]).answers;
        if !all_ok(&answers) {
            return at;
        }
        assert_eq!(told(answers), reference.told[at], "{place}, group {at}");
        rig.tend();
    }
    GROUPS
}

/// What a store has that was opened after a crash: so many groups.
pub(super) fn recover(
    rig: &mut Rig,
    reference: &Reference,
    acknowledged: usize,
    place: &str,
) -> usize {
    let seen = rig.see(reference.batches);
    let happened =
        (acknowledged..=(acknowledged + 1).min(GROUPS)).find(|at| seen == reference.seen[*at]);
    match happened {
        Some(happened) => happened,
        None => {
            assert_eq!(seen, reference.seen[acknowledged], "{place}");
            unreachable!()
        }
    }
}

fn crash_at(reference: &Reference, at: u64, seed: u64) {
    let place = format!("seed {seed}, power lost at operation {at}");
    let mut random = Random::new(seed ^ at.rotate_left(32));
    let mut rig = Rig::new();
    rig.disk.world().faults.power_lost_at = Some(at);
    let acknowledged = match rig.open() {
        Ok(()) => run(&mut rig, reference, 0, &place),
        Err(_) => 0,
    };
    // The first time it may be only the process that dies: what it wrote is then there, but not
    // durable, until the power goes.
    let mut rig = match random.percent(50) {
        true => rig.after_power_loss(&mut random),
        false => rig.after_kill(),
    };
    // The power may go again while the store is being opened, or soon after.
    let soon = random.percent(30);
    let again = 1 + random.below(if soon { 6 } else { 60 });
    rig.disk.world().faults.power_lost_at = Some(again);
    let place = format!("{place}, again {again} later");
    let acknowledged = match rig.open() {
        Ok(()) => {
            let happened = recover(&mut rig, reference, acknowledged, &place);
            run(&mut rig, reference, happened, &place)
        }
        Err(_) => acknowledged,
    };
    let mut rig = rig.after_power_loss(&mut random);
    rig.open().unwrap_or_else(|error| panic!("{place}: {error}"));
    let happened = recover(&mut rig, reference, acknowledged, &place);
    let end = run(&mut rig, reference, happened, &place);
    assert_eq!(end, GROUPS, "{place}");
    assert_eq!(rig.see(reference.batches), reference.seen[GROUPS], "{place}");
}

fn crash_everywhere(seeds: std::ops::Range<u64>) {
    let mut recycled = 0;
    for seed in seeds {
        let reference = reference(seed);
        recycled += reference.recycled;
        for at in 1..=reference.operations {
            crash_at(&reference, at, seed);
        }
    }
    assert!(recycled > 0, "segments are written over");
}

#[test]
fn power_is_lost_at_every_operation() {
    crash_everywhere(0..6);
}

/// `CRASH_SEEDS=FIRST..END` tries other seeds than these, and more.
fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("CRASH_SEEDS").ok();
    let range = given.as_deref().and_then(|given| given.split_once(".."));
    match range {
        Some((first, end)) => first.parse().unwrap()..end.parse().unwrap(),
        None => 1000..1040,
    }
}

#[test]
fn power_is_lost_once_per_seed() {
    let (mut operations, mut groups) = (0, 0);
    for seed in seeds() {
        let reference = reference(seed);
        let at = 1 + Random::new(seed).below(reference.operations);
        crash_at(&reference, at, seed);
        operations += reference.operations;
        groups += GROUPS;
    }
    let seeds = seeds().end - seeds().start;
    println!("{seeds} seeds: {operations} operations of the disk, {groups} groups, none lost");
    assert!(operations > 0);
}
