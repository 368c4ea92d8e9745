//! Configurations of many devices, and contents for one.

use http::StatusCode;
use hub_core::engine::{Action, ConfigurationState};
use hub_core::id::ConfigurationId;
use hub_core::security::Right;
use serde_json::Value;

use crate::call::Call;
use crate::json::configuration::{ConfigurationJson, TrialJson, queries, spec};
use crate::json::identity::Object;
use crate::problem::Problem;
use crate::respond;
use crate::route::{Answer, Content, Parameter, Route, Verb, header, query};

const CONFIGURATION: &[(u16, &str, Content)] =
    &[(200, "The configuration.", Content::Json("Configuration"))];

const IF_MATCH: &[Parameter] = &[header(
    "If-Match",
    "The configuration's etag or `*`, quoted or not: updates. Absent: makes a new one.",
)];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Post,
        "/configurations/testQueries",
        "testConfigurationQueries",
        "Tells what is wrong with a target condition and metric queries, and where.",
        |call| Box::pin(test(call)),
    )
    .service(Right::RegistryRead)
    .takes(Content::Json("ConfigurationQueries"))
    .gives(&[(200, "What is wrong.", Content::Json("ConfigurationQueryErrors"))]),
    Route::new(
        Verb::Get,
        "/configurations",
        "listConfigurations",
        "Lists configurations, in the order of their ids.",
        |call| Box::pin(list(call)),
    )
    .service(Right::RegistryRead)
    .with(&[query("top", "How many at most; all if absent.")])
    .gives(&[(200, "The configurations.", Content::List("Configuration"))]),
    Route::new(
        Verb::Get,
        "/configurations/{configurationId}",
        "getConfiguration",
        "Reads a configuration, with what its queries come to now.",
        |call| Box::pin(get(call)),
    )
    .service(Right::RegistryRead)
    .gives(CONFIGURATION),
    Route::new(
        Verb::Put,
        "/configurations/{configurationId}",
        "putConfiguration",
        "Makes a configuration, or updates one: all but its content.",
        |call| Box::pin(put(call)),
    )
    .service(Right::RegistryWrite)
    .with(IF_MATCH)
    .takes(Content::Json("Configuration"))
    .gives(CONFIGURATION),
    Route::new(
        Verb::Delete,
        "/configurations/{configurationId}",
        "deleteConfiguration",
        "Removes a configuration. Its settings go from the twins that have them.",
        |call| Box::pin(delete(call)),
    )
    .service(Right::RegistryWrite)
    .with(&[header("If-Match", "The configuration's etag or `*`, quoted or not. Absent: any.")])
    .gives(&[(204, "It is removed.", Content::Nothing)]),
    Route::new(
        Verb::Post,
        "/devices/{deviceId}/applyConfigurationContent",
        "applyConfigurationContent",
        "Puts a content on one device: `deviceContent` on the device, `modulesContent` on the \
         modules of an edge device.",
        |call| Box::pin(apply(call)),
    )
    .service(Right::RegistryWrite)
    .takes(Content::Json("ConfigurationContent"))
    .gives(&[(204, "It is applied.", Content::Nothing)]),
];

fn id(call: &Call) -> Result<ConfigurationId, Problem> {
    ConfigurationId::new(call.value("configurationId")?)
        .map_err(|error| Problem::argument(error.to_string()))
}

async fn document(call: &mut Call) -> Result<Value, Problem> {
    // A client sends back what the hub adds: times, metrics, their queries.
    let bytes_max = call.limits().configuration_bytes_max.saturating_mul(2);
    let body = call.read_body(bytes_max).await?;
    serde_json::from_slice(&body).map_err(|error| Problem::json(&error))
}

fn answer(state: &ConfigurationState) -> Answer {
    Ok(respond::json(StatusCode::OK, &ConfigurationJson(state)))
}

async fn put(mut call: Call) -> Answer {
    let id = id(&call)?;
    let document = document(&mut call).await?;
    let spec = spec(id, Object::of(&document, "the body")?)?;
    let if_match = call.if_match()?;
    call.allow(Action::WriteConfiguration(&spec.id)).await?;
    call.hub().configurations().put(&spec, if_match.as_ref()).await?;
    answer(&call.hub().configurations().get(&spec.id).await?)
}

async fn get(call: Call) -> Answer {
    let id = id(&call)?;
    call.allow(Action::ReadConfigurations).await?;
    answer(&call.hub().configurations().get(&id).await?)
}

async fn delete(call: Call) -> Answer {
    let id = id(&call)?;
    let if_match = call.if_match()?;
    call.allow(Action::WriteConfiguration(&id)).await?;
    call.hub().configurations().delete(&id, if_match.as_ref()).await?;
    Ok(respond::no_content())
}

async fn list(call: Call) -> Answer {
    let top = call.number("top")?.map(|top| usize::try_from(top).unwrap_or(usize::MAX));
    call.allow(Action::ReadConfigurations).await?;
    let states = call.hub().configurations().list(top.filter(|top| *top > 0)).await?;
    let documents: Vec<ConfigurationJson<'_>> = states.iter().map(ConfigurationJson).collect();
    Ok(respond::json(StatusCode::OK, &documents))
}

async fn test(mut call: Call) -> Answer {
    let document = document(&mut call).await?;
    let request = Object::of(&document, "the body")?;
    let condition = request.text("targetCondition")?;
    let metrics = queries(request.object("customMetricQueries")?)?;
    call.allow(Action::ReadConfigurations).await?;
    let trial = call.hub().configurations().test_queries(condition, &metrics);
    Ok(respond::json(StatusCode::OK, &TrialJson(&trial)))
}

async fn apply(mut call: Call) -> Answer {
    let address = call.address()?;
    let content = document(&mut call).await?;
    call.allow(Action::WriteTwin(&address)).await?;
    call.hub().configurations().apply_content(&address.device_id(), &content).await?;
    Ok(respond::no_content())
}
