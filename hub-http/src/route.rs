//! The routes: one table, of which both the dispatcher and the OpenAPI description are made.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use axum::response::Response;
use http::Method;
use hub_core::security::Right;

use crate::call::Call;
use crate::problem::Problem;

/// What a handler gives.
pub(crate) type Answer = Result<Response, Problem>;

/// What a handler is: an async function over a call, in a box.
pub(crate) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The methods that routes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn is(self, method: &Method) -> bool {
        method.as_str() == self.name()
    }
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody.
    Open,
    /// The device or module that the path names.
    Device,
    /// The holder of a policy with this right.
    Service(Right),
}

/// What is demanded of the query parameter `api-version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Nothing: it may be absent.
    Optional,
    /// It must be there.
    Required,
    /// It must be there and have the form of a version. Devices are told so by a 400.
    Dated,
}

/// Whose route it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Azure IoT Hub has it.
    Azure,
    /// The hub's own, for what Azure offers over AMQP only.
    Own,
}

/// The body of a request or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// None.
    Nothing,
    /// Any bytes.
    Bytes,
    /// A JSON document of this schema.
    Json(&'static str),
    /// A JSON array of documents of this schema.
    List(&'static str),
    /// A page of events, or a live stream of them.
    Events,
}

/// A query parameter or header, for the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) place: &'static str,
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
}

/// A query parameter.
pub(crate) const fn query(name: &'static str, about: &'static str) -> Parameter {
    Parameter { place: "query", name, about }
}

/// A header.
pub(crate) const fn header(name: &'static str, about: &'static str) -> Parameter {
    Parameter { place: "header", name, about }
}

/// One route.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) verb: Verb,
    /// The path, with names in braces for the segments that vary.
    pub(crate) path: &'static str,
    /// The name of the operation.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) handler: Handler,
    pub(crate) access: Access,
    pub(crate) version: Version,
    pub(crate) origin: Origin,
    pub(crate) request: Content,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) answers: &'static [(u16, &'static str, Content)],
}

impl Route {
    /// A route of Azure's, open to everybody until [`Route::device`] or [`Route::service`] say
    /// otherwise.
    pub(crate) const fn new(
        verb: Verb,
        path: &'static str,
        name: &'static str,
        about: &'static str,
        handler: Handler,
    ) -> Self {
        Self {
            verb,
            path,
            name,
            about,
            handler,
            access: Access::Open,
            version: Version::Optional,
            origin: Origin::Azure,
            request: Content::Nothing,
            parameters: &[],
            answers: &[],
        }
    }

    /// For the device or module that the path names.
    pub(crate) const fn device(mut self) -> Self {
        self.access = Access::Device;
        self.version = Version::Dated;
        self
    }

    /// For back ends with this right.
    pub(crate) const fn service(mut self, right: Right) -> Self {
        self.access = Access::Service(right);
        self.version = Version::Required;
        self
    }

    /// With no version demanded.
    pub(crate) const fn unversioned(mut self) -> Self {
        self.version = Version::Optional;
        self
    }

    /// Not Azure's, but ours. No version is demanded.
    pub(crate) const fn own(mut self) -> Self {
        self.origin = Origin::Own;
        self.unversioned()
    }

    /// With a body.
    pub(crate) const fn takes(mut self, request: Content) -> Self {
        self.request = request;
        self
    }

    /// With query parameters and headers.
    pub(crate) const fn with(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    /// With answers besides errors.
    pub(crate) const fn gives(mut self, answers: &'static [(u16, &'static str, Content)]) -> Self {
        self.answers = answers;
        self
    }

    /// The names in the path, in order.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(variable)
    }
}

fn variable(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

enum Segment {
    /// Compared without regard to case: clients write both `deviceBound` and `devicebound`.
    Literal(&'static str),
    Variable(&'static str),
}

struct Entry {
    segments: Vec<Segment>,
    route: &'static Route,
}

/// The values of a path's variables.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<(&'static str, String)>);

impl Values {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, value)| value.as_str())
    }
}

