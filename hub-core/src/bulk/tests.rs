use serde_json::{Value, json};

use super::*;
use crate::blob::{BlobName, FolderProof};
use crate::error::ErrorKind;
use crate::id::{Address, JobId, NodeId};
use crate::limits::Limits;
use crate::registry::{AuthenticationSpec, Context, Identity, IdentitySpec, Status, create};
use crate::time::Timestamp;
use crate::twin::{Patch, ServicePatch, Twin};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn identity(spec: &IdentitySpec) -> Identity {
    let context = Context {
        now: NOW,
        random: &std::array::from_fn(|at| u8::try_from(at).unwrap()),
        limits: &Limits::default(),
        edges: &[],
        previous_generation: None,
    };
    create(spec, &context).unwrap()
}

fn twin() -> Twin {
    let limits = Limits::default();
    let mut twin = Twin::new(NOW);
    let document = json!({"tags": {"site": "a"}, "properties": {"desired": {"rate": 5}}});
    let patch = ServicePatch::from_value(&document, &limits).unwrap();
    twin.patch(&patch, None, NOW, &limits).unwrap();
    let reported = Patch::from_value(&json!({"rate": [1, 2.5]}), &limits).unwrap();
    twin.report(&reported, None, NOW, &limits).unwrap();
    twin
}

