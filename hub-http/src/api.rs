//! From a request to its handler: route, version, who asks, and what they may.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::request::Parts;
use hub_core::Hub;
use hub_core::transport::{Peer, StreamHandler};

use crate::call::{self, Call, Caller, drain};
use crate::path::Query;
use crate::problem::{Code, Problem};
use crate::route::{Access, Answer, Found, Route, Table, Values, Version};
use crate::server::Arrival;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// How the routes are served.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Longest time from the end of a request's head to the end of its body.
    pub(crate) body_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { body_timeout: Duration::from_secs(60) }
    }
}

/// The routes of one hub.
pub(crate) struct Api {
    pub(crate) hub: Hub,
    pub(crate) settings: Settings,
    pub(crate) sockets: Vec<Arc<dyn StreamHandler>>,
    /// The application's own routes, tried where the hub has none.
    pub(crate) others: Option<axum::Router>,
    pub(crate) operations: bool,
    table: Table,
    requests: RequestIds,
    pub(crate) counters: Counters,
}

/// How many requests were answered, by the first digit of the status.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; 5]);

impl Counters {
    fn count(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.0.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// First digits and counts.
    pub(crate) fn read(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().enumerate().map(|(at, count)| (at + 1, count.load(Ordering::Relaxed)))
    }
}

/// Names requests: a random beginning per process, and a count.
struct RequestIds {
    prefix: u64,
    last: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        let mut bytes = [0_u8; 8];
        // Without randomness ids are still unique within this process.
        let _ = getrandom::fill(&mut bytes);
        Self { prefix: u64::from_le_bytes(bytes), last: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        let count = self.last.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}{count:016x}", self.prefix)
    }
}

impl Api {
    pub(crate) fn new(hub: Hub) -> Self {
        Self {
            hub,
            settings: Settings::default(),
            sockets: Vec::new(),
            others: None,
            operations: false,
            table: Table::new(crate::routes()),
            requests: RequestIds::new(),
            counters: Counters::default(),
        }
    }

    /// Answers a request.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request,
        arrival: Option<Arrival>,
    ) -> Response {
        let id = self.requests.next();
        let mut response = match self.clone().answer(request, arrival).await {
            Ok(response) => response,
            Err(problem) => {
                if problem.code().status().is_server_error() {
                    tracing::debug!(request = id, code = problem.code().0, "a request failed");
                }
                problem.into_response(&id, self.hub.now())
            }
        };
        self.counters.count(response.status());
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    async fn answer(self: Arc<Self>, request: Request, arrival: Option<Arrival>) -> Answer {
        let (route, values) = match self.table.find(request.method(), request.uri().path()) {
            Found::Route(route, values) => (route, values),
            found => return self.elsewhere(request, &found).await,
        };
        let (parts, mut body) = request.into_parts();
        match self.admit(route, &parts, &values, arrival.as_ref()).await {
            Ok(caller) => {
                let call =
                    Call { api: self, parts, values, caller, body: Mutex::new(body), arrival };
                (route.handler)(call).await
            }
            Err(problem) => {
                let announced = parts
                    .headers
                    .get(CONTENT_LENGTH)
                    .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
                if !http_body::Body::is_end_stream(&body) {
                    let drained = drain(&mut body, announced);
                    let _ = tokio::time::timeout(Duration::from_secs(5), drained).await;
                }
                Err(problem)
            }
        }
    }

    /// No route of the hub: the application's own, the operator's, or an error.
    async fn elsewhere(&self, request: Request, found: &Found) -> Answer {
        if self.operations
            && let Some(response) = crate::operations::answer(self, &request)
        {
            return Ok(response);
        }
        if let Found::OtherVerbs(verbs) = found {
            let problem = Problem::new(Code::METHOD_NOT_ALLOWED, "the path has other methods");
            return Err(problem.allow(verbs));
        }
        match &self.others {
            Some(router) => {
                let mut router = router.clone();
                let Ok(response) =
                    tower_service::Service::<Request<Body>>::call(&mut router, request).await;
                Ok(response)
            }
            None => Err(Problem::new(Code::NOT_FOUND, "there is no such path")),
        }
    }

    /// Checks version, credentials and rights, in this order.
    async fn admit(
        &self,
        route: &Route,
        parts: &Parts,
        values: &Values,
        arrival: Option<&Arrival>,
    ) -> Result<Caller, Problem> {
        check_version(route.version, Query(parts.uri.query().unwrap_or("")))?;
        let peer =
            arrival.map(|arrival| &arrival.seat.peer).or_else(|| parts.extensions.get::<Peer>());
        match route.access {
            Access::Open => Ok(Caller::Anyone),
            Access::Device => {
                let address = call::address(values)?;
                let grant = crate::auth::device(&self.hub, parts, &address, peer).await?;
                Ok(Caller::Device(address, grant))
            }
            Access::Service(right) => {
                let principal = crate::auth::service(&self.hub, parts).await?;
                // A slash within a segment would stand for another path than the one asked for.
                if values.iter().any(|value| value.contains('/')) {
                    return Err(Problem::argument("a segment of the path contains a slash"));
                }
                crate::auth::check(&principal, right, &hub_path(route, values))?;
                Ok(Caller::Service(principal))
            }
        }
    }
}

