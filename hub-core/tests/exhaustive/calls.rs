//! A small world of a patient call: its caller, at the device's node or at another one, the device that
//! comes, listens, answers and goes, and time, which comes to the end of the caller's patience.

use std::time::Duration;

use hub_core::device::{Answer, Input, Purpose, Request, Said};
use hub_core::error::{DisconnectCause, ErrorKind, HubError};
use hub_core::frame::{Guarantee, Inbound, Interest, MethodRef, Outbound};
use hub_core::hello::SessionMode;
use hub_core::id::{CallId, LinkId, NodeId, Tag};
use hub_core::inbox::Post;
use hub_core::method::{Dispatched, MethodCall};
use hub_core::store::{Change, Claim, QueueId, Scope};
use hub_core::time::Timestamp;

use crate::choices::Choices;
use crate::rig::{Rig, START};

/// The device's node.
const HERE: usize = 0;
const LINK: LinkId = LinkId(1);
const CONNECT: CallId = CallId(1);
const CALL: CallId = CallId(2);
/// The call as the device's node makes it for the other.
const FOREIGN: CallId = CallId(3);
/// How long the caller waits for the device: longer than until it is looked for once.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What may happen next.
#[derive(Debug, Clone)]
enum Event {
    Hears(usize, Input),
    /// Time goes on to here, and the timer of the caller's machine follows at some time. The other
    /// machine's is late.
    Time(Duration),
}

struct World {
    rig: Rig,
    caller: usize,
    events: Vec<Event>,
    /// How often the device was called, and at what times.
    called: Vec<Timestamp>,
    /// When the caller has no patience any more.
    until: Option<Timestamp>,
    ended: Vec<Result<(), HubError>>,
}

impl World {
    fn new(caller: usize) -> Self {
        let rig = Rig::new();
        let arrival = rig.arrival(SessionMode::Clean);
        let call = MethodCall::new("x").when_online_within(PATIENCE).checked(&rig.limits).unwrap();
        let events = vec![
            Event::Hears(caller, Input::Ask(CALL, Request::Invoke(call))),
            Event::Hears(HERE, Input::Connect(CONNECT, LINK, arrival)),
            Event::Time(Duration::from_secs(1)),
        ];
        let (called, ended) = (Vec::new(), Vec::new());
        Self { rig, caller, events, called, until: None, ended }
    }

    fn run(&mut self, event: Event) {
        match event {
            Event::Hears(machine, input) => {
                if let Input::Ask(CALL, _) = input {
                    self.until = Some(self.rig.now.after(PATIENCE));
                }
                let said = self.rig.feed(machine, input);
                self.hear(machine, said);
                self.fetch();
            }
            Event::Time(passed) => {
                self.rig.now = START.after(passed);
                if passed < PATIENCE {
                    self.events.push(Event::Time(PATIENCE));
                }
                self.events.push(Event::Hears(self.caller, Input::Tick));
            }
        }
    }

    fn hear(&mut self, machine: usize, said: Vec<Said>) {
        for said in said {
            match said {
                Said::Answer(CONNECT, Answer::Welcome(_)) => {
                    let methods = vec![(Interest::Methods, Guarantee::AtLeastOnce)];
                    let listens = Inbound::Subscribe(Tag(1), methods);
                    self.events.push(Event::Hears(HERE, Input::Frame(LINK, listens)));
                }
                Said::ToLink(_, Outbound::Receipt(_)) => {
                    let goes = Input::Leave(LINK, DisconnectCause::ConnectionLost);
                    self.events.push(Event::Hears(HERE, goes));
                }
                Said::ToLink(_, Outbound::Call(reference, ..)) => {
                    assert_eq!(machine, HERE);
                    self.called.push(self.rig.now);
                    self.reply(reference);
                }
                Said::Answer(CALL, answer) => self.ended.push(result(answer).map(drop)),
                Said::Answer(FOREIGN, answer) => {
                    let answered = Input::Answered(CALL, Box::new(result(answer)));
                    self.events.push(Event::Hears(self.caller, answered));
                }
                _ => {}
            }
        }
    }

