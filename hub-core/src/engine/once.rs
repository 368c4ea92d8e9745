//! Trying a future once before giving it a task of its own.
//!
//! A store that answers at once (memory) then costs no task switch; one that does not is waited
//! for elsewhere, and whoever asked goes on.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A future that can be handed to a task.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The future's output, if it is ready; else the future, which must be polled again.
pub(crate) fn poll_once<T>(mut future: Boxed<T>) -> Result<T, Boxed<T>> {
    // The waker does nothing: whoever takes the future polls it again with its own.
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(future),
    }
}
