//! Many identities in one request.
//!
//! Items of one device are carried out in the order given, those of different devices at the same
//! time. There is no transaction around them: each item is done or refused by itself, and the
//! answer names those that were refused.

use futures::StreamExt as _;
use futures::stream;
use http::StatusCode;
use hub_core::Hub;
use hub_core::engine::Action;
use hub_core::error::{ErrorKind, HubError};
use hub_core::id::{Address, DeviceId, ModuleId};
use hub_core::registry::IfMatch;
use hub_core::security::Right;
use hub_core::twin::ServicePatch;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::json::identity::{Object, spec};
use crate::problem::{Code, Problem};
use crate::respond;
use crate::route::{Answer, Content, Route, Verb};

pub(crate) static ROUTES: &[Route] = &[Route::new(
    Verb::Post,
    "/devices",
    "changeDevices",
    "Creates, updates and deletes up to 100 identities. 400 when any of them was refused.",
    |call| Box::pin(change(call)),
)
.service(Right::RegistryWrite)
.takes(Content::List("BulkItem"))
.gives(&[
    (200, "All was done.", Content::Json("BulkResult")),
    (400, "Some was refused, or nothing could be read.", Content::Json("BulkResult")),
])];

/// What is to be done with an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    Update,
    UpdateIfMatch,
    CreateOrUpdate,
    CreateOrUpdateIfMatch,
    Delete,
    DeleteIfMatch,
    UpdateTwin,
    UpdateTwinIfMatch,
}

impl Mode {
    const ALL: [(&'static str, Self); 9] = [
        ("create", Self::Create),
        ("update", Self::Update),
        ("updateIfMatchETag", Self::UpdateIfMatch),
        ("createOrUpdate", Self::CreateOrUpdate),
        ("createOrUpdateIfMatchETag", Self::CreateOrUpdateIfMatch),
        ("delete", Self::Delete),
        ("deleteIfMatchETag", Self::DeleteIfMatch),
        ("updateTwin", Self::UpdateTwin),
        ("updateTwinIfMatchETag", Self::UpdateTwinIfMatch),
    ];

    fn of(item: Object<'_>) -> Result<Self, Problem> {
        let Some(word) = item.text("importMode")? else { return Ok(Self::CreateOrUpdate) };
        Self::ALL
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map(|(_, mode)| mode)
            .ok_or_else(|| Problem::argument("importMode is unknown"))
    }

    /// What an error says was being done.
    fn operation(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Update | Self::UpdateIfMatch => "Update",
            Self::CreateOrUpdate | Self::CreateOrUpdateIfMatch => "CreateOrUpdate",
            Self::Delete | Self::DeleteIfMatch => "Delete",
            Self::UpdateTwin | Self::UpdateTwinIfMatch => "UpdateTwin",
        }
    }
}

/// How many devices are worked on at the same time.
const DEVICES_AT_ONCE: usize = 16;

async fn change(mut call: Call) -> Answer {
    let limits = call.limits();
    let (most, twin) = (limits.bulk_max, limits.tags_bytes_max + limits.desired_bytes_max);
    let body = call.read_body(most.saturating_mul(twin)).await?;
    let items: Vec<Map<String, Value>> =
        serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    if items.len() > most {
        return Err(Problem::argument(format!("a request has at most {most} identities")));
    }
    let twice = defined_twice(&items);
    if !twice.is_empty() {
        let code = Code::DUPLICATE_DEVICE;
        let errors = twice.into_iter().map(|item| {
            let problem = Problem::new(code, "the identity is there more than once");
            Refused::new(item, None, &problem).to_json()
        });
        return Ok(answer(errors.collect(), Vec::new()));
    }
    let groups = by_device(items);
    let call = &call;
    let mut done: Vec<(usize, Outcome)> = stream::iter(groups)
        .map(|group| async move {
            let mut outcomes = Vec::with_capacity(group.len());
            for (at, item) in group {
                outcomes.push((at, carry_out(call, Object(&item)).await));
            }
            stream::iter(outcomes)
        })
        .buffer_unordered(DEVICES_AT_ONCE)
        .flatten()
        .collect()
        .await;
    done.sort_by_key(|(at, _)| *at);
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for (_, outcome) in done {
        match outcome {
            Outcome::Done => {}
            Outcome::Refused(error) => errors.push(error),
            Outcome::WithoutTwin(warning) => warnings.push(warning),
        }
    }
    Ok(answer(errors, warnings))
}

