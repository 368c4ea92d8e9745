//! What a query may cost.

use std::time::Duration;

use hub_core::error::ErrorKind;
use serde_json::json;

use crate::{create, hub_with, page, rows, write};

#[tokio::test]
async fn a_page_looks_at_so_many_twins_and_goes_on() {
    let hub = hub_with(|limits| {
        limits.query_scan_max = 10;
        limits.list_page_max = 5;
    });
    for i in 0..40 {
        create(&hub, &format!("d{i:02}")).await;
    }
    write(&hub, "d39", &json!({"tags": {"a": 1}})).await;
    let text = "SELECT deviceId FROM devices WHERE tags.a = 1";
    let first = page(&hub, text, 10, None).await;
    assert!(first.rows.is_empty() && first.continuation.is_some());
    assert_eq!(rows(&hub, text).await, json!([{"deviceId": "d39"}]));
    for text in ["SELECT COUNT() FROM devices", "SELECT * FROM devices ORDER BY tags.a"] {
        let refused = hub.query(text, None, None).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ArgumentInvalid);
        assert!(refused.message().contains("10 twins"), "{refused}");
    }
}

#[tokio::test]
async fn groups_are_counted_and_weighed() {
    let hub = hub_with(|limits| {
        limits.query_groups_max = 3;
    });
    for i in 0..4 {
        let id = format!("d{i}");
        create(&hub, &id).await;
        write(&hub, &id, &json!({"tags": {"i": i, "half": i / 2, "long": "x".repeat(4000)}})).await;
    }
    let by = |path: &str| format!("SELECT COUNT() AS n FROM devices GROUP BY tags.{path}");
    assert_eq!(rows(&hub, &by("half")).await, json!([{"n": 2}, {"n": 2}]));
    let refused = hub.query(&by("i"), None, None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ArgumentInvalid);
    let hub = hub_with(|limits| {
        limits.query_groups_bytes_max = 1000;
    });
    create(&hub, "d1").await;
    write(&hub, "d1", &json!({"tags": {"long": "x".repeat(4000)}})).await;
    let refused = hub.query(&by("long"), None, None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ArgumentInvalid);
}

#[tokio::test]
async fn pages_have_a_size() {
    let hub = hub_with(|limits| {
        limits.query_page_default = 2;
        limits.query_page_max = 4;
    });
    for i in 0..9 {
        create(&hub, &format!("d{i}")).await;
    }
    let text = "SELECT deviceId FROM devices";
    for (asked, given) in [(None, 2), (Some(0), 1), (Some(3), 3), (Some(1000), 4)] {
        assert_eq!(hub.query(text, asked, None).await.unwrap().rows.len(), given);
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_takes_too_long_ends() {
    let hub = hub_with(|limits| {
        limits.call_timeout = Duration::ZERO;
    });
    for i in 0..1500 {
        create(&hub, &format!("d{i}")).await;
    }
    let refused = hub.query("SELECT COUNT() FROM devices", None, None).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_path_may_be_as_long_as_the_text() {
    let hub = hub_with(|_| ());
    create(&hub, "d1").await;
    let path = format!("tags{}", ".a".repeat(4000));
    let text = format!("SELECT deviceId, {path} AS v FROM devices");
    assert_eq!(rows(&hub, &text).await, json!([{"deviceId": "d1"}]));
}
