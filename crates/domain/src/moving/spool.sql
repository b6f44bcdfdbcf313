-- What an import has read, on disk: sorted and compared without being in memory. It is a database of its own, which is
-- removed at the end.

CREATE TABLE users (
    line INTEGER NOT NULL PRIMARY KEY,
    id INTEGER,
    external_id TEXT,
    folded TEXT,
    content TEXT NOT NULL
) STRICT;

CREATE INDEX users_id ON users (id) WHERE id IS NOT NULL;
CREATE INDEX users_external ON users (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX users_folded ON users (folded) WHERE folded IS NOT NULL;

-- A message is stored after its parent, even where their times are the same or a little wrong: the one that it answers,
-- or with which its conversation began.
CREATE TABLE messages (
    line INTEGER NOT NULL PRIMARY KEY,
    external_id TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    sorted_at INTEGER NOT NULL,
    parent TEXT,
    conversation TEXT,
    number INTEGER NOT NULL,
    content TEXT NOT NULL
) STRICT;

CREATE INDEX messages_external ON messages (external_id);
CREATE INDEX messages_parent ON messages (parent) WHERE parent IS NOT NULL;
CREATE INDEX messages_conversation ON messages (conversation) WHERE conversation IS NOT NULL;

-- Blocks, mutes and contacts.
CREATE TABLE others (
    line INTEGER NOT NULL PRIMARY KEY,
    content TEXT NOT NULL
) STRICT;

-- The messages in the order in which they are stored, and the least number of each and all after it.
CREATE TABLE ordered (
    place INTEGER NOT NULL PRIMARY KEY,
    line INTEGER NOT NULL,
    floor INTEGER NOT NULL
) STRICT;
