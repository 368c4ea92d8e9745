//! Two machines of the device on one store: what everybody is told.

use hub_core::device::{Answer, Input, Purpose, Request, Said};
use hub_core::envelope::Message;
use hub_core::error::{DisconnectCause, ErrorKind};
use hub_core::frame::{Disposition, Guarantee, Inbound, Outbound};
use hub_core::hello::{Refusal, SessionMode};
use hub_core::id::{CallId, LinkId, NodeId, Tag};
use hub_core::inbox::Post;
use hub_core::registry::Status;
use hub_core::store::{Ask, Change, Claim, Outcome, QueueId, Record, Scope};
use hub_core::twin::ServicePatch;
use serde_json::{Map, Value, json};

use crate::ROUNDS;
use crate::acts::{Act, Etag, Step};
use crate::model::{Model, Shown};
use crate::rig::{Rig, answers, offers, told};

const TAG: Tag = Tag(9);
const CALL: u64 = 77;

pub(crate) struct Real {
    rig: Rig,
    last_link: u64,
}

fn error(kind: ErrorKind) -> String {
    format!("{kind:?}")
}

impl Real {
    pub(crate) fn new() -> Self {
        let rig = Rig::with(|limits| limits.conflict_rounds_max = ROUNDS);
        Self { rig, last_link: 0 }
    }

    pub(crate) fn act(&mut self, (act, machine, conflicts): &Step) -> Shown {
        let machine = *machine;
        let link = self.rig.machines[machine].link().map(|(link, _)| link);
        // A refused change of an operator, or of a link that leaves, is not what this is about.
        self.rig.conflicts = match act {
            Act::Status { .. } => 0,
            _ => *conflicts,
        };
        let mut shown = Shown::default();
        let frame = |inbound| link.map(|link| Input::Frame(link, inbound));
        let input = match act {
            Act::Connect { persistent } => {
                self.last_link += 1;
                let mode = if *persistent { SessionMode::Persistent } else { SessionMode::Clean };
                let arrival = self.rig.arrival(mode);
                Some(Input::Connect(CallId(CALL), LinkId(self.last_link), arrival))
            }
            Act::Leave => link.map(|link| Input::Leave(link, DisconnectCause::Clean)),
            Act::Subscribe(interest) => {
                let add = vec![(*interest, Guarantee::AtLeastOnce)];
                frame(Inbound::Subscribe(TAG, add))
            }
            Act::Unsubscribe(interest) => frame(Inbound::Unsubscribe(TAG, vec![*interest])),
            Act::Report { patch, version } => {
                frame(Inbound::Report(TAG, patch.to_string().into(), *version))
            }
            Act::GetTwin => frame(Inbound::GetTwin(TAG)),
            Act::Write { tags, desired, etag, replace } => {
                Some(self.write(tags.as_ref(), desired.as_ref(), *etag, *replace))
            }
            Act::Send => Some(Input::Ask(CallId(CALL), Request::Send(Message::new("x")))),
            Act::Status { enabled, heard } => {
                self.rig.register(if *enabled { Status::Enabled } else { Status::Disabled });
                for machine in 0..2 {
                    if *heard {
                        let said = self.rig.feed(machine, Input::Changed);
                        self.look(machine, said, &mut shown);
                    }
                }
                None
            }
            Act::Hint => Some(Input::Changed),
        };
        if let Some(input) = input {
            let said = self.rig.feed(machine, input);
            self.look(machine, said, &mut shown);
        }
        self.deliver(&mut shown);
        shown
    }

    /// Takes all posts out of a node's inbox, as what they are to its machine.
    fn posts(&mut self, node: &str) -> Vec<Input> {
        let scope = Scope::Queue(QueueId::inbox(&NodeId::new(node).unwrap()));
        let claim = Claim { scope, limit: u32::MAX, hide_until: self.rig.now };
        let items = self.rig.claim((Purpose::Job, self.rig.now, claim));
        let posts = items.into_iter().map(|item| {
            let taken = self.rig.commit(Change::new().settle(&item.at));
            assert!(matches!(taken, Outcome::Committed(_)));
            Input::of_post(Post::decode(&item.body).unwrap()).unwrap().1
        });
        posts.collect()
    }

    /// What the nodes tell each other arrives at once. That it may come late is the simulation's.
    fn deliver(&mut self, shown: &mut Shown) {
        loop {
            let posts = [self.posts("a"), self.posts("b")];
            if posts.iter().all(Vec::is_empty) {
                return;
            }
            for (machine, posts) in posts.into_iter().enumerate() {
                for post in posts {
                    let said = self.rig.feed(machine, post);
                    self.look(machine, said, shown);
                }
            }
        }
    }

