//! Devices and their connections: frames on their way, late, twice, stuck or lost.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use hub_core::device::{Answer, Arrival, Input};
use hub_core::envelope::{AuthMethod, AuthScope, AuthType};
use hub_core::error::{CloseReason, DisconnectCause};
use hub_core::frame::{Delivery, Disposition, Guarantee, Inbound, Interest, LockToken, Outbound};
use hub_core::hello::{CredentialMark, Grant, SessionMode};
use hub_core::id::{Address, LinkId, Tag};
use hub_core::registry::{Identity, Status};
use hub_core::store::{Entries, Key};
use hub_core::time::Timestamp;

use crate::fact::{Call, Conn, Fact, Wish};
use crate::world::{Event, Phase, World};

/// A device or module, and what it does with what it gets.
pub(crate) struct Client {
    pub(crate) address: Address,
    /// Its connections as it sees them, oldest first. More than one, when it left one in the dark
    /// or another of the same name runs.
    pub(crate) open: Vec<Conn>,
    /// Its number in every connection it makes: telemetry is numbered from one.
    pub(crate) said: u64,
}

impl Client {
    pub(crate) fn new(id: &str) -> Self {
        Self { address: Address::parse(id).unwrap(), open: Vec::new(), said: 0 }
    }
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) client: usize,
    pub(crate) node: usize,
    pub(crate) run: u64,
    pub(crate) link: LinkId,
    pub(crate) persistent: bool,
    /// The identity's generation, and when the credential expires.
    grant: (u64, Timestamp),
    /// Welcomed, as far as the device knows.
    pub(crate) welcome: bool,
    /// Over, as far as the device knows.
    pub(crate) over: bool,
    /// The hub said that it is over.
    closing: bool,
    next_tag: u64,
    /// Frames without an answer, by tag.
    pub(crate) unanswered: BTreeMap<Tag, &'static str>,
    /// When the last frame in each direction arrives: none overtakes another.
    up_at: u64,
    down_at: u64,
    /// Frames towards the device that wait.
    queued: usize,
    pub(crate) twins: Vec<Bytes>,
    /// The version of the latest desired properties it was told of.
    pub(crate) desired: u64,
}

impl Connection {
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival {
            grant: Grant {
                auth: AuthMethod { scope: AuthScope::Hub, kind: AuthType::InProcess },
                expires: self.grant.1,
                generation: self.grant.0,
                credential: CredentialMark::default(),
            },
            session: if self.persistent { SessionMode::Persistent } else { SessionMode::Clean },
            model: None,
        }
    }
}

impl World {
    /// A device dials a node.
    pub(crate) fn dial(&mut self, client: usize, node: usize) -> Conn {
        let conn = self.connections.len() as u64 + 1;
        let persistent = self.rng.permille(700);
        let connection = Connection {
            client,
            node,
            run: 0,
            link: LinkId(0),
            persistent,
            grant: (0, Timestamp::MAX),
            welcome: false,
            over: false,
            closing: false,
            next_tag: 0,
            unanswered: BTreeMap::new(),
            up_at: 0,
            down_at: 0,
            queued: 0,
            twins: Vec::new(),
            desired: 0,
        };
        self.connections.insert(conn, connection);
        self.clients[client].open.push(conn);
        let delay = self.rng.below(30);
        self.after(delay, Event::Arrive { conn });
        conn
    }

    /// The connect reaches the node, which authenticates it by what is registered.
    pub(crate) fn arrive(&mut self, conn: Conn) {
        let (client, node) = (self.connections[&conn].client, self.connections[&conn].node);
        let address = self.clients[client].address.clone();
        let identity = self.store.document(&Key::identity(&address));
        let identity = identity.and_then(|(_, body)| Identity::decode(&body).ok());
        let enabled = identity.filter(|identity| identity.status() == Status::Enabled);
        let (Some(identity), true) = (enabled, self.nodes[node].up) else {
            return self.cut(conn);
        };
        let short = self.phase == Phase::Faulty && self.rng.permille(100);
        let life = std::time::Duration::from_millis(self.rng.between(500, 5000));
        let expires = if short { self.local(node).after(life) } else { Timestamp::MAX };
        let link = self.nodes[node].next_link();
        let run = self.nodes[node].run;
        self.nodes[node].lines.insert(link, conn);
        let call = self.next_call();
        let connection = self.connections.get_mut(&conn).unwrap();
        (connection.run, connection.link) = (run, link);
        connection.grant = (identity.generation(), expires);
        self.service.connects.insert(call, conn);
        self.ask_machine(node, &address, call, Wish::Connect { conn });
    }

    pub(crate) fn next_call(&mut self) -> Call {
        self.service.last_call += 1;
        self.service.last_call
    }

    pub(crate) fn connect_answered(&mut self, call: Call, answer: Answer) {
        let Some(conn) = self.service.connects.get(&call).copied() else { return };
        match answer {
            Answer::Welcome(_) => {
                if let Some(connection) = self.connections.get_mut(&conn)
                    && !connection.over
                {
                    connection.welcome = true;
                }
            }
            _ => {
                let delay = self.rng.below(20);
                self.after(delay, Event::Cut { conn });
            }
        }
    }

