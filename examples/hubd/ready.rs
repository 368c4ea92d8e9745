//! The line that says where everything is.

use hub_core::security::ConnectionString;
use serde_json::{Map, Value, json};

use crate::serve::Running;

pub(crate) fn line(running: &Running) -> String {
    let hub = &running.hub;
    let host = hub.names().primary().to_owned();
    let mut policies = Map::new();
    for policy in hub.policies().iter() {
        let string = ConnectionString::Service {
            host: host.clone(),
            policy: policy.name().to_owned(),
            key: policy.primary().clone(),
        };
        // A name with a semicolon cannot be written into a connection string.
        if let Ok(string) = string.render() {
            policies.insert(policy.name().to_owned(), string.into());
        }
    }
    let mut line = json!({
        "hostName": host,
        "serviceConnectionString": policies.get("iothubowner").cloned().unwrap_or(Value::Null),
        "caFile": running.trust.display().to_string(),
        "durability": format!("{:?}", hub.durability()).to_lowercase(),
        "policies": policies,
        "devices": running.devices,
    });
    if let Value::Object(line) = &mut line {
        if let Some(string) = event_hub(running) {
            line.insert("eventHubConnectionString".to_owned(), string.into());
        }
        for (name, addr) in [
            ("mqtt", running.mqtt),
            ("mqtts", running.mqtts),
            ("http", running.http),
            ("https", running.https),
            ("amqp", running.amqp),
            ("amqps", running.amqps),
        ] {
            if let Some(addr) = addr {
                line.insert(name.to_owned(), addr.to_string().into());
            }
        }
    }
    line.to_string()
}

/// For readers of the event log: whoever may do everything. Clients that read a port in it get the
/// one that is listened on.
fn event_hub(running: &Running) -> Option<String> {
    let names = running.hub.names();
    let policies = running.hub.policies();
    let owner = policies.iter().find(|policy| policy.name() == "iothubowner")?;
    let host = match running.amqps?.port() {
        5671 => names.primary().to_owned(),
        port => format!("{}:{port}", names.primary()),
    };
    let string = ConnectionString::EventHubs {
        host,
        policy: owner.name().to_owned(),
        key: owner.primary().clone(),
        entity: Some(hub_amqp::address::log_name(names).to_owned()),
    };
    string.render().ok()
}
