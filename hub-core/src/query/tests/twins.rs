//! Twin queries: what the references say (semantics §10.1, service protocol §5.2).

use serde_json::{Value as Json, json};

use super::super::*;
use crate::limits::Limits;

fn twin() -> Json {
    json!({
        "deviceId": "d1",
        "status": "enabled",
        "connectionState": "Connected",
        "lastActivityTime": "2026-01-05T10:00:00.0000000Z",
        "capabilities": {"iotEdge": false},
        "configurations": {"cfg 1": {"status": "Applied"}},
        "version": 7,
        "tags": {"site": "a", "Site": "b", "n": 5, "list": [1, 2], "o": {"k": 1}, "a-b": 1, "e": true},
        "properties": {
            "desired": {"v": 1, "$version": 3, "$metadata": {"$lastUpdated": "2026-01-05"}},
            "reported": {"v": 1, "w": "1", "$version": 4}
        }
    })
}

#[track_caller]
fn check(cases: &[(&str, char)]) {
    let twin = twin();
    for (text, want) in cases {
        let filter = Filter::parse(text, &Limits::default());
        let got = match filter.unwrap_or_else(|error| panic!("{text}: {error}")).truth(&twin) {
            Truth::True => 'T',
            Truth::False => 'F',
            Truth::Undefined => 'U',
        };
        assert_eq!(got, *want, "{text}");
    }
}

