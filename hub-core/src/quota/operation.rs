//! What is counted.

use std::fmt;

/// A class of operations, each with quotas of its own: the rows of Azure's table of throttles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A device or module connects. Requests over HTTP are no connections.
    Connect,
    /// A telemetry message; each one of a batch.
    TelemetrySend,
    /// A cloud-to-device message is sent.
    MessageSend,
    /// A device asks for a cloud-to-device message, as over HTTP. What is delivered over a connection
    /// is not counted.
    MessageReceive,
    /// A direct method is called; each 4 KB of its payload.
    DirectMethod,
    /// A twin is read, by its device or by a back end.
    TwinRead,
    /// A twin is written, by its device or by a back end.
    TwinUpdate,
    /// Identities are read, listed, written or deleted; each one of a bulk request.
    Registry,
    /// A device asks for the address of a file to upload.
    FileUpload,
    /// Jobs are asked for, looked at or cancelled. What a job does to devices is not counted.
    Job,
    /// Configurations are made, looked at, tried, changed or removed. What a configuration does to
    /// twins is not counted.
    Configuration,
    /// A page of a query.
    Query,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Connect,
        Self::TelemetrySend,
        Self::MessageSend,
        Self::MessageReceive,
        Self::DirectMethod,
        Self::TwinRead,
        Self::TwinUpdate,
        Self::Registry,
        Self::FileUpload,
        Self::Job,
        Self::Configuration,
        Self::Query,
    ];

    /// Its word, as metrics have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::TelemetrySend => "telemetry_send",
            Self::MessageSend => "message_send",
            Self::MessageReceive => "message_receive",
            Self::DirectMethod => "direct_method",
            Self::TwinRead => "twin_read",
            Self::TwinUpdate => "twin_update",
            Self::Registry => "registry",
            Self::FileUpload => "file_upload",
            Self::Job => "job",
            Self::Configuration => "configuration",
            Self::Query => "query",
        }
    }

    /// Whether it counts against the daily quota of messages. As in Azure, connecting, the registry,
    /// jobs, configurations and asking for queries do not.
    #[must_use]
    pub fn is_metered(self) -> bool {
        matches!(
            self,
            Self::TelemetrySend
                | Self::MessageSend
                | Self::DirectMethod
                | Self::TwinRead
                | Self::TwinUpdate
                | Self::FileUpload
        )
    }
}

/// As Azure's refusals name it.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "DeviceConnect",
            Self::TelemetrySend => "DeviceToCloudSend",
            Self::MessageSend => "CloudToDeviceSend",
            Self::MessageReceive => "CloudToDeviceReceive",
            Self::DirectMethod => "DirectMethod",
            Self::TwinRead => "TwinRead",
            Self::TwinUpdate => "TwinUpdate",
            Self::Registry => "RegistryOperation",
            Self::FileUpload => "FileUploadInitiation",
            Self::Job => "JobOperation",
            Self::Configuration => "ConfigurationOperation",
            Self::Query => "Query",
        })
    }
}
