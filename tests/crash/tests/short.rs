//! A short run, for every change. Long ones are started by hand: see `docs/durability.md`.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use crash::{Fault, Place, Plan, power, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_killed_keeps_its_word() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = Place {
        hubd: Place::find_hubd().unwrap(),
        folder: folder.path().to_owned(),
        data: folder.path().join("data"),
        store: None,
    };
    let plan = Plan {
        seed: 1,
        faults: vec![Fault::Kill, Fault::KillStarting, Fault::Terminate, Fault::Freeze],
        count: 24,
        time: Some(Duration::from_secs(30)),
        pause: (100, 400),
        devices: 6,
        body: 200,
        deliver: false,
        tmpfs: None,
        verbose: false,
    };
    let report = run(&place, &plan).await.unwrap();
    println!("{report}");
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

#[test]
fn a_hub_that_loses_power_keeps_its_word() {
    let tally = power::seeds(1, 40, 2, false);
    println!("{tally}");
    assert!(tally.failed.is_empty(), "{tally}");
    assert!(tally.totals.acknowledged() > 0 && tally.ends.len() == 4, "{tally}");
}
