//! How many statements a request needs: a fixed number, however much there is to show. An engine
//! across a network is asked as many times.

use db::Tx;
use domain::envelopes::BodyPart;
use domain::lists::{self, Filter, FolderFilter};
use domain::messages::{self, Marks};
use domain::sending::Draft;
use domain::text::{Email, Username};
use domain::users::AcceptFrom;
use domain::{
    ConversationId, MessageId, Result, UserId, conversations, sending, throttle, unread, users,
};

use crate::support::{World, answer, draft};

/// Everybody who writes to ann, and what they wrote.
struct Crowd {
    world: World,
    mail: Mail,
}

/// What ann holds of it.
#[derive(Clone)]
struct Mail {
    ann: UserId,
    messages: Vec<MessageId>,
}

/// Reads, and says how many items there were.
type Read = fn(&mut Tx<'_>, &Mail) -> Result<usize>;

impl Crowd {
    /// So many users of whom each sends ann one message: by turns to her alone, to her and to the
    /// one before, and as the answer to a message of hers.
    fn of(size: usize) -> Self {
        let world = World::new();
        let ann = world.user("ann");
        let messages = world.write(move |tx, cx| {
            let email = Email::parse("somebody@example.org")?;
            let mut messages = Vec::new();
            let mut before = ann;
            for number in 0..size {
                let name = Username::parse(&format!("user{number}"))?;
                let from = users::create(tx, cx, &name, None, &email, "")?;
                let mut draft = draft(ann, "hello", "a body");
                match number % 3 {
                    1 => draft.to.push(domain::UserRef::Id(before)),
                    2 => {
                        let asked = self::draft(from, "a question", "a body");
                        let question = sending::send(tx, cx, ann, &asked, None)?.id;
                        draft = answer(question, "a body");
                    }
                    _ => {}
                }
                messages.push(sending::send(tx, cx, from, &draft, None)?.id);
                before = from;
            }
            Ok(messages)
        });
        let messages = messages.expect("all of it can be sent");
        Self { world, mail: Mail { ann, messages } }
    }

    /// How many statements a read needs; it has to show so many items.
    fn count(&self, shown: usize, read: Read) -> u64 {
        let mail = self.mail.clone();
        let (items, statements) =
            self.world.read(move |tx, _cx| Ok((read(tx, &mail)?, tx.statements())));
        assert_eq!(items, shown);
        statements
    }

    /// All but ann.
    fn others(&self) -> Vec<UserId> {
        (2..).filter_map(UserId::new).take(self.mail.messages.len()).collect()
    }

    /// Sends a draft of ann's. Returns its id, and how many statements that needs.
    fn sent(&self, draft: Draft) -> (MessageId, u64) {
        let ann = self.mail.ann;
        let sent = self.world.write(move |tx, cx| {
            Ok((sending::send(tx, cx, ann, &draft, None)?.id, tx.statements()))
        });
        sent.expect("it can be sent")
    }

    /// The same for a message of ann's to these.
    fn send(&self, to: &[UserId]) -> (MessageId, u64) {
        let to = to.iter().map(|user| domain::UserRef::Id(*user)).collect();
        self.sent(Draft { to, ..draft(self.mail.ann, "", "") })
    }
}

impl Mail {
    fn newest(&self) -> MessageId {
        *self.messages.last().expect("somebody has written")
    }
}

fn list(tx: &mut Tx<'_>, owner: UserId, filter: &Filter) -> Result<usize> {
    Ok(lists::page(tx, owner, filter, BodyPart::Snippet, (None, 100))?.items.len())
}

/// Asserts the number for one item, and that it is the same for a hundred.
#[track_caller]
fn needs(statements: u64, read: Read) {
    for size in [1, 100] {
        assert_eq!(Crowd::of(size).count(size, read), statements, "for {size}");
    }
}

#[test]
fn a_page_of_the_inbox_needs_seven() {
    // Four ranges of the key, the state, the texts, the names.
    needs(7, |tx, mail| list(tx, mail.ann, &Filter::default()));
}

#[test]
fn a_page_of_the_unread_needs_five() {
    needs(5, |tx, mail| list(tx, mail.ann, &Filter { unread: Some(true), ..Filter::default() }));
}

#[test]
fn a_page_of_everything_needs_thirteen() {
    let all = |tx: &mut Tx<'_>, mail: &Mail| {
        let filter = Filter { folder: FolderFilter::All, ..Filter::default() };
        list(tx, mail.ann, &filter)
    };
    assert_eq!(Crowd::of(1).count(1, all), 13);
    // A hundred at most are on a page, and ann's own questions are among them.
    assert_eq!(Crowd::of(100).count(100, all), 13);
}

#[test]
fn a_further_page_needs_one_less() {
    let further = |tx: &mut Tx<'_>, mail: &Mail| {
        let before = Some(mail.newest());
        Ok(lists::page(tx, mail.ann, &Filter::default(), BodyPart::Snippet, (before, 100))?
            .items
            .len())
    };
    assert_eq!(Crowd::of(2).count(1, further), 6);
    assert_eq!(Crowd::of(100).count(99, further), 6);
}

#[test]
fn a_page_of_conversations_needs_ten() {
    // Five ranges of the key, the rows, their last entries, the texts, the names.
    needs(10, |tx, mail| {
        Ok(conversations::list(tx, mail.ann, BodyPart::Snippet, (None, 100))?.items.len())
    });
}