/// The path as rights are checked on: with the route's literals, and the values in their places.
fn hub_path(route: &Route, values: &Values) -> String {
    let mut path = String::with_capacity(64);
    let mut values = values.iter();
    for segment in route.path.split('/').filter(|segment| !segment.is_empty()) {
        if !path.is_empty() {
            path.push('/');
        }
        match segment.starts_with('{') {
            true => path.push_str(values.next().unwrap_or("")),
            false => path.push_str(segment),
        }
    }
    path
}

fn check_version(version: Version, query: Query<'_>) -> Result<(), Problem> {
    let given = query.get("api-version");
    let given = given.as_deref().filter(|given| !given.is_empty());
    match (version, given) {
        (Version::Optional, _) | (Version::Required, Some(_)) => Ok(()),
        (Version::Dated, Some(given)) if is_dated(given) => Ok(()),
        (_, None) => Err(Problem::new(Code::VERSION, "the query has no api-version")),
        (_, Some(_)) => Err(Problem::new(Code::VERSION, "the api-version is none")),
    }
}

/// `2021-04-12`, or with a word behind it: `2017-11-08-preview`.
fn is_dated(version: &str) -> bool {
    let shape = b"dddd-dd-dd";
    let (date, rest) = version.as_bytes().split_at(version.len().min(shape.len()));
    let dated = date.len() == shape.len()
        && date.iter().zip(shape).all(|(byte, kind)| match kind {
            b'd' => byte.is_ascii_digit(),
            kind => byte == kind,
        });
    let word = rest.is_empty()
        || rest.len() > 1
            && rest.len() < 20
            && rest.first() == Some(&b'-')
            && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    dated && word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_dates() {
        for good in ["2016-11-14", "2021-04-12", "2017-11-08-preview", "2099-01-01"] {
            assert!(is_dated(good), "{good}");
        }
        for bad in
            ["", "1", "2021-04", "2021-04-12x", "2021-04-12-", "20210412", "latest", "é021-04-1"]
        {
            assert!(!is_dated(bad), "{bad}");
        }
    }

    #[test]
    fn a_version_is_demanded_where_the_route_says_so() {
        let check = |version, query| check_version(version, Query(query)).map_err(|p| p.code().0);
        assert_eq!(check(Version::Optional, ""), Ok(()));
        assert_eq!(check(Version::Required, "api-version=whatever"), Ok(()));
        assert_eq!(check(Version::Required, "top=1"), Err(400_001));
        assert_eq!(check(Version::Required, "api-version="), Err(400_001));
        assert_eq!(check(Version::Dated, "API-version=2020-03-13"), Ok(()));
        assert_eq!(check(Version::Dated, "api-version=whatever"), Err(400_001));
    }

    #[test]
    fn ids_of_requests_differ() {
        let ids = RequestIds::new();
        let (one, two) = (ids.next(), ids.next());
        assert!(one != two && one.len() == 32, "{one} {two}");
    }
}
