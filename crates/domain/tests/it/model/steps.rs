//! What can happen in a history.

use domain::conversations::ConversationAction;
use domain::messages::Marks;
use domain::users::AcceptFrom;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};

/// Users of a history.
pub(super) const NAMES: [&str; 5] = ["ann", "bob", "cid", "dot", "eve"];

/// Words that bodies are made of.
pub(super) const WORDS: [&str; 4] = ["red", "green", "blue", "grey"];

#[derive(Debug, Clone)]
pub(super) enum Step {
    Send {
        from: usize,
        to: Vec<Dest>,
        subject: Option<String>,
        body: String,
    },
    Reply {
        by: Who,
        message: Index,
        to: Vec<Dest>,
        subject: Option<String>,
        body: String,
    },
    Open {
        by: Who,
        message: Index,
    },
    Mark {
        by: Who,
        message: Index,
        marks: Marks,
    },
    Destroy {
        by: Who,
        message: Index,
    },
    Delete {
        by: Who,
        message: Index,
    },
    Unsend {
        by: Who,
        message: Index,
    },
    /// Nothing to mark means that they are destroyed.
    Batch {
        by: usize,
        messages: Vec<Index>,
        marks: Option<Marks>,
    },
    Mute {
        by: Who,
        message: Index,
        muted: bool,
    },
    ConversationAction {
        by: Who,
        message: Index,
        sweep: ConversationAction,
        up_to: Option<Index>,
        limit: usize,
    },
    MarkUnread {
        by: Who,
        message: Index,
        up_to: Option<Index>,
    },
    Block {
        by: usize,
        whom: usize,
    },
    Unblock {
        by: usize,
        whom: usize,
    },
    Accept {
        by: usize,
        from: AcceptFrom,
    },
    Disable(usize),
    Enable(usize),
    Erase(usize),
    Wait {
        hours: i64,
    },
    EmptyTrash,
    Forget,
    EmptyErased,
}

/// Somebody to write to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dest {
    User(usize),
    Named(usize),
    Nobody,
    NobodyNamed,
}

/// Who does something to a message. Strangers would be too frequent if it were any user.
#[derive(Debug, Clone)]
pub(super) enum Who {
    Sender,
    Recipients(Index),
    User(usize),
}

fn user() -> impl Strategy<Value = usize> {
    0..NAMES.len()
}

fn dest() -> impl Strategy<Value = Dest> {
    prop_oneof![
        12 => user().prop_map(Dest::User),
        3 => user().prop_map(Dest::Named),
        1 => Just(Dest::Nobody),
        1 => Just(Dest::NobodyNamed),
    ]
}

fn to() -> impl Strategy<Value = Vec<Dest>> {
    prop_oneof![vec(dest(), 1..=1), vec(dest(), 1..=4)]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        3 => Just(Who::Sender),
        4 => any::<Index>().prop_map(Who::Recipients),
        1 => user().prop_map(Who::User),
    ]
}

fn subject() -> impl Strategy<Value = Option<String>> {
    let character = any::<char>().prop_filter("U+0000 is refused", |c| *c != '\0');
    prop_oneof![
        Just(None),
        Just(Some("rE: it".to_owned())),
        vec(character, 0..9).prop_map(|text| Some(String::from_iter(text))),
    ]
}

fn body() -> impl Strategy<Value = String> {
    vec(select(&WORDS), 0..4).prop_map(|words| words.join(" "))
}

fn marks() -> impl Strategy<Value = Marks> {
    let mark = || prop_oneof![2 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (mark(), mark(), mark(), mark()).prop_map(|(read, starred, archived, trashed)| Marks {
        read,
        starred,
        archived,
        trashed,
    })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => written(),
        5 => marked(),
        1 => swept(),
        2 => arranged(),
    ]
}

fn written() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (user(), to(), subject(), body())
            .prop_map(|(from, to, subject, body)| Step::Send { from, to, subject, body }),
        6 => (who(), any::<Index>(), prop_oneof![Just(Vec::new()), to()], subject(), body())
            .prop_map(|(by, message, to, subject, body)| {
                Step::Reply { by, message, to, subject, body }
            }),
    ]
}

fn marked() -> impl Strategy<Value = Step> {
    let message = || (who(), any::<Index>());
    prop_oneof![
        3 => message().prop_map(|(by, message)| Step::Open { by, message }),
        6 => (who(), any::<Index>(), marks())
            .prop_map(|(by, message, marks)| Step::Mark { by, message, marks }),
        3 => message().prop_map(|(by, message)| Step::Destroy { by, message }),
        2 => message().prop_map(|(by, message)| Step::Delete { by, message }),
        2 => message().prop_map(|(by, message)| Step::Unsend { by, message }),
        2 => (user(), vec(any::<Index>(), 0..6), proptest::option::of(marks()))
            .prop_map(|(by, messages, marks)| Step::Batch { by, messages, marks }),
    ]
}

fn swept() -> impl Strategy<Value = Step> {
    let sweep = prop_oneof![Just(ConversationAction::Read), Just(ConversationAction::Trash)];
    prop_oneof![
        (who(), any::<Index>(), any::<bool>()).prop_map(|(by, message, muted)| Step::Mute {
            by,
            message,
            muted
        }),
        (who(), any::<Index>(), sweep, 1_usize..4, proptest::option::of(any::<Index>())).prop_map(
            |(by, message, sweep, limit, up_to)| Step::ConversationAction {
                by,
                message,
                sweep,
                up_to,
                limit
            }
        ),
        (who(), any::<Index>(), proptest::option::of(any::<Index>()))
            .prop_map(|(by, message, up_to)| Step::MarkUnread { by, message, up_to }),
        Just(Step::EmptyTrash),
        Just(Step::Forget),
    ]
}

fn arranged() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (user(), user()).prop_map(|(by, whom)| Step::Block { by, whom }),
        3 => (user(), user()).prop_map(|(by, whom)| Step::Unblock { by, whom }),
        6 => (user(), select(&AcceptFrom::ALL))
            .prop_map(|(by, from)| Step::Accept { by, from }),
        1 => user().prop_map(Step::Disable),
        2 => user().prop_map(Step::Enable),
        1 => user().prop_map(Step::Erase),
        1 => Just(Step::EmptyErased),
        4 => (0_i64..500).prop_map(|hours| Step::Wait { hours }),
    ]
}