#[test]
fn a_message_needs_six_at_most_wherever_it_is() {
    let read = |tx: &mut Tx<'_>, mail: &Mail| {
        let found = messages::read_with_people(tx, mail.ann, mail.newest())?;
        Ok(usize::from(found.is_some()))
    };
    for size in [1, 100] {
        let crowd = Crowd::of(size);
        // The lock, two places where it is likely to be, the text, the names.
        assert_eq!(crowd.count(1, read), 4, "of {size}");
        let trashed = Marks { trashed: Some(true), ..Marks::default() };
        crowd.world.mark(crowd.mail.ann, crowd.mail.newest(), trashed);
        // Three likely places, all others at once, the text, the names.
        assert_eq!(crowd.count(1, read), 6, "of {size}");
    }
}

#[test]
fn a_conversation_needs_seven_at_most_however_long_it_is() {
    let crowd = Crowd::of(1);
    let (ann, first) = (crowd.mail.ann, crowd.mail.newest());
    let read = |tx: &mut Tx<'_>, mail: &Mail| {
        let id: ConversationId = mail.messages[0].begins();
        Ok(usize::from(conversations::read(tx, mail.ann, id)?.is_some()))
    };
    // The row that there is not, two places, the text, the names.
    assert_eq!(crowd.count(1, read), 5);
    for _ in 0..100 {
        crowd.world.reply(ann, first, "more of it");
    }
    // The row, the rare places, the text, the names.
    assert_eq!(crowd.count(1, read), 7);
}

#[test]
fn the_counts_of_the_unread_need_one() {
    for size in [1, 100] {
        let counts = |tx: &mut Tx<'_>, mail: &Mail| {
            let counts = unread::counts(tx, mail.ann)?;
            Ok(usize::try_from(counts.messages).unwrap_or_default())
        };
        assert_eq!(Crowd::of(size).count(size, counts), 1);
    }
}

/// How many statements a write needs.
fn written(
    world: &World,
    mut write: impl FnMut(&mut Tx<'_>, &domain::Cx) -> Result<()> + Send + 'static,
) -> u64 {
    let counted = world.write(move |tx, cx| {
        write(tx, cx)?;
        Ok(tx.statements())
    });
    counted.expect("it can be done")
}

#[test]
fn a_send_needs_five_or_eight_however_many_get_it() {
    let crowd = Crowd::of(100);
    let others = crowd.others();
    crowd.send(&others);
    assert_eq!(crowd.send(&others[..1]).1, 5, "to somebody whom she has written to");
    // The locks, whom they take messages from, two advances, the text, who is known, the
    // conversations, the entries.
    for several in [2, 99] {
        assert_eq!(crowd.send(&others[..several]).1, 8, "to {several}");
    }
}

#[test]
fn what_all_readers_have_needs_as_many_for_two_as_for_a_hundred() {
    for several in [2, 99] {
        let crowd = Crowd::of(100);
        let (ann, others) = (crowd.mail.ann, &crowd.others()[..several]);
        let (first, _) = crowd.send(others);
        let (reply, replied) = crowd.sent(answer(first, ""));
        // What is answered takes five. The locks, the rules, two advances, the text, who is known,
        // the rows of the conversation, the entries, the sender's row, who had nothing unread of
        // it, the others' rows, and the counts.
        assert_eq!(replied, 17, "of {several}");
        let unsent =
            written(&crowd.world, move |tx, cx| messages::unsend(tx, cx, ann, reply).map(drop));
        assert_eq!(unsent, 26, "of {several}");
        let (reply, _) = crowd.sent(answer(first, ""));
        let deleted =
            written(&crowd.world, move |tx, cx| messages::delete_or_withdraw(tx, cx, ann, reply));
        assert_eq!(deleted, 29, "of {several}");
    }
}

#[test]
fn who_takes_nothing_costs_no_more_statements_than_who_takes_everything() {
    for several in [2, 99] {
        let crowd = Crowd::of(100);
        let (ann, others) = (crowd.mail.ann, &crowd.others()[..several]);
        let (first, _) = crowd.send(others);
        for other in others {
            crowd.world.accept(*other, AcceptFrom::Nobody);
        }
        let draft = answer(first, "");
        let refused = written(&crowd.world, move |tx, cx| {
            let sent = sending::send(tx, cx, ann, &draft, None);
            assert!(matches!(sent, Err(domain::Error::ReachesNobody(all)) if all.len() == several));
            Ok(())
        });
        // What is answered, the locks, the rules, whom they know, and who began the conversation
        // or has written in it.
        assert_eq!(refused, 10, "of {several}");
    }
}

#[test]
fn a_sign_in_needs_six_from_a_familiar_address_and_ten_from_a_new_one() {
    let world = World::new();
    let ann = world.user("ann");
    let sign_in = |from: &'static str| {
        written(&world, move |tx, cx| {
            let counted = throttle::count(tx, cx, "ann", from.parse().ok())?;
            throttle::let_in(tx, cx, ann, &counted)
        })
    };
    // The lock and the look at the familiar address, the locks of the account and of each network,
    // their failures, one more of each, what is purged; what is given back, the other addresses,
    // and the new one. Before there were familiar addresses it was nine.
    assert_eq!(sign_in("192.0.2.7"), 7 + 3);
    assert_eq!(sign_in("2001:db8::1"), 9 + 3);
    // The lock, the look, one more; what is given back, the others, and when it was.
    assert_eq!(sign_in("192.0.2.7"), 3 + 3);
}

#[test]
fn marking_needs_as_many_in_a_mailbox_of_one_as_of_a_hundred() {
    for size in [1, 100] {
        let crowd = Crowd::of(size);
        let (ann, first) = (crowd.mail.ann, crowd.mail.messages[0]);
        let marks = Marks { read: Some(true), ..Marks::default() };
        let marked = written(&crowd.world, move |tx, cx| {
            messages::mark(tx, cx, ann, first, marks, &|_| true).map(drop)
        });
        // Two places where it may be, the text, the names, the modseq, the mark, the counts, and
        // the place where it is then.
        assert_eq!(marked, 9, "of {size}");
    }
}
