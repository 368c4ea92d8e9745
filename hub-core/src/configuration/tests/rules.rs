//! What may be asked for, and what becomes of one twin.

use super::*;
use crate::error::ErrorKind;

#[test]
fn contents_outside_of_what_twins_can_have_are_refused() {
    let deep = (0..12).fold(json!(1), |inner, _| json!({ "a": inner }));
    for (content, complaint) in [
        (json!(null), "no object"),
        (json!({}), "one of deviceContent and moduleContent"),
        (json!({"deviceContent": {}, "moduleContent": {}}), "one of deviceContent"),
        (json!({"deviceContent": {}, "other": {}}), "\"other\" is no member"),
        (json!({"modulesContent": {}}), "not evaluated by this hub"),
        (json!({"deviceContent": 1}), "deviceContent is no object"),
        (json!({"deviceContent": {"tags.a": 1}}), "must begin with properties.desired"),
        (json!({"deviceContent": {"properties.desiredx": 1}}), "must begin with"),
        (json!({"deviceContent": {"properties.reported.a": 1}}), "must begin with"),
        (json!({"deviceContent": {"properties.desired": 1}}), "the value must be an object"),
        (json!({"deviceContent": {"properties.desired.a..b": 1}}), "a name is empty"),
        (json!({"deviceContent": {"properties.desired.": 1}}), "a name is empty"),
        (json!({"deviceContent": {"properties.desired.$a": 1}}), "name must not contain '$'"),
        (json!({"deviceContent": {"properties.desired.a": [null]}}), "null inside an array"),
        (json!({"deviceContent": {"properties.desired.a": deep}}), "nested deeper"),
        (
            json!({"deviceContent": {"properties.desired.a": {}, "properties.desired.a.b": 1}}),
            "\"a.b\" leads into the path \"a\"",
        ),
        (
            json!({"deviceContent": {"properties.desired": {}, "properties.desired.a": 1}}),
            "leads into",
        ),
    ] {
        let error = Content::parse(&content, &limits()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigurationContentInvalid, "{content}");
        assert!(error.message().contains(complaint), "{content}: {error}");
    }
    // Names that only begin alike do not lead into one another.
    let alike = json!({"deviceContent": {"properties.desired.a": 1, "properties.desired.ab": 1}});
    assert_eq!(Content::parse(&alike, &limits()).unwrap().settings.len(), 2);
}

#[test]
fn targets_are_checked_and_errors_name_the_place() {
    let check = |text: &str, kind| target(text, kind, &limits()).map(|found| found.is_some());
    assert_eq!(check("", Kind::Device), Ok(false));
    assert_eq!(check(" ", Kind::Module), Ok(false));
    for good in
        ["*", "tags.site = 'a'", "deviceId IN ['a']", "NOT IS_DEFINED(tags)", "from devices"]
    {
        assert_eq!(check(good, Kind::Device), Ok(true), "{good}");
    }
    for good in ["FROM devices.modules", "from devices.modules where moduleId = 'm' OR tags.a > 1"]
    {
        assert_eq!(check(good, Kind::Module), Ok(true), "{good}");
    }
    for (bad, kind, complaint) in [
        ("tags.site =", Kind::Device, "line 1, column 12: expected"),
        ("tags.a = 1 tags.b", Kind::Device, "line 1, column 12: expected an operator or the end"),
        ("SELECT * FROM devices", Kind::Device, "line 1, column 1: expected a value"),
        (
            "tags.a = 1 AND\n connectionState = 'x'",
            Kind::Device,
            "line 2, column 2: expected device",
        ),
        ("properties.desired.a = 1", Kind::Device, "column 1: expected deviceId, moduleId, a tag"),
        (
            "configurations.[[c]].status = 'Applied'",
            Kind::Device,
            "found `configurations.c.status`",
        ),
        ("from devices.jobs", Kind::Device, "line 1, column 6"),
        ("from devices.modules tags.a = 1", Kind::Module, "column 22: expected `WHERE` or the end"),
        ("from devices.modules", Kind::Device, "deviceContent is for devices"),
        ("*", Kind::Module, "moduleContent needs a target"),
    ] {
        let error = target(bad, kind, &limits()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigurationTargetInvalid, "{bad}");
        assert!(error.message().contains(complaint), "{bad}: {error}");
    }
}