    /// A frame on its way to the node.
    fn send(&mut self, conn: Conn, inbound: Inbound) {
        let (stalls, cut) = (self.faults.stalls, self.faults.cuts);
        let mut delay = self.rng.below(8);
        if self.rng.permille(stalls) {
            delay += self.rng.below(1500);
        }
        let connection = self.connections.get_mut(&conn).unwrap();
        if connection.over || !connection.welcome {
            return;
        }
        // What settles and what answers may come in any order; the rest keeps its order.
        let free = matches!(inbound, Inbound::Settle(..) | Inbound::Reply(..));
        let at = if free { self.now + delay } else { connection.up_at.max(self.now + delay) };
        if !free {
            connection.up_at = at;
        }
        let again = (free && self.rng.permille(80)).then(|| inbound.clone());
        self.at(at, Event::Up { conn, inbound });
        if let Some(inbound) = again {
            self.at(at + delay, Event::Up { conn, inbound });
        }
        if self.rng.permille(cut / 30) {
            self.hang_up(conn);
        }
    }

    /// With a tag that waits for its answer, if the window has room (T5).
    pub(crate) fn send_tagged(
        &mut self,
        conn: Conn,
        what: &'static str,
        frame: impl FnOnce(Tag) -> Inbound,
    ) {
        let window = self.limits.link_window;
        let node = self.connections[&conn].node;
        let full = self.nodes[node].is_full();
        let connection = self.connections.get_mut(&conn).unwrap();
        if connection.over || !connection.welcome || full {
            return;
        }
        if connection.unanswered.len() >= window {
            return;
        }
        connection.next_tag += 1;
        let tag = Tag(connection.next_tag);
        connection.unanswered.insert(tag, what);
        self.send(conn, frame(tag));
    }

    /// The device goes without a word, and the node learns it late.
    pub(crate) fn hang_up(&mut self, conn: Conn) {
        self.cut(conn);
        let late = if self.phase == Phase::Faulty { self.rng.below(4000) } else { 100 };
        let cause = DisconnectCause::ConnectionLost;
        self.after(late, Event::Ended { conn, cause });
    }

    /// The device goes in good order: the node hears it after all that it said.
    pub(crate) fn leave(&mut self, conn: Conn) {
        self.cut(conn);
        let at = self.connections[&conn].up_at + 1;
        self.at(at, Event::Ended { conn, cause: DisconnectCause::Clean });
    }

    /// The device knows that a connection is over.
    pub(crate) fn cut(&mut self, conn: Conn) {
        let connection = self.connections.get_mut(&conn).unwrap();
        connection.over = true;
        let client = connection.client;
        self.clients[client].open.retain(|open| *open != conn);
        let (node, run) = (connection.node, connection.run);
        if !self.nodes[node].up || self.nodes[node].run != run {
            return;
        }
        // A refused connection is dropped on the node's side as well.
        if !self.connections[&conn].welcome {
            let cause = DisconnectCause::ConnectionLost;
            let late = self.rng.below(500);
            self.after(late, Event::Ended { conn, cause });
        }
    }

    pub(crate) fn up(&mut self, conn: Conn, inbound: Inbound) {
        let connection = &self.connections[&conn];
        let (node, run, link) = (connection.node, connection.run, connection.link);
        let address = self.clients[connection.client].address.clone();
        let node = &self.nodes[node];
        if !node.up || node.run != run || !node.lines.contains_key(&link) {
            return;
        }
        let node = node.index;
        self.see(Fact::Frame { conn, inbound: inbound.clone() });
        self.input(node, &address, Input::Frame(link, inbound));
    }

    pub(crate) fn ended(&mut self, conn: Conn, cause: DisconnectCause) {
        let connection = &self.connections[&conn];
        let (node, run, link) = (connection.node, connection.run, connection.link);
        let address = self.clients[connection.client].address.clone();
        if self.nodes[node].up
            && self.nodes[node].run == run
            && self.nodes[node].lines.remove(&link).is_some()
        {
            self.input(node, &address, Input::Leave(link, cause));
        }
    }

    /// Something on its way to the device, in order. A device that takes nothing is cut off.
    pub(crate) fn push_down(&mut self, conn: Conn, outbound: Outbound) {
        let most = 2 * self.limits.link_window;
        let mut delay = self.rng.below(8);
        if self.rng.permille(self.faults.stalls) {
            delay += self.rng.below(3000);
        }
        let connection = self.connections.get_mut(&conn).unwrap();
        if connection.closing {
            return;
        }
        let stuck = connection.queued >= most;
        let outbound = if stuck { Outbound::Close(CloseReason::PeerStuck) } else { outbound };
        connection.closing = matches!(outbound, Outbound::Close(_));
        connection.queued += 1;
        let at = connection.down_at.max(self.now + delay);
        connection.down_at = at;
        if let Outbound::Close(reason) = outbound {
            // The adapter closes at once, whatever the device takes (T4).
            let delay = self.rng.below(50);
            self.after(delay, Event::Ended { conn, cause: DisconnectCause::Closed(reason) });
        }
        self.at(at, Event::Down { conn, outbound });
    }

