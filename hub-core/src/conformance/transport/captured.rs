//! Everything that is logged on one thread, as text.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::DefaultGuard;

/// Takes down what `tracing` is told on this thread, at every level, with all fields.
///
/// The cases run on a runtime of one thread, so this hears the transport's tasks too.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    text: Arc<Mutex<String>>,
    spans: Arc<AtomicU64>,
}

impl Captured {
    /// Begins to listen, until the guard is dropped.
    ///
    /// # Panics
    /// When nothing would be heard, because all levels were compiled out.
    #[must_use]
    pub fn begin() -> (Self, DefaultGuard) {
        let captured = Self::default();
        let guard = tracing::subscriber::set_default(captured.clone());
        tracing::trace!("this is heard");
        assert!(captured.text().contains("this is heard"), "nothing is captured");
        (captured, guard)
    }

    /// What was said so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for secrets: as they are, and as a debugging format writes their bytes.
    ///
    /// # Panics
    /// When one of them was said.
    #[track_caller]
    pub fn must_not_hold(&self, secrets: &[&str]) {
        let text = self.text();
        for secret in secrets {
            let bytes = format!("{:?}", secret.as_bytes());
            let bytes = bytes.trim_matches(['[', ']']);
            for form in [*secret, bytes] {
                if let Some(at) = text.find(form) {
                    let line = text.get(..at).map_or(0, |before| before.matches('\n').count());
                    panic!("a log line says {secret}: {:?}", text.lines().nth(line));
                }
            }
        }
    }

    fn line(&self, write: impl FnOnce(&mut String)) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut text);
        text.push('\n');
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text cannot fail.
        let _ = write!(self.0, " {}={value:?}", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {}={value}", field.name());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let _ = write!(self.0, " {}={value} ({value:?})", field.name());
    }
}

impl tracing::Subscriber for Captured {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.line(|text| {
            let _ = write!(text, "{} {}", span.metadata().level(), span.metadata().name());
            span.record(&mut Fields(text));
        });
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        self.line(|text| values.record(&mut Fields(text)));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.line(|text| {
            let _ = write!(text, "{} {}", event.metadata().level(), event.metadata().target());
            event.record(&mut Fields(text));
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
