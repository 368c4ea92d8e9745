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
        for (name, addr) in [
            ("mqtt", running.mqtt),
            ("mqtts", running.mqtts),
            ("http", running.http),
            ("https", running.https),
        ] {
            if let Some(addr) = addr {
                line.insert(name.to_owned(), addr.to_string().into());
            }
        }
    }
    line.to_string()
}
