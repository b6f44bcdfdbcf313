-- Distributes the tables of Postroom over the workers of a Citus cluster, by the owner of their
-- rows. Run it once, on the coordinator, as the role that owns the tables, after `postroom migrate`
-- and before the tables have many rows, with all nodes stopped:
--
--   psql -X -v ON_ERROR_STOP=1 --single-transaction -f deploy/citus.sql postgres://…
--
-- After an upgrade that adds tables, run only the lines for these; the release notes name them. A
-- test checks this file against the schema: every table once, by the first column of its key. It
-- was not run on Citus in its current form: docs/operations.md says what that means.

-- Two for each core of all workers that there will ever be; it is hard to change later.
SET citus.shard_count = 64;

-- On every machine: the users, whose names are unique. Small, and rarely written.
SELECT create_reference_table('users');
-- By which words of their names users are found.
SELECT create_reference_table('name_words');

-- By owner. All rows of one owner are on the same machine, so that a request about a mailbox needs
-- one machine, and a send to one recipient is a transaction over two at most.
SELECT create_distributed_table('mailboxes', 'owner_id', colocate_with => 'none');
SELECT create_distributed_table('entries', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('conversations', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('tombstones', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('trash', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('contacts', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('blocks', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('quotas', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('stored_responses', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('stored_counts', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('reminders', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('erasures', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('unread_changes', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('familiar_addresses', 'user_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('sessions', 'user_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('tokens', 'user_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('revoked_sessions', 'user_id', colocate_with => 'mailboxes');

-- By id: a message is shared by several mailboxes.
SELECT create_distributed_table('messages', 'id', colocate_with => 'none');
SELECT create_distributed_table('expirations', 'message_id', colocate_with => 'messages');
-- By the external id, which the key of a row ends with.
SELECT create_distributed_table('imported_messages', 'external_id', colocate_with => 'none');
-- By the hash of the account or address.
SELECT create_distributed_table('throttles', 'subject', colocate_with => 'none');

-- By the hash of the name of an erased account.
SELECT create_distributed_table('reserved_names', 'name_hash', colocate_with => 'none');
-- And by that of the external id of an erased user.
SELECT create_distributed_table('erased_external_ids', 'id_hash', colocate_with => 'none');

-- Webhook events, with their deliveries.
SELECT create_distributed_table('webhook_events', 'id', colocate_with => 'none');
SELECT create_distributed_table('webhook_deliveries', 'event_id', colocate_with => 'webhook_events');
-- Webhooks are few.
SELECT create_reference_table('webhooks');

-- Server keys are few.
SELECT create_reference_table('server_keys');
-- What they did.
SELECT create_distributed_table('audit', 'id', colocate_with => 'none');

-- One row about the database.
SELECT create_reference_table('history');

-- A row for each job that one node at a time runs.
SELECT create_reference_table('leases');

-- schema_migrations stays on the coordinator.