#[test]
fn metrics_are_queries_that_can_be_counted() {
    for (bad, complaint) in [
        ("select from devices", "line 1, column 8"),
        ("SELECT * FROM devices.jobs", "not jobs"),
        ("SELECT COUNT() FROM devices", "without aggregates"),
        ("SELECT tags.a FROM devices GROUP BY tags.a", "without aggregates"),
    ] {
        let error = Metric::parse(bad, &limits()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigurationMetricInvalid, "{bad}");
        assert!(error.message().contains(complaint), "{bad}: {error}");
    }
    let metric = Metric::parse("SELECT TOP 3 deviceId FROM devices ORDER BY deviceId", &limits());
    let metric = metric.unwrap();
    assert_eq!(
        (metric.query.to_string().as_str(), metric.most),
        ("SELECT COUNT() FROM devices", Some(3))
    );
}

#[test]
fn a_configuration_is_made_once_and_keeps_its_content() {
    let limits = limits();
    let before = made("c1", 1, 5, "*", &json!({"a": 1}));
    assert_eq!((before.etag().as_str(), before.schema_version.as_str()), ("MQ==", "1.0"));
    let decide =
        |before: Option<&Configuration>, spec: &ConfigurationSpec, if_match: Option<&str>| {
            put(before, spec, if_match.map(IfMatch::parse).as_ref(), 2, NOW, &limits)
        };
    let kind = |result: Result<Configuration, crate::error::HubError>| result.unwrap_err().kind();
    let nothing = ConfigurationSpec::new(id("c1"));
    assert_eq!(kind(decide(Some(&before), &nothing, None)), ErrorKind::ConfigurationAlreadyExists);
    assert_eq!(kind(decide(None, &nothing, Some("*"))), ErrorKind::ConfigurationNotFound);
    assert_eq!(kind(decide(None, &nothing, None)), ErrorKind::ConfigurationContentInvalid);
    assert_eq!(kind(decide(Some(&before), &nothing, Some("Mg=="))), ErrorKind::PreconditionFailed);
    let other = nothing.clone().content(on_devices(&json!({"a": 2})));
    assert_eq!(
        kind(decide(Some(&before), &other, Some("*"))),
        ErrorKind::ConfigurationContentImmutable
    );
    // What is left out stays, the same content may be repeated.
    let again = nothing.clone().content(on_devices(&json!({"a": 1}))).priority(9);
    let after = decide(Some(&before), &again, Some("\"MQ==\"")).unwrap();
    assert_eq!((after.priority, after.target.as_str(), after.instance), (9, "*", before.instance));
    assert_eq!(after.etag(), "Mg==");
    assert_eq!(Configuration::decode(&after.encode()), Some(after.clone()));
    // Too much of anything.
    let many = (0..6).fold(nothing.clone(), |spec, n| {
        spec.metric(format!("m{n}"), "SELECT deviceId FROM devices")
    });
    assert_eq!(
        kind(decide(Some(&before), &many, Some("*"))),
        ErrorKind::ConfigurationMetricInvalid
    );
    let labels = json!({"x": "y".repeat(300_000)});
    let large = ConfigurationSpec { labels: labels.as_object().cloned(), ..nothing.clone() };
    assert_eq!(kind(decide(Some(&before), &large, Some("*"))), ErrorKind::TooLarge);
    let later = ConfigurationSpec { schema_version: Some("2.0".to_owned()), ..nothing };
    assert_eq!(kind(decide(Some(&before), &later, Some("*"))), ErrorKind::ArgumentInvalid);
    assert_eq!(delete(&id("c2"), None, None).unwrap_err().kind(), ErrorKind::ConfigurationNotFound);
    assert_eq!(delete(&id("c1"), Some(&before), None), Ok(()));
}