fn answer(errors: Vec<Value>, warnings: Vec<Value>) -> axum::response::Response {
    let successful = errors.is_empty();
    let status = if successful { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let document = json!({ "isSuccessful": successful, "errors": errors, "warnings": warnings });
    respond::json(status, &document)
}

type Item = Map<String, Value>;

/// The name of an item's device and module, as far as it has any.
fn subject(item: &Item) -> (&str, &str) {
    let text = |name| Object(item).get(name).and_then(Value::as_str).unwrap_or("");
    (text("id"), text("moduleId"))
}

/// Items whose identity stands there before.
fn defined_twice(items: &[Item]) -> Vec<&Item> {
    let mut seen = std::collections::HashSet::new();
    items.iter().filter(|item| !seen.insert(subject(item))).collect()
}

/// The items with their places, gathered by device, in the order in which devices come first.
fn by_device(items: Vec<Item>) -> Vec<Vec<(usize, Item)>> {
    let mut places = std::collections::HashMap::new();
    let mut groups: Vec<Vec<(usize, Item)>> = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let place = *places.entry(subject(&item).0.to_owned()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push((at, item)),
            None => groups.push(vec![(at, item)]),
        }
    }
    groups
}

/// What became of an item.
enum Outcome {
    Done,
    Refused(Value),
    /// The identity is there, its twin could not be written.
    WithoutTwin(Value),
}

/// A refused item.
struct Refused<'a> {
    item: &'a Item,
    mode: Option<Mode>,
    problem: &'a Problem,
}

impl<'a> Refused<'a> {
    fn new(item: &'a Item, mode: Option<Mode>, problem: &'a Problem) -> Self {
        Self { item, mode, problem }
    }

    fn to_json(&self) -> Value {
        let (device, module) = subject(self.item);
        json!({
            "deviceId": device,
            "moduleId": Some(module).filter(|module| !module.is_empty()),
            "errorCode": self.problem.code().1,
            "errorStatus": self.problem.message(),
            "operation": self.mode.map(Mode::operation),
        })
    }
}

async fn carry_out(call: &Call, item: Object<'_>) -> Outcome {
    let mode = match Mode::of(item) {
        Ok(mode) => mode,
        Err(problem) => {
            return Outcome::Refused(Refused::new(item.0, None, &problem).to_json());
        }
    };
    match apply(call, item, mode).await {
        Ok(None) => Outcome::Done,
        Ok(Some(problem)) => Outcome::WithoutTwin(json!({
            "deviceId": subject(item.0).0,
            "warningCode": "DeviceRegisteredWithoutTwin",
            "warningStatus": problem.message(),
        })),
        Err(problem) => Outcome::Refused(Refused::new(item.0, Some(mode), &problem).to_json()),
    }
}

/// Does what an item asks for. Gives what went wrong with its twin, if its identity is registered
/// all the same.
async fn apply(call: &Call, item: Object<'_>, mode: Mode) -> Result<Option<Problem>, Problem> {
    let address = address(item)?;
    let (hub, registry) = (call.hub(), call.hub().registry());
    let etag = item.text("eTag")?.filter(|etag| !etag.is_empty()).map(IfMatch::parse);
    let needed =
        || etag.clone().ok_or_else(|| Problem::new(Code::ARGUMENT_NULL, "the item has no eTag"));
    if matches!(mode, Mode::UpdateTwin | Mode::UpdateTwinIfMatch) {
        let etag = item.text("twinETag")?.map(IfMatch::parse);
        let etag = match (mode, etag) {
            (Mode::UpdateTwinIfMatch, None) => {
                return Err(Problem::new(Code::ARGUMENT_NULL, "the item has no twinETag"));
            }
            (Mode::UpdateTwinIfMatch, Some(IfMatch::Etag(etag))) => Some(etag),
            _ => None,
        };
        call.allow(Action::WriteTwin(&address)).await?;
        write_twin(hub, &address, item, etag.as_deref()).await?;
        return Ok(None);
    }
    call.allow(Action::WriteRegistry(&address)).await?;
    if matches!(mode, Mode::Delete | Mode::DeleteIfMatch) {
        let condition = if mode == Mode::Delete { IfMatch::Any } else { needed()? };
        registry.delete(&address, Some(&condition)).await?;
        return Ok(None);
    }
    let spec = spec(address.clone(), item)?;
    match mode {
        Mode::Create => {
            registry.put(&spec, None).await?;
        }
        Mode::Update => {
            registry.put(&spec, Some(&IfMatch::Any)).await?;
        }
        Mode::UpdateIfMatch => {
            registry.put(&spec, Some(&needed()?)).await?;
        }
        _ => {
            let condition =
                if mode == Mode::CreateOrUpdate { IfMatch::Any } else { etag_or_none(etag) };
            put_or_create(hub, &spec, &condition).await?;
        }
    }
    Ok(write_twin(hub, &address, item, None).await.err())
}

