//! Where entries sort in a mailbox, in code and in SQL.

/// The folder that an entry is in: exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Folder {
    /// Received, and neither archived nor in the trash.
    Inbox,
    /// Archived.
    Archive,
    /// Sent and not received, and neither archived nor in the trash.
    Sent,
    /// In the trash, to be deleted after 30 days.
    Trash,
}

/// Where an entry sorts in its mailbox: folder, unread or not, and whether its conversation has a
/// row of its own. It is a part of the key, so that what is listed together is stored together.
/// [`place!`] has the same values for SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(i64);

impl Place {
    pub(crate) const fn new(folder: Folder, unread: bool, has_conversation_row: bool) -> Self {
        Self(4 * folder as i64 + 2 * unread as i64 + has_conversation_row as i64)
    }

    pub(crate) fn is_unread(self) -> bool {
        self.0 & 2 == 2
    }
}

/// A place by its name, for SQL. `_row` means that the conversation has a row of its own. What was
/// only sent is never unread.
macro_rules! place {
    (inbox_read) => {
        "0"
    };
    (inbox_read_row) => {
        "1"
    };
    (inbox_unread) => {
        "2"
    };
    (inbox_unread_row) => {
        "3"
    };
    (archive_read) => {
        "4"
    };
    (archive_read_row) => {
        "5"
    };
    (archive_unread) => {
        "6"
    };
    (archive_unread_row) => {
        "7"
    };
    (sent) => {
        "8"
    };
    (sent_row) => {
        "9"
    };
    (trash_read) => {
        "12"
    };
    (trash_read_row) => {
        "13"
    };
    (trash_unread) => {
        "14"
    };
    (trash_unread_row) => {
        "15"
    };
}
pub(crate) use place;

/// Several places as a list for `IN`.
macro_rules! places {
    ($first:ident $($other:ident)*) => {
        concat!($crate::mailbox::place::place!($first)
            $(, ", ", $crate::mailbox::place::place!($other))*)
    };
}
pub(crate) use places;

impl From<Place> for db::Value<'_> {
    fn from(place: Place) -> Self {
        db::Value::Int(place.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Folder, Place};

    #[test]
    fn a_place_in_sql_is_the_place_of_an_entry() {
        let place = |folder, unread, row| Place::new(folder, unread, row).0.to_string();
        for (folder, names) in [
            (Folder::Inbox, places!(inbox_read inbox_read_row inbox_unread inbox_unread_row)),
            (
                Folder::Archive,
                places!(archive_read archive_read_row archive_unread archive_unread_row),
            ),
            (Folder::Trash, places!(trash_read trash_read_row trash_unread trash_unread_row)),
        ] {
            let states = [(false, false), (false, true), (true, false), (true, true)];
            let all = states.map(|(unread, row)| place(folder, unread, row)).join(", ");
            assert_eq!(all, names);
        }
        let sent = [false, true].map(|row| place(Folder::Sent, false, row)).join(", ");
        assert_eq!(sent, places!(sent sent_row));
    }
}