fn line(record: &DeviceRecord) -> String {
    let mut out = Vec::new();
    record.write_line(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_line_has_the_members_that_the_service_writes() {
    let mut spec = IdentitySpec::new(address("d1"));
    spec.status_reason = Some("why".to_owned());
    let identity = identity(&spec);
    let text = line(&DeviceRecord::of(&identity, Some(&twin())));
    assert!(text.ends_with("}\r\n") && text.lines().count() == 1);
    let shown: Value = serde_json::from_str(&text).unwrap();
    let keys = &shown["authentication"]["symmetricKey"];
    assert!(keys["primaryKey"].is_string() && keys["secondaryKey"].is_string());
    let mut want = json!({
        "id": "d1", "eTag": identity.etag(), "status": "enabled", "statusReason": "why",
        "authentication": {
            "symmetricKey": keys, "type": "sas",
            "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null},
        },
        "twinETag": twin().etag(), "tags": {"site": "a"},
        "properties": {"desired": {"rate": 5}, "reported": {"rate": [1, 2.5]}},
        "capabilities": {"iotEdge": false}, "parentScopes": [],
    });
    for section in ["desired", "reported"] {
        let shown = &shown["properties"][section];
        assert!(shown["$metadata"]["rate"]["$lastUpdated"].is_string(), "{shown}");
        want["properties"][section]["$metadata"] = shown["$metadata"].clone();
        want["properties"][section]["$version"] = 2.into();
    }
    assert_eq!(shown, want);
}

#[test]
fn what_is_exported_reads_as_the_same_identity() {
    let mut edge = IdentitySpec::new(address("e1"));
    edge.iot_edge = Some(true);
    edge.status = Some(Status::Disabled);
    let mut signed = IdentitySpec::new(address("d2"));
    let print = crate::security::Thumbprint::new(&"ab".repeat(20)).unwrap();
    signed.authentication =
        Some(AuthenticationSpec::SelfSigned { primary: None, secondary: Some(print) });
    let mut module = IdentitySpec::new(address("d1/m1"));
    module.managed_by = Some("iotEdge".to_owned());
    module.authentication = Some(AuthenticationSpec::None);
    let mut authority = IdentitySpec::new(address("d3"));
    authority.authentication = Some(AuthenticationSpec::CertificateAuthority);
    for spec in [IdentitySpec::new(address("d1")), edge, signed, module, authority] {
        let record = DeviceRecord::of(&identity(&spec), Some(&twin()));
        let text = line(&record);
        assert_eq!(DeviceRecord::parse(text.trim_end().as_bytes()), Ok(record), "{text}");
    }
}

#[test]
fn keys_can_be_left_out_and_nothing_else() {
    let identity = identity(&IdentitySpec::new(address("d1")));
    let record = DeviceRecord::of(&identity, Some(&twin()));
    let bare = record.clone().without_keys();
    let shown: Value = serde_json::from_str(&line(&bare)).unwrap();
    let none = json!({"primaryKey": null, "secondaryKey": null});
    assert_eq!(shown["authentication"]["symmetricKey"], none);
    assert_eq!(shown["authentication"]["type"], "sas");
    let spec =
        IdentitySpec { authentication: record.spec.authentication.clone(), ..bare.spec.clone() };
    assert_eq!(DeviceRecord { spec, ..bare }, record);
    assert!(!format!("{record:?}").contains("AAECAwQFBgc"), "keys are printed");
}

#[test]
fn modes_are_read_in_any_case() {
    let of = |json: Value| ImportMode::of(Object(json.as_object().unwrap()));
    assert_eq!(of(json!({})), Ok(ImportMode::CreateOrUpdate));
    assert_eq!(of(json!({"importMode": "create"})), Ok(ImportMode::Create));
    assert_eq!(of(json!({"ImportMode": "UpdateIfMatchETag"})), Ok(ImportMode::UpdateIfMatch));
    assert_eq!(of(json!({"importMode": "Delete"})), Ok(ImportMode::Delete));
    assert!(of(json!({"importMode": "destroy"})).is_err());
    assert!(of(json!({"importMode": 1})).is_err());
    for mode in ImportMode::ALL {
        assert_eq!(of(json!({"importMode": mode.name()})), Ok(mode));
    }
}

#[test]
fn a_line_that_is_no_record_says_why() {
    for (line, number, word) in [
        ("", 400_012, "JSON"),
        ("{", 400_012, "JSON"),
        ("[]", 400_012, "JSON"),
        ("null", 400_012, "JSON"),
        ("{}", 400_005, "id"),
        (r#"{"id":null}"#, 400_005, "id"),
        (r#"{"id":7}"#, 400_004, "id"),
        (r#"{"id":"a b"}"#, 400_004, "not allowed"),
        (r#"{"id":"a","moduleId":"/"}"#, 400_004, "not allowed"),
        (r#"{"id":"a","importMode":"destroy"}"#, 400_004, "importMode"),
        (r#"{"id":"a","importMode":"updateIfMatchETag"}"#, 400_005, "eTag"),
        (r#"{"id":"a","importMode":"deleteIfMatchETag","eTag":""}"#, 400_005, "eTag"),
        (r#"{"id":"a","importMode":"updateTwinIfMatchETag"}"#, 400_005, "twinETag"),
        (r#"{"id":"a","status":"asleep"}"#, 400_004, "status"),
        (r#"{"id":"a","properties":[]}"#, 400_004, "properties"),
    ] {
        let error = DeviceRecord::parse(line.as_bytes()).unwrap_err();
        assert_eq!(error.number(), number, "{line}: {error}");
        assert!(error.to_string().contains(word), "{line}: {error}");
    }
}

#[test]
fn a_twin_s_content_is_checked_before_it_is_used() {
    let limits = Limits::default();
    let of = |json: Value| {
        let mut record = DeviceRecord::new(IdentitySpec::new(address("d1")), ImportMode::default());
        (record.tags, record.desired) = (json.get("t").cloned(), json.get("d").cloned());
        record.reported = json.get("r").cloned();
        TwinContent::of(&record, &limits).map_err(|error| error.kind())
    };
    let content = of(json!({"t": {"a": 1}, "d": {"b": 2, "$version": 9}, "r": {"c": 3}})).unwrap();
    let twin = content.twin(NOW, &limits).unwrap();
    assert_eq!(twin.tags().to_value(), json!({"a": 1}));
    assert_eq!(twin.desired().to_value(), json!({"b": 2}));
    assert_eq!(twin.reported().to_value(), json!({"c": 3}));
    assert_eq!(of(json!({})).unwrap(), TwinContent { service: None, reported: None });
    for bad in
        [json!({"t": 1}), json!({"d": []}), json!({"r": {"a.b": 1}}), json!({"t": {"$a": 1}})]
    {
        assert_eq!(of(bad.clone()), Err(ErrorKind::ArgumentInvalid), "{bad}");
    }
    let large: Value = (0..20).map(|n| (format!("k{n}"), json!("x".repeat(4000)))).collect();
    for bad in [json!({"t": large}), json!({"d": large}), json!({"r": large})] {
        assert_eq!(of(bad), Err(ErrorKind::TwinTooLarge));
    }
}

/// All lines of a file that comes in pieces of this size.
fn lines(file: &[u8], piece: usize, max: usize) -> Vec<(u64, u64, Option<String>)> {
    let mut lines = Lines::from(0, 0, max);
    let mut found = Vec::new();
    for piece in file.chunks(piece) {
        lines.push(piece);
        found.extend(std::iter::from_fn(|| lines.next_line()));
    }
    found.extend(std::iter::from_fn(|| lines.last_line()));
    let text = |line: Line| line.text.ok().map(|text| String::from_utf8(text.to_vec()).unwrap());
    found.into_iter().map(|line| (line.number, line.next, text(line))).collect()
}

#[test]
fn lines_are_found_however_the_file_comes() {
    let file = "\u{feff}one\r\n\n  \r\ntwo\nthree".as_bytes();
    let some = |text: &str| Some(text.to_owned());
    let want = [(1, 8, some("one")), (4, 17, some("two")), (5, 22, some("three"))];
    for piece in 1..=file.len() {
        assert_eq!(lines(file, piece, 100), want, "in pieces of {piece}");
    }
    assert_eq!(lines(b"", 1, 100), []);
    assert_eq!(lines(b"\r\n\n", 1, 100), []);
}

#[test]
fn a_line_that_is_too_long_is_passed_over_and_not_held() {
    let file = b"ok\n0123456789012345678901234567890123456789\nok\n01234567890";
    for piece in [1, 7, 100] {
        let found = lines(file, piece, 10);
        let texts: Vec<Option<&str>> = found.iter().map(|(_, _, text)| text.as_deref()).collect();
        assert_eq!(texts, [Some("ok"), None, Some("ok"), None], "in pieces of {piece}");
        let numbers: Vec<u64> = found.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert_eq!(found.last().unwrap().1, file.len() as u64);
    }
}

#[test]
fn an_import_goes_on_where_a_line_ended() {
    let file = "\u{feff}one\r\n\ntwo\nthree".as_bytes();
    for (number, next, _) in lines(file, 100, 100) {
        let mut rest = Lines::from(next, number, 100);
        rest.push(&file[usize::try_from(next).unwrap()..]);
        let found: Vec<Line> = std::iter::from_fn(|| rest.last_line()).collect();
        let want: Vec<_> =
            lines(file, 100, 100).into_iter().filter(|(other, ..)| *other > number).collect();
        let found: Vec<_> = found.into_iter().map(|line| (line.number, line.next)).collect();
        assert_eq!(found, want.iter().map(|(n, next, _)| (*n, *next)).collect::<Vec<_>>());
    }
}

fn file(name: &str) -> JobFile {
    let blob = BlobName::parse(&format!("~service/{name}")).unwrap();
    JobFile { folder: "https://h/uploads/~service".to_owned(), name: name.to_owned(), blob }
}

fn enqueued() -> RegistryJob {
    let work = RegistryWork::Import { input: file("devices.txt"), log: file("importErrors.log") };
    RegistryJob::new(JobId::new("j").unwrap(), work, FolderProof::Signature, NOW)
}

fn later(seconds: u64) -> Timestamp {
    NOW.after(std::time::Duration::from_secs(seconds))
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn some_way() -> Progress {
    let place = ImportPlace { offset: 10, lines: 2, size: 99, modified: NOW };
    Progress { percent: 10, succeeded: 1, failed: 1, place: Some(place) }
}

#[test]
fn jobs_come_back_from_the_store_as_they_were() {
    let export = RegistryWork::Export { output: file("a b"), exclude_keys: true };
    let export = RegistryJob::new(JobId::new("e").unwrap(), export, FolderProof::Hub, NOW);
    let held = enqueued().held_by(&node("a"), later(60), later(1)).unwrap();
    let on = held.advanced(some_way(), later(70), later(10)).unwrap();
    for job in [
        export,
        enqueued(),
        held,
        on.clone(),
        on.let_go(later(11)).unwrap(),
        on.over(RegistryEnd::Completed, later(12)).unwrap(),
        on.over(RegistryEnd::Failed("why".to_owned()), later(12)).unwrap(),
        enqueued().over(RegistryEnd::Cancelled, later(12)).unwrap(),
    ] {
        assert_eq!(RegistryJob::decode(&job.encode()), Some(job.clone()));
    }
    for bad in ["", "{}", "null", r#"{"v":2}"#] {
        assert_eq!(RegistryJob::decode(bad.as_bytes()), None, "{bad}");
    }
    for step in [Step::Identity, Step::Whole] {
        let mark = Mark { line: 7, step };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
    }
    assert_eq!(Mark::decode(b"{}"), None);
}

#[test]
fn one_node_has_a_job_until_its_time_is_over() {
    let job = enqueued();
    assert_eq!(job.taken_until(&node("b"), NOW), None);
    let held = job.held_by(&node("a"), later(60), later(1)).unwrap();
    assert_eq!((held.status(), held.started()), ("running", Some(later(1))));
    assert_eq!(held.taken_until(&node("b"), later(59)), Some(later(60)));
    assert_eq!(held.taken_until(&node("b"), later(60)), None);
    assert_eq!(held.taken_until(&node("a"), later(2)), None);
    let on = held.advanced(some_way(), later(90), later(30)).unwrap();
    assert_eq!(on.taken_until(&node("b"), later(60)), Some(later(90)));
    assert_eq!(on.let_go(later(31)).unwrap().taken_until(&node("b"), later(31)), None);
    let other = on.held_by(&node("b"), later(200), later(100)).unwrap();
    assert_eq!((other.progress(), other.started()), (&some_way(), Some(later(1))));
}

#[test]
fn a_job_ends_once() {
    let held = enqueued().held_by(&node("a"), later(60), later(1)).unwrap();
    let done = held.over(RegistryEnd::Completed, later(9)).unwrap();
    assert_eq!((done.status(), done.progress().percent), ("completed", 100));
    assert_eq!((done.started(), done.ended()), (Some(later(1)), Some(later(9))));
    for job in [done, enqueued().over(RegistryEnd::Cancelled, later(9)).unwrap()] {
        assert_eq!(job.over(RegistryEnd::Cancelled, later(10)), None);
        assert_eq!(job.held_by(&node("a"), later(60), later(10)), None);
        assert_eq!(job.advanced(some_way(), later(60), later(10)), None);
        assert_eq!(job.let_go(later(10)), None);
        let limits = Limits::default();
        assert!(!job.is_expired(later(10), &limits));
        assert!(job.is_expired(later(9).after(limits.jobs_retention), &limits));
    }
}

#[test]
fn the_log_has_a_line_for_each() {
    let line: Value = serde_json::from_str(&refused_line(Some("d1"), None, 404_001, "d1")).unwrap();
    assert_eq!(line, json!({"deviceId": "d1", "errorCode": 404_001, "errorStatus": "d1"}));
    let line: Value =
        serde_json::from_str(&warning_line(Some("d1"), Some("m1"), "why\nso")).unwrap();
    let want = json!({
        "deviceId": "d1", "moduleId": "m1", "warningCode": "DeviceRegisteredWithoutTwin",
        "warningStatus": "why\nso",
    });
    assert_eq!(line, want);
    let long = refused_line(None, None, 400_012, &"é".repeat(4000));
    assert!(long.len() < 1200 && !long.contains('\n'));
}
