//! Errors as HTTP answers: status, number, name and body of each refusal.
//!
//! A number's first three digits are the status. Its name stands in the header
//! `iothub-errorcode`, and in the classic body `{"Message":"ErrorCode:Name;text",…}`, which is the
//! only one that the Node SDK reads. Direct methods have the newer body, JSON in a string.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hub_core::bulk::RecordError;
use hub_core::error::{ErrorKind, HubError};
use hub_core::hello::Refusal;
use hub_core::time::Timestamp;

/// The header that names an error.
pub(crate) const ERROR_CODE: HeaderName = HeaderName::from_static("iothub-errorcode");

/// What kind of error: its number and its name in Azure's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u32, pub(crate) &'static str);

impl Code {
    pub(crate) const VERSION: Self = Self(400_001, "InvalidProtocolVersion");
    pub(crate) const ARGUMENT: Self = Self(400_004, "ArgumentInvalid");
    pub(crate) const ARGUMENT_NULL: Self = Self(400_005, "ArgumentNull");
    pub(crate) const DUPLICATE_DEVICE: Self = Self(400_011, "DeviceDefinedMultipleTimes");
    pub(crate) const UPLOAD_STATUS: Self = Self(400_019, "InvalidFileUploadCompletionStatus");
    pub(crate) const UNAUTHORIZED: Self = Self(401_002, "IotHubUnauthorizedAccess");
    pub(crate) const FORBIDDEN: Self = Self(403_000, "GenericForbidden");
    pub(crate) const DEVICE_DISABLED: Self = Self(403_012, "DeviceDisabled");
    pub(crate) const NOT_FOUND: Self = Self(404_000, "GenericNotFound");
    pub(crate) const DEVICE_NOT_FOUND: Self = Self(404_001, "DeviceNotFound");
    pub(crate) const MODULE_NOT_FOUND: Self = Self(404_010, "ModuleNotFound");
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self(405_000, "GenericMethodNotAllowed");
    pub(crate) const REQUEST_TIMEOUT: Self = Self(408_000, "RequestTimedOut");
    pub(crate) const TOO_LARGE: Self = Self(413_001, "MessageTooLarge");
    pub(crate) const UPGRADE_REQUIRED: Self = Self(426_000, "UpgradeRequired");
    pub(crate) const UNAVAILABLE: Self = Self(503_001, "ServiceUnavailable");
    pub(crate) const INTERNAL: Self = Self(500_001, "ServerError");

