-- The schema in the words of the field: modseq (RFC 7162), conversation, recipient, stored response. Renames only; no row
-- is copied.

ALTER TABLE mailboxes RENAME COLUMN counter TO modseq;
ALTER TABLE mailboxes RENAME COLUMN forgotten_seq TO purged_modseq;
ALTER TABLE entries RENAME COLUMN created_seq TO created_modseq;
ALTER TABLE entries RENAME COLUMN changed_seq TO changed_modseq;
ALTER TABLE tombstones RENAME COLUMN seq TO modseq;
ALTER TABLE tombstones RENAME COLUMN created_seq TO created_modseq;

ALTER TABLE threads RENAME TO conversations;

ALTER TABLE messages RENAME COLUMN receiver_id TO recipient_id;
ALTER TABLE messages RENAME COLUMN others TO other_recipients;
ALTER TABLE messages RENAME COLUMN holders TO mailbox_count;

ALTER TABLE kept_answers RENAME TO stored_responses;
ALTER TABLE stored_responses RENAME COLUMN answer TO response;
ALTER TABLE stored_responses RENAME COLUMN over_at TO expires_at;
ALTER TABLE throttles RENAME COLUMN over_at TO expires_at;

ALTER TABLE webhooks RENAME COLUMN disabled_why TO disabled_reason;
ALTER TABLE webhook_events RENAME COLUMN receivers TO recipients;
ALTER TABLE webhook_events RENAME COLUMN waits TO pending;
ALTER TABLE reminders RENAME COLUMN waits_since TO waiting_since;
