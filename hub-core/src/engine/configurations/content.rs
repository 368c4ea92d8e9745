//! Putting a content on one device.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::configuration::{Setting, desired_patch, parse_settings};
use crate::engine::hub::Hub;
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, DeviceId, ModuleId};
use crate::limits::Limits;
use crate::registry::IdentitySpec;
use crate::twin::ServicePatch;

/// Who manages the modules that a content registers.
const MANAGER: &str = "IotEdge";

pub(super) async fn apply(hub: &Hub, to: &DeviceId, content: &Value) -> Result<(), HubError> {
    let Plan { device, modules, named } = Plan::parse(content, hub.limits())?;
    let address = Address::from(to);
    let found = hub.registry().get(&address).await?;
    if !named.is_empty() && !found.identity.iot_edge() {
        return Err(invalid("modulesContent is for edge devices, and this is none"));
    }
    if let Some(settings) = device {
        write(hub, &address, &settings).await?;
    }
    for module in &named {
        let mut spec = IdentitySpec::new(Address::module(to, module));
        spec.managed_by = Some(MANAGER.to_owned());
        match hub.registry().put(&spec, None).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ModuleAlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    for (module, settings) in modules {
        write(hub, &Address::module(to, &module), &settings).await?;
    }
    Ok(())
}

/// A content that was checked.
struct Plan {
    device: Option<Vec<Setting>>,
    modules: BTreeMap<ModuleId, Vec<Setting>>,
    /// The modules that there have to be.
    named: BTreeSet<ModuleId>,
}

impl Plan {
    fn parse(content: &Value, limits: &Limits) -> Result<Self, HubError> {
        let members = content.as_object().ok_or_else(|| invalid("the content is no object"))?;
        let given = |name: &str| members.get(name).filter(|value| !value.is_null());
        if given("moduleContent").is_some() {
            return Err(invalid("moduleContent is for no device; name modules in modulesContent"));
        }
        let settings = |value: &Value| match value.as_object() {
            Some(settings) => parse_settings(settings, limits),
            None => Err(invalid("settings are no object")),
        };
        let device = given("deviceContent").map(settings).transpose()?;
        let (mut modules, mut named) = (BTreeMap::new(), BTreeSet::new());
        if let Some(content) = given("modulesContent") {
            let content =
                content.as_object().ok_or_else(|| invalid("modulesContent is no object"))?;
            for (name, value) in content {
                let module = module_id(name)?;
                modules.insert(module.clone(), settings(value)?);
                named.insert(module);
            }
            for name in deployed(content) {
                named.insert(module_id(name)?);
            }
        }
        if device.is_none() && modules.is_empty() {
            return Err(invalid("there must be one of deviceContent and modulesContent"));
        }
        Ok(Self { device, modules, named })
    }
}

/// The modules that the edge agent is told to run.
fn deployed(content: &Map<String, Value>) -> impl Iterator<Item = &String> {
    let agent = content.get("$edgeAgent").and_then(|agent| agent.get("properties.desired"));
    let modules = agent.and_then(|agent| agent.get("modules")).and_then(Value::as_object);
    modules.into_iter().flat_map(Map::keys)
}

fn module_id(name: &str) -> Result<ModuleId, HubError> {
    ModuleId::new(name).map_err(|error| invalid(format!("{name:?}: {error}")))
}

/// A setting of all desired properties replaces them; others are merged into what is there.
async fn write(hub: &Hub, to: &Address, settings: &[Setting]) -> Result<(), HubError> {
    let write = json!({ "properties": { "desired": desired_patch(settings) } });
    let write = ServicePatch::from_value(&write, hub.limits())?;
    let whole = settings.iter().any(|setting| setting.path.is_empty());
    match whole {
        true => hub.replace_twin(to, write, None).await.map(drop),
        false => hub.patch_twin(to, write, None).await.map(drop),
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> HubError {
    HubError::new(ErrorKind::ConfigurationContentInvalid, message)
}
