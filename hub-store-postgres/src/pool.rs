//! The connections, a bounded number of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hub_core::store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::session::{ConnectError, Connector, Session};
use crate::sqlstate::{Failure, judge};

/// Connections that wait for work, and room for more.
#[derive(Debug)]
pub(crate) struct Pool {
    connector: Connector,
    /// The one used last is taken first: those that are not needed stay idle.
    idle: Arc<Mutex<Vec<Session>>>,
    room: Arc<Semaphore>,
    within: Duration,
}

impl Pool {
    pub(crate) fn new(connector: Connector, connections: usize, within: Duration) -> Self {
        let room = Arc::new(Semaphore::new(connections));
        Self { connector, idle: Arc::default(), room, within }
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// A connection that nobody else uses. An error means that nothing was asked.
    pub(crate) async fn lease(&self, operation: &'static str) -> Result<Lease, StoreError> {
        let late =
            |_| StoreError::unavailable(operation, "no connection to PostgreSQL became free");
        let permit = tokio::time::timeout(self.within, self.room.clone().acquire_owned());
        let permit = permit.await.map_err(late)?;
        let permit =
            permit.map_err(|_| StoreError::unavailable(operation, "the store is closed"))?;
        let waiting = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(Session::is_usable);
            idle.pop()
        };
        let session = match waiting {
            Some(session) => session,
            None => self.connector.session().await.map_err(|error| refused(operation, error))?,
        };
        Ok(Lease { session: Some(session), idle: Arc::clone(&self.idle), permit })
    }

    /// Ends the connections that wait, and takes none back.
    pub(crate) fn close(&self) {
        self.room.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn refused(operation: &'static str, error: ConnectError) -> StoreError {
    if let ConnectError::Failed(error) = &error
        && judge(error, false) == Failure::Fatal
    {
        // Only what the server says in so many words: a connection that fails says nothing.
        if error.as_db_error().is_some() {
            return StoreError::fatal(operation, error.to_string());
        }
    }
    StoreError::unavailable(operation, error)
}

/// A connection on loan. It goes back when this is dropped, if nothing is under way on it.
#[derive(Debug)]
pub(crate) struct Lease {
    session: Option<Session>,
    idle: Arc<Mutex<Vec<Session>>>,
    permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The connection, from now on in use: unless [`Lease::done`] follows it is not used again.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        let session = self.session.as_mut()?;
        session.clean = false;
        Some(session)
    }

    /// Nothing is under way on it any more.
    pub(crate) fn done(mut self) {
        if let Some(session) = &mut self.session {
            session.clean = true;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(session) = self.session.take().filter(Session::is_usable) else { return };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.permit_is_void() {
            idle.push(session);
        }
    }
}

impl Lease {
    fn permit_is_void(&self) -> bool {
        self.permit.semaphore().is_closed()
    }
}
