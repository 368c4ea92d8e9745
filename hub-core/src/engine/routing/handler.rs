//! An endpoint in the same process.

use std::fmt;

use async_trait::async_trait;

use crate::endpoint::{Endpoint, Failure, Outgoing};

/// Hands events to a function of the application.
///
/// ```
/// use hub_core::endpoint::{Failure, Outgoing};
/// use hub_core::engine::HandlerEndpoint;
///
/// let endpoint = HandlerEndpoint::new(|batch: Outgoing| async move {
///     for event in &batch.events {
///         println!("{} sent {} bytes", event.sender, event.body.len());
///     }
///     Ok::<(), Failure>(())
/// });
/// # let _ = endpoint;
/// ```
pub struct HandlerEndpoint<F>(F);

impl<F> fmt::Debug for HandlerEndpoint<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandlerEndpoint")
    }
}

impl<F, R> HandlerEndpoint<F>
where
    F: Fn(Outgoing) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Failure>> + Send + 'static,
{
    /// An endpoint that calls `handler` with each batch. What it returns with is the answer: `Ok`
    /// means that the events are done and never come again.
    pub fn new(handler: F) -> Self {
        Self(handler)
    }
}

#[async_trait]
impl<F, R> Endpoint for HandlerEndpoint<F>
where
    F: Fn(Outgoing) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Failure>> + Send + 'static,
{
    fn kind(&self) -> &'static str {
        "handler"
    }

    async fn deliver(&self, batch: &Outgoing) -> Result<(), Failure> {
        (self.0)(batch.clone()).await
    }
}
