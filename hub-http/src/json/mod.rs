//! The JSON documents of the routes.

pub(crate) mod configuration;
pub(crate) mod event;
pub(crate) mod identity;
pub(crate) mod job;
pub(crate) mod twin;

use bytes::BufMut;
use serde::Serialize;

/// The content type of every JSON answer. The Node SDK parses a body only under this name.
pub(crate) const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// Appends a JSON string.
pub(crate) fn text(out: &mut impl BufMut, text: &str) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out.writer(), text);
}

/// A document as text.
pub(crate) fn document(document: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    // Names are strings and numbers are finite, so there is nothing that JSON could not say.
    let written = serde_json::to_writer(&mut out, document);
    debug_assert!(written.is_ok(), "{written:?}");
    out
}
