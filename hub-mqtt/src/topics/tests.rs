use proptest::prelude::*;

use super::*;

fn topics(address: &str) -> Topics {
    Topics::new(&Address::parse(address).unwrap())
}

#[track_caller]
fn check(address: &str, topic: &str, want: Result<Operation<'_>, TopicError>) {
    assert_eq!(topics(address).operation(topic), want, "{address}: {topic}");
}

#[test]
fn telemetry_is_the_own_identitys() {
    check("d1", "devices/d1/messages/events", Ok(Operation::Telemetry("")));
    check("d1", "devices/d1/messages/events/", Ok(Operation::Telemetry("")));
    check("d1", "devices/d1/messages/events/a=b", Ok(Operation::Telemetry("a=b")));
    check("a#+$", "devices/a#+$/messages/events/x", Ok(Operation::Telemetry("x")));
    let module = "devices/d1/modules/m1/messages/events/%24.on=o/";
    check("d1/m1", module, Ok(Operation::Telemetry("%24.on=o/")));
    let foreign = [
        ("d1", "devices/d2/messages/events/"),
        ("d1", "devices/D1/messages/events/"),
        ("d1", "devices/d1/messages/eventsx"),
        ("d1", "devices/d1/messages/devicebound/"),
        ("d1", "/devices/d1/messages/events/"),
        ("d1", module),
        ("d1/m1", "devices/d1/messages/events/"),
        ("d1/m1", "devices/d1/modules/m2/messages/events/"),
        ("d1", ""),
        ("d1", "a/b"),
        ("d1", "$SYS/x"),
    ];
    for (address, topic) in foreign {
        check(address, topic, Err(TopicError::Unknown));
    }
}

#[test]
fn twin_requests_carry_an_id() {
    let report = |request, version| Ok(Operation::Report { request, version });
    check("d1", "$iothub/twin/GET/?$rid=e8-9", Ok(Operation::GetTwin("e8-9")));
    check("d1", "$iothub/twin/GET/?$rid=%20&x=1", Ok(Operation::GetTwin("%20")));
    check("d1", "$iothub/twin/GET/", Err(TopicError::NoRequestId));
    check("d1", "$iothub/twin/GET/x?$rid=1", Err(TopicError::Unknown));
    check("d1", "$iothub/twin/GETx", Err(TopicError::Unknown));
    let reported = "$iothub/twin/PATCH/properties/reported/";
    check("d1", &format!("{reported}?$rid=1"), report(Some("1"), None));
    check("d1", &format!("{reported}?$rid=1&$version=7"), report(Some("1"), Some(7)));
    check("d1", &format!("{reported}?$version=0&$rid=1"), report(Some("1"), Some(0)));
    check("d1", reported, report(None, None));
    check("d1", &format!("{reported}?$rid=1&$version=x"), Err(TopicError::Version));
    check("d1", "$iothub/twin/PATCH/properties/desired/?$rid=1", Err(TopicError::Unknown));
    let long = "x".repeat(REQUEST_ID_MAX + 1);
    check("d1", &format!("$iothub/twin/GET/?$rid={long}"), Err(TopicError::RequestIdLength));
}

#[test]
fn method_responses_name_their_call() {
    let call = |n| Ok(Operation::MethodResponse(Some(MethodRef(n)), 200));
    check("d1", "$iothub/methods/res/200/?$rid=1", call(1));
    check("d1", "$iothub/methods/res/200/?$rid=1a", call(26));
    check("d1", "$iothub/methods/res/200/?$rid=a&x=y", call(10));
    for unknown in ["0", "01", "A", "x", "", "+1", "11112222333344445"] {
        let topic = format!("$iothub/methods/res/-5/?$rid={unknown}");
        check("d1", &topic, Ok(Operation::MethodResponse(None, -5)));
    }
    check("d1", "$iothub/methods/res/ok/?$rid=1", Err(TopicError::Status));
    check("d1", "$iothub/methods/res/99999999999/?$rid=1", Err(TopicError::Status));
    check("d1", "$iothub/methods/res/200", Err(TopicError::Unknown));
    check("d1", "$iothub/methods/POST/x/?$rid=1", Err(TopicError::Unknown));
}

#[track_caller]
fn check_filter(address: &str, filter: &str, want: Option<Interest>) {
    assert_eq!(topics(address).interest(filter).ok(), want, "{address}: {filter}");
}

