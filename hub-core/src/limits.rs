//! Every bound of the system, in one place.

use std::time::Duration;

/// What the hub will hold, wait for and accept. The defaults are the limits of Azure IoT Hub where
/// it documents one, and measured choices of ours where it does not.
///
/// Sizes are bytes, ages and waits are [`Duration`]s. Reaching a bound is back-pressure or a typed
/// refusal, and moves a counter; nothing is dropped silently.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    // -- device to cloud --
    /// Largest telemetry message: body, system property values, application names and values.
    pub telemetry_bytes_max: usize,
    /// Most telemetry messages in one batch request (HTTP).
    pub telemetry_batch_max: usize,
    /// How long events are kept in the log.
    pub log_retention: Duration,
    /// Most events one read of the log returns.
    pub log_page_max: u32,
    /// Most named consumer groups besides `$Default`.
    pub consumer_groups_max: usize,

    // -- cloud to device --
    /// Most messages waiting for one identity, locked ones included.
    pub c2d_depth_max: u32,
    /// Largest cloud-to-device message, counted as telemetry is.
    pub c2d_bytes_max: usize,
    /// Time to live of a message that names no expiry.
    pub c2d_ttl_default: Duration,
    /// Furthest expiry a sender may ask for.
    pub c2d_ttl_max: Duration,
    /// How long a delivered message is locked for its receiver.
    pub c2d_lock: Duration,
    /// How often the queue of a device that listens is looked at without a sign: for messages whose
    /// lock somebody else held, and for signs of other nodes that were lost.
    pub c2d_poll_every: Duration,
    /// Deliveries after which an abandoned message is dead-lettered.
    pub c2d_delivery_count_max: u8,
    /// Whether a lock that ran out counts as a delivery. Azure's current text says it does not.
    pub c2d_lock_expiry_counts: bool,
    /// Most unsettled messages on one link.
    pub offer_window: u32,
    /// Most senders of one node that wait for the outcome of their message. Beyond it a sender
    /// learns the outcome by feedback only.
    pub outcomes_waiting_max: usize,

    // -- feedback --
    /// Most feedback records in one batch.
    pub feedback_batch_max: u32,
    /// Longest a feedback record waits for its batch to fill.
    pub feedback_batch_age: Duration,
    /// Time to live of a feedback batch.
    pub feedback_ttl: Duration,
    /// How long a received feedback batch is locked.
    pub feedback_lock: Duration,
    /// Deliveries after which a feedback batch is dropped.
    pub feedback_delivery_count_max: u8,
    /// Most feedback batches waiting, and most records waiting for a batch.
    pub feedback_depth_max: u32,

    // -- file uploads --
    /// How long the address of a file is good, and an upload may be finished. Azure has 1 minute to
    /// 24 hours.
    pub upload_ttl: Duration,
    /// Most uploads of one device that are neither finished nor expired.
    pub uploads_per_device_max: u32,
    /// Whether a finished upload makes a file notification.
    pub file_notifications: bool,
    /// Time to live of a file notification.
    pub file_notification_ttl: Duration,
    /// How long a received file notification is locked.
    pub file_notification_lock: Duration,
    /// Deliveries after which a file notification is dropped. Azure's texts say 10 and 100.
    pub file_notification_delivery_count_max: u8,
    /// Most file notifications waiting. Beyond it uploads cannot be finished.
    pub file_notification_depth_max: u32,

    // -- twins --
    /// Largest `tags` section, by the documented size function.
    pub tags_bytes_max: usize,
    /// Largest `desired` section.
    pub desired_bytes_max: usize,
    /// Largest `reported` section.
    pub reported_bytes_max: usize,
    /// Longest property name in UTF-8 bytes.
    pub twin_key_bytes_max: usize,
    /// Longest string value in UTF-8 bytes.
    pub twin_string_bytes_max: usize,
    /// Deepest nesting below a section's root.
    pub twin_depth_max: usize,
    /// Smallest and largest integer.
    pub twin_integer_min: i64,
    /// See [`Limits::twin_integer_min`].
    pub twin_integer_max: i64,

    // -- conditions and queries --
    /// Longest condition or query, in characters.
    pub query_text_max: usize,
    /// Deepest nesting: expressions in one another, also in parentheses. At most
    /// [`DEPTH_CEILING`](crate::query::DEPTH_CEILING) has an effect.
    pub query_depth_max: usize,
    /// Most parts of a condition or query: operands, operators, values in lists, steps of paths.
    pub query_nodes_max: usize,
    /// Most steps of one evaluation, for one message or one twin: one for each part that is looked
    /// at, and one for each 64 bytes of text that is compared, searched or made. Beyond it the
    /// result is undefined.
    pub query_steps_max: u32,
    /// Rows of a page of a query that names no size.
    pub query_page_default: u32,
    /// Most rows of a page of a query.
    pub query_page_max: u32,
    /// Most twins that one page of a query looks at. Beyond it a page ends early and says where to go
    /// on; a query that has to see all of them first (an aggregate, an order) is refused.
    pub query_scan_max: u64,
    /// Most groups of a query.
    pub query_groups_max: usize,
    /// Most bytes of the values that the groups of a query are made by.
    pub query_groups_bytes_max: usize,
    /// Most queries at once; further ones wait, for as long as a call may.
    pub queries_in_flight_max: usize,

    // -- direct methods --
    /// Largest request or response payload.
    pub method_payload_bytes_max: usize,
    /// Longest method name in characters.
    pub method_name_max: usize,
    /// Shortest response timeout a service client may ask for over a wire.
    pub method_response_timeout_min: Duration,
    /// Longest response timeout.
    pub method_response_timeout_max: Duration,
    /// Response timeout of a call that names none.
    pub method_response_timeout_default: Duration,
    /// Longest wait for an offline device.
    pub method_connect_timeout_max: Duration,
    /// Most calls in flight per identity, those that wait for it to come included.
    pub methods_in_flight_max: usize,
    /// Most calls at once, over all identities of one node, whose callers are ready to wait for the
    /// device. Beyond it such a call is refused as throttled; others are not concerned.
    pub methods_patient_max: usize,

    // -- jobs --
    /// Most jobs that have not ended.
    pub jobs_active_max: u32,
    /// How long a job that has ended is kept, with what became of its devices.
    pub jobs_retention: Duration,
    /// Most jobs that have ended; the oldest go first.
    pub jobs_kept_max: usize,
    /// How many devices a node works on at once, over all jobs.
    pub job_devices_in_flight_max: usize,
    /// How many devices a job looks up at once when it starts.
    pub job_find_max: u32,
    /// How long after its start a job goes on that does not say.
    pub job_execution_default: Duration,
    /// Longest that a job may ask for.
    pub job_execution_max: Duration,
    /// Pause after which a job tries a device again that was not online.
    pub job_retry_every: Duration,

    // -- configurations --
    /// Most configurations.
    pub configurations_max: usize,
    /// Most bytes of a configuration as JSON text.
    pub configuration_bytes_max: usize,
    /// Most metrics of one configuration, those of the hub not counted.
    pub configuration_metrics_max: usize,
    /// How many twins a node applies configurations to at once.
    pub configuration_twins_in_flight_max: usize,
    /// Most twins that wait for configurations to be applied. Those beyond are found by a sweep.
    pub configuration_backlog_max: u32,
    /// How many twins a sweep looks at, at once.
    pub configuration_page_max: u32,
    /// How often all twins are looked through for what no sign told of.
    pub configuration_sweep_every: Duration,
    /// How long after a change of the configurations all twins are looked through once more, for
    /// what other nodes did that had not heard of it. Longer than a second.
    pub configuration_settle: Duration,

    // -- registry --
    /// Most modules of one device.
    pub modules_per_device_max: usize,
    /// Most identities in one bulk request, and largest page of a listing.
    pub bulk_max: usize,
    /// Largest page of a listing.
    pub list_page_max: u32,
    /// Longest line of a file that is imported, in bytes. An exported line has the twin's metadata,
    /// which may be ten times as long as its values.
    pub import_line_bytes_max: usize,
    /// Most lines that an import takes at once; between two batches it notes how far it came.
    pub import_batch_max: usize,
    /// Most devices that an import or a bulk request works on at the same time.
    pub import_at_once_max: usize,
    /// How long a node that works on an import or an export keeps it without a sign.
    pub registry_job_tenure: Duration,
    /// Longest status reason in characters.
    pub status_reason_max: usize,

    // -- routing --
    /// Most routes.
    pub routes_max: usize,
    /// Most endpoints besides the built-in log; never more than
    /// [`ENDPOINTS_CEILING`](crate::route::ENDPOINTS_CEILING).
    pub endpoints_max: usize,
    /// Most enrichments.
    pub enrichments_max: usize,
    /// Most events that an endpoint is handed at once.
    pub endpoint_batch_max: u32,
    /// Most bytes of bodies that an endpoint is handed at once; a single larger event comes alone.
    pub endpoint_batch_bytes_max: usize,
    /// Longest wait for an endpoint to take a batch. It is told nine tenths of it, see
    /// [`Limits::endpoint_round`].
    pub endpoint_timeout: Duration,
    /// How long a node that works an endpoint off keeps it without renewing. Longer than
    /// `endpoint_timeout` by more than the clocks of the nodes may differ.
    pub endpoint_tenure: Duration,
    /// Pause after the first failure of an endpoint; each that follows is twice as long.
    pub endpoint_retry_min: Duration,
    /// Longest such pause.
    pub endpoint_retry_max: Duration,
    /// How long an endpoint fails until it counts as dead. It is tried all the same.
    pub endpoint_dead_after: Duration,

    // -- security --
    /// How far past its expiry a token is still accepted, for clocks that differ.
    pub token_clock_skew: Duration,
    /// How long a connection outlives its token.
    pub token_grace: Duration,

    // -- connections --
    /// Most connections at once, over all transports.
    pub connections_max: usize,
    /// Longest time from accepting a connection to a complete authentication.
    pub handshake_timeout: Duration,
    /// Longest silence of a peer, whatever keep-alive it asked for.
    pub silence_max: Duration,
    /// Most frames of one link that wait for the store.
    pub link_window: usize,
    /// Most bytes of telemetry of one link that wait for the store.
    pub link_bytes_max: usize,
    /// Most bytes waiting to be written to one peer before it is dropped as stuck.
    pub peer_write_bytes_max: usize,
    /// Most subscriptions of one session.
    pub subscriptions_max: usize,

    // -- nodes --
    /// How often a node says in the store that it runs.
    pub node_beat_every: Duration,
    /// How long others believe it. Longer than a few beats.
    pub node_expiry: Duration,
    /// How often a node looks into its inbox without a sign.
    pub inbox_poll_every: Duration,
    /// Most posts in the inbox of a node; what is beyond waits to be found by polling, and calls are
    /// refused.
    pub inbox_depth_max: u32,
    /// How long a post is kept for a node that does not fetch it.
    pub inbox_ttl: Duration,
    /// How long a direct method waits for the node that holds the device. One that was not
    /// taken by then is taken back, and was never dispatched.
    pub remote_dispatch_timeout: Duration,
    /// Most direct methods that a node makes for others at once.
    pub remote_calls_max: usize,
    /// How long a notice of desired properties waits for an earlier one that is still on its way
    /// from another node. Then the device is told all its desired properties instead.
    pub notice_gap_max: Duration,
    /// Most notices of one connection that wait so. With one more the device is told all its desired
    /// properties at once.
    pub notices_waiting_max: usize,

    // -- engine --
    /// Most inputs that wait for one device while its change is being written.
    pub device_inbox_max: usize,
    /// How often a change that lost against another writer is decided again.
    pub conflict_rounds_max: u32,
    /// Most changes in one batch to the store.
    pub batch_changes_max: usize,
    /// Most bytes in one batch to the store; a single larger change still goes, alone.
    pub batch_bytes_max: usize,
    /// Most changes that wait for the store per shard; beyond it callers wait.
    pub waiting_changes_max: usize,
    /// Most bytes that wait for the store per shard; beyond it callers wait.
    pub waiting_bytes_max: usize,
    /// Most idle machines of devices without a link that stay loaded per shard.
    pub idle_devices_max: usize,
    /// How often overdue items of devices without a link are looked for.
    pub sweep_every: Duration,
    /// Most items one sweep takes at once.
    pub sweep_items_max: u32,
    /// Most subscribers of the lifecycle event stream may lag behind, in events.
    pub lifecycle_buffer: usize,
    /// Longest wait of an in-process or HTTP call for the store.
    pub call_timeout: Duration,
    /// Most devices whose use of their own quotas is remembered, on one node. It is while they owe
    /// something; what one more does counts for the node's quotas only.
    pub quota_devices_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let (kib, mib) = (1024, 1024 * 1024);
        let secs = Duration::from_secs;
        Self {
            telemetry_bytes_max: 256 * kib,
            telemetry_batch_max: 500,
            log_retention: secs(24 * 3600),
            log_page_max: 1000,
            consumer_groups_max: 20,
            c2d_depth_max: 50,
            c2d_bytes_max: 64 * kib,
            c2d_ttl_default: secs(3600),
            c2d_ttl_max: secs(48 * 3600),
            c2d_lock: secs(60),
            c2d_poll_every: secs(60),
            c2d_delivery_count_max: 10,
            c2d_lock_expiry_counts: false,
            offer_window: 50,
            outcomes_waiting_max: 100_000,
            feedback_batch_max: 64,
            feedback_batch_age: secs(15),
            feedback_ttl: secs(3600),
            feedback_lock: secs(60),
            feedback_delivery_count_max: 10,
            feedback_depth_max: 100_000,
            upload_ttl: secs(3600),
            uploads_per_device_max: 10,
            file_notifications: true,
            file_notification_ttl: secs(3600),
            file_notification_lock: secs(60),
            file_notification_delivery_count_max: 10,
            file_notification_depth_max: 100_000,
            tags_bytes_max: 8 * kib,
            desired_bytes_max: 32 * kib,
            reported_bytes_max: 32 * kib,
            twin_key_bytes_max: kib,
            twin_string_bytes_max: 4 * kib,
            twin_depth_max: 10,
            twin_integer_min: -(1 << 52),
            twin_integer_max: (1 << 52) - 1,
            query_text_max: 8192,
            query_depth_max: 64,
            query_nodes_max: 8192,
            query_steps_max: 65_536,
            query_page_default: 100,
            query_page_max: 1000,
            query_scan_max: 1_000_000,
            query_groups_max: 10_000,
            query_groups_bytes_max: 16 * mib,
            queries_in_flight_max: 16,
            method_payload_bytes_max: 128 * kib,
            method_name_max: 100,
            method_response_timeout_min: secs(5),
            method_response_timeout_max: secs(300),
            method_response_timeout_default: secs(30),
            method_connect_timeout_max: secs(300),
            methods_in_flight_max: 100,
            methods_patient_max: 10_000,
            jobs_active_max: 100,
            jobs_retention: secs(30 * 24 * 3600),
            jobs_kept_max: 1000,
            job_devices_in_flight_max: 64,
            job_find_max: 500,
            job_execution_default: secs(3600),
            job_execution_max: secs(7 * 24 * 3600),
            job_retry_every: secs(10),
            configurations_max: 100,
            configuration_bytes_max: 256 * kib,
            configuration_metrics_max: 5,
            configuration_twins_in_flight_max: 64,
            configuration_backlog_max: 100_000,
            configuration_page_max: 500,
            configuration_sweep_every: secs(300),
            configuration_settle: secs(5),
            modules_per_device_max: 50,
            bulk_max: 100,
            list_page_max: 1000,
            import_line_bytes_max: 4 * mib,
            import_batch_max: 256,
            import_at_once_max: 16,
            registry_job_tenure: secs(60),
            status_reason_max: 128,
            routes_max: 100,
            endpoints_max: 10,
            enrichments_max: 10,
            endpoint_batch_max: 500,
            endpoint_batch_bytes_max: mib,
            endpoint_timeout: secs(30),
            endpoint_tenure: secs(60),
            endpoint_retry_min: secs(1),
            endpoint_retry_max: secs(60),
            endpoint_dead_after: secs(3600),
            token_clock_skew: secs(300),
            token_grace: secs(300),
            connections_max: 100_000,
            handshake_timeout: secs(30),
            silence_max: secs(1767),
            link_window: 1024,
            link_bytes_max: mib,
            peer_write_bytes_max: 4 * mib,
            subscriptions_max: 10,
            node_beat_every: secs(2),
            node_expiry: secs(10),
            inbox_poll_every: secs(1),
            inbox_depth_max: 10_000,
            inbox_ttl: secs(60),
            remote_dispatch_timeout: secs(5),
            remote_calls_max: 1000,
            notice_gap_max: secs(5),
            notices_waiting_max: 16,
            device_inbox_max: 256,
            conflict_rounds_max: 8,
            batch_changes_max: 1000,
            batch_bytes_max: 4 * mib,
            waiting_changes_max: 10_000,
            waiting_bytes_max: 64 * mib,
            idle_devices_max: 10_000,
            sweep_every: secs(1),
            sweep_items_max: 256,
            lifecycle_buffer: 1024,
            call_timeout: secs(30),
            quota_devices_max: 100_000,
        }
    }
}

impl Limits {
    /// How long an endpoint is told that a batch may take: nine tenths of
    /// [`endpoint_timeout`](Self::endpoint_timeout). The hub waits for the rest of it, so that the
    /// endpoint's own answer, which says how many events it has kept, is heard.
    #[must_use]
    pub fn endpoint_round(&self) -> Duration {
        self.endpoint_timeout / 10 * 9
    }
}
