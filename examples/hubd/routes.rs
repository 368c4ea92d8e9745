//! Routes and endpoints from a file.
//!
//! The file is a JSON array of routes, `{"name","source","condition","endpoint","enabled"}`, or an
//! object with `routes`, `endpoints`, `enrichments` and `fallbackRoute`. `docs/routing.md` describes
//! it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use hub_core::HubBuilder;
use hub_core::envelope::EventSource;
use hub_core::route::{BUILT_IN, EnrichmentSpec, FallbackSpec, RouteSpec};
use hub_endpoint_file::{FileEndpoint, Pattern};
use hub_endpoint_http::{HttpEndpoint, HttpEndpointConfig};
use hub_endpoint_nats::{NatsEndpoint, NatsEndpointConfig};
use serde::Deserialize;

use crate::args::Args;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct All {
    routes: Vec<Route>,
    endpoints: Vec<Endpoint>,
    enrichments: Vec<Enrichment>,
    fallback_route: Option<Fallback>,
}

fn yes() -> bool {
    true
}

fn always() -> String {
    "true".to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Route {
    name: String,
    source: String,
    #[serde(default = "always")]
    condition: String,
    #[serde(deserialize_with = "endpoint", alias = "endpointNames")]
    endpoint: String,
    #[serde(default = "yes", alias = "isEnabled")]
    enabled: bool,
}

/// A name, or as Azure writes it a list of one name.
fn endpoint<'d, D: serde::Deserializer<'d>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        List([String; 1]),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) | Names::List([name]) => name,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fallback {
    #[serde(default = "always")]
    condition: String,
    #[serde(default = "built_in")]
    endpoint: String,
    #[serde(default = "yes", alias = "isEnabled")]
    enabled: bool,
}

fn built_in() -> String {
    BUILT_IN.to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Enrichment {
    key: String,
    value: String,
    #[serde(alias = "endpoints")]
    endpoint_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Endpoint {
    Http {
        name: String,
        url: String,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        authorities: Option<PathBuf>,
    },
    File {
        name: String,
        directory: PathBuf,
        #[serde(default)]
        pattern: Option<String>,
    },
    Nats {
        name: String,
        address: String,
        subject: String,
        #[serde(default)]
        token: Option<String>,
    },
}

/// Sets up the routes that the command line asks for.
pub(crate) fn set_up(args: &Args, hub: HubBuilder) -> Result<HubBuilder, Box<dyn Error>> {
    let mut hub = hub;
    if let Some(path) = &args.routes {
        hub = read(path, hub).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let sources = args.event_sources.iter().map(|source| source.0);
    Ok(sources.fold(hub, HubBuilder::event_source))
}

fn read(path: &Path, mut hub: HubBuilder) -> Result<HubBuilder, Box<dyn Error>> {
    let all = parse(&fs::read(path)?)?;
    for endpoint in all.endpoints {
        hub = define(endpoint, hub)?;
    }
    for route in all.routes {
        let source = EventSource::from_name(&route.source)
            .ok_or_else(|| format!("route {}: no source {}", route.name, route.source))?;
        let spec = RouteSpec::new(&route.name, source, &route.condition, &route.endpoint);
        hub = hub.routes([if route.enabled { spec } else { spec.disabled() }]);
    }
    for enrichment in &all.enrichments {
        let to = enrichment.endpoint_names.iter().map(String::as_str);
        hub = hub.enrichment(EnrichmentSpec::new(&enrichment.key, &enrichment.value, to));
    }
    if let Some(fallback) = all.fallback_route {
        let mut spec = FallbackSpec::to(&fallback.endpoint);
        spec.condition = fallback.condition;
        spec.enabled = fallback.enabled;
        hub = hub.fallback_route(spec);
    }
    Ok(hub)
}

fn define(endpoint: Endpoint, hub: HubBuilder) -> Result<HubBuilder, Box<dyn Error>> {
    let wrong = |name: &str, error: &dyn Error| format!("endpoint {name}: {error}");
    Ok(match endpoint {
        Endpoint::Http { name, url, headers, authorities } => {
            let mut config = HttpEndpointConfig::new(&url);
            for (header, value) in &headers {
                config = config.header(header, value);
            }
            if let Some(path) = authorities {
                let pem = fs::read(&path).map_err(|error| wrong(&name, &error))?;
                config = config.authorities(&pem);
            }
            let endpoint = HttpEndpoint::new(config).map_err(|error| wrong(&name, &error))?;
            hub.endpoint(&name, endpoint)
        }
        Endpoint::File { name, directory, pattern } => {
            let pattern = match pattern {
                Some(text) => text.parse().map_err(|error| wrong(&name, &error))?,
                None => Pattern::default(),
            };
            hub.endpoint(&name, FileEndpoint::new(directory, pattern))
        }
        Endpoint::Nats { name, address, subject, token } => {
            let mut config = NatsEndpointConfig::new(&address, &subject);
            if let Some(token) = &token {
                config = config.token(token);
            }
            let endpoint = NatsEndpoint::new(config).map_err(|error| wrong(&name, &error))?;
            hub.endpoint(&name, endpoint)
        }
    })
}

fn parse(text: &[u8]) -> Result<All, serde_json::Error> {
    // By what it begins with: an error of the wrong one of two forms would say nothing.
    if text.trim_ascii_start().starts_with(b"[") {
        Ok(All { routes: serde_json::from_slice(text)?, ..All::default() })
    } else {
        serde_json::from_slice(text)
    }
}
