-- Moving in: passwords that other programs have hashed, and messages that an import has stored.

-- How many milliseconds it can take to verify a password hash that came from elsewhere; 0 where the hash is ours. Failed
-- sign-ins are answered after the longest of them, so that their time does not tell who has moved and never come back.
ALTER TABLE users ADD COLUMN password_wait INTEGER NOT NULL DEFAULT 0;
CREATE INDEX users_password_wait ON users (password_wait) WHERE password_wait > 0;

-- Which message an import has made of which one of a source, so that it can be repeated. A row outlives its message, and
-- names a conversation whose first message never came.
CREATE TABLE imported_messages (
    source TEXT NOT NULL,
    external_id TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (external_id, source)
) STRICT, WITHOUT ROWID;

CREATE INDEX imported_messages_message ON imported_messages (message_id);

-- Who has written in a conversation is told by its row, from the first of their messages on and not only once one of them
-- was deleted: who answers it to many would else read much of the mailbox of each.
UPDATE conversations SET has_written = 1
FROM (SELECT DISTINCT owner_id, conversation_id FROM entries WHERE place % 2 = 1 AND role >= 2) AS written
WHERE conversations.owner_id = written.owner_id AND conversations.conversation_id = written.conversation_id;
