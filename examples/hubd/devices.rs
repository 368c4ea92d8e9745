//! Devices registered at start, if absent.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use hub_core::error::ErrorKind;
use hub_core::registry::{AuthenticationSpec, IdentitySpec};
use hub_core::security::{Authentication, ConnectionString, SymmetricKey};
use hub_core::{Address, Hub};
use serde::Deserialize;

use crate::args::Args;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    device_id: String,
    key: String,
}

/// How many registrations are under way at once: enough to fill the store's batches.
const AT_ONCE: usize = 256;

/// Registers what the command line names. Returns the connection strings of `--device`s.
pub(crate) async fn register(
    hub: &Hub,
    args: &Args,
) -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let mut strings = BTreeMap::new();
    for device in &args.devices {
        let key = device.key.as_ref().map(|key| key.0.clone());
        let address = put(hub, &device.id, key).await?;
        let found = hub.registry().get(&address).await?;
        if let Authentication::Sas { primary, .. } = found.identity.authentication() {
            let string = ConnectionString::Identity {
                host: hub.names().primary().to_owned(),
                address: address.clone(),
                key: Some(primary.clone()),
                gateway: None,
            };
            strings.insert(device.id.clone(), string.render()?);
        }
    }
    if let Some(path) = &args.devices_file {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut batch = tokio::task::JoinSet::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |error: &dyn std::fmt::Display| {
                format!("{} line {}: {error}", path.display(), number + 1)
            };
            let line: Line = serde_json::from_str(line).map_err(|error| wrong(&error))?;
            let key = SymmetricKey::from_base64(&line.key).map_err(|error| wrong(&error))?;
            if batch.len() >= AT_ONCE
                && let Some(done) = batch.join_next().await
            {
                done??;
            }
            let hub = hub.clone();
            batch.spawn(async move {
                put(&hub, &line.device_id, Some(key)).await.map(drop).map_err(|e| e.to_string())
            });
        }
        while let Some(done) = batch.join_next().await {
            done??;
        }
    }
    Ok(strings)
}

async fn put(hub: &Hub, id: &str, key: Option<SymmetricKey>) -> Result<Address, Box<dyn Error>> {
    let address = Address::from(hub_core::DeviceId::new(id).map_err(|e| format!("{id}: {e}"))?);
    let mut spec = IdentitySpec::new(address.clone());
    spec.authentication =
        key.map(|key| AuthenticationSpec::Sas { primary: Some(key), secondary: None });
    match hub.registry().put(&spec, None).await {
        Ok(_) => Ok(address),
        Err(error) if error.kind() == ErrorKind::DeviceAlreadyExists => Ok(address),
        Err(error) => Err(format!("{id}: {error}").into()),
    }
}
