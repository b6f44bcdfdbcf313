//! Many senders at once, what each was told, and the accounting of it afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::thread;

use testing::{Failure, Response, User};

use crate::support::Server;

/// Somebody who sends numbered messages, one after another, and no number twice.
pub(crate) struct Sender {
    pub user: User,
    /// What was acknowledged: the number, whom it went to, and its id.
    pub kept: Vec<Kept>,
    /// What was answered by an error: the number and the status.
    pub refused: Vec<(u64, u16)>,
    /// What was not answered: the number and how the connection ended.
    pub lost: Vec<(u64, Failure)>,
    recipients: Vec<i64>,
    next: u64,
}

/// A message that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub number: u64,
    pub recipient: i64,
    pub id: i64,
}

impl Sender {
    pub(crate) fn new(user: User, recipients: &[User]) -> Self {
        let recipients = recipients.iter().map(|recipient| recipient.id).collect();
        Self { user, kept: vec![], refused: vec![], lost: vec![], recipients, next: 0 }
    }

    /// Sends the next message; the answer, or the way in which there was none.
    pub(crate) fn send(&mut self) -> Result<Response, Failure> {
        let number = self.next;
        self.next += 1;
        let turn = usize::try_from(number).expect("it is small") % self.recipients.len();
        let recipient = self.recipients[turn];
        let (subject, body) = letter(self.user.id, number);
        let answer = self.user.send(recipient, &subject, &body);
        match &answer {
            Ok(answer) if answer.status == 200 => {
                let id = answer.json()["message_id"].as_i64().expect("the id is a number");
                self.kept.push(Kept { number, recipient, id });
            }
            Ok(answer) => self.refused.push((number, answer.status)),
            Err(end) => self.lost.push((number, *end)),
        }
        answer
    }

    /// Sends until a message is not acknowledged, and calls `kept` after each that is.
    pub(crate) fn send_on(&mut self, mut kept: impl FnMut()) {
        while self.send().is_ok_and(|answer| answer.status == 200) {
            kept();
        }
    }
}

/// What a sender writes under a number: no two are the same, and their lengths differ.
fn letter(sender: i64, number: u64) -> (String, String) {
    let length = usize::try_from(number * 37 % 400).expect("it is small");
    let padding = "ä✓ \u{1f4ee}\\\"\n".chars().cycle().take(length).collect::<String>();
    (format!("{sender} {number}"), format!("{sender} {number}\n{padding}"))
}

/// What the accounting found.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub acknowledged: usize,
    pub found: usize,
    /// Acknowledged, and not in the recipient's list with the exact text.
    pub lost: Vec<(i64, Kept)>,
    /// Under two ids.
    pub twice: Vec<(i64, u64)>,
    /// With a lower id than an earlier one of the same sender.
    pub disordered: Vec<(i64, u64)>,
    /// Refused, and there all the same; or never sent.
    pub uninvited: Vec<(i64, u64)>,
    /// There although there was no answer, which is allowed unless a test says otherwise.
    pub unanswered: Vec<(i64, u64)>,
}

impl Account {
    #[track_caller]
    pub(crate) fn is_balanced(&self) {
        let Self { lost, twice, disordered, uninvited, .. } = self;
        assert!(lost.is_empty(), "lost {}: {:?}", lost.len(), lost.first());
        assert!(twice.is_empty(), "twice: {twice:?}");
        assert!(disordered.is_empty(), "out of order: {disordered:?}");
        assert!(uninvited.is_empty(), "refused or never sent: {uninvited:?}");
    }
}

/// Reads everything that the recipients have and compares it with what the senders were told.
/// What recipients have deleted is not expected, nor allowed.
pub(crate) fn account(
    address: SocketAddr,
    senders: &[Sender],
    recipients: &mut [User],
    deleted: &BTreeSet<i64>,
) -> Account {
    let mailboxes = read_all(address, recipients);
    let mut ids = BTreeMap::<(i64, u64), Vec<i64>>::new();
    let mut places = BTreeMap::new();
    for (recipient, mailbox) in &mailboxes {
        for (id, sender, number) in mailbox {
            assert!(!deleted.contains(id), "{id} was deleted and is there");
            ids.entry((*sender, *number)).or_default().push(*id);
            places.insert(*id, (*recipient, *sender, *number));
        }
    }
    let mut account = Account { found: places.len(), ..Account::default() };
    account.twice = ids.iter().filter(|(_, ids)| ids.len() > 1).map(|(key, _)| *key).collect();
    for sender in senders {
        let name = sender.user.id;
        account.acknowledged += sender.kept.len();
        for kept in sender.kept.iter().filter(|kept| !deleted.contains(&kept.id)) {
            if places.get(&kept.id) != Some(&(kept.recipient, name, kept.number)) {
                account.lost.push((name, *kept));
            }
        }
        let sent = ids.range((name, 0)..=(name, u64::MAX));
        let mut last = 0;
        for ((_, number), ids) in sent.map(|(key, ids)| (*key, ids)) {
            if ids[0] < last {
                account.disordered.push((name, number));
            }
            last = ids[0];
            let refused = sender.refused.iter().any(|(refused, _)| *refused == number);
            if refused || number >= sender.next {
                account.uninvited.push((name, number));
            }
            if sender.lost.iter().any(|(lost, _)| *lost == number) {
                account.unanswered.push((name, number));
            }
        }
    }
    let known: BTreeSet<_> = senders.iter().map(|sender| sender.user.id).collect();
    account.uninvited.extend(ids.keys().filter(|(sender, _)| !known.contains(sender)));
    account
}

/// Each mailbox, as the ids, senders and numbers of what is in it; all texts are to the letter.
fn read_all(address: SocketAddr, recipients: &mut [User]) -> BTreeMap<i64, Vec<(i64, i64, u64)>> {
    let read = |recipient: &mut User| {
        recipient.connect_to(address);
        let ids = recipient.inbox();
        let messages = ids.into_iter().map(|id| {
            let (sender, number) = check(recipient, id).expect("an answer");
            (id, sender, number)
        });
        messages.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let readers: Vec<_> = recipients
            .iter_mut()
            .map(|recipient| scope.spawn(move || (recipient.id, read(recipient))))
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("mailboxes are read")).collect()
    })
}

/// Reads a message and compares it with what was sent; its sender and its number.
pub(crate) fn check(recipient: &mut User, id: i64) -> Result<(i64, u64), Failure> {
    let message = recipient.read(id)?.ok();
    let subject = message["subject"].as_str().expect("it is text");
    let (sender, number) = subject.split_once(' ').expect("it is one of ours");
    let sender = sender.parse().expect("it is a number");
    let number = number.parse().expect("it is a number");
    let (_, body) = letter(sender, number);
    assert_eq!(message["body"], body, "of message {id}");
    assert_eq!(message["message_id"], id);
    assert_eq!(
        (&message["sender_id"], &message["receiver_id"]),
        (&sender.into(), &recipient.id.into())
    );
    Ok((sender, number))
}

/// So many senders and recipients, registered and logged in.
pub(crate) fn people(
    server: &Server,
    senders: usize,
    recipients: usize,
) -> (Vec<Sender>, Vec<User>) {
    let recipients = server.users((0..recipients).map(|number| format!("recipient-{number}")));
    let senders = server.users((0..senders).map(|number| format!("sender-{number}")));
    (senders.into_iter().map(|user| Sender::new(user, &recipients)).collect(), recipients)
}
