-- When the owner first read a message that they have marked as unread since: what was read once
-- cannot be unsent. While the message is read, read_at says it, so no row has to be written.
ALTER TABLE entries ADD COLUMN first_read_at INTEGER;

-- The message by which the owner has written to them: the first, or a later one where the first was
-- withdrawn unread. It is not known of contacts from before, who stay contacts.
ALTER TABLE contacts ADD COLUMN message_id INTEGER;

-- 1 where the owner has deleted something that they wrote in the conversation: they have written in
-- it, though nothing else may say so.
ALTER TABLE conversations ADD COLUMN has_written INTEGER;

-- The recipients from whose mailboxes it was withdrawn before they ever read it.
ALTER TABLE messages ADD COLUMN unsent_from TEXT;
