-- The app's own letters and badges: messages that are withdrawn at a time, and what changed in the counts of the unread.

-- 1 where nobody is reminded of the message by e-mail.
ALTER TABLE messages ADD COLUMN without_reminder INTEGER;

-- When a message is withdrawn from the mailbox of a recipient who has never read it.
CREATE TABLE expirations (
    message_id INTEGER NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX expirations_due ON expirations (expires_at);

-- Who has something unread: a page of them is a range of this index.
CREATE INDEX mailboxes_unread ON mailboxes (owner_id) WHERE unread > 0;

-- Whose unread counts have changed and were not told of (pending), or were told of a moment ago; until `next_at` nothing
-- is told. It has rows only where some webhook wants to know.
CREATE TABLE unread_changes (
    owner_id INTEGER NOT NULL PRIMARY KEY,
    next_at INTEGER NOT NULL,
    pending INTEGER NOT NULL
) STRICT;

CREATE INDEX unread_changes_pending ON unread_changes (next_at) WHERE pending = 1;
CREATE INDEX unread_changes_told ON unread_changes (next_at) WHERE pending = 0;

-- What such an event says: messages, conversations, and the modseq at which it was so.
ALTER TABLE webhook_events ADD COLUMN unread INTEGER;
ALTER TABLE webhook_events ADD COLUMN unread_conversations INTEGER;
ALTER TABLE webhook_events ADD COLUMN modseq INTEGER;

-- The names of system users, which no person may take. There are few system users.
CREATE INDEX users_system ON users (display_folded) WHERE kind = 1;