    pub(crate) fn down(&mut self, conn: Conn, outbound: Outbound) {
        let connection = self.connections.get_mut(&conn).unwrap();
        connection.queued -= 1;
        if connection.over {
            return;
        }
        match outbound {
            Outbound::Receipt(tag) | Outbound::Reported(tag, _) => {
                connection.unanswered.remove(&tag);
            }
            Outbound::Refused(tag, _) => {
                connection.unanswered.remove(&tag);
            }
            Outbound::Twin(tag, body) => {
                connection.unanswered.remove(&tag);
                connection.twins.push(body);
            }
            Outbound::Offer(delivery) => self.offered(conn, &delivery),
            Outbound::Call(reference, _, payload) => {
                // Devices answer with what they were sent; some late, some twice, some never.
                let silent = self.phase == Phase::Faulty && self.rng.permille(300);
                if !silent {
                    self.send(conn, Inbound::Reply(reference, 200, payload.clone()));
                }
                if self.phase == Phase::Faulty && self.rng.permille(300) {
                    // An answer that finds its way only over a later connection.
                    let client = self.connections[&conn].client;
                    self.service.late_replies.entry(client).or_default().push((reference, payload));
                }
            }
            Outbound::Desired(version, _) => connection.desired = version,
            Outbound::Close(_) => self.cut(conn),
        }
    }

    fn offered(&mut self, conn: Conn, delivery: &Delivery) {
        let token = delivery.token;
        if self.phase == Phase::Calm {
            return self.settle(conn, token, Disposition::Complete);
        }
        let disposition = match self.rng.below(100) {
            0..50 => Disposition::Complete,
            50..70 => Disposition::Abandon,
            70..80 => Disposition::Reject,
            _ => return,
        };
        self.settle(conn, token, disposition);
        if self.rng.permille(60) {
            let other = [Disposition::Complete, Disposition::Reject, Disposition::Abandon];
            let other = self.rng.pick(&other).unwrap();
            self.settle(conn, token, other);
        }
    }

    fn settle(&mut self, conn: Conn, token: LockToken, disposition: Disposition) {
        if self.rng.permille(100) {
            self.send(conn, Inbound::Settle(None, token, disposition));
        } else {
            self.send_tagged(conn, "settle", |tag| Inbound::Settle(Some(tag), token, disposition));
        }
    }

    /// Something a connected device may do.
    pub(crate) fn device_acts(&mut self, conn: Conn) {
        let client = self.connections[&conn].client;
        match self.rng.below(100) {
            0..35 => self.send_telemetry(conn),
            35..60 => self.send_report(conn),
            60..70 => self.send_tagged(conn, "twin", Inbound::GetTwin),
            70..90 => {
                let interest = self.rng.pick(&Interest::ALL).unwrap();
                let guarantee = Guarantee::AtLeastOnce;
                let add = vec![(interest, guarantee), (Interest::Messages, guarantee)];
                self.send_tagged(conn, "subscribe", |tag| Inbound::Subscribe(tag, add));
            }
            90..93 => {
                let interest = self.rng.pick(&Interest::ALL).unwrap();
                self.send_tagged(conn, "unsubscribe", |tag| {
                    Inbound::Unsubscribe(tag, vec![interest])
                });
            }
            93..98 => {
                if let Entry::Occupied(mut late) = self.service.late_replies.entry(client)
                    && let Some((reference, payload)) = late.get_mut().pop()
                {
                    self.send(conn, Inbound::Reply(reference, 200, payload));
                }
            }
            _ => self.leave(conn),
        }
    }

    pub(crate) fn send_telemetry(&mut self, conn: Conn) {
        let count = self.rng.between(1, 3);
        let (mut arena, mut ends) = (Vec::new(), Vec::new());
        let client = self.connections[&conn].client;
        for _ in 0..count {
            self.clients[client].said += 1;
            let said = self.clients[client].said;
            arena.extend_from_slice(format!("{client}/{conn}/{said}").as_bytes());
            ends.push(u32::try_from(arena.len()).unwrap());
        }
        let entries = Entries::from_parts(arena.into(), ends).unwrap();
        self.send_tagged(conn, "telemetry", |tag| Inbound::Telemetry(tag, entries));
    }

    pub(crate) fn send_report(&mut self, conn: Conn) {
        let value = self.service.next_value();
        let key = self.rng.below(3);
        let patch = match self.rng.below(20) {
            0 => "{}".to_owned(),
            1 => "{\"a.b\":0}".to_owned(),
            _ => format!("{{\"k{key}\":{value}}}"),
        };
        let if_version = self.rng.permille(50).then(|| self.rng.below(6));
        self.send_tagged(conn, "report", |tag| Inbound::Report(tag, patch.into(), if_version));
    }
}
