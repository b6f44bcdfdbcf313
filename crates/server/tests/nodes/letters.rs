//! Senders that go from node to node until a message is acknowledged, and the accounting of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testing::{Cluster, Failure, Response, User};

use crate::nodes::{LONG, Nodes, all_slots_work, poll};

/// How many messages a sender has acknowledged at most: no load is without an end.
const MOST: usize = 4_000;
/// What a client does between two tries. It is told to wait a second, and does not.
const PAUSE: Duration = Duration::from_millis(20);

/// Somebody who sends numbered messages, each under a key of its own and until it is acknowledged,
/// wherever there is a node that answers.
pub(crate) struct Sender {
    pub user: User,
    /// Under each key whom it went to, and the id that was told.
    pub kept: BTreeMap<String, (i64, i64)>,
    /// How often the answer was 503, or 409.
    pub refused: usize,
    /// How often there was none: the connection was refused or closed before it.
    pub moved: usize,
    recipients: Vec<i64>,
    node: usize,
}

impl Sender {
    /// Sends the next message, and returns when it is acknowledged.
    pub(crate) fn send(&mut self, nodes: &Nodes) {
        let number = self.kept.len();
        let key = format!("{}-{number:05}", self.user.name);
        let recipient = self.recipients[number % self.recipients.len()];
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < LONG, "{key} is not acknowledged by anybody");
            match self.ask(nodes, &key, recipient) {
                Ok(answer) if answer.status == 201 => {
                    let id = answer.json()["id"].as_i64().expect("an id");
                    self.kept.insert(key, (recipient, id));
                    return;
                }
                Ok(answer) => {
                    is_a_refusal(&answer);
                    self.refused += 1;
                }
                // Half an answer tells nothing, and the key makes another try harmless.
                Err(Failure::Closed | Failure::Refused | Failure::Truncated) => self.moved += 1,
                Err(Failure::TimedOut) => panic!("{key}: no answer"),
            }
            self.move_on(nodes);
            thread::sleep(PAUSE);
        }
    }

    fn ask(&mut self, nodes: &Nodes, key: &str, recipient: i64) -> Result<Response, Failure> {
        let address = nodes.try_address(self.node).ok_or(Failure::Refused)?;
        self.user.stay_at(address);
        self.user.send_keyed(recipient, key)
    }

    fn move_on(&mut self, nodes: &Nodes) {
        self.node = (self.node + 1) % nodes.number();
    }
}

/// Asserts that nothing was done, and that the client is told to try again.
#[track_caller]
pub(crate) fn is_a_refusal(answer: &Response) {
    let in_progress = answer.status == 409 && answer.json()["code"] == "request_in_progress";
    assert!(answer.status == 503 || in_progress, "{} {}", answer.status, answer.text());
    assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
}

/// People at work: senders on one thread each, and recipients who look at their lists.
pub(crate) struct Office<'n> {
    pub nodes: &'n Nodes,
    pub senders: Vec<Sender>,
    pub recipients: Vec<User>,
    /// Whether a refusal is an answer that may be given.
    pub may_refuse: bool,
}

impl<'n> Office<'n> {
    /// So many of each, registered and logged in, the senders at one node after the other.
    pub(crate) fn open(nodes: &'n Nodes, senders: usize, recipients: usize) -> Self {
        let user = |role: &str, number: usize| {
            nodes.user(number % nodes.number(), &format!("{role}-{number}"))
        };
        let recipients: Vec<_> = (0..recipients).map(|number| user("recipient", number)).collect();
        let ids: Vec<_> = recipients.iter().map(|recipient| recipient.id).collect();
        let sender = |number: usize| Sender {
            user: user("sender", number),
            kept: BTreeMap::new(),
            refused: 0,
            moved: 0,
            recipients: ids.clone(),
            node: number % nodes.number(),
        };
        let senders = (0..senders).map(sender).collect();
        Self { nodes, senders, recipients, may_refuse: true }
    }

    /// Has everybody work while `meanwhile` runs, which is given what tells it of the progress.
    pub(crate) fn works(&mut self, meanwhile: impl FnOnce(&Progress)) {
        let (nodes, may_refuse) = (self.nodes, self.may_refuse);
        let progress = Progress::default();
        thread::scope(|scope| {
            for sender in &mut self.senders {
                scope.spawn(|| {
                    let _end = progress.here();
                    while progress.goes_on() && sender.kept.len() < MOST {
                        sender.send(nodes);
                        progress.acknowledged.fetch_add(1, Relaxed);
                    }
                });
            }
            for (number, recipient) in self.recipients.iter_mut().enumerate() {
                let progress = &progress;
                scope.spawn(move || {
                    let _end = progress.here();
                    let mut node = number;
                    while progress.goes_on() {
                        look(nodes, recipient, node % nodes.number(), may_refuse);
                        node += 1;
                        thread::sleep(PAUSE);
                    }
                });
            }
            let _end = progress.here();
            meanwhile(&progress);
        });
    }

