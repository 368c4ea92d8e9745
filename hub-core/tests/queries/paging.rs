//! Pages, and what happens between them.

use hub_core::engine::{Hub, QueryPage, QueryRows};
use hub_core::error::ErrorKind;
use serde_json::json;

use crate::{address, all, create, hub_with, page, write};

async fn fleet(count: usize) -> Hub {
    let hub = hub_with(|_| ());
    for i in 0..count {
        let id = format!("d{i:03}");
        create(&hub, &id).await;
        let text = format!("{}{}", "x".repeat(200), i % 3);
        write(&hub, &id, &json!({"tags": {"n": i % 5, "long": text}})).await;
        if i % 4 == 0 {
            create(&hub, &format!("{id}/m")).await;
        }
    }
    hub
}

const QUERIES: [&str; 9] = [
    "SELECT deviceId FROM devices",
    "SELECT deviceId, moduleId FROM devices.modules",
    "SELECT deviceId FROM devices WHERE tags.n > 2",
    "SELECT deviceId FROM devices WHERE tags.n = 9",
    "SELECT TOP 7 deviceId FROM devices WHERE tags.n != 3",
    "SELECT deviceId, tags.n FROM devices ORDER BY tags.n DESC",
    "SELECT TOP 11 deviceId FROM devices WHERE tags.n > 0 ORDER BY tags.n, deviceId DESC",
    "SELECT tags.n, tags.long, COUNT() FROM devices GROUP BY tags.n, tags.long",
    "SELECT TOP 4 tags.n, COUNT() AS c FROM devices GROUP BY tags.n ORDER BY c DESC, tags.n DESC",
];

#[tokio::test]
async fn pages_of_any_size_make_the_same_answer() {
    let hub = fleet(43).await;
    for text in QUERIES {
        let whole = all(&hub, text, 1000).await;
        for size in [1, 2, 3, 7, 10, 42, 43, 44] {
            assert_eq!(all(&hub, text, size).await, whole, "{text} by {size}");
        }
    }
    let whole = all(&hub, QUERIES[4], 1000).await;
    assert_eq!(whole.len(), 7);
    assert_eq!(all(&hub, QUERIES[7], 1000).await.len(), 15, "cut keys do not merge groups");
}

#[tokio::test]
async fn the_last_page_says_that_it_is_the_last() {
    let hub = fleet(6).await;
    for text in ["SELECT * FROM devices", "SELECT * FROM devices ORDER BY deviceId"] {
        let first = page(&hub, text, 3, None).await;
        assert_eq!(first.rows.len(), 3);
        let second = page(&hub, text, 3, first.continuation.as_deref()).await;
        assert_eq!((second.rows.len(), second.continuation), (3, None), "{text}");
    }
    let top = page(&hub, "SELECT TOP 3 * FROM devices", 3, None).await;
    assert_eq!((top.rows.len(), top.continuation), (3, None));
    let none = page(&hub, "SELECT TOP 0 * FROM devices", 3, None).await;
    assert_eq!((none.rows, none.continuation), (QueryRows::Twins(Vec::new()), None));
}

#[tokio::test]
async fn what_does_not_change_is_seen_once_whatever_comes_and_goes() {
    for text in ["SELECT deviceId FROM devices", "SELECT deviceId FROM devices ORDER BY tags.n"] {
        let hub = fleet(20).await;
        let (mut seen, mut from) = (Vec::<String>::new(), None::<String>);
        for turn in 0.. {
            assert!(turn < 40, "{text}: no end");
            let QueryPage { rows, continuation } = page(&hub, text, 3, from.as_deref()).await;
            let QueryRows::Values(rows) = rows else { panic!() };
            seen.extend(rows.iter().map(|row| row["deviceId"].as_str().unwrap().to_owned()));
            // The last row that was seen goes, and others come on both sides of it.
            hub.registry().delete(&address(seen.last().unwrap()), None).await.unwrap();
            create(&hub, &format!("a{turn}")).await;
            create(&hub, &format!("z{turn}")).await;
            match continuation {
                Some(continuation) => from = Some(continuation),
                None => break,
            }
        }
        let mut once = seen.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "{text}: seen twice");
        for id in (0..20).map(|i| format!("d{i:03}")) {
            assert!(seen.contains(&id), "{text}: {id} was not seen");
        }
    }
}

#[tokio::test]
async fn a_continuation_belongs_to_its_query() {
    let hub = fleet(6).await;
    let text = "SELECT * FROM devices";
    let continuation = page(&hub, text, 3, None).await.continuation.unwrap();
    let again = page(&hub, "select * from DEVICES", 1, Some(&continuation)).await;
    assert_eq!(again.rows.len(), 1);
    for other in ["SELECT * FROM devices.modules", "SELECT * FROM devices WHERE tags.n = 1"] {
        let refused = hub.query(other, None, Some(&continuation)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ArgumentInvalid);
    }
    let refused = hub.query(text, None, Some("none")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ArgumentInvalid);
}
