//! Short runs, for every change. Long ones are started by hand: see `docs/durability.md`.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use crash::oracle::Kind;
use crash::power::{self, Seeds, Word};
use crash::{Fault, Place, Plan, Report, run};

async fn crash(store: Option<&str>, faults: &[Fault], count: u64) -> Report {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = Place {
        hubd: Place::find_hubd().unwrap(),
        folder: folder.path().to_owned(),
        data: folder.path().join("data"),
        store: store.map(str::to_owned),
    };
    let plan = Plan {
        seed: 1,
        faults: faults.to_vec(),
        count,
        time: Some(Duration::from_secs(15)),
        pause: (100, 400),
        devices: 6,
        body: 200,
        deliver: false,
        tmpfs: None,
        postgres: false,
        nodes: 1,
        verbose: false,
    };
    let report = run(&place, &plan).await.unwrap();
    println!("{report}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_killed_keeps_its_word() {
    let faults = [Fault::Kill, Fault::KillStarting, Fault::Terminate, Fault::Freeze];
    let report = crash(None, &faults, 16).await;
    assert!(report.is_clean(), "{report}");
    assert!(report.faults.values().sum::<u64>() > 0, "{report}");
    let totals = report.verdict.totals;
    for (what, count) in [
        ("telemetry", totals.telemetry),
        ("messages", totals.messages),
        ("reported", totals.reported),
        ("desired", totals.desired),
        ("sessions", totals.sessions),
    ] {
        assert!(count > 0, "nothing was acknowledged of {what}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_forgets_is_found_out() {
    let report = crash(Some("memory"), &[Fault::Kill], 3).await;
    assert!(report.verdict.findings.count(Kind::Lost) > 0, "{report}");
}

fn seeds(word: Word) -> Seeds {
    Seeds { first: 1, count: 60, jobs: 2, word, verbose: false }
}

#[test]
fn a_hub_that_loses_power_keeps_its_word() {
    let tally = power::run(seeds(Word::Kept));
    println!("{tally}");
    assert!(tally.failed.is_empty(), "{tally}");
    assert!(tally.totals.acknowledged() > 0 && tally.ends.len() == 4, "{tally}");
}

#[test]
fn a_store_that_acknowledges_too_early_is_found_out() {
    let tally = power::run(seeds(Word::Broken));
    println!("{tally}");
    assert!(tally.lost() > 0, "{tally}");
}
