//! The body of a message, as far as conditions can look into it.

use std::borrow::Cow;

use serde_json::Value as Json;

/// Why conditions cannot look into a body. All references to it are undefined then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BodyFault {
    /// The content type is not `application/json`.
    #[error("the content type is not application/json")]
    ContentType,
    /// The content encoding is none of `utf-8`, `utf-16` and `utf-32`.
    #[error("the content encoding is not utf-8, utf-16 or utf-32")]
    ContentEncoding,
    /// The body is not text in its encoding, or not JSON.
    #[error("the body is not JSON text in its encoding")]
    Json,
    /// The body is JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// There is no body where the condition is evaluated.
    #[error("there is no body")]
    Absent,
}

/// Parses a body for conditions.
///
/// The content type must be `application/json`, parameters after `;` are accepted; the encoding
/// `utf-8`, `utf-16` or `utf-32`, the latter two little-endian; both in whatever case. A `charset`
/// parameter counts as the encoding where there is none.
///
/// # Errors
/// [`BodyFault`] says why the body cannot be looked into.
pub fn parse_body(
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    body: &[u8],
) -> Result<Json, BodyFault> {
    let content_type = content_type.ok_or(BodyFault::ContentType)?;
    let (media, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !media.trim().eq_ignore_ascii_case("application/json") {
        return Err(BodyFault::ContentType);
    }
    let charset = || {
        parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        })
    };
    let encoding = content_encoding.map(str::trim).filter(|encoding| !encoding.is_empty());
    let encoding = encoding.or_else(charset).ok_or(BodyFault::ContentEncoding)?;
    let text = decode(encoding, body)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match serde_json::from_str(text) {
        Ok(json @ Json::Object(_)) => Ok(json),
        Ok(_) => Err(BodyFault::NotAnObject),
        Err(_) => Err(BodyFault::Json),
    }
}

fn decode<'b>(encoding: &str, body: &'b [u8]) -> Result<Cow<'b, str>, BodyFault> {
    let is = |name: &str| encoding.eq_ignore_ascii_case(name);
    if is("utf-8") || is("utf8") {
        return std::str::from_utf8(body).map(Cow::Borrowed).map_err(|_| BodyFault::Json);
    }
    let text: Option<String> = if is("utf-16") {
        let (units, rest) = body.as_chunks::<2>();
        let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
        let text = char::decode_utf16(units).collect::<Result<_, _>>().ok();
        text.filter(|_| rest.is_empty())
    } else if is("utf-32") {
        let (units, rest) = body.as_chunks::<4>();
        let text = units.iter().map(|unit| char::from_u32(u32::from_le_bytes(*unit))).collect();
        if rest.is_empty() { text } else { None }
    } else {
        return Err(BodyFault::ContentEncoding);
    };
    text.map(Cow::Owned).ok_or(BodyFault::Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_looked_into_if_it_is_json_text_of_an_object() {
        let json = Some("application/json");
        let utf16: Vec<u8> =
            "\u{feff}{\"a\":\"𝄞\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf32: Vec<u8> =
            "{\"a\":\"𝄞\"}".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        for (content_type, encoding, body, want) in [
            (json, Some("utf-8"), &b"{}"[..], None),
            (Some("Application/JSON"), Some("UTF-8"), b"\xef\xbb\xbf{}", None),
            (Some("application/json;charset=utf-8"), Some("utf-8"), b"{}", None),
            (Some("application/json; Charset=\"utf-8\""), None, b"{}", None),
            (json, Some("UTF-16"), &utf16, None),
            (json, Some("utf-32"), &utf32, None),
            (None, Some("utf-8"), b"{}", Some(BodyFault::ContentType)),
            (Some("text/plain"), Some("utf-8"), b"{}", Some(BodyFault::ContentType)),
            (Some("application/json-seq"), Some("utf-8"), b"{}", Some(BodyFault::ContentType)),
            (json, None, b"{}", Some(BodyFault::ContentEncoding)),
            (json, Some("latin1"), b"{}", Some(BodyFault::ContentEncoding)),
            (json, Some("gzip"), b"{}", Some(BodyFault::ContentEncoding)),
            (json, Some("utf-8"), b"{\"a\":\xff}", Some(BodyFault::Json)),
            (json, Some("utf-8"), b"{", Some(BodyFault::Json)),
            (json, Some("utf-8"), b"", Some(BodyFault::Json)),
            (json, Some("utf-16"), b"{}{", Some(BodyFault::Json)),
            (json, Some("utf-32"), b"{}\0\0", Some(BodyFault::Json)),
            (json, Some("utf-8"), b"[1]", Some(BodyFault::NotAnObject)),
            (json, Some("utf-8"), b"1", Some(BodyFault::NotAnObject)),
        ] {
            let got = parse_body(content_type, encoding, body).err();
            assert_eq!(got, want, "{content_type:?} {encoding:?} {body:?}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(parse_body(json, Some("utf-8"), deep.as_bytes()), Err(BodyFault::Json));
    }
}
