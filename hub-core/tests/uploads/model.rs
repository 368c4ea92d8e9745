//! Uploads and their notifications against two lists: whatever devices begin, upload, finish and
//! leave, and whatever back ends receive and settle, in whatever order and time.

use std::collections::BTreeSet;
use std::time::Duration;

use hub_core::engine::UploadReport;
use hub_core::error::ErrorKind;
use hub_core::frame::{Disposition, LockToken};
use hub_core::id::Address;
use proptest::prelude::*;

use crate::{World, device};

const OPEN_MAX: usize = 3;
const WAITING_MAX: usize = 4;
const COUNT: u8 = 2;
const TTL: u64 = 5_000;
const NOTE_TTL: u64 = 9_000;
const LOCK: u64 = 3_000;

/// What happens.
#[derive(Debug, Clone)]
enum Act {
    Begin {
        device: usize,
        name: usize,
    },
    Upload {
        device: usize,
        name: usize,
    },
    /// With one of the ids that were ever given out, by one of the devices.
    Finish {
        device: usize,
        id: prop::sample::Index,
        success: bool,
    },
    Receive,
    /// With one of the tokens that were ever given out.
    Settle {
        token: prop::sample::Index,
        disposition: Disposition,
    },
    Wait {
        millis: u64,
    },
    Remake {
        device: usize,
    },
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let disposition = prop::sample::select(vec![
        Disposition::Complete,
        Disposition::Abandon,
        Disposition::Reject,
    ]);
    let (device, name) = (0..2_usize, 0..2_usize);
    prop_oneof![
        6 => (device.clone(), name.clone()).prop_map(|(device, name)| Act::Begin { device, name }),
        4 => (device.clone(), name).prop_map(|(device, name)| Act::Upload { device, name }),
        6 => (device.clone(), any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(device, id, success)| Act::Finish { device, id, success }),
        4 => Just(Act::Receive),
        4 => (any::<prop::sample::Index>(), disposition)
            .prop_map(|(token, disposition)| Act::Settle { token, disposition }),
        4 => (1..4_000_u64).prop_map(|millis| Act::Wait { millis }),
        1 => device.prop_map(|device| Act::Remake { device }),
        1 => Just(Act::Restart),
    ]
}

const DEVICES: [&str; 2] = ["d1", "d2"];
const NAMES: [&str; 2] = ["a", "b/c"];

#[derive(Debug, Clone)]
struct Begun {
    device: usize,
    name: usize,
    expiry: u64,
    open: bool,
}

#[derive(Debug, Clone)]
struct Note {
    blob: String,
    expiry: u64,
    count: u8,
    /// Until when it is held, and by which token (its place among all tokens).
    held: Option<(u64, usize)>,
}

/// The lists.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    begun: Vec<Begun>,
    files: BTreeSet<(usize, usize)>,
    notes: Vec<Note>,
    tokens: usize,
}

impl Model {
    fn begin(&mut self, device: usize, name: usize) -> bool {
        let now = self.now;
        let open =
            self.begun.iter().filter(|b| b.open && b.device == device && b.expiry > now).count();
        if open < OPEN_MAX {
            self.begun.push(Begun { device, name, expiry: now + TTL, open: true });
        }
        open < OPEN_MAX
    }

    fn finish(&mut self, device: usize, id: usize, success: bool) -> Result<bool, ErrorKind> {
        let begun = &mut self.begun[id];
        if begun.expiry <= self.now {
            return Err(ErrorKind::UploadExpired);
        }
        if !begun.open || begun.device != device {
            return Err(ErrorKind::UploadNotFound);
        }
        if success {
            if !self.files.contains(&(device, begun.name)) {
                return Err(ErrorKind::BlobNotFound);
            }
            // What is dead waits for whoever receives next, and takes its place until then.
            if self.notes.len() == WAITING_MAX {
                return Err(ErrorKind::QueueFull);
            }
            let blob = format!("{}/{}", DEVICES[device], NAMES[begun.name]);
            self.notes.push(Note { blob, expiry: self.now + NOTE_TTL, count: 0, held: None });
        }
        begun.open = false;
        Ok(success)
    }

