-- When the oldest unread message of an inbox was sent, so that the unread counts of a thousand users need no look at their
-- messages. Null where it has to be looked up: something was read since. It says nothing while nothing is unread.
ALTER TABLE mailboxes ADD COLUMN oldest_unread_at INTEGER;

-- Every message that arrived wrote a page of this index. A page of users with something unread reads mailboxes instead.
DROP INDEX mailboxes_unread;