    fn reply(&mut self, reference: MethodRef) {
        let reply = Inbound::Reply(reference, 200, "1".into());
        self.events.push(Event::Hears(HERE, Input::Frame(LINK, reply)));
    }

    /// The device's node takes calls out of its inbox, and hears of them at some time.
    fn fetch(&mut self) {
        let inbox = Scope::Queue(QueueId::inbox(&NodeId::new("a").unwrap()));
        let hide_until = self.rig.now.after(Duration::from_secs(10));
        let claim = Claim { scope: inbox, limit: 10, hide_until };
        for item in self.rig.claim((Purpose::Job, self.rig.now, claim)) {
            self.rig.commit(Change::new().settle(&item.at));
            if let Some(Post::Call(asked)) = Post::decode(&item.body) {
                let ask = Input::Ask(FOREIGN, Request::from(&*asked));
                self.events.push(Event::Hears(HERE, ask));
            }
        }
    }

    /// Whatever is still open ends with time. Gives whether the device was called, and what the caller
    /// was told.
    fn end(&mut self) -> (bool, Option<Dispatched>) {
        for seconds in [3, 40, 120, 600] {
            self.rig.now = START.after(Duration::from_secs(seconds));
            for machine in [HERE, self.caller] {
                self.run(Event::Hears(machine, Input::Tick));
                while let Some(event) = self.events.pop() {
                    self.run(event);
                }
            }
        }
        let [ended] = &self.ended[..] else { panic!("the call ended so: {:?}", self.ended) };
        assert!(self.called.len() <= 1, "called at {:?}", self.called);
        let fate = ended.as_ref().err().map(Dispatched::of);
        let called = !self.called.is_empty();
        match (called, ended) {
            (true, Err(error)) => {
                assert_eq!(fate, Some(Dispatched::Unanswered), "called, and told {error:?}");
            }
            (true, Ok(())) => {}
            (false, ended) => {
                let told = ended.as_ref().map_err(HubError::kind);
                assert_eq!(told, Err(ErrorKind::DeviceNotOnline), "not called");
                assert_eq!(fate, Some(Dispatched::Never));
            }
        }
        (called, fate)
    }
}

fn result(answer: Answer) -> Result<hub_core::method::MethodReply, HubError> {
    match answer {
        Answer::Method(reply) => Ok(reply),
        Answer::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

/// All orders; how many, and how many of each end.
fn all_orders(caller: usize) -> (u32, u32, u32, u32) {
    let mut choices = Choices::default();
    let (mut orders, mut never, mut unanswered, mut answered) = (0, 0, 0, 0);
    loop {
        let mut world = World::new(caller);
        while !world.events.is_empty() {
            let choice = match world.events.len() {
                1 => 0,
                of => choices.next(of),
            };
            let event = world.events.remove(choice);
            world.run(event);
        }
        let in_time = |at: &Timestamp| caller != HERE || Some(*at) < world.until;
        assert!(world.called.iter().all(in_time), "{:?}, until {:?}", world.called, world.until);
        match world.end() {
            (false, _) => never += 1,
            (true, Some(_)) => unanswered += 1,
            (true, None) => answered += 1,
        }
        orders += 1;
        if !choices.advance() {
            return (orders, never, unanswered, answered);
        }
    }
}

#[test]
fn all_orders_of_a_patient_call_and_a_device_that_comes_at_its_end() {
    for caller in [HERE, 1] {
        let (orders, never, unanswered, answered) = all_orders(caller);
        println!("{orders} orders: {never} never, {unanswered} unanswered, {answered} answered");
        assert!(orders > 1000 && never > 0 && unanswered > 0 && answered > 0, "{caller}");
    }
}
