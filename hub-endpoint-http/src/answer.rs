//! What an answer means, and what it means that there is none.

use std::error::Error;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use hub_core::endpoint::{Failure, FailureKind};
use hyper_util::client::legacy;

/// What a status means. The table is the crate's documentation.
pub(crate) fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let kind = match status.as_u16() {
        401 | 403 | 407 => FailureKind::Unauthorized,
        408 => FailureKind::Timeout,
        413 => FailureKind::TooLarge,
        422 => FailureKind::Refused,
        429 => FailureKind::Throttled,
        500.. => FailureKind::Transient,
        _ => FailureKind::InvalidAnswer,
    };
    debug_assert_eq!(super::is_about_the_body(status), kind.is_of_one_event());
    let word = if status.is_redirection() { "a redirect, which is not followed: " } else { "" };
    let mut failure = Failure::new(kind, format!("{word}status {}", status.as_u16()));
    if matches!(kind, FailureKind::Throttled | FailureKind::Transient) {
        failure.retry_after = retry_after(headers);
    }
    Err(failure)
}

/// How many seconds a server wants to be left alone. A date, which it may say as well, is not read:
/// clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Why there was no answer.
pub(crate) fn no_answer(error: &legacy::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(found) = cause {
        if let Some(tls) = tls_error(found) {
            let message = format!("the server's certificate is not accepted: {tls}");
            return Failure::new(FailureKind::Unauthorized, message);
        }
        if let Some(hyper) = found.downcast_ref::<hyper::Error>()
            && (hyper.is_parse() || hyper.is_parse_status())
        {
            return Failure::new(FailureKind::InvalidAnswer, "what came is no HTTP answer");
        }
        last = found.to_string();
        cause = found.source();
    }
    let what = if error.is_connect() { "cannot connect" } else { "the connection broke" };
    Failure::new(FailureKind::Transient, format!("{what}: {last}"))
}

/// The refusal of a certificate, which comes wrapped in I/O errors. Their `source` passes over what
/// they wrap.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return tls_error(io.get_ref()?);
    }
    let found = error.downcast_ref::<rustls::Error>()?;
    matches!(found, rustls::Error::InvalidCertificate(_)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, retry: &str) -> Option<(FailureKind, Option<Duration>)> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().unwrap());
        let failure = judge(StatusCode::from_u16(status).unwrap(), &headers).err()?;
        Some((failure.kind, failure.retry_after))
    }

    #[test]
    fn each_status_has_its_meaning() {
        use FailureKind::{
            InvalidAnswer, Refused, Throttled, Timeout, TooLarge, Transient, Unauthorized,
        };
        let seven = Some(Duration::from_secs(7));
        for (status, want) in [
            (200, None),
            (204, None),
            (301, Some((InvalidAnswer, None))),
            (307, Some((InvalidAnswer, None))),
            (400, Some((InvalidAnswer, None))),
            (401, Some((Unauthorized, None))),
            (403, Some((Unauthorized, None))),
            (404, Some((InvalidAnswer, None))),
            (408, Some((Timeout, None))),
            (413, Some((TooLarge, None))),
            (422, Some((Refused, None))),
            (429, Some((Throttled, seven))),
            (500, Some((Transient, seven))),
            (503, Some((Transient, seven))),
            (599, Some((Transient, seven))),
        ] {
            assert_eq!(kind(status, "7"), want, "{status}");
        }
        for garbage in ["", "soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(kind(429, garbage), Some((Throttled, None)), "{garbage}");
        }
    }
}