#[test]
fn the_highest_priority_sets_a_path_and_of_equal_ones_the_newest() {
    let all = [
        made("old", 1, 5, "*", &json!({"a": 1, "b": 1})),
        made("new", 2, 5, "*", &json!({"a": 2})),
        made("low", 3, 1, "*", &json!({"a": 3, "b": 3, "c": 3})),
        made("none", 4, 9, "", &json!({"a": 4})),
        made("lost", 5, 0, "*", &json!({"a": 5})),
    ];
    let deployed = deployed(5, &all);
    let mut twin = Twin::new(NOW);
    assert!(deployed.retarget(&device(), &mut twin, &limits()).is_some());
    assert_eq!(statuses(&twin)["old"]["status"], "Targeted");
    assert!(carry_out(&deployed, &mut twin));
    assert_eq!(desired(&twin), json!({"a": 2, "b": 1, "c": 3}));
    let (applied, targeted) = (json!({"status": "Applied"}), json!({"status": "Targeted"}));
    let want = json!({"old": applied, "new": applied, "low": applied, "lost": targeted});
    assert_eq!(statuses(&twin), want);
    assert_eq!((twin.desired_version(), twin.version()), (2, 3));
    assert!(!carry_out(&deployed, &mut twin));
    assert!(deployed.retarget(&device(), &mut twin, &limits()).is_none());
}

#[test]
fn who_leaves_loses_the_settings_and_keeps_what_others_wrote() {
    let all = [
        made("low", 1, 1, "*", &json!({"fan": {"speed": 1}})),
        made("high", 2, 2, "tags.hot = true", &json!({"fan.speed": 9, "alarm.on": true})),
    ];
    let deployed = deployed(2, &all);
    let mut twin = Twin::new(NOW);
    write(
        &mut twin,
        &json!({"tags": {"hot": true}, "properties": {"desired": {"own": 1, "alarm": {"tone": 2}}}}),
    );
    deployed.retarget(&device(), &mut twin, &limits()).unwrap();
    assert!(carry_out(&deployed, &mut twin));
    let want = json!({"own": 1, "fan": {"speed": 9}, "alarm": {"on": true, "tone": 2}});
    assert_eq!(desired(&twin), want);
    write(&mut twin, &json!({"tags": {"hot": false}}));
    deployed.retarget(&device(), &mut twin, &limits()).unwrap();
    // The mark goes with the tag, the settings with the next turn.
    assert_eq!(statuses(&twin), json!({"low": {"status": "Applied"}}));
    assert!(carry_out(&deployed, &mut twin));
    assert_eq!(desired(&twin), json!({"own": 1, "fan": {"speed": 1}, "alarm": {"tone": 2}}));
    // And with the last configuration all that was put there, also the object around it.
    let none = super::deployed(3, &[]);
    none.retarget(&device(), &mut twin, &limits()).unwrap();
    assert!(carry_out(&none, &mut twin));
    assert_eq!(desired(&twin), json!({"own": 1, "alarm": {"tone": 2}}));
    assert!(twin.configured().marks.is_empty());
}

#[test]
fn an_empty_object_that_is_wanted_stays() {
    let all = [made("c1", 1, 0, "*", &json!({"a": {"x": 1}}))];
    let mut twin = Twin::new(NOW);
    for (revision, all, want) in [
        (1, &all[..], json!({"a": {"x": 1}})),
        (3, &[made("c1", 3, 0, "*", &json!({"a": {}}))], json!({"a": {}})),
        (4, &[], json!({})),
    ] {
        let deployed = deployed(revision, all);
        deployed.retarget(&device(), &mut twin, &limits());
        assert!(carry_out(&deployed, &mut twin));
        assert_eq!(desired(&twin), want);
    }
}

#[test]
fn settings_that_do_not_fit_change_nothing_and_wait() {
    let large = json!({"a": "x".repeat(4000)});
    let all: Vec<_> = (0..9)
        .map(|n| made(&format!("c{n}"), n + 1, 0, "*", &json!({format!("p{n}"): large})))
        .collect();
    let deployed = deployed(9, &all);
    let mut twin = Twin::new(NOW);
    deployed.retarget(&device(), &mut twin, &limits()).unwrap();
    assert!(!carry_out(&deployed, &mut twin));
    assert_eq!(desired(&twin), json!({}));
    assert!(twin.configured().pending && deployed.differs(&device(), &twin));
    assert_eq!(statuses(&twin)["c0"]["status"], "Targeted");
    // With room they go in.
    let fewer = super::deployed(10, &all[1..]);
    fewer.retarget(&device(), &mut twin, &limits()).unwrap();
    assert!(carry_out(&fewer, &mut twin));
    assert_eq!(twin.desired().len(), 8);
    assert!(!fewer.differs(&device(), &twin));
}

