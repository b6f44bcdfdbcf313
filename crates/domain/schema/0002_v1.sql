-- Boxes, conversations, several recipients, tokens, blocks, limits, answers that are kept.

ALTER TABLE users ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN display_folded TEXT NOT NULL DEFAULT '';
-- An erased user stays as a stub without a name, for the letters of others name its id.
ALTER TABLE users ADD COLUMN erased_at INTEGER;
CREATE INDEX users_display ON users (display_folded) WHERE display_folded <> '';

-- What is left to remove of an erased user's mailbox.
CREATE TABLE erasures (
    owner_id INTEGER NOT NULL PRIMARY KEY
) STRICT;

ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';

-- Tokens of programs, as hashes. Scopes are bits.
CREATE TABLE tokens (
    user_id INTEGER NOT NULL,
    token_hash BLOB NOT NULL,
    name TEXT NOT NULL,
    scopes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    PRIMARY KEY (user_id, token_hash)
) STRICT, WITHOUT ROWID;

-- The counts of what is unread in the inbox, in messages and in conversations; whom the owner
-- takes messages from (0 everyone, 1 who is known, 2 nobody); how many are blocked; and the number
-- up to which it is forgotten what went.
ALTER TABLE mailboxes ADD COLUMN unread INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN unread_conversations INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN accept_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN blocks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN forgotten_seq INTEGER NOT NULL DEFAULT 0;

CREATE TABLE blocks (
    owner_id INTEGER NOT NULL,
    blocked_id INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner_id, blocked_id)
) STRICT, WITHOUT ROWID;

-- Whom the owner has written to.
CREATE TABLE contacts (
    owner_id INTEGER NOT NULL,
    peer_id INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    PRIMARY KEY (owner_id, peer_id)
) STRICT, WITHOUT ROWID;

INSERT INTO contacts (owner_id, peer_id, first_at)
SELECT sender_id, receiver_id, min(sent_at) FROM messages
WHERE sender_id <> receiver_id GROUP BY sender_id, receiver_id;

-- What a user has done in a window of time.
CREATE TABLE quotas (
    owner_id INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    used INTEGER NOT NULL,
    window_started_at INTEGER NOT NULL,
    PRIMARY KEY (owner_id, kind)
) STRICT, WITHOUT ROWID;

-- The answers to requests that carried an Idempotency-Key, under a hash of route and key. The owner
-- is 0 where nobody was logged in.
CREATE TABLE kept_answers (
    owner_id INTEGER NOT NULL,
    key_hash BLOB NOT NULL,
    request_hash BLOB NOT NULL,
    nonce BLOB NOT NULL,
    answer BLOB NOT NULL,
    over_at INTEGER NOT NULL,
    PRIMARY KEY (owner_id, key_hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_answers_over ON kept_answers (over_at);

-- The first receiver stays in its column; the others are a list, as in `12,15`. A message without a
-- conversation begins one, under its own id.
ALTER TABLE messages ADD COLUMN others TEXT;
ALTER TABLE messages ADD COLUMN conversation_id INTEGER;
ALTER TABLE messages ADD COLUMN in_reply_to INTEGER;
ALTER TABLE messages ADD COLUMN client_id TEXT;
ALTER TABLE messages ADD COLUMN metadata TEXT;

-- A message in a mailbox. The place is 4 * box + 2 * unread + threaded, where the boxes are inbox 0,
-- archive 1, sent 2, trash 3: whatever is listed together stands together in the key, in the order
-- in which it came, and a send touches one page of a mailbox, for there is no index to keep up
-- beside it. The partial indexes hold only what is rare. The role is 1 received, 2 sent, 3 both.
-- The peer is the other side, and nobody where a message has several receivers. The conversation is
-- noted where it has a row in threads; else the message is all of it. The number of the last change is
-- noted where there was one.
CREATE TABLE placed_entries (
    owner_id INTEGER NOT NULL,
    place INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    conversation_id INTEGER,
    role INTEGER NOT NULL,
    peer_id INTEGER,
    read_at INTEGER,
    starred_at INTEGER,
    archived_at INTEGER,
    trashed_at INTEGER,
    created_seq INTEGER NOT NULL,
    changed_seq INTEGER,
    PRIMARY KEY (owner_id, place, message_id)
) STRICT, WITHOUT ROWID;

INSERT INTO placed_entries
SELECT owner_id, CASE WHEN received = 1 THEN 2 * unread ELSE 8 END, message_id, NULL,
       received + 2 * sent, CASE WHEN sender_id = owner_id THEN receiver_id ELSE sender_id END,
       read_at, NULL, NULL, NULL, created_seq,
       CASE WHEN changed_seq > created_seq THEN changed_seq END
FROM entries JOIN messages ON messages.id = entries.message_id;

DROP TABLE entries;
ALTER TABLE placed_entries RENAME TO entries;

-- What changed after it came. What came is in the order of the key itself, and costs no index.
CREATE INDEX entries_changed ON entries (owner_id, changed_seq) WHERE changed_seq IS NOT NULL;
-- What has a star, and what one sent to oneself.
CREATE INDEX entries_marked ON entries (owner_id, message_id)
WHERE starred_at IS NOT NULL OR role = 3;
-- The messages of a conversation that has a row in threads.
CREATE INDEX entries_thread ON entries (owner_id, conversation_id, message_id)
WHERE place % 2 = 1;

-- What is in the trash, by the time at which it came there: an index of the entries would have to be
-- opened by every send.
CREATE TABLE trash (
    owner_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    trashed_at INTEGER NOT NULL,
    PRIMARY KEY (owner_id, message_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX trash_over ON trash (trashed_at);

-- A conversation in a mailbox, where it is more than one message to one receiver or has a state of
-- its own. The last message is the newest that is not in the trash; where there is none, it is nothing.
CREATE TABLE threads (
    owner_id INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL,
    last_message_id INTEGER,
    unread INTEGER NOT NULL,
    subject TEXT NOT NULL,
    participants TEXT NOT NULL,
    muted_at INTEGER,
    PRIMARY KEY (owner_id, conversation_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX threads_recent ON threads (owner_id, last_message_id)
WHERE last_message_id IS NOT NULL;

UPDATE mailboxes SET
    unread = (SELECT count(*) FROM entries
              WHERE entries.owner_id = mailboxes.owner_id AND place = 2),
    unread_conversations = (SELECT count(*) FROM entries
                            WHERE entries.owner_id = mailboxes.owner_id AND place = 2);
