//! Who reads which partition: readers of one partition in one consumer group know of each other.
//!
//! Readers without an epoch share a partition, up to a bound. One with an epoch has it to itself:
//! it takes the place of readers without one and of those with the same or a lower one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_core::id::Partition;
use tokio::sync::mpsc::UnboundedSender;

use crate::endpoint::LinkKey;
use crate::problem::{AmqpError, condition};

/// What readers share: the consumer group, in small letters, and the partition.
type Shared = (String, Partition);

#[derive(Debug)]
struct Seat {
    number: u64,
    epoch: Option<i64>,
    link: LinkKey,
    /// Tells the reader's connection that the reader has lost its place: once, so what waits there
    /// is bounded by the connection's links.
    evict: UnboundedSender<LinkKey>,
}

#[derive(Debug, Default)]
struct State {
    seats: HashMap<Shared, Vec<Seat>>,
    last: u64,
}

/// All readers of a hub's adapter, over all of its connections.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<State>);

/// The place of one reader. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct Place {
    readers: Arc<Readers>,
    shared: Shared,
    number: u64,
}

impl Readers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a reader, and others' places from them where its epoch says so.
    pub(crate) fn take(
        self: &Arc<Self>,
        shared: Shared,
        epoch: Option<i64>,
        readers_max: usize,
        link: LinkKey,
        evict: &UnboundedSender<LinkKey>,
    ) -> Result<Place, AmqpError> {
        let mut state = self.state();
        let highest = state.seats.get(&shared).into_iter().flatten().filter_map(|seat| seat.epoch);
        let highest = highest.max();
        let seats = state.seats.get(&shared).map_or(0, Vec::len);
        match (epoch, highest) {
            (None, Some(held)) => {
                let why = format!("a reader with epoch {held} has the partition to itself");
                return Err(AmqpError::new(condition::STOLEN, why));
            }
            (Some(wanted), Some(held)) if wanted < held => {
                let why = format!("epoch {wanted} is lower than {held}, which reads already");
                return Err(AmqpError::new(condition::STOLEN, why));
            }
            (None, None) if seats >= readers_max => {
                let why = format!(
                    "Exceeded the maximum number of allowed receivers per partition in a consumer \
                     group which is {readers_max}"
                );
                return Err(AmqpError::new(condition::RESOURCE_LIMIT, why));
            }
            _ => {}
        }
        state.last += 1;
        let number = state.last;
        let seats = state.seats.entry(shared.clone()).or_default();
        if epoch.is_some() {
            for seat in seats.drain(..) {
                // A connection that is gone has no reader to lose.
                let _ = seat.evict.send(seat.link);
            }
        }
        seats.push(Seat { number, epoch, link, evict: evict.clone() });
        Ok(Place { readers: self.clone(), shared, number })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.readers.state();
        if let Some(seats) = state.seats.get_mut(&self.shared) {
            seats.retain(|seat| seat.number != self.number);
            if seats.is_empty() {
                state.seats.remove(&self.shared);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::endpoint::link_key;

    fn shared(group: &str) -> Shared {
        (group.to_owned(), Partition(0))
    }

    #[test]
    fn readers_without_an_epoch_share_up_to_the_bound() {
        let (readers, (evict, mut evicted)) = (Arc::new(Readers::default()), unbounded_channel());
        let take = |n| readers.take(shared("g"), None, 2, link_key(n), &evict);
        let (one, two) = (take(1).unwrap(), take(2).unwrap());
        assert_eq!(take(3).unwrap_err().condition, condition::RESOURCE_LIMIT);
        assert!(readers.take(shared("other"), None, 2, link_key(4), &evict).is_ok());
        drop(one);
        assert!(take(5).is_ok());
        drop(two);
        assert!(evicted.try_recv().is_err());
        assert!(readers.state().seats.is_empty());
    }

    #[test]
    fn a_higher_epoch_takes_the_place_of_a_lower_one() {
        let (readers, (evict, mut evicted)) = (Arc::new(Readers::default()), unbounded_channel());
        let take = |n, epoch| readers.take(shared("g"), epoch, 5, link_key(n), &evict);
        let _plain = take(1, None).unwrap();
        let first = take(2, Some(0)).unwrap();
        assert_eq!(evicted.try_recv(), Ok(link_key(1)));
        assert_eq!(take(3, None).unwrap_err().condition, condition::STOLEN);
        let second = take(4, Some(1)).unwrap();
        assert_eq!(evicted.try_recv(), Ok(link_key(2)));
        assert_eq!(take(5, Some(0)).unwrap_err().condition, condition::STOLEN);
        // The evicted one goes later, and takes nobody with it.
        drop(first);
        let third = take(6, Some(1)).unwrap();
        assert_eq!(evicted.try_recv(), Ok(link_key(4)));
        drop(second);
        assert_eq!(take(7, None).unwrap_err().condition, condition::STOLEN);
        drop(third);
        assert!(take(8, None).is_ok());
    }
}