    /// The code of a refusal of the hub.
    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ArgumentInvalid => Self::ARGUMENT,
            ErrorKind::DeviceNotFound => Self::DEVICE_NOT_FOUND,
            ErrorKind::ModuleNotFound => Self::MODULE_NOT_FOUND,
            ErrorKind::DeviceAlreadyExists => Self(409_001, "DeviceAlreadyExists"),
            ErrorKind::ModuleAlreadyExists => Self(409_301, "ModuleAlreadyExistsOnDevice"),
            ErrorKind::DeviceDisabled => Self::DEVICE_DISABLED,
            ErrorKind::PreconditionFailed => Self(412_001, "PreconditionFailed"),
            ErrorKind::MessageLockLost => Self(412_002, "DeviceMessageLockLost"),
            ErrorKind::QueueFull => Self(403_004, "DeviceMaximumQueueDepthExceeded"),
            ErrorKind::InvalidExpiry => Self(403_009, "InvalidMessageExpiryTime"),
            ErrorKind::TooLarge | ErrorKind::TwinTooLarge => Self::TOO_LARGE,
            ErrorKind::TooManyModules => Self(413_003, "TooManyModulesOnDevice"),
            ErrorKind::DeviceNotOnline => Self(404_103, "DeviceNotOnline"),
            ErrorKind::MethodTimeout => Self(504_101, "GatewayTimeout"),
            ErrorKind::DeviceDisconnected => Self(404_104, "DeviceConnectionClosedRemotely"),
            ErrorKind::BadDeviceResponse => Self(502_000, "GenericBadGateway"),
            ErrorKind::TooManyMethods => Self(403_800, "DeviceMaximumInflightMethodExceeded"),
            ErrorKind::NoBlobStore => Self(400_014, "DefaultStorageEndpointNotConfigured"),
            ErrorKind::UploadNotFound => Self(400_015, "InvalidFileUploadCorrelationId"),
            ErrorKind::UploadExpired => Self(400_016, "ExpiredFileUploadCorrelationId"),
            ErrorKind::BlobStoreRefused => Self(400_017, "InvalidStorageEndpoint"),
            ErrorKind::BlobNotFound => Self(400_020, "InvalidStorageEndpointOrBlob"),
            ErrorKind::TooManyUploads => {
                Self(403_006, "DeviceMaximumActiveFileUploadLimitExceeded")
            }
            ErrorKind::JobNotFound => Self(404_002, "JobNotFound"),
            // Ours: Azure keeps neither.
            ErrorKind::DeadLetterNotFound => Self(404_900, "DeadLetterNotFound"),
            ErrorKind::TwinVersionNotFound => Self(404_901, "TwinVersionNotFound"),
            ErrorKind::JobAlreadyExists => Self(409_104, "JobAlreadyExists"),
            ErrorKind::TooManyJobs => Self(429_004, "ThrottlingMaxActiveJobCountExceeded"),
            ErrorKind::ConfigurationNotFound => Self(404_301, "ConfigurationNotFound"),
            ErrorKind::ConfigurationAlreadyExists => Self(409_401, "ConfigurationAlreadyExists"),
            ErrorKind::TooManyConfigurations => Self(413_101, "ConfigurationCountLimitExceeded"),
            ErrorKind::ConfigurationTargetInvalid => {
                Self(400_401, "InvalidConfigurationTargetCondition")
            }
            ErrorKind::ConfigurationContentInvalid => Self(400_402, "InvalidConfigurationContent"),
            ErrorKind::ConfigurationContentImmutable => {
                Self(400_403, "CannotModifyImmutableConfigurationContent")
            }
            ErrorKind::ConfigurationMetricInvalid => {
                Self(400_404, "InvalidConfigurationCustomMetricsQuery")
            }
            ErrorKind::DigitalTwinPatchInvalid => Self(400_505, "InvalidDigitalTwinJsonPatch"),
            ErrorKind::DigitalTwinValueInvalid => Self(400_506, "InvalidDigitalTwinPayload"),
            ErrorKind::DigitalTwinPathInvalid => Self(400_508, "InvalidDigitalTwinPatchPath"),
            ErrorKind::RegistryJobActive => Self(403_003, "JobQuotaExceeded"),
            ErrorKind::BlobFolderInvalid => Self(400_008, "BlobContainerValidationError"),
            ErrorKind::NoSuchPartition => Self::NOT_FOUND,
            ErrorKind::Unauthorized => Self::UNAUTHORIZED,
            ErrorKind::Forbidden => Self::FORBIDDEN,
            ErrorKind::Busy => Self(503_005, "ServerBusy"),
            ErrorKind::Throttled => Self(429_001, "ThrottlingException"),
            ErrorKind::QuotaExceeded => Self(403_002, "IotHubQuotaExceeded"),
            ErrorKind::Unavailable => Self::UNAVAILABLE,
            // `Internal`, and kinds that are younger than this table.
            _ => Self::INTERNAL,
        }
    }

    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        u16::try_from(self.0 / 1000)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The form of an error's body.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Classic,
    /// JSON in a string, with the time-out that the caller asked for, if it matters.
    Nested(Option<u64>),
}

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    code: Code,
    message: Cow<'static, str>,
    shape: Shape,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let mut problem =
            Self { code, message: message.into(), shape: Shape::Classic, headers: Vec::new() };
        if matches!(code.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        {
            // What waits for the store is gone within a second, or for longer than a client waits.
            problem.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
        }
        problem
    }

    pub(crate) fn argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::ARGUMENT, message)
    }

    pub(crate) fn internal(message: &'static str) -> Self {
        Self::new(Code::INTERNAL, message)
    }

    /// A document that is not JSON of the expected form.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        Self::argument(format!("the body is not the JSON expected: {error}"))
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// With the newer body. `timeout` is how many seconds the caller was ready to wait.
    pub(crate) fn nested(mut self, timeout: Option<u64>) -> Self {
        self.shape = Shape::Nested(timeout);
        self
    }

    /// With a list of the methods that the path has.
    pub(crate) fn allow(mut self, methods: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(methods) {
            self.headers.push((ALLOW, value));
        }
        self
    }

    /// With the time after which it may be tried again: in whole seconds, and at least one.
    fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        self.headers.retain(|(name, _)| *name != RETRY_AFTER);
        if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
            self.headers.push((RETRY_AFTER, value));
        }
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// After this answer the connection ends: the rest of the request was not read.
    pub(crate) fn closing(self) -> Self {
        self.with_header(CONNECTION, "close")
    }

    pub(crate) fn into_response(self, request: &str, now: Timestamp) -> Response {
        let mut body = Vec::with_capacity(256);
        self.write_body(&mut body, request, now);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert(ERROR_CODE, HeaderValue::from_static(self.code.1));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(crate::json::CONTENT_TYPE));
        response
    }

    fn write_body(&self, out: &mut Vec<u8>, request: &str, now: Timestamp) {
        let stamp = now.to_string();
        let (message, exception) = match self.shape {
            Shape::Classic => {
                // `2024-01-02T03:04:05.…` to `01/02/2024 03:04:05`, as the service writes it here.
                let part = |from: usize, to: usize| stamp.get(from..to).unwrap_or("");
                let exception = format!(
                    "Tracking ID:{request}-G:0-TimeStamp:{}/{}/{} {}",
                    part(5, 7),
                    part(8, 10),
                    part(0, 4),
                    part(11, 19)
                );
                (format!("ErrorCode:{};{}", self.code.1, self.message), exception)
            }
            Shape::Nested(timeout) => {
                let info = match timeout {
                    Some(seconds) => serde_json::json!({ "timeout": clock(seconds) }),
                    None => serde_json::json!({}),
                };
                let inner = serde_json::json!({
                    "errorCode": self.code.0,
                    "trackingId": format!("{request}-TimeStamp:{stamp}"),
                    "message": self.message,
                    "info": info,
                    "timestampUtc": stamp,
                });
                (inner.to_string(), String::new())
            }
        };
        out.extend_from_slice(b"{\"Message\":");
        crate::json::text(out, &message);
        out.extend_from_slice(b",\"ExceptionMessage\":");
        crate::json::text(out, &exception);
        out.push(b'}');
    }
}

