//! Records that come one after another, carried out.

use futures::{Stream, StreamExt as _, stream};

use super::apply::{Apply, Imported};
use super::waves::in_waves;
use crate::bulk::DeviceRecord;
use crate::engine::registry::Registry;
use crate::error::HubError;
use crate::id::Address;
use crate::store::Change;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportResult {
    /// Which record, from 0 on.
    pub index: u64,
    /// Which device or module.
    pub address: Address,
    /// Whether it was carried out, or why not.
    pub result: Result<Imported, HubError>,
}

impl<'h> Registry<'h> {
    /// Carries records out as [`Registry::apply`] does, and says in their order what became of each. One
    /// that is refused does not stop the others.
    ///
    /// Records of one device are carried out in order; of different devices,
    /// `Limits::import_at_once_max` at the same time. Those of devices that stand behind an edge device
    /// come after those that do not, as far as they are held at once. At most `Limits::import_batch_max` records are held at once. Work goes
    /// on as the stream is polled; dropping it leaves those undone that were not begun.
    pub fn import<S>(self, records: S) -> impl Stream<Item = ImportResult> + Send + use<'h, S>
    where
        S: Stream<Item = DeviceRecord> + Send,
    {
        let hub = self.hub;
        let limits = hub.limits();
        let (batch, at_once) = (limits.import_batch_max.max(1), limits.import_at_once_max);
        let indexed = records.enumerate().ready_chunks(batch);
        indexed
            .then(move |batch| {
                in_waves(
                    batch,
                    at_once,
                    |(_, record)| record,
                    move |(index, record)| async move {
                        let apply = Apply { hub };
                        let result = apply.record(&record, None, |_| Change::new()).await;
                        let index = u64::try_from(index).unwrap_or(u64::MAX);
                        ImportResult { index, address: record.address().clone(), result }
                    },
                )
            })
            .flat_map(stream::iter)
    }
}