    fn receive(&mut self) -> Option<String> {
        let now = self.now;
        let free = |note: &Note| note.held.is_none_or(|(until, _)| until <= now);
        loop {
            let at = self.notes.iter().position(free)?;
            if self.notes[at].expiry <= now || self.notes[at].count >= COUNT {
                self.notes.remove(at);
                continue;
            }
            self.notes[at].held = Some((now + LOCK, self.tokens));
            self.tokens += 1;
            return Some(self.notes[at].blob.clone());
        }
    }

    fn settle(&mut self, token: usize, disposition: Disposition) -> bool {
        let now = self.now;
        let holds = |note: &Note| note.held.is_some_and(|(until, by)| by == token && until > now);
        let Some(at) = self.notes.iter().position(holds) else { return false };
        if disposition == Disposition::Abandon {
            self.notes[at].count += 1;
            self.notes[at].held = None;
        } else {
            self.notes.remove(at);
        }
        true
    }
}

async fn run(acts: Vec<Act>) {
    let millis = Duration::from_millis;
    let mut world = World::with(|limits| {
        limits.uploads_per_device_max = OPEN_MAX as u32;
        limits.upload_ttl = millis(TTL);
        limits.file_notification_depth_max = WAITING_MAX as u32;
        limits.file_notification_delivery_count_max = COUNT;
        limits.file_notification_ttl = millis(NOTE_TTL);
        limits.file_notification_lock = millis(LOCK);
    })
    .await;
    world.register("d2").await;
    let mut model = Model::default();
    let mut ids: Vec<String> = Vec::new();
    let mut tokens: Vec<LockToken> = Vec::new();
    for act in acts {
        match act {
            Act::Begin { device: d, name } => {
                let begun = world.hub.begin_upload(&device(DEVICES[d]), NAMES[name]).await;
                assert_eq!(begun.is_ok(), model.begin(d, name));
                match begun {
                    Ok(ticket) => ids.push(ticket.correlation.to_string()),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::TooManyUploads),
                }
            }
            Act::Upload { device, name } => {
                world.shelf.upload(&format!("{}/{}", DEVICES[device], NAMES[name]), "text");
                model.files.insert((device, name));
            }
            Act::Finish { device: d, id, success } if !ids.is_empty() => {
                let id = id.index(ids.len());
                let report =
                    if success { UploadReport::success() } else { UploadReport::failure(1) };
                let told = world.hub.finish_upload(&device(DEVICES[d]), &ids[id], report).await;
                let told = told.map(|told| told.is_some()).map_err(|error| error.kind());
                assert_eq!(told, model.finish(d, id, success));
            }
            Act::Receive => {
                let received = world.hub.file_notifications().try_receive().await.unwrap();
                let blob = received.as_ref().map(|r| r.notification.blob.as_str().to_owned());
                assert_eq!(blob, model.receive());
                tokens.extend(received.map(|received| received.token));
            }
            Act::Settle { token, disposition } if !tokens.is_empty() => {
                let token = token.index(tokens.len());
                let settled =
                    world.hub.file_notifications().settle(tokens[token], disposition).await;
                assert_eq!(settled.is_ok(), model.settle(token, disposition));
            }
            Act::Finish { .. } | Act::Settle { .. } => {}
            Act::Wait { millis: wait } => {
                world.clock.advance(millis(wait));
                model.now += wait;
                // Sweeps may run, and must change nothing that anybody sees.
                tokio::task::yield_now().await;
            }
            Act::Remake { device: d } => {
                let address = Address::from(device(DEVICES[d]));
                world.hub.registry().delete(&address, None).await.unwrap();
                world.register(DEVICES[d]).await;
                model.begun.iter_mut().filter(|b| b.device == d).for_each(|b| b.open = false);
            }
            Act::Restart => world.restart(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn uploads_do_what_two_lists_would(acts in prop::collection::vec(act(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(acts));
    }
}