    fn write(
        &mut self,
        tags: Option<&Value>,
        desired: Option<&Value>,
        etag: Etag,
        replace: bool,
    ) -> Input {
        let mut text = Map::new();
        if let Some(tags) = tags {
            text.insert("tags".to_owned(), tags.clone());
        }
        if let Some(desired) = desired {
            text.insert("properties".to_owned(), json!({ "desired": desired }));
        }
        let text = Value::Object(text).to_string();
        let patch = ServicePatch::parse(text.as_bytes(), &self.rig.limits).unwrap();
        let etag = match etag {
            Etag::None => None,
            Etag::Current => Some(self.rig.twin().etag()),
            Etag::Stale => Some("AAAA".to_owned()),
        };
        let request = match replace {
            true => Request::ReplaceTwin(patch, etag),
            false => Request::PatchTwin(patch, etag),
        };
        Input::Ask(CallId(CALL), request)
    }

    /// What was said; all that was offered is completed.
    fn look(&mut self, machine: usize, mut said: Vec<Said>, shown: &mut Shown) {
        self.rig.conflicts = 0;
        loop {
            let links: Vec<u64> = (1..=self.last_link).collect();
            let offered: Vec<_> = links
                .iter()
                .flat_map(|link| offers(&said, *link).into_iter().map(|d| (*link, d.token)))
                .collect();
            self.see(&said, shown);
            if offered.is_empty() {
                return;
            }
            said = offered
                .into_iter()
                .flat_map(|(link, token)| {
                    let settle = Inbound::Settle(None, token, Disposition::Complete);
                    self.rig.feed(machine, Input::Frame(LinkId(link), settle))
                })
                .collect();
        }
    }

    fn see(&mut self, said: &[Said], shown: &mut Shown) {
        for said in said {
            if let Said::Close(link, reason) = said {
                shown.closed.push((link.0, *reason));
            }
        }
        for link in 1..=self.last_link {
            for outbound in told(said, link) {
                let answer = match outbound {
                    Outbound::Receipt(TAG) => "receipt".to_owned(),
                    Outbound::Reported(TAG, version) => format!("v{version}"),
                    Outbound::Refused(TAG, refused) => error(refused.kind()),
                    Outbound::Twin(TAG, text) => {
                        format!("{:?}", serde_json::from_slice::<Value>(text).unwrap())
                    }
                    Outbound::Desired(version, text) => {
                        let notice = serde_json::from_slice(text).unwrap();
                        assert_eq!(shown.notice.replace((*version, notice)), None);
                        continue;
                    }
                    Outbound::Offer(_) => continue,
                    other => panic!("{other:?}"),
                };
                assert_eq!(shown.answer.replace(answer), None);
            }
        }
        for answer in answers(said, CALL) {
            let answer = match answer {
                Answer::Welcome(welcome) => {
                    let (epoch, present) = (welcome.epoch.0, welcome.session_present);
                    format!("{epoch} {present} {:?}", welcome.subscriptions)
                }
                Answer::Refused(Refusal::Disabled(_)) => "disabled".to_owned(),
                Answer::Refused(Refusal::Unavailable(_)) => "unavailable".to_owned(),
                Answer::Sent(_) => "sent".to_owned(),
                Answer::Twin(twin) => {
                    let view: Value = serde_json::from_slice(&twin.device_view()).unwrap();
                    format!("{view:?}")
                }
                Answer::Failed(failed) => error(failed.kind()),
                other => panic!("{other:?}"),
            };
            assert_eq!(shown.call.replace(answer), None);
        }
    }

    pub(crate) fn check(&self, model: &Model) {
        let session = self.rig.session();
        let node = session.node.map(|node| usize::from(node.as_str() == "b"));
        assert_eq!(
            (session.epoch.0, node, session.stored, session.subscriptions),
            (model.epoch, model.node, model.stored, model.subscriptions)
        );
        let twin = self.rig.twin();
        let view: Value = serde_json::from_slice(&twin.device_view()).unwrap();
        assert_eq!(view, model.view());
        assert_eq!(twin.tags().to_value(), Value::Object(model.tags.clone()));
        for (machine, link) in self.rig.machines.iter().zip(&model.links) {
            let there = machine.link().map(|(link, epoch)| (link.0, epoch.0));
            assert_eq!(there, link.as_ref().map(|link| (link.id, link.epoch)));
            assert_eq!(machine.waiting(), 0);
        }
        let depth = self.rig.read(Ask::Depth(QueueId::mailbox(&self.rig.address)));
        assert_eq!(depth, Some(Record::Depth(model.messages)));
    }
}
