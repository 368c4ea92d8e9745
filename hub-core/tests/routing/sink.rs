//! An endpoint that does as it is told and writes down what it gets.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hub_core::endpoint::{Endpoint, Failure, FailureKind, Outgoing};
use hub_core::envelope::Event;

/// What an endpoint does with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    /// Takes so many of the first, and fails for this reason.
    Fails(usize, FailureKind),
    /// Takes all and fails to say so.
    TakesInSilence,
    /// Takes all at the end of the time that it is given.
    TakesInTheEnd,
    Hangs,
    Panics,
}

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Sink(Arc<Mutex<State>>);

struct State {
    mood: Mood,
    seen: Vec<Event>,
    batches: Vec<usize>,
    calls: usize,
}

impl Sink {
    pub(crate) fn new() -> Self {
        let (mood, seen, batches) = (Mood::Takes, Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { mood, seen, batches, calls: 0 })))
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.0.lock().unwrap().mood = mood;
    }

    /// All it ever saw, as text.
    pub(crate) fn seen(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state.seen.iter().map(|event| String::from_utf8(event.body.to_vec()).unwrap()).collect()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().seen.clone()
    }

    /// How often it was asked.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    /// How many events each batch had.
    pub(crate) fn batches(&self) -> Vec<usize> {
        self.0.lock().unwrap().batches.clone()
    }
}

#[async_trait]
impl Endpoint for Sink {
    fn kind(&self) -> &'static str {
        "sink"
    }

    async fn deliver(&self, batch: &Outgoing) -> Result<(), Failure> {
        assert!(!batch.events.is_empty());
        let answer = {
            let mut state = self.0.lock().unwrap();
            state.calls += 1;
            state.batches.push(batch.events.len());
            let (taken, answer) = match state.mood {
                Mood::Takes => (usize::MAX, Some(Ok(()))),
                Mood::Fails(taken, kind) => {
                    (taken, Some(Err(Failure::new(kind, "as told").after(taken))))
                }
                Mood::TakesInSilence => {
                    (usize::MAX, Some(Err(Failure::new(FailureKind::Transient, "as told"))))
                }
                Mood::TakesInTheEnd | Mood::Hangs | Mood::Panics => (0, None),
            };
            state.seen.extend(batch.events.iter().take(taken).cloned());
            answer
        };
        let mood = self.0.lock().unwrap().mood;
        assert!(mood != Mood::Panics, "as told");
        match answer {
            Some(answer) => answer,
            None if mood == Mood::TakesInTheEnd => {
                tokio::time::sleep(batch.within).await;
                self.0.lock().unwrap().seen.extend(batch.events.iter().cloned());
                Ok(())
            }
            None => std::future::pending().await,
        }
    }
}