/// Seconds as `hh:mm:ss`.
fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

impl From<HubError> for Problem {
    fn from(error: HubError) -> Self {
        let message = error.message().to_owned();
        let problem = Self::new(Code::of(error.kind()), message);
        match error.retry_after() {
            Some(wait) => problem.retry_after(wait),
            None => problem,
        }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        let code = match &error {
            RecordError::Missing(_) => Code::ARGUMENT_NULL,
            RecordError::TooLong(_) => Code::TOO_LARGE,
            _ => Code::ARGUMENT,
        };
        Self::new(code, error.to_string())
    }
}

impl From<hub_core::twin::TwinError> for Problem {
    fn from(error: hub_core::twin::TwinError) -> Self {
        HubError::from(error).into()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthorized(why) => Self::new(Code::UNAUTHORIZED, why),
            Refusal::Unknown(address) => HubError::not_found(&address).into(),
            Refusal::Disabled(address) => Self::new(Code::DEVICE_DISABLED, address.to_string()),
            Refusal::Malformed(why) => Self::argument(why),
            Refusal::Denied => Self::new(Code::FORBIDDEN, "denied by the application"),
            Refusal::Throttled(wait) => {
                let error = HubError::new(ErrorKind::Throttled, "too many connections come");
                error.with_retry_after(wait).into()
            }
            Refusal::Unavailable(why) => Self::new(Code::UNAVAILABLE, why),
            // A kind that is younger than this table.
            _ => Self::new(Code::UNAUTHORIZED, "not admitted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use hub_core::id::Address;

    const NOW: Timestamp = Timestamp::from_millis(1_530_635_398_000);

    async fn body(problem: Problem) -> (StatusCode, HeaderMap, serde_json::Value) {
        let response = problem.into_response("ab12", NOW);
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 10_000).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn the_classic_body_is_what_the_node_sdk_takes_apart() {
        let missing = HubError::not_found(&Address::parse("thermo-7").unwrap());
        let (status, headers, body) = body(missing.into()).await;
        assert_eq!(status, 404);
        assert_eq!(headers[ERROR_CODE], "DeviceNotFound");
        assert_eq!(headers[CONTENT_TYPE], "application/json; charset=utf-8");
        let want = serde_json::json!({
            "Message": "ErrorCode:DeviceNotFound;thermo-7",
            "ExceptionMessage": "Tracking ID:ab12-G:0-TimeStamp:07/03/2018 16:29:58",
        });
        assert_eq!(body, want);
    }

    #[tokio::test]
    async fn the_nested_body_is_json_in_a_string() {
        let error = HubError::new(ErrorKind::DeviceNotOnline, "Not \"there\".");
        let (status, headers, body) = body(Problem::from(error).nested(Some(65))).await;
        assert_eq!(
            (status.as_u16(), &headers[ERROR_CODE]),
            (404, &"DeviceNotOnline".parse().unwrap())
        );
        assert_eq!(body["ExceptionMessage"], "");
        let inner: serde_json::Value =
            serde_json::from_str(body["Message"].as_str().unwrap()).unwrap();
        assert_eq!(inner["errorCode"], 404_103);
        assert_eq!(inner["message"], "Not \"there\".");
        assert_eq!(inner["info"]["timeout"], "00:01:05");
        assert_eq!(inner["timestampUtc"], "2018-07-03T16:29:58.0000000Z");
    }

    #[test]
    fn every_kind_has_a_status_that_its_number_begins_with() {
        for (kind, status) in [
            (ErrorKind::ArgumentInvalid, 400),
            (ErrorKind::DeviceNotFound, 404),
            (ErrorKind::ModuleNotFound, 404),
            (ErrorKind::DeviceAlreadyExists, 409),
            (ErrorKind::ModuleAlreadyExists, 409),
            (ErrorKind::DeviceDisabled, 403),
            (ErrorKind::PreconditionFailed, 412),
            (ErrorKind::MessageLockLost, 412),
            (ErrorKind::QueueFull, 403),
            (ErrorKind::InvalidExpiry, 403),
            (ErrorKind::TooLarge, 413),
            (ErrorKind::TwinTooLarge, 413),
            (ErrorKind::TooManyModules, 413),
            (ErrorKind::DeviceNotOnline, 404),
            (ErrorKind::MethodTimeout, 504),
            (ErrorKind::DeviceDisconnected, 404),
            (ErrorKind::BadDeviceResponse, 502),
            (ErrorKind::TooManyMethods, 403),
            (ErrorKind::NoBlobStore, 400),
            (ErrorKind::UploadNotFound, 400),
            (ErrorKind::UploadExpired, 400),
            (ErrorKind::BlobStoreRefused, 400),
            (ErrorKind::BlobNotFound, 400),
            (ErrorKind::TooManyUploads, 403),
            (ErrorKind::JobNotFound, 404),
            (ErrorKind::DeadLetterNotFound, 404),
            (ErrorKind::TwinVersionNotFound, 404),
            (ErrorKind::JobAlreadyExists, 409),
            (ErrorKind::TooManyJobs, 429),
            (ErrorKind::ConfigurationNotFound, 404),
            (ErrorKind::ConfigurationAlreadyExists, 409),
            (ErrorKind::TooManyConfigurations, 413),
            (ErrorKind::ConfigurationTargetInvalid, 400),
            (ErrorKind::ConfigurationContentInvalid, 400),
            (ErrorKind::ConfigurationContentImmutable, 400),
            (ErrorKind::ConfigurationMetricInvalid, 400),
            (ErrorKind::DigitalTwinPatchInvalid, 400),
            (ErrorKind::DigitalTwinValueInvalid, 400),
            (ErrorKind::DigitalTwinPathInvalid, 400),
            (ErrorKind::RegistryJobActive, 403),
            (ErrorKind::BlobFolderInvalid, 400),
            (ErrorKind::NoSuchPartition, 404),
            (ErrorKind::Unauthorized, 401),
            (ErrorKind::Forbidden, 403),
            (ErrorKind::Busy, 503),
            (ErrorKind::Throttled, 429),
            (ErrorKind::QuotaExceeded, 403),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::Internal, 500),
        ] {
            assert_eq!(Code::of(kind).status().as_u16(), status, "{kind:?}");
            let problem = Problem::from(HubError::new(kind, ""));
            let retry = problem.headers.iter().any(|(name, _)| *name == RETRY_AFTER);
            assert_eq!(retry, matches!(status, 429 | 503), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_by_quotas_says_when_to_come_again() {
        for (wait, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (90_000, "90")] {
            let error = HubError::new(ErrorKind::Throttled, "The request has been throttled.");
            let error = error.with_retry_after(Duration::from_millis(wait));
            let (status, headers, body) = body(error.into()).await;
            assert_eq!(
                (status.as_u16(), &headers[ERROR_CODE]),
                (429, &"ThrottlingException".parse().unwrap())
            );
            assert_eq!(headers.get_all(RETRY_AFTER).iter().collect::<Vec<_>>(), [seconds]);
            assert_eq!(
                body["Message"],
                "ErrorCode:ThrottlingException;The request has been throttled."
            );
        }
        let day =
            HubError::new(ErrorKind::QuotaExceeded, "x").with_retry_after(Duration::from_secs(7));
        let (status, headers, _) = body(day.into()).await;
        assert_eq!(
            (status.as_u16(), &headers[ERROR_CODE]),
            (403, &"IotHubQuotaExceeded".parse().unwrap())
        );
        assert_eq!(headers[RETRY_AFTER], "7");
    }

    #[test]
    fn the_log_of_an_import_has_the_same_numbers() {
        for kind in [
            ErrorKind::ArgumentInvalid,
            ErrorKind::DeviceNotFound,
            ErrorKind::ModuleNotFound,
            ErrorKind::DeviceAlreadyExists,
            ErrorKind::ModuleAlreadyExists,
            ErrorKind::PreconditionFailed,
            ErrorKind::TwinTooLarge,
            ErrorKind::TooManyModules,
            ErrorKind::Forbidden,
            ErrorKind::Busy,
            ErrorKind::Throttled,
            ErrorKind::Unavailable,
            ErrorKind::Internal,
        ] {
            assert_eq!(hub_core::bulk::number_of(kind), Code::of(kind).0, "{kind:?}");
        }
        for error in
            [RecordError::Missing("id"), RecordError::invalid("why"), RecordError::TooLong(1)]
        {
            assert_eq!(error.number(), Problem::from(error.clone()).code().0, "{error:?}");
        }
    }

    #[test]
    fn a_disabled_device_is_told_apart_from_a_missing_one() {
        let d1 = Address::parse("d1").unwrap();
        let status = |refusal: Refusal| Problem::from(refusal).code().0;
        assert_eq!(status(Refusal::Disabled(d1.clone())), 403_012);
        assert_eq!(status(Refusal::Unknown(d1)), 404_001);
        assert_eq!(status(Refusal::Unknown(Address::parse("d1/m1").unwrap())), 404_010);
        assert_eq!(status(Refusal::Unauthorized("x")), 401_002);
        assert_eq!(status(Refusal::Denied), 403_000);
        assert_eq!(status(Refusal::Unavailable("x")), 503_001);
        assert_eq!(status(Refusal::Throttled(Duration::from_secs(1))), 429_001);
        assert_eq!(status(Refusal::Malformed("x")), 400_004);
    }
}