    /// Asserts that every acknowledged message is where it belongs, once, in order, under the id
    /// that was told, and that nothing else is there. What it looked at, as a sentence.
    #[track_caller]
    pub(crate) fn is_in_order(&mut self) -> String {
        let address = self.nodes.address(0);
        let mut there = BTreeMap::new();
        for recipient in &mut self.recipients {
            recipient.connect_to(address);
            let box_ = list(recipient, "inbox");
            assert!(box_.is_sorted_by(|one, next| one.0 < next.0), "newest first, without end");
            let mut last = BTreeMap::new();
            for (id, key, _) in box_ {
                let sender = key.rsplit_once('-').expect("it is a key").0.to_owned();
                let before = last.insert(sender, key.clone());
                assert!(before < Some(key.clone()), "{key} is out of order or twice: {before:?}");
                let twice = there.insert(key.clone(), (recipient.id, id));
                assert_eq!(twice, None, "{key} is there twice");
            }
        }
        let acknowledged: BTreeMap<_, _> =
            self.senders.iter().flat_map(|sender| sender.kept.clone()).collect();
        let lost: Vec<_> =
            acknowledged.iter().filter(|(key, at)| there.get(*key) != Some(at)).collect();
        assert!(lost.is_empty(), "lost, or elsewhere: {lost:?}");
        assert_eq!(there.len(), acknowledged.len(), "nothing else is there");
        for sender in &mut self.senders {
            sender.user.connect_to(address);
            let sent = list(&mut sender.user, "sent");
            let names: BTreeSet<_> = sent.iter().map(|(_, _, name)| name.clone()).collect();
            assert_eq!(names.len(), sent.len(), "a client_id is there twice");
            assert!(names.iter().eq(sender.kept.keys()), "the sent ones of {}", sender.user.name);
        }
        let sum = |count: fn(&Sender) -> usize| self.senders.iter().map(count).sum::<usize>();
        let (refused, moved) = (sum(|sender| sender.refused), sum(|sender| sender.moved));
        format!("{} acknowledged; refused {refused}, unanswered {moved} times", acknowledged.len())
    }

    /// Asserts that no fault has cost any node a connection.
    #[track_caller]
    pub(crate) fn has_all_connections(&mut self, cluster: &Cluster) {
        let recipient = self.recipients[0].id;
        let mut senders: Vec<_> = self.senders.iter_mut().map(|sender| &mut sender.user).collect();
        for node in 0..self.nodes.number() {
            all_slots_work(cluster, self.nodes.address(node), &mut senders, recipient);
        }
    }

    /// How often a sender was refused.
    pub(crate) fn refusals(&self) -> usize {
        self.senders.iter().map(|sender| sender.refused).sum()
    }
}

/// Looks at the newest messages and at the count of the unread, at a node if it answers.
#[track_caller]
fn look(nodes: &Nodes, user: &mut User, node: usize, may_refuse: bool) {
    let Some(address) = nodes.try_address(node) else { return };
    user.stay_at(address);
    for path in ["/v1/messages?limit=10", "/v1/unread"] {
        match user.call("GET", path, &Value::Null) {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) if may_refuse => is_a_refusal(&answer),
            Ok(answer) => panic!("{path}: {} {}", answer.status, answer.text()),
            Err(Failure::Closed | Failure::Refused) => {}
            Err(Failure::Truncated) if may_refuse => {}
            Err(end) => panic!("{path}: {end:?}"),
        }
    }
}

/// A folder of a mailbox, the oldest message first: ids, subjects and the sender's own names.
#[track_caller]
pub(crate) fn list(user: &mut User, name: &str) -> Vec<(i64, String, String)> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/messages?folder={name}&limit=100{cursor}");
        let page = user.call("GET", &path, &Value::Null).expect("an answer").ok();
        for item in page["data"].as_array().expect("a list") {
            let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
            found.push((item["id"].as_i64().expect("an id"), text("subject"), text("client_id")));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    found.reverse();
    found
}

/// What the people at work tell of.
#[derive(Default)]
pub(crate) struct Progress {
    acknowledged: AtomicUsize,
    over: AtomicBool,
}

impl Progress {
    fn goes_on(&self) -> bool {
        !self.over.load(Relaxed)
    }

    /// When it is dropped, by a panic as well, all is over for everybody.
    fn here(&self) -> Here<'_> {
        Here(self)
    }

    /// Waits until so many more messages are acknowledged.
    #[track_caller]
    pub(crate) fn more(&self, number: usize) {
        let enough = self.acknowledged.load(Relaxed) + number;
        poll("messages are acknowledged", || {
            assert!(self.goes_on(), "somebody has given up");
            self.acknowledged.load(Relaxed) >= enough
        });
    }
}

struct Here<'p>(&'p Progress);

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}