/// An item that may create needs no etag for that, and without one it updates nothing.
fn etag_or_none(etag: Option<IfMatch>) -> IfMatch {
    etag.unwrap_or_else(|| IfMatch::parse(""))
}

/// Creates, and updates instead where there is one.
async fn put_or_create(
    hub: &Hub,
    spec: &hub_core::registry::IdentitySpec,
    condition: &IfMatch,
) -> Result<(), HubError> {
    let registry = hub.registry();
    // Another writer may create between the two steps, or delete; each time the other step is the
    // right one.
    for _ in 0..=hub.limits().conflict_rounds_max {
        match registry.put(spec, None).await.map_err(|error| (error.kind(), error)) {
            Ok(_) => return Ok(()),
            Err((ErrorKind::DeviceAlreadyExists | ErrorKind::ModuleAlreadyExists, _)) => {}
            Err((_, error)) => return Err(error),
        }
        match registry.put(spec, Some(condition)).await {
            Ok(_) => return Ok(()),
            Err(error) if error == HubError::not_found(&spec.address) => {}
            Err(error) => return Err(error),
        }
    }
    Err(HubError::new(ErrorKind::Busy, "others changed the same identity too often"))
}

fn address(item: Object<'_>) -> Result<Address, Problem> {
    let bad = |error: hub_core::id::IdError| Problem::argument(error.to_string());
    let device =
        item.text("id")?.ok_or_else(|| Problem::new(Code::ARGUMENT_NULL, "the item has no id"))?;
    let device = DeviceId::new(device).map_err(bad)?;
    match item.text("moduleId")?.filter(|module| !module.is_empty()) {
        None => Ok(Address::from(device)),
        Some(module) => Ok(Address::module(&device, &ModuleId::new(module).map_err(bad)?)),
    }
}

/// Writes tags and desired properties, if the item has any. Reported properties are the device's:
/// the hub takes them from nobody else.
async fn write_twin(
    hub: &Hub,
    address: &Address,
    item: Object<'_>,
    etag: Option<&str>,
) -> Result<(), Problem> {
    let tags = item.get("tags");
    let desired = item.object("properties")?.and_then(|properties| properties.get("desired"));
    if tags.is_none() && desired.is_none() {
        return Ok(());
    }
    let mut document = Map::new();
    if let Some(tags) = tags {
        document.insert("tags".to_owned(), tags.clone());
    }
    if let Some(desired) = desired {
        document.insert("properties".to_owned(), json!({ "desired": desired }));
    }
    let content = ServicePatch::from_value(&Value::Object(document), hub.limits())?;
    hub.replace_twin(address, content, etag).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(json: Value) -> Vec<Item> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn modes_are_read_in_any_case() {
        let of = |json: Value| Mode::of(Object(json.as_object().unwrap())).map_err(|p| p.code().0);
        assert_eq!(of(json!({})), Ok(Mode::CreateOrUpdate));
        assert_eq!(of(json!({"importMode": "create"})), Ok(Mode::Create));
        assert_eq!(of(json!({"ImportMode": "UpdateIfMatchETag"})), Ok(Mode::UpdateIfMatch));
        assert_eq!(of(json!({"importMode": "Delete"})), Ok(Mode::Delete));
        assert_eq!(of(json!({"importMode": "destroy"})), Err(400_004));
        assert_eq!(of(json!({"importMode": 1})), Err(400_004));
    }

    #[test]
    fn items_of_one_device_stay_in_order() {
        let items = items(json!([
            {"id": "a"}, {"id": "b"}, {"id": "a", "moduleId": "m"}, {"id": "c"},
            {"id": "b", "moduleId": "m"}
        ]));
        assert!(defined_twice(&items).is_empty());
        let places: Vec<Vec<usize>> = by_device(items)
            .iter()
            .map(|group| group.iter().map(|(at, _)| *at).collect())
            .collect();
        assert_eq!(places, [vec![0, 2], vec![1, 4], vec![3]]);
    }

    #[test]
    fn an_identity_may_stand_there_once() {
        let items = items(json!([{"id": "a"}, {"ID": "a"}, {"id": "a", "moduleId": "m"}, {}, {}]));
        assert_eq!(defined_twice(&items).len(), 2);
    }

    #[test]
    fn an_error_names_its_item() {
        let item = items(json!([{"id": "a", "moduleId": "m"}])).remove(0);
        let problem = Problem::from(HubError::new(ErrorKind::DeviceAlreadyExists, "a"));
        let want = json!({
            "deviceId": "a", "moduleId": "m", "errorCode": "DeviceAlreadyExists",
            "errorStatus": "a", "operation": "Create",
        });
        assert_eq!(Refused::new(&item, Some(Mode::Create), &problem).to_json(), want);
    }
}