/// What a path and a method lead to.
pub(crate) enum Found {
    Route(&'static Route, Values),
    /// The path exists, with these methods.
    OtherVerbs(String),
    Nothing,
}

/// The routes, ready to be searched: by the number of their segments, literals before variables
/// where the table has them in that order.
pub(crate) struct Table {
    by_length: Vec<Vec<Entry>>,
}

impl Table {
    pub(crate) fn new(routes: impl IntoIterator<Item = &'static Route>) -> Self {
        let mut by_length: Vec<Vec<Entry>> = Vec::new();
        for route in routes {
            let path = route.path.strip_prefix('/').unwrap_or(route.path);
            let segments: Vec<Segment> = path
                .split('/')
                .map(|text| variable(text).map_or(Segment::Literal(text), Segment::Variable))
                .collect();
            let length = segments.len();
            if by_length.len() <= length {
                by_length.resize_with(length + 1, Vec::new);
            }
            if let Some(entries) = by_length.get_mut(length) {
                entries.push(Entry { segments, route });
            }
        }
        Self { by_length }
    }

    /// Looks a request up.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let Some(segments) = crate::path::segments(path) else { return Found::Nothing };
        let Some(entries) = self.by_length.get(segments.len()) else { return Found::Nothing };
        let mut others: Vec<&str> = Vec::new();
        for entry in entries.iter().filter(|entry| entry.matches(&segments)) {
            if entry.route.verb.is(method) {
                return Found::Route(entry.route, entry.values(segments));
            }
            if !others.contains(&entry.route.verb.name()) {
                others.push(entry.route.verb.name());
            }
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherVerbs(others.join(", ")) }
    }
}

impl Entry {
    fn matches(&self, path: &[Cow<'_, str>]) -> bool {
        self.segments.iter().zip(path).all(|(segment, text)| match segment {
            Segment::Literal(literal) => literal.eq_ignore_ascii_case(text),
            Segment::Variable(_) => !text.is_empty(),
        })
    }

    fn values(&self, path: Vec<Cow<'_, str>>) -> Values {
        let values = self.segments.iter().zip(path).filter_map(|(segment, text)| match segment {
            Segment::Literal(_) => None,
            Segment::Variable(name) => Some((*name, text.into_owned())),
        });
        Values(values.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: Call) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        Box::pin(async { Err(Problem::internal("not called")) })
    }

    static ROUTES: &[Route] = &[
        Route::new(Verb::Post, "/devices/query", "query", "", nothing),
        Route::new(Verb::Get, "/devices/{deviceId}", "get", "", nothing),
        Route::new(Verb::Put, "/devices/{deviceId}", "put", "", nothing),
        Route::new(Verb::Get, "/devices/{deviceId}/messages/deviceBound", "receive", "", nothing),
    ];

    fn find(method: Method, path: &str) -> Result<(&'static str, Option<String>), String> {
        match Table::new(ROUTES).find(&method, path) {
            Found::Route(route, values) => {
                Ok((route.name, values.get("deviceId").map(str::to_owned)))
            }
            Found::OtherVerbs(verbs) => Err(verbs),
            Found::Nothing => Err(String::new()),
        }
    }

    #[test]
    fn literals_match_in_any_case_and_variables_keep_theirs() {
        let d1 = || Some("D1".to_owned());
        assert_eq!(find(Method::GET, "/Devices/D1/messages/devicebound"), Ok(("receive", d1())));
        assert_eq!(find(Method::GET, "/devices/D1/"), Ok(("get", d1())));
        assert_eq!(find(Method::GET, "/devices/query"), Ok(("get", Some("query".into()))));
        assert_eq!(find(Method::POST, "/devices/query"), Ok(("query", None)));
    }

    #[test]
    fn a_wrong_method_is_told_from_a_wrong_path() {
        assert_eq!(find(Method::DELETE, "/devices/d"), Err("GET, PUT".into()));
        assert_eq!(find(Method::GET, "/devices"), Err(String::new()));
        assert_eq!(find(Method::GET, "/devices//messages/devicebound"), Err(String::new()));
        assert_eq!(find(Method::GET, "/"), Err(String::new()));
    }
}