#[test]
fn filters_are_the_documented_ones() {
    use Interest::{DesiredProperties, Inputs, Messages, Methods, TwinResponses};
    for address in ["d1", "d1/m1"] {
        check_filter(address, "$iothub/twin/res/#", Some(TwinResponses));
        check_filter(address, "$iothub/twin/PATCH/properties/desired/#", Some(DesiredProperties));
        check_filter(address, "$iothub/methods/POST/#", Some(Methods));
    }
    check_filter("d1", "devices/d1/messages/devicebound/#", Some(Messages));
    check_filter("d1", "devices/+/messages/devicebound/#", Some(Messages));
    check_filter("a+b", "devices/a+b/messages/devicebound/#", Some(Messages));
    check_filter("+", "devices/+/messages/devicebound/#", Some(Messages));
    check_filter("#", "devices/#/messages/devicebound/#", Some(Messages));
    check_filter("d1/m1", "devices/d1/modules/m1/messages/devicebound/#", Some(Messages));
    check_filter("d1/m1", "devices/d1/modules/m1/inputs/#", Some(Inputs));
    check_filter("d1/m1", "devices/+/modules/+/inputs/#", Some(Inputs));
    check_filter("d1/m1", "devices/d1/modules/m1/#", Some(Inputs));
    for (address, filter) in [
        ("d1", "devices/d2/messages/devicebound/#"),
        ("d1", "devices/d1/messages/devicebound/"),
        ("d1", "devices/d1/messages/devicebound/x/#"),
        ("d1", "devices/d1/messages/events/#"),
        ("d1", "devices/d1/#"),
        ("d1", "+/d1/messages/devicebound/#"),
        ("d1", "devices/d1/modules/m1/inputs/#"),
        ("d1/m1", "devices/d1/messages/devicebound/#"),
        ("d1/m1", "devices/d1/modules/m2/inputs/#"),
        ("d1/m1", "devices/d1/+/m1/inputs/#"),
        ("d1", "$iothub/methods/POST/reboot/#"),
        ("d1", "$iothub/twin/#"),
        ("d1", "$iothub/twin/res/200/#"),
        ("d1", "#"),
        ("d1", "+"),
    ] {
        check_filter(address, filter, None);
    }
}

#[test]
fn topics_to_the_device_are_as_captured() {
    let mut out = String::new();
    let mut written = |write: &dyn Fn(&mut String)| {
        out.clear();
        write(&mut out);
        out.clone()
    };
    assert_eq!(
        written(&|out| write_twin_response(204, "c3-9", Some(8), out)),
        "$iothub/twin/res/204/?$rid=c3-9&$version=8"
    );
    assert_eq!(
        written(&|out| write_twin_response(200, "1", None, out)),
        "$iothub/twin/res/200/?$rid=1"
    );
    assert_eq!(
        written(&|out| write_desired(13, out)),
        "$iothub/twin/PATCH/properties/desired/?$version=13"
    );
    assert_eq!(
        written(&|out| write_method("thermostat*getMax", MethodRef(31), out)),
        "$iothub/methods/POST/thermostat*getMax/?$rid=1f"
    );
    assert_eq!(
        written(&|out| write_method("a b/é#", MethodRef(1), out)),
        "$iothub/methods/POST/a%20b%2F%C3%A9%23/?$rid=1"
    );
    let module = topics("d/m");
    assert_eq!(written(&|out| module.write_to(out)), "/devices/d/modules/m/messages/devicebound");
    assert_eq!(
        written(&|out| topics("d").write_devicebound(out)),
        "devices/d/messages/devicebound/"
    );
}

/// Prints an operation as a device would.
fn print(topics: &Topics, operation: &Operation<'_>) -> String {
    match operation {
        Operation::Telemetry(bag) => format!("{}/{bag}", topics.events),
        Operation::GetTwin(request) => format!("{TWIN_GET}?$rid={request}"),
        Operation::Report { request, version } => {
            let request = request.map(|r| format!("$rid={r}"));
            let version = version.map(|v| format!("$version={v}"));
            let both: Vec<String> = request.into_iter().chain(version).collect();
            format!("{TWIN_REPORT}?{}", both.join("&"))
        }
        Operation::MethodResponse(call, status) => {
            let call = call.map_or(String::new(), |call| format!("{:x}", call.0));
            format!("{METHOD_RESPONSE}{status}/?$rid={call}")
        }
    }
}

proptest! {
    #[test]
    fn an_operation_prints_and_parses_back(
        (which, text, number) in (0_u8..4, "[^&]{0,30}", any::<u64>()),
        (some, status, module) in (any::<bool>(), any::<i32>(), any::<bool>()),
    ) {
        let topics = topics(if module { "d#1/m+1" } else { "d#1" });
        let operation = match which {
            0 => Operation::Telemetry(&text),
            1 => Operation::GetTwin(&text),
            2 => Operation::Report {
                request: some.then_some(&*text),
                version: (number % 2 == 0).then_some(number),
            },
            _ => Operation::MethodResponse(some.then_some(MethodRef(number.max(1))), status),
        };
        let topic = print(&topics, &operation);
        prop_assert_eq!(topics.operation(&topic), Ok(operation));
    }

    #[test]
    fn any_text_is_a_topic_and_a_filter_or_is_not(
        head in prop_oneof![
            Just(""), Just(TWIN_GET), Just(TWIN_REPORT), Just(METHOD_RESPONSE),
            Just("devices/d1/messages/events"), Just("devices/d1/modules/m1/"),
        ],
        tail in ".{0,60}",
    ) {
        for topics in [topics("d1"), topics("d1/m1")] {
            let text = format!("{head}{tail}");
            let _ = topics.operation(&text);
            let _ = topics.interest(&text);
        }
    }
}
