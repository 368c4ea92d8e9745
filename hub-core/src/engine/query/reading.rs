//! What has to be read of each twin for a query.

use crate::query::{ExprKind, Filter, Path, Query, Reference, Select, Source};
use crate::store::Parts;
use crate::twin::TwinPaths;

/// What is read of each twin.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// The documents.
    pub(super) parts: Parts,
    /// The values that are picked out of the twin's text. `None`: all of it is read.
    pub(super) values: Option<TwinPaths>,
}

impl Reading {
    /// For the answer to a query.
    pub(super) fn of(query: &Query) -> Self {
        let items = match &query.select {
            Select::All => return Self { parts: Parts::ALL, values: None },
            Select::Items(items) => items,
        };
        let selected = items.iter().filter_map(|item| match &item.source {
            Source::Field(path) => Some(path),
            Source::Aggregate(_, path) => path.as_ref(),
        });
        let ordered = query.order_by.iter().map(|key| &key.path);
        Self::of_paths(selected.chain(&query.group_by).chain(ordered).chain(columns(&query.filter)))
    }

    /// For the evaluation of a condition.
    pub(super) fn of_filter(filter: &Filter) -> Self {
        Self::of_paths(columns(filter))
    }

    fn of_paths<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        let (mut parts, mut in_twin) = (Parts::default(), Vec::new());
        for path in paths {
            let found = parts_of(path);
            parts = both(parts, found);
            if found.twin {
                in_twin.push(path);
            }
        }
        Self { parts, values: TwinPaths::new(in_twin) }
    }
}

/// What a condition looks at.
fn columns(filter: &Filter) -> Vec<&Path> {
    let mut paths = Vec::new();
    if let Some(expr) = filter.expr() {
        expr.visit(&mut |_, inner| {
            if let ExprKind::Reference(Reference::Column(path)) = &inner.kind {
                paths.push(path);
            }
        });
    }
    paths
}

/// What has to be read to know what a path leads to.
fn parts_of(path: &Path) -> Parts {
    let mut parts = Parts::default();
    match path.split_first().map(|(root, _)| root) {
        Some("tags" | "properties" | "version" | "etag" | "configurations") => parts.twin = true,
        Some("connectionState" | "lastActivityTime" | "modelId") => parts.session = true,
        Some("cloudToDeviceMessageCount") => parts.messages = true,
        Some(
            "deviceEtag" | "status" | "statusReason" | "statusUpdateTime" | "authenticationType"
            | "x509Thumbprint" | "capabilities" | "deviceScope" | "parentScopes",
        ) => parts.identity = true,
        // Read off the id, or nothing that a twin has.
        _ => {}
    }
    parts
}

fn both(a: Parts, b: Parts) -> Parts {
    Parts {
        twin: a.twin || b.twin,
        identity: a.identity || b.identity,
        session: a.session || b.session,
        messages: a.messages || b.messages,
    }
}
