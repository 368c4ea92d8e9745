//! One twin that waits for configurations, once it is taken.

use std::time::Duration;

use crate::configuration::Todo;
use crate::device::Request;
use crate::engine::hub::Hub;
use crate::error::{ErrorKind, HubError};
use crate::store::{Change, Item};

/// How long a twin is put off that could not be written now.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the twin what the configurations say, of which this node knows those of revision `known`.
/// When that cannot be done the twin is taken again, by whomever.
pub(super) async fn work(hub: &Hub, item: Item, known: u64) {
    let Some(todo) = Todo::decode(&item.body) else {
        // A newer node may be able to.
        tracing::warn!("a twin to configure cannot be read");
        return;
    };
    if let Err(error) = try_work(hub, &item, &todo, known).await {
        tracing::debug!(twin = %todo.twin, %error, "not configured");
    }
}

async fn try_work(hub: &Hub, item: &Item, todo: &Todo, known: u64) -> Result<(), HubError> {
    if known < todo.revision {
        hub.configurations().refresh().await?;
    }
    let settle = Change::new().settle(&item.at);
    let request = Request::Configure(todo.revision, Box::new(settle.clone()));
    match hub.ask(&todo.twin, request, hub.limits().call_timeout).await {
        Ok(_) => Ok(()),
        Err(error)
            if matches!(error.kind(), ErrorKind::DeviceNotFound | ErrorKind::ModuleNotFound) =>
        {
            // On a conflict somebody else has it.
            hub.commit(&todo.twin, settle).await.map(drop)
        }
        Err(error) => {
            if error.kind() == ErrorKind::Busy {
                // Most likely others know later configurations.
                hub.configurations().refresh().await?;
            }
            let again = hub.now().after(RETRY);
            let later = Change::new().retime(&item.at, again, item.marks);
            hub.commit(&todo.twin, later).await?;
            Err(error)
        }
    }
}
