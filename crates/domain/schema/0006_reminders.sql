-- Who is waited for: the first message that came since the user was last there, and since when its
-- time runs. Nothing runs any more where the user was reminded, or a mail to him is on its way. The
-- row goes when he is seen.
CREATE TABLE reminders (
    owner_id INTEGER NOT NULL PRIMARY KEY,
    message_id INTEGER NOT NULL,
    waits_since INTEGER,
    tries INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX reminders_waiting ON reminders (waits_since) WHERE waits_since IS NOT NULL;

-- Since when a user wants none.
ALTER TABLE users ADD COLUMN reminders_off_at INTEGER;