fn parse(text: &str) -> Query {
    Query::parse(text, &Limits::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn fields_of_a_twin_can_be_asked_for() {
    check(&[
        ("deviceId = 'd1'", 'T'),
        ("DEVICEID = 'd1' AND Status = 'enabled'", 'T'),
        ("devices.deviceId = 'd1'", 'T'),
        ("connectionState = 'Connected'", 'T'),
        ("lastActivityTime > '2026-01-05T09:00:00Z'", 'T'),
        ("Capabilities.IotEdge = false", 'T'),
        ("configurations.[[cfg 1]].status = 'Applied'", 'T'),
        ("version = 7", 'T'),
        ("properties.desired.$version = 3", 'T'),
        ("Properties.Desired.$metadata.$lastUpdated >= '2026'", 'T'),
        ("properties.desired.v = properties.reported.v", 'T'),
        ("properties.desired.v = properties.reported.w", 'F'),
        ("tags.a-b = 1", 'T'),
        ("tags.[[a-b]] = 1", 'T'),
        ("tags.list[1] = 2", 'T'),
        ("tags.e", 'T'),
        ("nothing = 1", 'U'),
    ]);
}

#[test]
fn own_names_match_in_any_case_and_users_names_do_not() {
    check(&[
        ("TAGS.site = 'a'", 'T'),
        ("tags.Site = 'b'", 'T'),
        ("tags.SITE = 'a'", 'U'),
        ("PROPERTIES.REPORTED.v = 1", 'T'),
        ("properties.reported.V = 1", 'U'),
    ]);
}

#[test]
fn only_true_selects() {
    for text in ["null", "undefined", "3", "'x'", "tags.o", "tags.n", "tags.site", "tags.gone"] {
        assert!(!Filter::parse(text, &Limits::default()).unwrap().selects(&twin()), "{text}");
    }
    for text in ["true", "*", "tags.e", "NOT false", "TRUE"] {
        assert!(Filter::parse(text, &Limits::default()).unwrap().selects(&twin()), "{text}");
    }
}

#[test]
fn what_is_absent_is_undefined() {
    check(&[
        ("tags.x != 'a'", 'U'),
        ("tags.x = null", 'U'),
        ("NOT tags.x = 'a'", 'U'),
        ("is_defined(tags.x)", 'F'),
        ("NOT IS_DEFINED(tags.x)", 'T'),
        ("tags.x = 'a' OR tags.site = 'a'", 'T'),
        ("tags.x = 'a' AND tags.site = 'b'", 'F'),
        ("tags.x IN ['a']", 'U'),
        ("tags.x NIN ['a']", 'U'),
    ]);
}

#[test]
fn kinds_are_not_mixed() {
    check(&[
        ("tags.n = '5'", 'F'),
        ("tags.n != '5'", 'T'),
        ("tags.n > '4'", 'U'),
        ("tags.o = 1", 'U'),
        ("tags.list = tags.list", 'U'),
        ("tags.n + 1 = 6 AND tags.n*2=10 AND tags.n-1 = 4", 'U'),
        ("tags.n + 1 = 6 AND tags.n*2=10 AND tags.n - 1 = 4", 'T'),
        ("tags.n % 2 = 1 AND tags.n / 2 = 2.5 AND -tags.n = -5", 'T'),
        ("tags.n IN [4, 5, 'x'] AND tags.n NIN [4, -5]", 'T'),
        ("deviceId IN ['d1','d2']", 'T'),
        ("NOT deviceId IN ['d2']", 'T'),
        ("deviceId NIN ['d1']", 'F'),
        ("tags.n IN [1, undefined]", 'U'),
        ("tags.n = 0x5", 'T'),
    ]);
}

#[test]
fn functions_of_routes_work_for_twins() {
    check(&[
        ("STARTSWITH(deviceId, 'd')", 'T'),
        (
            "starts_with(deviceId, 'd') AND ENDS_WITH(deviceId, '1') AND EndsWith(deviceId, '1')",
            'T',
        ),
        ("CONTAINS(tags.site, 'a') AND LENGTH(tags.site) = 1", 'T'),
        ("IS_NUMBER(tags.n) AND is_string(tags.site) AND is_object(tags.o)", 'T'),
        ("is_array(tags.list) AND is_bool(tags.e) AND NOT is_bool(tags.x)", 'T'),
        ("as_number(properties.reported.w) = 1", 'T'),
        ("abs(tags.n) = 5 AND power(tags.n, 2) = 25", 'T'),
    ]);
}

#[test]
fn words_of_the_language_are_read_in_any_case() {
    let query = parse(
        "select top 3 DeviceId, LastActivityTime as seen from DEVICES where Status = 'enabled' \
         order by deviceid desc, tags.n Asc",
    );
    assert_eq!(
        query.to_string(),
        "SELECT TOP 3 deviceId, lastActivityTime AS seen FROM devices WHERE status = 'enabled' \
         ORDER BY deviceId DESC, tags.n"
    );
    assert_eq!(query.top, Some(3));
    let Select::Items(items) = &query.select else { panic!() };
    assert_eq!(items.iter().map(Item::name).collect::<Vec<_>>(), ["deviceId", "seen"]);
}

#[test]
fn members_of_an_answer_have_names() {
    let text = "SELECT tags.a.b, properties.reported.[[x y]] AS [[x y]], tags.l[2], tags.c AS from \
                FROM devices";
    let query = parse(text);
    let Select::Items(items) = &query.select else { panic!() };
    assert_eq!(items.iter().map(Item::name).collect::<Vec<_>>(), ["b", "x y", "l", "from"]);
    let query = parse("SELECT COUNT(), AVG(tags.n), MIN(tags.n) AS least FROM devices");
    let Select::Items(items) = &query.select else { panic!() };
    assert_eq!(items.iter().map(Item::name).collect::<Vec<_>>(), ["count", "avg", "least"]);
    assert!(query.is_aggregated());
}

#[test]
fn collections_are_told_apart() {
    for (text, from) in [
        ("SELECT * FROM devices", Collection::Devices),
        ("SELECT * FROM devices.modules", Collection::Modules),
        ("SELECT * FROM Devices.Jobs WHERE devices.jobs.jobId = 'x'", Collection::Jobs),
    ] {
        assert_eq!(parse(text).from, from);
    }
    let query = parse("SELECT * FROM devices.jobs WHERE devices.jobs.JobId = 'x'");
    assert_eq!(query.filter.to_string(), "jobId = 'x'");
}

#[test]
fn groups_and_their_order_are_checked() {
    let text = "SELECT properties.reported.telemetryConfig.status AS status, COUNT() AS numberOfDevices \
                FROM devices GROUP BY properties.reported.telemetryConfig.status \
                ORDER BY numberOfDevices DESC, status";
    assert_eq!(parse(text).to_string(), text);
    let text =
        "SELECT tags.a, tags.b, SUM(tags.n) FROM devices GROUP BY tags.b, tags.a ORDER BY tags.b";
    assert_eq!(parse(text).to_string(), text);
    assert!(parse("SELECT tags.a FROM devices GROUP BY tags.a").is_aggregated());
    assert!(!parse("SELECT tags.a FROM devices").is_aggregated());
}

#[test]
fn a_condition_alone_is_a_query_for_whole_documents() {
    let limits = Limits::default();
    let query = Query::of_condition(Collection::Devices, "tags.a = 1", &limits).unwrap();
    assert_eq!(query, parse("SELECT * FROM devices WHERE tags.a = 1"));
    let query = Query::of_condition(Collection::Modules, "*", &limits).unwrap();
    assert_eq!(query, parse("SELECT * FROM devices.modules"));
    assert!(Query::of_condition(Collection::Devices, "", &limits).is_err());
    assert!(Query::of_condition(Collection::Devices, "* *", &limits).is_err());
    assert!(
        Query::of_condition(Collection::Devices, "tags.a = 1 GROUP BY tags.a", &limits).is_err()
    );
}