#[test]
fn whoever_knows_only_earlier_configurations_decides_nothing() {
    let one = made("c1", 1, 0, "*", &json!({"a": 1}));
    let (old, new) = (deployed(1, &[]), deployed(2, std::slice::from_ref(&one)));
    let mut twin = Twin::new(NOW);
    new.retarget(&device(), &mut twin, &limits()).unwrap();
    let before = twin.clone();
    assert_eq!(old.plan(&device(), &twin, &limits()), Plan::Outdated);
    assert!(!old.differs(&device(), &twin));
    // It leaves a sign for whoever knows more.
    let push = old.retarget(&device(), &mut twin, &limits()).unwrap();
    assert_eq!(Todo::decode(&push.body), Some(Todo::new(device(), 2)));
    assert_eq!(twin, before);
}

#[test]
fn a_configuration_made_anew_is_another_one() {
    let old = made("c1", 1, 0, "*", &json!({"a": 1}));
    let new = made("c1", 3, 0, "*", &json!({"b": 1}));
    let mut twin = Twin::new(NOW);
    for (revision, one) in [(1, old), (3, new)] {
        let deployed = deployed(revision, &[one]);
        deployed.retarget(&device(), &mut twin, &limits()).unwrap();
        assert_eq!(statuses(&twin)["c1"]["status"], "Targeted");
        assert!(carry_out(&deployed, &mut twin));
    }
    assert_eq!(desired(&twin), json!({"b": 1}));
}

#[test]
fn modules_and_devices_have_their_own() {
    let content = json!({"moduleContent": {"properties.desired.a": 1}});
    let spec = ConfigurationSpec::new(id("m"))
        .content(content)
        .target("from devices.modules where moduleId = 'm1'");
    let modules = put(None, &spec, None, 1, NOW, &limits()).unwrap();
    let deployed = deployed(2, &[modules, made("d", 2, 0, "*", &json!({"a": 1}))]);
    for (address, want) in
        [("d1", json!({"d": 1})), ("d1/m1", json!({"m": 1})), ("d1/m2", json!({}))]
    {
        let address = Address::parse(address).unwrap();
        let mut twin = Twin::new(NOW);
        deployed.retarget(&address, &mut twin, &limits());
        let names: Vec<String> = twin.configured().marks.iter().map(|m| m.id.to_string()).collect();
        assert_eq!(names, want.as_object().unwrap().keys().cloned().collect::<Vec<_>>());
    }
}

#[test]
fn a_sweep_goes_on_where_it_was_and_begins_anew_in_time() {
    let limits = limits();
    let sweep = Sweep::default().due(1, NOW).unwrap();
    assert_eq!((sweep.after(), &sweep.progress), (None, &Progress::After(None, Round::Change)));
    let sweep = sweep.seen(Some("d5".to_owned()), false, NOW, &limits);
    let sweep = Sweep::decode(&sweep.encode()).unwrap();
    assert_eq!(sweep.due(1, NOW).unwrap().after(), Some("d5"));
    // A change begins it anew; whoever has not heard of the change leaves it alone.
    assert_eq!(sweep.due(2, NOW).unwrap().after(), None);
    assert_eq!(sweep.due(0, NOW), None);
    let sweep = sweep.seen(None, false, NOW, &limits);
    let settled = NOW.after(limits.configuration_settle);
    assert_eq!((sweep.next(), sweep.due(1, NOW)), (Some(settled), None));
    let sweep = sweep.due(1, settled).unwrap().seen(None, false, settled, &limits);
    let next = settled.after(limits.configuration_sweep_every);
    assert_eq!(Sweep::decode(&sweep.encode()).unwrap().next(), Some(next));
    // A node that has begun hastens the next round, and does not begin one that goes on anew.
    let hastened = sweep.soon(NOW, &limits);
    assert_eq!(hastened.next(), Some(settled));
    let going = sweep.due(1, next).unwrap().seen(Some("d7".to_owned()), false, next, &limits);
    let going = going.soon(next, &limits);
    assert_eq!(going.after(), Some("d7"));
    let after = next.after(limits.configuration_settle);
    assert_eq!(going.seen(None, false, next, &limits).next(), Some(after));
    // Without configurations nothing is looked for but what the last ones left.
    let sweep = Sweep::default().due(3, NOW).unwrap().seen(None, true, NOW, &limits);
    assert_eq!(sweep.next(), Some(settled));
    let sweep = sweep.due(3, settled).unwrap().seen(None, true, settled, &limits);
    assert_eq!(sweep.next(), Some(Timestamp::MAX));
}
